"""The data sets by name: `check_source` validates the arguments, `read_source` reads the files.

An example's index is its position in the arrays and the same in every run; split files and PrAC sets rely on it. The
order is torchvision's for CIFAR and MNIST (cifar_mnist.py), that of torchvision's ImageFolder for folders, with val/
after train/ (folder_layouts.py), and scikit-learn's for the digits.

Importing this module does not import torch, torchvision, scikit-learn or Pillow, so that a script can check its
arguments first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lottery.readers.cached_images import read_images
from lottery.readers.cifar_mnist import read_cifar, read_mnist
from lottery.readers.class_folders import Example, shown
from lottery.readers.contents import Contents, mean_and_std
from lottery.readers.digits import read_digits
from lottery.readers.folder_layouts import (
    IMAGENET_LAYOUT,
    Listing,
    list_image_folder,
    list_imagenet,
    list_tiny_imagenet,
)
from lottery.readers.image_decoding import LARGEST, SMALLEST
from lottery.readers.image_files import CROP, RESIZED_CROP, list_files
from lottery.readers.source import Source, padding_for
from models.families import NORMALIZATIONS
from models.user_code import check_function
from utils import InputError, expand_home, path_exists

DATASETS = ("cifar10", "cifar100", "fashion-mnist", "mnist", "tiny-imagenet", "imagenet", "imagefolder", "digits")
DATA = Path("data")  # the folder of the data, unless another is given
# Data sets of image files, which may stay there: how their files are found.
LISTINGS = {"tiny-imagenet": list_tiny_imagenet, "imagenet": list_imagenet, "imagefolder": list_image_folder}
IN_FILES = tuple(LISTINGS)
MEMORY, FILES = ("memory", "files")  # where images are while a run trains
TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion-mnist": "FashionMNIST", "mnist": "MNIST"}

IMAGENET_NORMALISATION = NORMALIZATIONS["imagenet"]
# The usual mean and standard deviation of the training images; for other data sets they are measured.
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "mnist": ((0.1307,), (0.3081,)),
    "imagenet": IMAGENET_NORMALISATION,
    "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
}


IMAGE_SIZES = {"imagenet": 224, "tiny-imagenet": 64}  # pixels, unless --image_size gives others
FIXED_SIZES = {"cifar10": 32, "cifar100": 32, "fashion-mnist": 28, "mnist": 28, "digits": 8}


def check_source(name: str, root: Path | None, image_size: int | None) -> None:
    """InputError for whatever is wrong without reading a file or importing a large library."""
    if name not in DATASETS:
        check_function(name, "--dataset", DATASETS, "data")
    check_image_size(name, image_size)
    if name not in IN_FILES and name not in TORCHVISION:
        return
    root = expand_home(root or DATA)
    exists = path_exists("--data", root)
    if name == "imagenet" and not root.is_dir():
        raise InputError(f"--data {root} is not a folder; give the one that holds {IMAGENET_LAYOUT}")
    if name in ("imagefolder", "tiny-imagenet") and not root.is_dir():
        raise InputError(f"--data {root} is not a folder; give the folder that holds train/ and val/ (or test/)")
    if name in TORCHVISION and exists and not root.is_dir():
        raise InputError(f"--data {root} is a file; give the folder that holds {name}, or is to hold it")


def check_image_size(name: str, image_size: int | None) -> None:
    """InputError for a size out of range or for a data set whose images have a fixed size."""
    if image_size is None:
        return
    if name not in ("imagefolder", "imagenet"):
        raise InputError(
            f"--image_size is for --dataset imagefolder and imagenet; the images of {name} have their own size"
        )
    if not SMALLEST <= image_size <= LARGEST:
        raise InputError(f"--image_size must lie between {SMALLEST} and {LARGEST} pixels, got {image_size}")


def data_folder(name: str, given: Path | None, recorded: str | None) -> Path | None:
    """Where the data of a finished run are read from: the folder `given`, or the one that the run `recorded`. None for
    a user's function that the run called without a folder."""
    if name not in DATASETS and recorded is None:
        return None
    return given or Path(recorded or DATA)


def read_source(
    name: str,
    root: Path | None,
    image_size: int | None = None,
    download: bool = True,
    data_in: str = MEMORY,
    augmentation: str = CROP,
    device_memory: int | None = None,
) -> Source:
    """Read the data set `name` from `root` (None: the folder `data`). CIFAR and MNIST are downloaded if none of their
    files is there, unless `download` is False. The name of a user's function is called (user_data.py), with `root` if
    that is not None.

    With `image_size` (imagefolder and imagenet), every image's shorter side is resized to it and the centre is cropped.
    With `data_in` "files" the images of a folder are listed and not read (image_files.py); `augmentation` says which
    views of them there are. `device_memory` is how many bytes the device has for images. Raises InputError for a
    missing, altered or unreadable file, or an unknown folder layout.
    """
    check_source(name, root, image_size)
    if name not in DATASETS:
        from lottery.readers.user_data import read_user_source

        return read_user_source(name, root)
    root = expand_home(root or DATA)
    if data_in == FILES:
        return list_source(name, root, image_size, augmentation)
    found = read_contents(name, root, image_size, download, device_memory)
    mean, std = NORMALISATION.get(name) or mean_and_std(found.counts)
    size = found.train_images.shape[1]
    return Source(
        name,
        found.train_images,
        found.train_labels,
        found.test_images,
        found.test_labels,
        found.classes,
        mean,
        std,
        padding_for(size),
        flips=name not in ("digits", "mnist"),
        validation=found.validation,
        notes=found.notes,
    )


def read_contents(name: str, root: Path, image_size: int | None, download: bool, device_memory: int | None) -> Contents:
    if name == "digits":
        return read_digits()
    if name in IN_FILES:
        size = IMAGE_SIZES[name] if name == "imagenet" and image_size is None else image_size
        channels = None if name == "imagefolder" else 3
        return read_folders(root, LISTINGS[name](root), size, channels, device_memory)
    if not download and not root.is_dir():
        raise InputError(f"{TORCHVISION[name]} is not in {root}")

    from torchvision import datasets  # late: it takes more than a second

    kind = getattr(datasets, TORCHVISION[name])
    return (read_cifar if name.startswith("cifar") else read_mnist)(kind, root, download)


def read_recorded(settings: Mapping, root: Path | None) -> Source:
    """The data set that a finished run recorded in its settings, read from `root` without a download."""
    reading = {name: settings[name] for name in ("data_in", "augmentation") if name in settings}  # not in older runs
    return read_source(settings["dataset"], root, settings.get("image_size"), download=False, **reading)


def list_source(name: str, root: Path, image_size: int | None, augmentation: str) -> Source:
    """The data set of an image folder whose images stay in their files."""
    size = image_size or IMAGE_SIZES.get(name)
    if name not in IN_FILES or size is None:
        raise InputError(
            f"{name} cannot be read from files: that takes one of {', '.join(IN_FILES)}, and an image size"
        )
    listing, resized_crop = LISTINGS[name](root), augmentation == RESIZED_CROP
    train = [*listing.train, *listing.validation]
    notes = list(listing.notes)
    if name not in NORMALISATION:
        notes.append("the images are normalised as ImageNet's are, not measured, since they stay in their files")
    return Source(
        name,
        list_files(root, train, size, resized_crop, flips=True),
        labels(train),
        list_files(root, listing.test, size, resized_crop, flips=False),
        labels(listing.test),
        tuple(map(shown, listing.classes)),
        *NORMALISATION.get(name, IMAGENET_NORMALISATION),
        padding=0 if resized_crop else padding_for(size),
        flips=not resized_crop,  # the view of a file is mirrored where it is made
        validation=len(listing.validation),
        notes=tuple(notes),
    )


def labels(examples: Sequence[Example]) -> np.ndarray:
    return np.array([label for _, label in examples], dtype=np.int64)


def read_folders(
    root: Path, listing: Listing, image_size: int | None, channels: int | None, device_memory: int | None
) -> Contents:
    images, counts, notes = read_images(root, listing, image_size, channels, device_memory)
    train = [*listing.train, *listing.validation]
    return Contents(
        images[: len(train)],
        labels(train),
        images[len(train) :],
        labels(listing.test),
        tuple(map(shown, listing.classes)),
        counts,
        len(listing.validation),
        (*listing.notes, *notes),
    )
