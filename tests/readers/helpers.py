"""What tests of readers share: random images, comparisons, and functions that must not be called."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from lottery.readers import image_decoding
from lottery.readers.folder_layouts import list_image_folder
from lottery.readers.source import Source


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def assert_same(one: Source, other: Source) -> None:
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert (one.classes, one.mean, one.std) == (other.classes, other.mean, other.std)


def flip_byte(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def save_image(file: Path, *, size: tuple[int, int] = (12, 12), mode: str = "RGB", seed: int = 0) -> None:
    """A random image, lossless where the file's format is; `size` is (width, height)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = random_images(size[1], size[0], 3, seed=seed)
    Image.fromarray(pixels).convert(mode).save(file, format="PNG" if file.suffix.lower() == ".png" else None)


def forbid_decoding(monkeypatch) -> None:
    def fail(*args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_decoding, "decode", fail)


SHORT = "--arch tests.networks:tiny --epochs 1 --decreasing_lr 1 --batch_size 8".split()


def save_grey_image(file, seed=0, side=12):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)).save(file)


def notes(root):
    return "\n".join(list_image_folder(root).notes)


def train_names(listing):
    return [file.rpartition("/train/")[2] for file, _ in listing.train]


def save_photos(root: Path) -> Path:
    """JPEG files of many sizes in three classes that can be told apart: 81 train and 12 test."""
    random = np.random.default_rng(0)
    for part, images in (("train", 81), ("val", 12)):
        for i in range(images):
            width, height = random.integers(14, 40, 2).tolist()
            save_image(root / part / f"n{i % 3}" / f"{i:02}.JPEG", size=(width, height), seed=i)
    return root
