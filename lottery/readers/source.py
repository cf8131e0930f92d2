"""A data set in memory, wherever it comes from: files (registry.py), arrays, torch's data sets or a user's function.

Importing this module does not import torch.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)  # arrays do not compare to one truth value
class Source:
    """A data set in memory, with the settings for normalising and augmenting its images."""

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
    validation: int = 0  # the last so many training images are the validation set; 0 if a split decides
    notes: tuple[str, ...] = ()  # remarks on its files, for the log

    @property
    def image_size(self) -> int:
        return self.train_images.shape[1]

    @property
    def channels(self) -> int:
        return self.train_images.shape[3]


def padding_for(size: int) -> int:
    """4 pixels for images of 28 pixels or more, as usual; fewer for smaller ones, such as the 8×8 digits."""
    return 4 if size >= 28 else size // 8
