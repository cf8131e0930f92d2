"""Reading each data set from its files: uint8 images in memory, in the order of the files.

An example's index is its place in these arrays and is the same in every run: torchvision's order for CIFAR and MNIST
(archives.py), that of its ImageFolder for folders (image_folder.py), where those of val/ come after those of train/,
scikit-learn's for the digits. Split files and PrAC sets rely on it.

Importing this module loads none of torch, torchvision, scikit-learn and Pillow, so that a script can check its
arguments first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lottery.readers.cifar_mnist import read_cifar, read_mnist
from lottery.readers.class_folders import shown
from lottery.readers.image_files import LARGEST, SMALLEST, pixel_counts, read_listing
from lottery.readers.image_folder import Listing, list_image_folder, list_tiny_imagenet
from utils import InputError

DATASETS = ("cifar10", "cifar100", "fashion-mnist", "mnist", "tiny-imagenet", "imagefolder", "digits")
TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion-mnist": "FashionMNIST", "mnist": "MNIST"}

# The usual means and standard deviations of the training images; those of the other data sets are measured.
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "mnist": ((0.1307,), (0.3081,)),
    "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
}


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Source:
    """A data set in memory, with what augmenting and scaling its images needs."""

    name: str
    train_images: np.ndarray  # uint8 (N, H, W, C), C is 1 (grey) or 3, H == W
    train_labels: np.ndarray  # int64 (N,)
    test_images: np.ndarray  # uint8 (T, H, W, C)
    test_labels: np.ndarray  # int64 (T,)
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of images scaled to [0, 1]
    std: tuple[float, ...]
    padding: int  # pixels of zero padding for the random crop
    flips: bool  # whether a horizontal flip keeps the label
    validation: int = 0  # so many of the training images, the last ones, validate; 0 where a split is to say which
    notes: tuple[str, ...] = ()  # what there is to say about its files

    @property
    def image_size(self) -> int:
        return self.train_images.shape[1]

    @property
    def channels(self) -> int:
        return self.train_images.shape[3]


class Contents(NamedTuple):
    """What a reader finds in the files; `counts` (C, 256) where the normalisation is to be measured."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    counts: np.ndarray | None = None
    validation: int = 0
    notes: tuple[str, ...] = ()


def check_source(name: str, root: Path, image_size: int | None) -> None:
    """Raise InputError for what can be seen to be wrong without reading a file or importing a large library."""
    if name not in DATASETS:
        raise InputError(f"--dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    check_image_size(name, image_size)
    root = Path(root).expanduser()
    if name in ("imagefolder", "tiny-imagenet") and not root.is_dir():
        raise InputError(f"--data {root} is not a folder; give the folder that holds train/ and val/ (or test/)")
    if name in TORCHVISION and root.exists() and not root.is_dir():
        raise InputError(f"--data {root} is a file; give the folder that holds {name}, or is to hold it")


def check_image_size(name: str, image_size: int | None) -> None:
    """Only images of any size have to be told theirs; below the smallest a network has nothing left to pool."""
    if image_size is None:
        return
    if name != "imagefolder":
        raise InputError(f"--image_size is for --dataset imagefolder only; the images of {name} have their own size")
    if not SMALLEST <= image_size <= LARGEST:
        raise InputError(f"--image_size must lie between {SMALLEST} and {LARGEST} pixels, got {image_size}")


def read_source(name: str, root: Path, image_size: int | None = None, download: bool = True) -> Source:
    """Read the data set `name` from `root`; CIFAR and MNIST are downloaded when none of their files is there, unless
    `download` says no.

    `image_size` (imagefolder only) resizes every image's shorter side to it and crops the centre. Raises InputError
    for whatever the user has to put right: a missing, altered or unreadable file, a layout that is not understood.
    """
    root = Path(root).expanduser()
    check_source(name, root, image_size)
    found = read_contents(name, root, image_size, download)
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


def read_contents(name: str, root: Path, image_size: int | None, download: bool) -> Contents:
    if name == "digits":
        return read_digits()
    if name == "imagefolder":
        return read_folders(root, list_image_folder(root), image_size)
    if name == "tiny-imagenet":
        return read_folders(root, list_tiny_imagenet(root), channels=3)

    from torchvision import datasets

    kind = getattr(datasets, TORCHVISION[name])
    found = (read_cifar if name.startswith("cifar") else read_mnist)(kind, root, download)
    return Contents(**found._asdict())


def padding_for(size: int) -> int:
    """4 pixels from MNIST's 28 up, as usual; 4 would push an 8×8 digit out of its frame."""
    return 4 if size >= 28 else size // 8


def mean_and_std(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Each channel's mean and population standard deviation in [0, 1], from how often (C, 256) each value occurs.

    A channel that is the same everywhere has a standard deviation of 0 and gets 1.0, so that it can be divided by.
    """
    values = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)  # (C, 256)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))
    std[(counts > 0).sum(1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def read_folders(root: Path, listing: Listing, image_size: int | None = None, channels: int | None = None) -> Contents:
    images, counts = read_listing(root, listing, image_size, channels)
    train = [*listing.train, *listing.validation]
    train_labels, test_labels = (
        np.array([label for _, label in part], dtype=np.int64) for part in (train, listing.test)
    )
    return Contents(
        images[: len(train)],
        train_labels,
        images[len(train) :],
        test_labels,
        tuple(map(shown, listing.classes)),
        counts,
        len(listing.validation),
        listing.notes,
    )


def read_digits() -> Contents:
    """scikit-learn's 1797 grey 8×8 digits, which come with the library, in a fixed division of 1437 and 360."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[..., None]  # from 0..16, rounded
    labels = digits.target.astype(np.int64)
    test = test_positions(labels, total=360)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Contents(
        images[train], labels[train], images[test], labels[test], tuple("0123456789"), pixel_counts(images[train])
    )


def test_positions(labels: np.ndarray, total: int) -> np.ndarray:
    """`total` positions in ascending order: of each class its share, evenly spaced over the class in file order.

    Whole numbers only and no generator, so that the division is the same with every library version. Shares are
    rounded down; what is missing to `total` goes to the classes that lost most, the lower class first.
    """
    sizes = np.bincount(labels)
    shares, lost = np.divmod(sizes * total, len(labels))
    shares[np.argsort(-lost, kind="stable")[: total - shares.sum()]] += 1
    chosen = [
        np.flatnonzero(labels == label)[(2 * np.arange(share) + 1) * size // (2 * share)]
        for label, (size, share) in enumerate(zip(sizes, shares, strict=True))
        if share
    ]
    return np.sort(np.concatenate(chosen))
