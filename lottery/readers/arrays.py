"""A data set from arrays in memory, for use from Python without files or flags."""

from collections.abc import Sequence

import numpy as np

from lottery.readers.contents import mean_and_std, pixel_counts
from lottery.readers.image_decoding import LARGEST, SMALLEST
from lottery.readers.source import Source, padding_for
from lottery.terminal import counted
from utils import InputError, listed, one_line


def source_from_arrays(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    *,
    name: str = "arrays",
    flips: bool = False,
    padding: int | None = None,
    classes: Sequence[str] | None = None,
) -> Source:
    """A `Source` of square uint8 images (n, H, W, C) or (n, H, W), C being 1 or 3, and integer labels (n,) from 0 up.

    `flips` says whether a horizontal flip keeps the label, `padding` how many pixels the random crop may shift an image
    (None: 4 from 28 pixels up, else an eighth of the size). `classes` are the names of the labels 0, 1, ... (None: the
    numbers, up to the highest training label). The normalisation is measured on the training images. InputError for any
    other arrays.
    """
    train, test = _images(train_images, "training"), _images(test_images, "test")
    if train.shape[1:] != test.shape[1:]:
        raise InputError(f"training and test images must be alike, got {train.shape[1:]} and {test.shape[1:]}")
    labels = _labels(train_labels, len(train), "training")
    names = _names(classes, int(labels.max()) + 1)
    tested = _labels(test_labels, len(test), "test")
    if int(tested.max()) >= len(names):
        of = "of the training labels" if classes is None else "that are named"
        raise InputError(f"test labels must be among the {len(names)} classes {of}, got {tested.max()}")
    mean, std = mean_and_std(pixel_counts(train))
    padding = padding_for(train.shape[1]) if padding is None else padding
    notes = _absence_notes(labels, len(names))
    return Source(name, train, labels, test, tested, names, mean, std, padding, flips, notes=notes)


def _absence_notes(labels: np.ndarray, classes: int) -> tuple[str, ...]:
    """A note on labels that no training image has, as where some classes were left out, or labels count from 1."""
    absent = np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()
    if not absent:
        return ()
    which = f"label {absent[0]}" if len(absent) == 1 else f"the labels {listed(absent)}"
    return (f"no training image has {which}: labels count from 0, and the network gets {classes} outputs all the same",)


def _names(classes: Sequence[str] | None, needed: int) -> tuple[str, ...]:
    names = tuple(map(str, range(needed) if classes is None else classes))
    if len(names) < needed:
        raise InputError(
            f"the names of {counted(len(names), 'class', 'classes')} are given, training labels go up to {needed - 1}"
        )
    return names


def _array(values: object, what: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, a tensor on a GPU
        raise InputError(f"{what} are no array: {one_line(error)}") from None


def _images(images: np.ndarray, part: str) -> np.ndarray:
    found = np.ascontiguousarray(_array(images, f"{part} images"))
    found = found[..., None] if found.ndim == 3 else found
    right = (
        found.ndim == 4 and found.dtype == np.uint8 and found.shape[1] == found.shape[2] and found.shape[3] in (1, 3)
    )
    if not right or not len(found) or not SMALLEST <= found.shape[1] <= LARGEST:
        raise InputError(
            f"{part} images must be square uint8 arrays (n, H, W, 1 or 3) of {SMALLEST} to {LARGEST} pixels, got "
            f"{found.dtype} {tuple(np.shape(images))}"
        )
    return found


def _labels(labels: np.ndarray, images: int, part: str) -> np.ndarray:
    found = _array(labels, f"{part} labels")
    if found.shape != (images,) or found.dtype.kind not in "iu" or int(found.min()) < 0:
        raise InputError(
            f"{part} labels must be whole numbers from 0 up, one for each of {images} images, got {found.dtype} "
            f"{found.shape}"
        )
    return found.astype(np.int64)
