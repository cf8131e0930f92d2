"""Decoded images against torchvision and Pillow: channels, sizes, damaged and oversized files."""

import os

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets, transforms

from lottery.readers import contents, image_decoding
from lottery.readers.registry import read_source
from tests.readers.helpers import random_images, save_grey_image, save_image
from utils import InputError


def test_normalisation_in_pieces_and_of_a_constant_channel(monkeypatch):
    images = random_images(700, 64, 64, 2, seed=3)  # more than one piece
    images[..., 1] = 77
    mean, std = contents.mean_and_std(contents.pixel_counts(images))
    scaled = images[..., 0] / 255
    assert mean == pytest.approx((scaled.mean(), 77 / 255), rel=1e-12)
    assert std == pytest.approx((scaled.std(), 1.0), rel=1e-12) and std[1] == 1.0


@pytest.mark.parametrize("modes, channels", [(("L", "1"), 1), (("L", "RGB"), 3), (("L", "LA"), 3), (("P", "P"), 3)])
def test_channels(tmp_path, modes, channels):
    for part in ("train", "test"):
        for name, mode in zip("ab", modes, strict=True):
            save_image(tmp_path / part / name / "1.png", mode=mode)
    source = read_source("imagefolder", tmp_path)
    assert source.channels == channels
    for image, mode_twin in zip(source.train_images, datasets.ImageFolder(tmp_path / "train"), strict=True):
        assert np.array_equal(image, np.asarray(mode_twin[0])[..., :channels])


def test_alpha_is_dropped_as_torchvision_drops_it(tmp_path):
    for name in "ab":
        save_image(tmp_path / "train" / name / "1.png")
        save_image(tmp_path / "test" / name / "1.png")
    rgba = random_images(12, 12, 4)
    Image.fromarray(rgba).save(tmp_path / "train" / "a" / "1.png")
    assert np.array_equal(read_source("imagefolder", tmp_path).train_images[0], rgba[..., :3])


@pytest.mark.parametrize("size", [8, 13, 40])
def test_image_size_resizes_and_crops_as_torchvision_does(tmp_path, size):
    shapes = [(12, 12), (30, 17), (17, 30), (41, 64), (size, size)]
    for seed, shape in enumerate(shapes):
        for part in ("train/a", "train/b", "test/a"):
            save_image(tmp_path / part / f"{seed}.png", size=shape, seed=seed)
    source = read_source("imagefolder", tmp_path, size)
    twin = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    for image, (original, _) in zip(source.train_images, datasets.ImageFolder(tmp_path / "train"), strict=True):
        assert np.array_equal(image, np.asarray(twin(original)))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_file_cut_short_is_named(folder, suffix):
    file = folder / "train" / "dog" / f"cut{suffix}"
    save_image(file)
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(InputError, match=rf"dog/cut{suffix} is not a readable image"):
        read_source("imagefolder", folder)
    assert not (folder / ".decoded").exists()


@pytest.mark.parametrize(
    "size, words", [((20, 30), "not square.*20×30"), ((6, 6), " 6 pixels wide"), ((513, 513), "513 pixels wide")]
)
def test_sizes_that_need_image_size(tmp_path, size, words):
    for part in ("train/a", "train/b", "test/a"):
        save_image(tmp_path / part / "1.png", size=size)
    with pytest.raises(InputError, match=words + ".*--image_size"):
        read_source("imagefolder", tmp_path)
    assert read_source("imagefolder", tmp_path, 16).image_size == 16


def test_what_cannot_fit_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**6}.get)
    image_decoding.check_memory(4096 * 10**6)
    with pytest.raises(InputError, match=r"need 8 GB of memory .* has 4 GB; give a smaller --image_size"):
        image_decoding.check_memory(8 * 10**9)
    with pytest.raises(InputError, match=r"need 3 GB of memory and the GPU has free 2 GB; .* or --data_in files"):
        image_decoding.check_memory(3 * 10**9, 2 * 10**9)


def test_an_image_above_pillows_limit_is_told_as_such(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    save_grey_image(root / "train" / "a" / "large.png", side=20)
    with pytest.raises(InputError, match=r"large\.png has 400 pixels, more than the 200 that are read"):
        read_source("imagefolder", root, 12)


def test_an_image_that_pillow_only_warns_of_is_read(root, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    read_source("imagefolder", root)
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]
