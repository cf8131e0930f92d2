"""Image files in class folders: listing them in a fixed order, decoding them into one array.

Examples are in the order of torchvision's ImageFolder: class folders by name, in each of them the folders by path and
the files by name. The decoded array is cached (decoded_cache.py) under a key made of every file's path, size and
modification time.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

import decoded_cache
from utils import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # ImageFolder's, in any case
FORMAT = 1  # of the cached arrays; another number makes every older cache file stale
SMALLEST, LARGEST = 8, 512  # pixels that an image's side may have
BLOCK = 64  # images a thread takes at a time

Example = tuple[str, int]  # file, class index; a plain string, since making 60 000 paths takes half a second
Size = tuple[int, int]  # width, height


class Listing(NamedTuple):
    """The files of a data set; an example's index is its place in `train` or `test`."""

    classes: tuple[str, ...]
    train: list[Example]
    test: list[Example]


# ------------------------------------------------------------------------------------- listing


def list_image_folder(root: Path) -> Listing:
    """<root>/train/<class>/** and <root>/test/<class>/**, or val/ where there is no test/.

    Classes are counted from train/; test/ may lack some of them, but has no others.
    """
    train, tests = root / "train", [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not train.is_dir():
        raise InputError(
            f"{root} has no folder train/; an image folder holds train/<class>/ and test/<class>/ (or val/<class>/)"
        )
    if not tests:
        raise InputError(
            f"{root} has neither a folder test/ nor val/; put the test images into {root / 'test'}/<class>/"
        )
    test = tests[0]
    classes, tested = class_folders(train), class_folders(test)
    if len(classes) < 2:
        raise InputError(f"{train} must hold one folder for each of at least two classes, got {list(classes)}")
    if unknown := [name for name in tested if name not in classes]:
        raise InputError(f"{test / unknown[0]} is not a class: {train} has no folder {unknown[0]!r}")
    if not tested:
        raise InputError(f"{test} holds no class folder; put the test images into {test}/<class>/")
    return Listing(classes, list_examples(train, classes, classes), list_examples(test, tested, classes))


def list_tiny_imagenet(root: Path) -> Listing:
    """Tiny-ImageNet as unpacked, `root` being tiny-imagenet-200 or the folder that holds it; val/ is the test set.

    val/ is read as it comes (all images in val/images, classes in val_annotations.txt) and sorted into class folders,
    as many have it; both give the same order. Raises InputError where files that the lists name are missing.
    """
    if not (root / "train").is_dir() and (root / "tiny-imagenet-200").is_dir():
        root = root / "tiny-imagenet-200"
    train, val = root / "train", root / "val"
    for folder in (train, val):
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; unpack tiny-imagenet-200.zip and give --data the folder it makes")
    classes = class_folders(train)
    check_wnids(root / "wnids.txt", classes)
    return Listing(classes, list_examples(train, classes, classes), list_val(val, classes))


def check_wnids(file: Path, classes: tuple[str, ...]) -> None:
    """A half-unpacked archive lacks classes; wnids.txt, where it was kept, tells."""
    listed = set(file.read_text().split()) if file.exists() else set(classes)
    if wrong := sorted(listed.symmetric_difference(classes)):
        raise InputError(
            f"{file} and the folders in {file.parent / 'train'} differ, e.g. in {wrong[0]}; unpack the archive again"
        )
    if len(classes) < 2:
        raise InputError(f"{file.parent / 'train'} must hold one folder for each class, got {list(classes)}")


def list_val(val: Path, classes: tuple[str, ...]) -> list[Example]:
    annotations = val / "val_annotations.txt"
    class_of = read_annotations(annotations) if annotations.exists() else None  # file name -> wnid
    if sorted_into := [name for name in class_folders(val) if name in classes]:
        examples = list_examples(val, sorted_into, classes)
        if class_of is not None and len(examples) != len(class_of):
            raise InputError(
                f"the class folders in {val} hold {len(examples)} images, {annotations.name} names "
                f"{len(class_of)}; unpack the archive again"
            )
        return examples
    if not class_of:
        raise InputError(
            f"{val} holds neither class folders nor a val_annotations.txt that names images; unpack the archive again"
        )
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(class_of.values()) - set(classes)):
        raise InputError(f"{annotations} names the class {unknown[0]}, which has no folder in {val.parent / 'train'}")
    by_class = sorted((wnid, name) for name, wnid in class_of.items())
    return [(str(val / "images" / name), index[wnid]) for wnid, name in by_class]


def read_annotations(file: Path) -> dict[str, str]:
    """File name -> class, the first two of the tab-separated columns; the others are boxes."""
    rows = [line.split("\t") for line in file.read_text().splitlines() if line.strip()]
    if short := [row for row in rows if len(row) < 2]:
        raise InputError(f"{file} has the line {short[0]}; each line is to hold a file name, a tab and a class")
    return {row[0]: row[1] for row in rows}


def class_folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir()))


def list_examples(folder: Path, names: Iterable[str], classes: tuple[str, ...]) -> list[Example]:
    """The images of the class folders `names` in `folder`; InputError for a class without any."""
    index = {name: number for number, name in enumerate(classes)}
    examples = []
    for name in names:
        images = list_images(folder / name)
        if not images:
            raise InputError(
                f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)}); "
                f"remove it or put images there"
            )
        examples += [(image, index[name]) for image in images]
    return examples


def list_images(folder: Path) -> list[str]:
    return [
        f"{where}{os.sep}{name}"
        for where, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if name.lower().endswith(SUFFIXES)
    ]


# ------------------------------------------------------------------------------------- reading


def read_listing(
    root: Path, listing: Listing, image_size: int | None, channels: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The decoded images, uint8 (N + T, H, W, C), training images first, and the training images' `pixel_counts`.

    They come from the cache if it has them. `channels` None: one where every image is grey, else three.
    """
    files = [file for file, _ in (*listing.train, *listing.test)]
    variant = f"size_{image_size or 'own'}-channels_{channels or 'own'}"
    key = fingerprint(root, files, variant)
    cached = decoded_cache.load(root, variant, key, ("images", "counts"))
    if cached is None:
        images = decode_all(files, image_size, channels)
        cached = {"images": images, "counts": pixel_counts(images[: len(listing.train)])}
        decoded_cache.save(root, variant, key, cached)
    return cached["images"], cached["counts"]


def fingerprint(root: Path, files: list[str], variant: str) -> str:
    """A hash of each file's path below `root`, size and modification time, in order: any change changes it."""
    digest = hashlib.sha256(f"{FORMAT} {variant}\n".encode())
    below = len(str(root / "x")) - 1  # where the path below root begins, whatever form root has
    for file in files:
        try:
            stat = os.stat(file)  # noqa: PTH116
        except OSError as error:
            raise InputError(
                f"{file} cannot be read ({error.strerror}); put it there or remove it from the data set"
            ) from error
        digest.update(os.fsencode(f"{file[below:]}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return digest.hexdigest()[:32]


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
        described.setdefault((width, height), f"{file} has {width}×{height} pixels")
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
        with Image.open(file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise InputError(f"{file} is not a readable image ({error}); remove or replace it") from error


def read_header(file: str) -> tuple[Size, str]:
    """Size and mode. More than 8 bits per channel are refused: Pillow would clip them to white without a word."""
    with opened(file) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(
                f"{file} has more than 8 bits per channel (Pillow's mode {image.mode}); convert it to 8 bits"
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
