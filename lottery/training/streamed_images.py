"""Labelled images that are read from files for every batch and copied to the device: `labelled_images.LabelledImages`.

While the device computes, other processes decode the next images. On a GPU the host is at most two batches ahead of the
device, so that images do not pile up in pinned memory.

Shapes: n visits of an epoch, b in a batch.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dataset import augment_visits
from lottery.readers.image_files import ImageFiles
from lottery.readers.source import Source
from lottery.training.image_loader import PIECE, ImageLoader, Request, default_workers
from lottery.training.shards import own_places

BATCHES_AHEAD = 2  # of the device, that the host copies images of


class StreamedImages:
    """Part number `part` of the loader's images, on a device as they are needed."""

    def __init__(
        self,
        loader: ImageLoader,
        part: int,
        files: ImageFiles,
        labels: Tensor,
        padding: int = 0,
        flips: bool = False,
        random_views: bool = False,
    ):
        self.loader, self.part, self.files = loader, part, files
        self.labels, self.padding, self.flips = labels, padding, flips
        self.random_views = random_views  # whether training sees others than evaluation does
        self.buffer: Tensor | None = None  # of the batch that is trained on, at an address that a captured step keeps
        self.places: Tensor  # int64, in the buffer
        self.shards = 1  # of a batch that is trained on
        self.known = self._empty(0)  # the first images
        self.waiting = Waiting()
        self.copied: deque[torch.cuda.Event] = deque()  # of the batches that the device may yet have to copy

    def __len__(self) -> int:
        return len(self.files)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.files.shape[1:]

    def reserve_(self, batch_size: int, shards: int = 1) -> None:
        """Make the buffer, one image larger than a batch: the last batch may have one more (`recipe.batches`). Of a
        batch in shards this rank reads the images of its own, and the places of the others stay as they are."""
        assert self.buffer is None, "a captured step reads the buffer that is there"
        self.shards = shards
        self.buffer = self._empty(batch_size + 1)
        self.places = torch.arange(batch_size + 1, device=self.device)

    def at(self, indices: Tensor | slice) -> Tensor:
        if isinstance(indices, slice):
            return self._first(indices.stop)
        return next(self._copied(indices.cpu().numpy(), [slice(0, len(indices))]))

    def _first(self, count: int) -> Tensor:
        """The first images, read once."""
        if len(self.known) < min(count, len(self)):
            self.known = self.at(torch.arange(min(count, len(self))))
        return self.known[:count]

    def batches(self, parts: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        parts = list(parts)
        ends = np.cumsum([0, *map(len, parts)])
        plan = [slice(start, stop) for start, stop in itertools.pairwise(ends)]
        index = torch.cat(parts).cpu().numpy() if parts else np.empty(0, np.int64)
        for part, images in zip(parts, self._copied(index, plan), strict=True):
            yield images, self.labels[part]

    def training_batches(self, visits: Tensor, plan: Sequence[slice], seed: tuple[int, int, int]) -> Iterator[Tensor]:
        assert self.buffer is not None
        index = visits[0].cpu().numpy()  # the one transfer of the epoch
        own = [own_places(batch.stop - batch.start, self.shards) for batch in plan]
        read = [
            slice(batch.start + part.start, batch.start + part.stop)
            for batch, parts in zip(plan, own, strict=True)
            for part in parts
        ]
        images = self._loaded(index, read, seed if self.random_views else None)
        for batch, parts in zip(plan, own, strict=True):
            for part in parts:
                self._fill_(self.buffer[part], images)
            self._keep_pace()
            yield torch.cat([visits[:, batch], self.places[None, : batch.stop - batch.start]])

    def training_images(self, visits: Tensor) -> Tensor:
        """Those of a part of the batch, too: a fifth row of its visits says where in the buffer each image is."""
        assert self.buffer is not None
        return augment_visits(self.buffer[visits[4]], visits, self.padding, self.flips)

    def waiting_share(self) -> float:
        """The share of the time of the epoch so far that its images were waited for."""
        return self.waiting.share

    def _empty(self, count: int) -> Tensor:
        return torch.empty(count, *self.shape, dtype=torch.uint8, device=self.device)

    def _copied(self, index: np.ndarray, plan: Sequence[slice]) -> Iterator[Tensor]:
        """What evaluation sees of each batch of the plan."""
        pieces = self._loaded(index, plan, None)
        for batch in plan:
            images = self._empty(batch.stop - batch.start)
            self._fill_(images, pieces)
            self._keep_pace()
            yield images

    def _fill_(self, images: Tensor, pieces: Iterator[Tensor]) -> None:
        """Copy the pieces of one slice of a plan, which come next."""
        for start in range(0, len(images), PIECE):
            piece = next(pieces)
            images[start : start + len(piece)].copy_(piece, non_blocking=True)

    def _loaded(self, index: np.ndarray, plan: Sequence[slice], seed: tuple[int, int, int] | None) -> Iterator[Tensor]:
        """The images of each slice of the plan, in pieces."""
        return self.waiting.timed(self.loader.load(self._requests(index, plan, seed)))

    def _requests(
        self, index: np.ndarray, plan: Sequence[slice], seed: tuple[int, int, int] | None
    ) -> Iterator[list[Request]]:
        for batch in plan:
            for start in range(batch.start, batch.stop, PIECE):
                piece = index[start : min(start + PIECE, batch.stop)]
                yield [(self.part, (example, seed)) for example in piece.tolist()]

    def _keep_pace(self) -> None:
        """Wait until the device has copied all but the newest batches: it has then done the steps before them."""
        if self.device.type != "cuda":
            return
        self.copied.append(torch.cuda.Event())
        self.copied[-1].record()
        if len(self.copied) > BATCHES_AHEAD:
            self.copied.popleft().synchronize()


class Waiting:
    """How much of its time this process waits for images to be decoded."""

    def __init__(self):
        self.begun, self.seconds = time.perf_counter(), 0.0

    def timed(self, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
        """The pieces; what is waited for each is counted, from here on."""
        self.begun, self.seconds = time.perf_counter(), 0.0
        while True:
            before = time.perf_counter()
            piece = next(pieces, None)
            self.seconds += time.perf_counter() - before
            if piece is None:
                return
            yield piece

    @property
    def share(self) -> float:
        """Of the time since the pieces were asked for."""
        return self.seconds / max(1e-9, time.perf_counter() - self.begun)


def streamed_images(
    device: torch.device, source: Source, augmented: bool, workers: int | None
) -> tuple[StreamedImages, StreamedImages]:
    """Training and test images of a source whose images are in files; only training images are augmented, if any."""
    train, test = source.train_images, source.test_images
    assert isinstance(train, ImageFiles) and isinstance(test, ImageFiles)
    there = not hasattr(torch, "accelerator") or torch.accelerator.is_available()  # which torch 2.5 does not say
    pinned = device.type == "cuda" and there
    loader = ImageLoader((train, test), default_workers() if workers is None else workers, pinned)
    train_labels, test_labels = (
        torch.from_numpy(array).to(device) for array in (source.train_labels, source.test_labels)
    )
    padding, flips = (source.padding, source.flips) if augmented else (0, False)
    return (
        StreamedImages(loader, 0, train, train_labels, padding, flips, random_views=augmented),
        StreamedImages(loader, 1, test, test_labels),
    )
