"""The random box against torchvision's."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from lottery.readers.random_crop import AREA, ASPECT, Box, central_box, random_box


class TorchDraws:
    """A generator that draws as torchvision does, from torch's own."""

    def uniform(self, low, high):
        return torch.empty(1).uniform_(low, high).item()

    def integers(self, stop):
        return torch.randint(0, stop, size=(1,)).item()


def torchvision_box(width, height) -> Box:
    top, left, down, across = RandomResizedCrop.get_params(torch.empty(1).expand(3, height, width), AREA, ASPECT)
    return Box(left, top, left + across, top + down)


def test_the_same_draws_give_torchvisions_boxes():
    """Its aspect ratios have single precision, by which a side may rarely be rounded to the next pixel."""
    sizes = np.random.default_rng(0).integers(1, 600, (1000, 2)).tolist()
    differ = 0
    for seed, (width, height) in enumerate(sizes):
        torch.manual_seed(seed)
        expected = torchvision_box(width, height)
        torch.manual_seed(seed)
        found = random_box(width, height, TorchDraws())
        assert np.abs(np.subtract(found, expected)).max() <= 1 or found == expected
        differ += found != expected
    assert differ <= 3


@pytest.mark.parametrize("size", [(400, 1), (1, 400), (7, 1000), (1000, 7), (1, 1), (3, 4), (4, 3)])
def test_where_no_box_fits_the_central_one_is_torchvisions(size, monkeypatch):
    if max(size) > 4:  # else some boxes fit
        random = np.random.default_rng(0)
        assert random_box(*size, random) == central_box(*size) == torchvision_box(*size)
    monkeypatch.setattr("torchvision.transforms.transforms.range", lambda _: (), raising=False)  # no attempts
    assert central_box(*size) == torchvision_box(*size)


def test_boxes_lie_in_the_image_and_are_as_large_as_they_should_be():
    random = np.random.default_rng(0)
    boxes = np.array([random_box(500, 500, random) for _ in range(4000)])
    left, top, right, bottom = boxes.T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 500 and bottom.max() <= 500
    across, down = right - left, bottom - top
    share, aspect = across * down / 500**2, np.log(across / down)
    assert share.min() > 0.078 and abs(aspect).max() < math.log(4 / 3) + 0.01
    assert share[across < 400].mean() < share.mean() < 0.54  # the largest fit less often than they are drawn
    assert abs(aspect.mean()) < 0.01 and abs((left + right).mean() - 500) < 8
