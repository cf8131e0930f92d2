"""Images that stay in their files and are decoded each time one is looked at.

Training sees a random view of an image, which is a pure function of the file, (seed, round, epoch) and the number of
the example; evaluation sees the image resized and cropped to its centre. Importing this module does not import torch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lottery.readers.cached_images import regular_file_stat
from lottery.readers.class_folders import Example
from lottery.readers.image_decoding import check_depth, in_threads, opened, resize
from lottery.readers.random_crop import random_box
from utils import RandomStream, digest, generator

CROP, RESIZED_CROP = AUGMENTATIONS = ("crop", "resized_crop")
EVALUATED = 256 / 224  # shorter side that evaluation crops from, in sizes of the crop, where training resizes crops

Visit = tuple[int, tuple[int, int, int] | None]  # an example, and (seed, round, epoch) of training; None: evaluation


class Paths(Sequence[str]):
    """Paths in two arrays. A list of a million strings would be copied into every process that reads images, since
    Python writes into each object that it looks at."""

    def __init__(self, paths: Sequence[str]):
        encoded = [os.fsencode(path) for path in paths]
        self.ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)  # (N + 1,)
        self.letters = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, place):
        if not 0 <= place < len(self):
            raise IndexError(place)
        return os.fsdecode(self.letters[self.ends[place] : self.ends[place + 1]].tobytes())


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """N images in files, in the place of an array (N, H, W, C) of a `Source`; an index gives what evaluation sees.

    With `resized_crop` training sees random boxes of the images, resized and perhaps mirrored, and evaluation the
    centre of the image at a little more than the size it is cropped to. Without, training sees what evaluation sees,
    the largest square in the centre, and the device augments it.
    """

    paths: Sequence[str]
    size: int  # pixels across and down
    names: str  # checksum of the files' paths below the data set's folder
    bytes: int  # of all files
    resized_crop: bool = True
    flips: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.size, self.size, 3

    @cached_property
    def evaluated(self) -> int:
        """The shorter side that the centre is cropped from."""
        return round(self.size * EVALUATED) if self.resized_crop else self.size

    def __getitem__(self, index: int) -> np.ndarray:
        return self.view((index, None))

    def view(self, visit: Visit) -> np.ndarray:
        """The image of a visit, uint8 (size, size, 3); InputError if the file cannot be read."""
        index, drawn_by = visit
        if drawn_by is None or not self.resized_crop:
            return self.centre(self.paths[index])
        random = generator(*drawn_by, purpose=RandomStream.IMAGE_VIEWS, example=index)
        return self.random_view(self.paths[index], random)

    def centre(self, path: str) -> np.ndarray:
        with opened(path) as image:
            check_depth(path, image)
            return np.asarray(resize(image.convert("RGB"), self.size, self.evaluated))

    def random_view(self, path: str, random: np.random.Generator) -> np.ndarray:
        """The pixels are those of torchvision's transforms for the same box."""
        from PIL import Image

        mirrored = self.flips and random.random() < 0.5
        with opened(path) as image:
            check_depth(path, image)
            width, height = image.size
            part = image.convert("RGB").crop(random_box(width, height, random))
            pixels = np.asarray(part.resize((self.size, self.size), Image.Resampling.BILINEAR))
        return pixels[:, ::-1] if mirrored else pixels


def list_files(root: Path, examples: Sequence[Example], size: int, resized_crop: bool, flips: bool) -> ImageFiles:
    """The files of `examples`, which lie below `root`; InputError for one that is no regular file."""
    paths = [path for path, _ in examples]
    total = sum(found.st_size for found in in_threads(regular_file_stat, paths, "files"))
    below = len(str(root / "x")) - 1
    names = "\n".join(path[below:].replace(os.sep, "/") for path in paths)
    return ImageFiles(
        Paths(paths), size, digest(np.frombuffer(os.fsencode(names), np.uint8)), total, resized_crop, flips
    )


def decoder_versions() -> dict[str, str]:
    """Pillow and the library that decodes JPEG files, whose versions may differ in the last bit of a pixel."""
    import PIL
    from PIL import features

    turbo = features.version("libjpeg_turbo")
    return {"pillow": PIL.__version__, "libjpeg": f"turbo {turbo}" if turbo else str(features.version("jpg"))}
