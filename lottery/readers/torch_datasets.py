"""A data set from two of torch's, for use from Python without files or flags: both are read once, into memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lottery.readers.arrays import source_from_arrays
from lottery.readers.source import Source
from utils import InputError, one_line

CHANNELS = (1, 3)
READ_AGAIN = 16  # examples that are read a second time: a random flip shows in all but one of 2^16 data sets


def source_from_datasets(
    train: Any, test: Any, *, name: str = "data sets", flips: bool = False, padding: int | None = None
) -> Source:
    """A `Source` of two `torch.utils.data.Dataset`s, or other sequences, of pairs (image, label).

    An image is a PIL image (grey or RGB), or a tensor or array, (C, H, W), (H, W, C) or (H, W), of uint8 or of floats
    in [0, 1], which are rounded to whole multiples of 1/255: a note says so if that changes any. All are squares of one
    size. A label is a whole number from 0 up. Examples are numbered as in `train`. The names of the classes are
    `train.classes`, where it has any. `flips` and `padding` are those of `source_from_arrays`, whose checks hold here,
    too. InputError for whatever does not fit, and for images that differ from one reading to the next, as those of
    random transforms do.
    """
    images, labels, rounding = _read(train, "training")
    test_images, test_labels, test_rounding = _read(test, "test")
    source = source_from_arrays(
        images, labels, test_images, test_labels, name=name, flips=flips, padding=padding, classes=_classes(train, test)
    )
    return replace(source, notes=_rounding_notes(max(rounding, test_rounding)) + source.notes)


def _read(data: Any, part: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Images, uint8 (n, H, W, C), labels, int64 (n,), and the largest change of a pixel by rounding, in 1/255."""
    size, images, rounding = _length(data, part), np.empty(0, np.uint8), 0.0
    labels = np.empty(size, np.int64)
    for i in range(size):
        image, labels[i], change = _example(data, i, part)
        images = images if i else np.empty((size, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise InputError(
                f"example {i} of the {part} set is {_dims(image)}, the first is {_dims(images[0])}: all images must be "
                "of one size and kind"
            )
        images[i], rounding = image, max(rounding, change)
    _check_repeatable(data, images, labels, part)
    return images, labels, rounding


def _length(data: Any, part: str) -> int:
    try:
        size = len(data)
        by_number = hasattr(data, "__getitem__")
    except (TypeError, NotImplementedError):
        by_number = False
    if not by_number:
        advice = "; give its `dataset`" if isinstance(data, DataLoader) else ""
        raise InputError(f"the {part} set must have a length, and examples by number: got {_kind(data)}{advice}")
    if not size:
        raise InputError(f"the {part} set is empty")
    return size


def _check_repeatable(data: Any, images: np.ndarray, labels: np.ndarray, part: str) -> None:
    """InputError if some example is another one when it is read again."""
    for i in dict.fromkeys(np.linspace(0, len(labels) - 1, READ_AGAIN).astype(int).tolist()):
        image, label, _ = _example(data, i, part)
        if label != labels[i] or not np.array_equal(image, images[i]):
            raise InputError(
                f"example {i} of the {part} set is another one each time it is read: leave random transforms out, "
                "training images are augmented later"
            )


def _example(data: Any, index: int, part: str) -> tuple[np.ndarray, int, float]:
    """An image, uint8 (H, W, C), its label, and the largest change of a pixel by rounding, in 1/255."""
    where = f"example {index} of the {part} set"
    try:
        found = data[index]
    except Exception as error:
        raise InputError(f"{where} raised {one_line(error)}") from error
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise InputError(f"{where} must be a pair (image, label), got {_kind(found)}")
    image, change = _pixels(_channels_last(_array(found[0], where), where), where)
    return image, _label(found[1], where), change


def _array(image: Any, where: str) -> np.ndarray:
    if isinstance(image, Image.Image):
        if image.mode not in ("1", "L", "RGB"):
            raise InputError(f'{where} is a PIL image of mode {image.mode}: give one of convert("RGB") or convert("L")')
        return np.asarray(image.convert("L") if image.mode == "1" else image)
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        return (image.float() if image.dtype == torch.bfloat16 else image).numpy()  # NumPy has no bfloat16
    if not isinstance(image, np.ndarray):
        raise InputError(f"{where} has {_kind(image)} for an image: a PIL image, a tensor or an array is needed")
    return image


def _channels_last(image: np.ndarray, where: str) -> np.ndarray:
    """(C, H, W), (H, W, C) or (H, W) to (H, W, C); C is 1 or 3, which no height or width is."""
    if image.ndim == 2:
        return image[..., None]
    if image.ndim == 3 and image.shape[2] in CHANNELS:
        return image
    if image.ndim == 3 and image.shape[0] in CHANNELS:
        return np.moveaxis(image, 0, 2)
    raise InputError(f"{where} must be an image of 1 or 3 channels, got {image.dtype} {image.shape}")


def _pixels(image: np.ndarray, where: str) -> tuple[np.ndarray, float]:
    """The image in uint8, and the largest change of a pixel by rounding, in 1/255; what the floats' own format is too
    coarse for is none."""
    if not image.size:
        raise InputError(f"{where} is an image without pixels: {_dims(image)}")
    if image.dtype == np.uint8:
        return image, 0.0
    if image.dtype.kind != "f":
        raise InputError(f"{where} must be uint8, or floats in [0, 1], got {image.dtype}")
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"{where} has values from {image.min():.4g} to {image.max():.4g}: floats must lie in [0, 1]; leave "
            "normalisation out, the network begins with it"
        )
    exact = image.astype(np.float64) * 255
    rounded = np.rint(exact)
    change = float(np.abs(exact - rounded).max())
    return rounded.astype(np.uint8), change if change > 255 * np.finfo(image.dtype).eps else 0.0


def _label(label: object, where: str) -> int:
    try:
        found = np.asarray(label.tolist() if isinstance(label, Tensor) else label)  # NumPy has no tensors of a GPU
    except ValueError:  # of sequences that are of different lengths
        found = np.empty(0)
    if found.size != 1 or found.dtype.kind not in "biu":
        raise InputError(f"{where} has the label {_kind(label)}: a whole number from 0 up is needed")
    return int(found.item())


def _classes(train: Any, test: Any) -> Sequence[str] | None:
    """The names of the classes, if the training set says; InputError if the test set says otherwise."""
    names, tested = map(_class_names, (train, test))
    if names and tested and names != tested:
        raise InputError(f"training and test set must have the same classes, got {names} and {tested}")
    return names or None


def _class_names(data: Any) -> tuple[str, ...]:
    """`data.classes`, or that of the data set which a `torch.utils.data.Subset` is of."""
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    names = getattr(data, "classes", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _rounding_notes(change: float) -> tuple[str, ...]:
    if not change:
        return ()
    return (f"images are floats between multiples of 1/255: they are rounded to these, by up to {change:.2f}/255",)


def _dims(image: np.ndarray) -> str:
    return " x ".join(map(str, image.shape))


def _kind(value: object) -> str:
    """'3.5 (float)', or the type and shape of what is too long to show."""
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape):
        return f"{type(value).__name__} {tuple(shape)}"
    return f"{value!r} ({type(value).__name__})" if isinstance(value, int | float | str) else type(value).__name__
