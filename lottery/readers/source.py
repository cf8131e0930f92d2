"""A data set, wherever it comes from: files (registry.py), arrays, torch's data sets or a user's function.

Importing this module does not import torch.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lottery.readers.image_files import ImageFiles, decoder_versions
from utils import digest


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Source:
    """A data set, in memory or in files, with the settings for normalising and augmenting its images."""

    name: str
    train_images: np.ndarray | ImageFiles  # uint8 (N, H, W, C), C is 1 (grey) or 3, H == W
    train_labels: np.ndarray  # int64 (N,)
    test_images: np.ndarray | ImageFiles  # uint8 (T, H, W, C)
    test_labels: np.ndarray  # int64 (T,)
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of images scaled to [0, 1]
    std: tuple[float, ...]
    padding: int  # pixels of zero padding for the random crop
    flips: bool  # whether a horizontal flip keeps the label
    validation: int = 0  # the last so many training images are the validation set; 0 if a split decides
    notes: tuple[str, ...] = ()  # remarks on its files, for the log

    @property
    def image_size(self) -> int:
        return self.train_images.shape[1]

    @property
    def channels(self) -> int:
        return self.train_images.shape[3]

    @cached_property
    def checksum(self) -> str:
        """Equal for runs that saw the same data. Of images in files it covers their names and labels: reading all of
        them would take too long."""
        parts = (self.train_images, self.test_images)
        train, test = (np.array(part.names) if isinstance(part, ImageFiles) else part for part in parts)
        return digest(train, self.train_labels, test, self.test_labels)

    @property
    def environment(self) -> dict[str, str]:
        """What the pixels of images in files depend on beside the names: it may change between runs with a note."""
        parts = [part for part in (self.train_images, self.test_images) if isinstance(part, ImageFiles)]
        if not parts:
            return {}
        size = f"{sum(map(len, parts))} files of {sum(part.bytes for part in parts)} bytes"
        return decoder_versions() | {"images": size}

    def in_memory(self) -> tuple[np.ndarray, np.ndarray]:
        """The training and test images of a data set that is known to be in memory."""
        assert isinstance(self.train_images, np.ndarray) and isinstance(self.test_images, np.ndarray)
        return self.train_images, self.test_images


def padding_for(size: int) -> int:
    """4 pixels for images of 28 pixels or more, as usual; fewer for smaller ones, such as the 8×8 digits."""
    return 4 if size >= 28 else size // 8
