"""The images of a folder as one array, decoded once and then read from the cache (decoded_cache.py).

A cache file is found by the paths, sizes and modification times of the images. These do not distinguish a file from one
of equal size and time that a copying tool put in its place, so a hash of the images' contents must match as well. The
contents are read again only if an inode or its change time has changed.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lottery.readers import decoded_cache
from lottery.readers.class_folders import shown
from lottery.readers.contents import pixel_counts
from lottery.readers.folder_layouts import Listing
from lottery.readers.image_decoding import decode_all, in_threads, readable
from utils import InputError

FORMAT = 1  # of the cached arrays; raising it invalidates all older cache files


def read_images(
    root: Path, listing: Listing, image_size: int | None, channels: int | None, device_memory: int | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The images, uint8 (N + T, H, W, C), in the order of `listing.files`, and the `pixel_counts` of the training
    images, both from the cache if it has them; and a note if they have just been written there.

    `channels` None means one channel if every image is grey, otherwise three. `device_memory` is how many bytes the
    device has for them, if that is known.
    """
    files = Files.in_folder(root, listing.files)
    variant = f"size_{image_size or 'own'}-channels_{channels or 'own'}"
    key = files.key(variant)
    notes: tuple[str, ...] = ()
    cached = decoded_cache.load(root, variant, key, ("images", "counts"), files.match)
    if cached is None:
        contents = files.contents  # before decoding, so that the next run sees a change in between
        images = decode_all(files.paths, image_size, channels, device_memory)
        cached = {"images": images, "counts": pixel_counts(images[: len(listing.train)])}
        if written := decoded_cache.save(root, variant, key, cached, contents, files.identity):
            notes = (
                f"the decoded images are kept in {written} ({images.nbytes / 1e6:,.1f} MB), from which later runs "
                "read them: it may be deleted",
            )
    return cached["images"], cached["counts"], notes


@dataclass(frozen=True)
class Files:
    """The files of a data set in `root`, with their file system metadata."""

    root: Path
    paths: list[str]
    stats: list[os.stat_result]

    @classmethod
    def in_folder(cls, root: Path, paths: list[str]) -> "Files":
        return cls(root, paths, [regular_file_stat(path) for path in paths])

    def key(self, variant: str) -> str:
        """A hash of all files' paths below `root`, sizes and modification times, in order."""
        digest = hashlib.sha256(f"{FORMAT} {variant}\n".encode())
        below = len(str(self.root / "x")) - 1  # where the path below root begins, however root is written
        for path, it in zip(self.paths, self.stats, strict=True):
            digest.update(os.fsencode(f"{path[below:]}\0{it.st_size}\0{it.st_mtime_ns}\n"))
        return digest.hexdigest()[:32]

    @cached_property
    def identity(self) -> str:
        """A hash of all files' inodes and change times. As long as it is the same, so are the contents: writing to a
        file or replacing it changes one of them. A copied folder has another identity."""
        each = "\n".join(f"{it.st_ino} {it.st_ctime_ns}" for it in self.stats)
        return hashlib.sha256(each.encode()).hexdigest()[:32]

    @cached_property
    def contents(self) -> str:
        """A hash of all files' contents, in order; it reads all of them."""
        digest = hashlib.sha256()
        for each in in_threads(file_digest, self.paths, "reading"):
            digest.update(each)
        return digest.hexdigest()[:32]

    def match(self, cache: decoded_cache.CacheFile) -> bool:
        """Whether the files' contents are those that the cache file was decoded from.

        Cache files of earlier versions do not record them; they are trusted if no image has changed since.
        """
        if cache.identity == self.identity:
            return True
        if cache.contents is None:
            return max(it.st_ctime_ns for it in self.stats) < cache.written_ns
        if cache.contents != self.contents:
            return False
        decoded_cache.write_note(self.root, cache.file.stem, self.identity, self.contents)
        return True


def regular_file_stat(path: str) -> os.stat_result:
    with readable(path):
        found = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{shown(path)} is no regular file; remove it from the data set")
    return found


def file_digest(path: str) -> bytes:
    with readable(path), open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").digest()
