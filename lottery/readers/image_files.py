"""Image files decoded into one array, which is cached (decoded_cache.py).

A cache file is found by the paths, sizes and modification times of the images. That does not tell files that were
exchanged for others of equal size and time, as copying tools make them, so it is used only if the images' contents are
those that it was decoded from. They are read again only if an inode or its change time is another than before.
"""

import hashlib
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lottery.readers import decoded_cache
from lottery.readers.class_folders import shown
from lottery.readers.image_folder import Listing
from utils import InputError

FORMAT = 1  # of the cached arrays; another number makes every older cache file stale
SMALLEST, LARGEST = 8, 512  # pixels that an image's side may have
BLOCK = 64  # images a thread takes at a time

Size = tuple[int, int]  # width, height


# --- the cache --------------------------------------------------------------------------------------------------------


def read_listing(
    root: Path, listing: Listing, image_size: int | None, channels: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The decoded images, uint8 (N + T, H, W, C), in the order of `listing.files`, and the `pixel_counts` of those that
    train.

    They come from the cache if it has them. `channels` None: one where every image is grey, else three.
    """
    files = Files.found(root, listing.files)
    variant = f"size_{image_size or 'own'}-channels_{channels or 'own'}"
    key = files.key(variant)
    cached = decoded_cache.load(root, variant, key, ("images", "counts"), files.are_those_of)
    if cached is None:
        contents = files.contents  # before they are decoded: what changes in between is seen in the next run
        images = decode_all(files.paths, image_size, channels)
        cached = {"images": images, "counts": pixel_counts(images[: len(listing.train)])}
        decoded_cache.save(root, variant, key, cached, contents, files.identity)
    return cached["images"], cached["counts"]


@dataclass(frozen=True)
class Files:
    """The files of a data set in `root`, as the file system describes them."""

    root: Path
    paths: list[str]
    stats: list[os.stat_result]

    @classmethod
    def found(cls, root: Path, paths: list[str]) -> "Files":
        return cls(root, paths, [described(path) for path in paths])

    def key(self, variant: str) -> str:
        """A hash of each file's path below `root`, size and modification time, in order: any change changes it."""
        digest = hashlib.sha256(f"{FORMAT} {variant}\n".encode())
        below = len(str(self.root / "x")) - 1  # where the path below root begins, whatever form root has
        for path, it in zip(self.paths, self.stats, strict=True):
            digest.update(os.fsencode(f"{path[below:]}\0{it.st_size}\0{it.st_mtime_ns}\n"))
        return digest.hexdigest()[:32]

    @cached_property
    def identity(self) -> str:
        """A hash of each file's inode and change time: as long as it is the same, so are the contents, since whatever
        writes to a file or puts another in its place changes one of them. A copied folder has another."""
        each = "\n".join(f"{it.st_ino} {it.st_ctime_ns}" for it in self.stats)
        return hashlib.sha256(each.encode()).hexdigest()[:32]

    @cached_property
    def contents(self) -> str:
        """A hash of what is in the files, in order. Reads all of them."""
        digest = hashlib.sha256()
        for each in in_threads(file_digest, self.paths, "reading"):
            digest.update(each)
        return digest.hexdigest()[:32]

    def are_those_of(self, cache: decoded_cache.Found) -> bool:
        """Whether the files' contents are those that the cache file was decoded from.

        A file of an earlier version does not say: it is trusted if nothing has happened to any image since.
        """
        if cache.identity == self.identity:
            return True
        if cache.contents is None:
            return max(it.st_ctime_ns for it in self.stats) < cache.written_ns
        if cache.contents != self.contents:
            return False
        decoded_cache.remember(self.root, cache.file.stem, self.identity, self.contents)
        return True


def described(path: str) -> os.stat_result:
    with readable(path):
        found = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{shown(path)} is no regular file; remove it from the data set")
    return found


def file_digest(path: str) -> bytes:
    with readable(path), open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def readable(path: str):
    """InputError for a file that is missing or may not be read."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the file system's, but Pillow's
            raise
        raise InputError(
            f"{shown(path)} cannot be read ({error.strerror}); put it there or remove it from the data set"
        ) from error


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode_all(files: list[str], image_size: int | None, channels: int | None) -> np.ndarray:
    """Decode `files` into one uint8 array (N, H, W, C).

    The headers are read first: an image of another size is found in seconds, and the array is made once, at its size.
    """
    headers = dict(zip(files, in_threads(read_header, files, "headers"), strict=True))
    size = image_size or common_size({file: size for file, (size, _) in headers.items()})
    if channels is None:
        channels = 1 if all(mode in ("1", "L") for _, mode in headers.values()) else 3
    check_memory(len(files) * size * size * channels)
    images = np.empty((len(files), size, size, channels), np.uint8)
    decoded = in_threads(lambda file: decode(file, channels, image_size), files, "images")
    for place, image in enumerate(decoded):
        images[place] = image
    return images


def common_size(sizes: dict[str, Size]) -> int:
    """The width that all images have; InputError if they differ, are not square, or too small or large."""
    described = {}  # the first file of each size
    for file, (width, height) in sizes.items():
        described.setdefault((width, height), f"{shown(file)} has {width}×{height} pixels")
    first, *others = described.values()
    if others:
        raise InputError(f"the images differ in size: {first}, {others[0]}; give --image_size to resize and crop all")
    ((width, height),) = described
    if width != height:
        raise InputError(f"the images are not square: {first}; give --image_size to resize and crop all")
    if not SMALLEST <= width <= LARGEST:
        raise InputError(
            f"the images are {width} pixels wide, which is not between {SMALLEST} and {LARGEST}; "
            f"give --image_size to resize all"
        )
    return width


def check_memory(needed: int) -> None:
    """Refuse what cannot fit before hours of decoding end in the kernel's killing the process."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # this system does not tell
        return
    if needed > there:
        raise InputError(
            f"the decoded images need {needed / 1e9:.0f} GB of memory and this machine has "
            f"{there / 1e9:.0f} GB; give a smaller --image_size"
        )


def in_threads(function: Callable, files: list[str], what: str) -> Iterator:
    """function(file) for each file, in order, with a progress bar on a terminal; Pillow decodes outside the GIL."""
    from PIL import Image
    from tqdm import tqdm

    Image.init()  # loads all formats now, not in several threads at once
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what is too large is refused
    blocks = [files[start : start + BLOCK] for start in range(0, len(files), BLOCK)]
    with ThreadPoolExecutor() as pool, tqdm(total=len(files), desc=what, unit="file", disable=None) as bar:
        try:
            for results in pool.map(lambda block: [function(file) for file in block], blocks):
                yield from results
                bar.update(len(results))
        finally:  # after an error or Ctrl-C, do not decode the rest first
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def opened(file: str):
    """The image in `file`; whatever goes wrong with it, decoding included, is an InputError that names the file."""
    from PIL import Image

    try:
        with readable(file), Image.open(file) as image:
            yield image
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{shown(file)} {too_large(error)}; scale it down, or remove it") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{shown(file)} is not a readable image (of no known format); remove or replace it") from error
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise InputError(f"{shown(file)} is not a readable image ({error}); remove or replace it") from error


def too_large(error: Exception) -> str:
    """Pillow's refusal, of which only the words tell the numbers, in ours."""
    numbers = [f"{int(number):,}" for number in re.findall(r"\d+", str(error))]
    if len(numbers) != 2:
        return f"is too large ({error})"
    return "has {} pixels, more than the {} that are read, since a small file may claim any size".format(*numbers)


def read_header(file: str) -> tuple[Size, str]:
    """Size and mode. More than 8 bits per channel are refused: Pillow would clip them to white without a word."""
    with opened(file) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(
                f"{shown(file)} has more than 8 bits per channel (Pillow's mode {image.mode}); convert it to 8 bits"
            )
        return image.size, image.mode


def decode(file: str, channels: int, image_size: int | None) -> np.ndarray:
    """One image, uint8 (H, W, channels): grey or RGB, without alpha, as stored (EXIF orientation is ignored)."""
    with opened(file) as image:
        image = image.convert("L" if channels == 1 else "RGB")
        if image_size:
            image = resize(image, image_size)
        return np.asarray(image).reshape(image.height, image.width, channels)


def resize(image, size: int):
    """Resize the shorter side to `size`, bilinear with antialiasing, and crop the centre: (size, size)."""
    from PIL import Image

    shorter = min(image.size)
    width, height = (side * size // shorter for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def pixel_counts(images: np.ndarray) -> np.ndarray:
    """int64 (C, 256): how often each value occurs in each channel of uint8 images (N, H, W, C)."""
    step = max(1, 2**22 // images[0].size)  # bincount works on a copy eight times as large: do not copy all at once
    counts = np.zeros((images.shape[3], 256), np.int64)
    for start in range(0, len(images), step):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + step, ..., channel].ravel(), minlength=256)
    return counts
