"""Decoding image files into one uint8 array."""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from lottery.readers.class_folders import shown
from utils import InputError

SMALLEST, LARGEST = 8, 512  # allowed width and height of images, in pixels
BLOCK = 64  # images a thread takes at a time

Size = tuple[int, int]  # width, height

# A run that has begun is refused without the file: these would be other data.
ADVICE = "replace it by a whole image of this name, or remove it before a run begins"


def decode_all(
    files: list[str], image_size: int | None, channels: int | None, device_memory: int | None = None
) -> np.ndarray:
    """Decode `files` into one uint8 array (N, H, W, C).

    All headers are read first, so that a wrong size is found in seconds and the array is allocated once.
    """
    headers = dict(zip(files, in_threads(read_header, files, "headers"), strict=True))
    size = image_size or common_size({file: size for file, (size, _) in headers.items()})
    if channels is None:
        channels = 1 if all(mode in ("1", "L") for _, mode in headers.values()) else 3
    check_memory(len(files) * size * size * channels, device_memory)
    images = np.empty((len(files), size, size, channels), np.uint8)
    decoded = in_threads(lambda file: decode(file, channels, image_size), files, "images")
    for place, image in enumerate(decoded):
        images[place] = image
    return images


def common_size(sizes: dict[str, Size]) -> int:
    """The common width of all images; InputError if they differ in size, are not square, or are out of range."""
    described: dict[Size, str] = {}  # the first file of each size
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


def check_memory(needed: int, device_memory: int | None = None) -> None:
    """InputError if the images cannot fit into the machine's memory or into what is free of their device's, before
    hours of decoding are wasted."""
    for place, there in (("this machine has", machine_memory()), ("the GPU has free", device_memory)):
        if there is not None and needed > there:
            raise InputError(
                f"the decoded images need {needed / 1e9:.0f} GB of memory and {place} {there / 1e9:.0f} GB; give a "
                "smaller --image_size, or --data_in files, which leaves them on disk"
            )


def machine_memory() -> int | None:
    """Bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def in_threads(function: Callable, files: list[str], what: str) -> Iterator:
    """function(file) for each file, in order, in threads (Pillow decodes outside the GIL), with a progress bar."""
    from PIL import Image
    from tqdm import tqdm

    Image.init()  # loads all formats now rather than in several threads at once
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # too large images are refused anyway
    blocks = [files[start : start + BLOCK] for start in range(0, len(files), BLOCK)]
    with ThreadPoolExecutor() as pool, tqdm(total=len(files), desc=what, unit="file", disable=None) as bar:
        try:
            for results in pool.map(lambda block: [function(file) for file in block], blocks):
                yield from results
                bar.update(len(results))
        finally:  # after an error or Ctrl-C, do not decode the rest
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def opened(file: str):
    """The opened image; any error within, including decoding errors, becomes an InputError that names the file."""
    from PIL import Image

    try:
        with readable(file), Image.open(file) as image:
            yield image
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{shown(file)} {too_large(error)}; scale it down, or remove it") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{shown(file)} is not a readable image (of no known format); {ADVICE}") from error
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise InputError(f"{shown(file)} is not a readable image ({error}); {ADVICE}") from error


def too_large(error: Exception) -> str:
    """Pillow's refusal in our words; it gives the numbers only in its message."""
    numbers = [f"{int(number):,}" for number in re.findall(r"\d+", str(error))]
    if len(numbers) != 2:
        return f"is too large ({error})"
    return "has {} pixels, more than the {} that are read, since a small file may claim any size".format(*numbers)


def read_header(file: str) -> tuple[Size, str]:
    """Size and mode."""
    with opened(file) as image:
        check_depth(file, image)
        return image.size, image.mode


def check_depth(file: str, image) -> None:
    """InputError for more than 8 bits per channel, which Pillow would silently clip to white."""
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"{shown(file)} has more than 8 bits per channel (Pillow's mode {image.mode}); convert it to 8 bits"
        )


def decode(file: str, channels: int, image_size: int | None) -> np.ndarray:
    """One image, uint8 (H, W, channels): grey or RGB, without alpha, as stored (EXIF orientation is ignored)."""
    with opened(file) as image:
        image = image.convert("L" if channels == 1 else "RGB")
        if image_size:
            image = resize(image, image_size)
        return np.asarray(image).reshape(image.height, image.width, channels)


def resize(image, size: int, resized: int | None = None):
    """Resize the shorter side to `resized`, or to `size` if that is None, bilinear with antialiasing, and crop the
    centre: (size, size)."""
    from PIL import Image

    shorter = min(image.size)
    width, height = (side * (resized or size) // shorter for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


# --- reading a file ---------------------------------------------------------------------------------------------------


@contextmanager
def readable(path: str):
    """Within, an OSError from the file system becomes an InputError that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # from Pillow, not from the file system
            raise
        raise InputError(
            f"{shown(path)} cannot be read ({error.strerror}); put it there or remove it from the data set"
        ) from error
