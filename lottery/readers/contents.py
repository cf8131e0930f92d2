"""The contents of a data set as its reader returns them, and statistics of images."""

from typing import NamedTuple

import numpy as np


class Contents(NamedTuple):
    """What a reader returns; see `source.Source` for the fields.

    `counts`, (C, 256), are the `pixel_counts` of the training images where the normalisation is to be measured.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    counts: np.ndarray | None = None
    validation: int = 0
    notes: tuple[str, ...] = ()


# --- statistics of images ---------------------------------------------------------------------------------------------


def pixel_counts(images: np.ndarray) -> np.ndarray:
    """int64 (C, 256): how often each value occurs in each channel of uint8 images (N, H, W, C)."""
    step = max(1, 2**22 // images[0].size)  # in pieces, since bincount makes a copy eight times as large
    counts = np.zeros((images.shape[3], 256), np.int64)
    for start in range(0, len(images), step):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + step, ..., channel].ravel(), minlength=256)
    return counts


def mean_and_std(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel, scaled to [0, 1], from its (C, 256) `pixel_counts`.

    A constant channel gets the standard deviation 1.0 instead of 0, since images are divided by it.
    """
    values = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)  # (C, 256)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))
    std[(counts > 0).sum(1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
