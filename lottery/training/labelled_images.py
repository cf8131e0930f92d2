"""What training and evaluation need of the images, wherever these are."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class LabelledImages(Protocol):
    """N labelled images: held on the device (`dataset.Images`) or read from files for every batch (`StreamedImages`).

    Images are uint8 (b, H, W, C) on the device. Evaluation sees each as it is; training sees it augmented.
    """

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """int64 (N,)"""

    @property
    def padding(self) -> int:
        """Pixels by which a visit may shift an image."""

    @property
    def flips(self) -> bool:
        """Whether a visit may mirror an image."""

    @property
    def device(self) -> torch.device: ...

    def at(self, indices: Tensor | slice) -> Tensor:
        """The images at (b,) indices, or the first ones: slice(b), which may be more than there are."""

    def batches(self, parts: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of each of the parts, (b,) indices, for evaluation."""

    def training_batches(
        self, visits: Tensor, plan: Sequence[slice], seed: tuple[int, int, int], /
    ) -> Iterator[Tensor]:
        """The batches (4 or more, b) of an epoch's visits (4, n), one for each slice of the plan, each when its images
        are there. What else is drawn for an image follows from `seed` = (seed, round, epoch) and its number."""

    def training_images(self, visits: Tensor) -> Tensor:
        """The augmented images of the batch that `training_batches` gave last, or of some of its columns. This is part
        of a captured step: it waits for nothing, and reads the same addresses in every step."""
