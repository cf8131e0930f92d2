"""The random crop of ImageNet training: a box of random area and aspect ratio, which is then resized.

The rule is that of torchvision's RandomResizedCrop, after Szegedy et al. ("Going Deeper with Convolutions", CVPR 2015):
the box covers between 8 and 100 % of the image's area, uniformly, and its width is between 3/4 and 4/3 of its height,
uniformly in the logarithm. Up to ten boxes are drawn until one fits into the image; after that the largest central box
of an allowed aspect ratio is taken.
"""

import math
from typing import NamedTuple

import numpy as np

AREA = (0.08, 1.0)  # smallest and largest share of the image
ASPECT = (3 / 4, 4 / 3)  # smallest and largest width / height
ATTEMPTS = 10


class Box(NamedTuple):
    """Pixels of an image, as Pillow counts them: `right` and `bottom` are outside."""

    left: int
    top: int
    right: int
    bottom: int


def random_box(width: int, height: int, random: np.random.Generator) -> Box:
    """A box of an image of this size."""
    narrowest, widest = map(math.log, ASPECT)
    for _ in range(ATTEMPTS):
        area = width * height * random.uniform(*AREA)
        aspect = math.exp(random.uniform(narrowest, widest))
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            top, left = (int(random.integers(room + 1)) for room in (height - down, width - across))
            return Box(left, top, left + across, top + down)
    return central_box(width, height)


def central_box(width: int, height: int) -> Box:
    """The largest box in the middle whose aspect ratio is allowed: the whole image, if its own is."""
    narrowest, widest = ASPECT
    across = min(width, round(height * widest))
    down = min(height, round(width / narrowest))
    left, top = (width - across) // 2, (height - down) // 2
    return Box(left, top, left + across, top + down)
