"""Images from files, decoded ahead by other processes (torch's DataLoader), in the order in which they are asked for.

Which images these are, and how each is drawn, stands in the request alone: any number of processes gives the same bits,
and training goes on in the middle of an epoch by asking for the rest of it.
"""

import os
import signal
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lottery import ranks
from lottery.readers.image_files import ImageFiles, Visit
from utils import InputError, RunError

PIECE = 64  # images that a process decodes at a time: smaller than a batch, so that the first ones come soon
AHEAD = 2  # pieces that each process decodes in advance
MOST_WORKERS = 16

Request = tuple[int, Visit]  # a part of the data set, and an image of it


class Piece(NamedTuple):
    """Some images, uint8 (b, H, W, 3), or why one of them cannot be read."""

    images: Tensor
    error: str | None


class ImageLoader:
    """Decodes the images of `parts`, such as the training and the test set, in `workers` processes, or in this one if
    that is 0. The processes begin at the first request and last as long as the loader."""

    def __init__(self, parts: Sequence[ImageFiles], workers: int, pinned: bool):
        _ignore_warnings()
        self.pieces, self.serial = _Pieces(), 0
        loader = DataLoader(
            _Decoded(parts),
            batch_sampler=self.pieces,  # its items are requests, not numbers
            num_workers=workers,
            collate_fn=_piece,
            pin_memory=pinned,
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # else each epoch would take a number from torch's own
        )
        self.loaders = [loader]
        weakref.finalize(self, self.loaders.clear)  # at the latest before multiprocessing ends processes with an error
        _ignore_warnings()

    def load(self, pieces: Iterable[list[Request]]) -> Iterator[Tensor]:
        """The images of each piece, uint8 (b, H, W, 3), in order. RunError for one that cannot be read, with its file.

        One call at a time: a later one ends those before it.
        """
        self.serial += 1
        mine, self.pieces.coming = self.serial, pieces
        try:
            for images, error in self.loaders[0]:
                if error:
                    raise RunError(f"{error}: once it is mended, the same command goes on with the run")
                yield images
                assert mine == self.serial, "images were asked for while others were still to come"
        except RuntimeError as error:
            if isinstance(error, RunError) or "DataLoader worker" not in str(error):
                raise
            raise RunError(
                f"a process that reads images has ended ({str(error).splitlines()[0]}); fewer --workers need less "
                "memory, 0 no process. The same command then goes on with the run"
            ) from error


class _Pieces(Sampler):
    """What the loader is asked for next, in the place of a sampler of batches."""

    def __init__(self):
        self.coming: Iterable[list[Request]] = ()

    def __iter__(self) -> Iterator[list[Request]]:
        return iter(self.coming)


class _Decoded(Dataset):
    """The image of a request, or the sentence that says why it cannot be read."""

    def __init__(self, parts: Sequence[ImageFiles]):
        self.parts = parts

    def __getitem__(self, request: Request) -> np.ndarray | str:
        part, visit = request
        try:
            return self.parts[part].view(visit)
        except InputError as error:
            return str(error)


def _piece(images: Sequence[np.ndarray | str]) -> Piece:
    error = next((image for image in images if isinstance(image, str)), None)
    if error:
        return Piece(torch.empty(0, dtype=torch.uint8), error)
    return Piece(torch.from_numpy(np.stack(images)), None)


def _begin_worker(_: int) -> None:
    """Ctrl-C and SIGTERM are for the run's own process, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _ignore_warnings()


def _ignore_warnings() -> None:
    """Pillow warns of odd metadata, of which some of ImageNet's files have some, and torch of more processes than
    cores, which may be asked for."""
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", message="This DataLoader will create")


def default_workers() -> int:
    """A process for each core that this rank may use, which shares them with the others on its machine, up to
    MOST_WORKERS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(1, cores // ranks.local_count()), MOST_WORKERS)
