"""Images that stay in their files, against torchvision's transforms and against the same images in memory."""

import shutil

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as F

from lottery.readers.image_files import ImageFiles, Paths, list_files
from lottery.readers.random_crop import random_box
from lottery.readers.registry import read_source
from tests.readers.helpers import random_images, save_image
from utils import InputError, RandomStream, generator

SIZES = [(40, 30), (25, 61), (16, 16), (90, 12)]


@pytest.fixture
def photos(tmp_path):
    """Four classes of JPEG files, as ImageNet has them."""
    for seed, size in enumerate(SIZES * 2):
        for part in ("train", "val"):
            save_image(tmp_path / "photos" / part / f"n{seed % 4}" / f"{seed}.JPEG", size=size, seed=seed)
    return tmp_path / "photos"


def of(*paths, **how) -> ImageFiles:
    return list_files(paths[0].parent, [(str(path), 0) for path in paths], 16, how.get("resized_crop", True), True)


def read(root, **how):
    return read_source("imagenet", root, 16, data_in="files", **{"augmentation": "resized_crop"} | how)


def test_a_random_view_has_the_pixels_of_torchvisions(photos):
    files = read(photos).train_images
    mirrored = 0
    for place, path in enumerate(files.paths):
        original = Image.open(path)
        random = generator(3, 1, 2, RandomStream.IMAGE_VIEWS, example=place)
        flip = random.random() < 0.5
        left, top, right, bottom = random_box(*original.size, random)
        expected = F.resized_crop(original, top, left, bottom - top, right - left, [16, 16])
        expected = F.hflip(expected) if flip else expected
        assert np.array_equal(files.view((place, (3, 1, 2))), np.asarray(expected))
        mirrored += flip
    assert 0 < mirrored < len(files)


def test_each_visit_has_a_view_of_its_own_and_always_the_same(photos):
    files = read(photos).train_images
    views = [files.view((0, drawn_by)) for drawn_by in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]]
    assert all(not np.array_equal(views[0], other) for other in views[1:])
    assert np.array_equal(views[0], read(photos).train_images.view((0, (0, 0, 0))))


def test_evaluation_sees_the_centre_as_torchvision_makes_it(photos):
    for files in (read(photos).train_images, read(photos).test_images):
        for place, path in enumerate(files.paths):
            expected = F.center_crop(F.resize(Image.open(path), round(16 * 256 / 224)), [16, 16])
            assert np.array_equal(files[place], np.asarray(expected))


def test_with_crop_they_are_the_images_that_would_be_in_memory(photos):
    there, here = read(photos, augmentation="crop"), read_source("imagenet", photos, 16)
    for files, array in zip((there.train_images, there.test_images), here.in_memory(), strict=True):
        assert files.shape == array.shape
        assert all(np.array_equal(files.view((i, (0, 0, 0))), image) for i, image in enumerate(array))
    assert np.array_equal(there.train_labels, here.train_labels) and there.classes == here.classes
    assert (there.padding, there.flips, there.mean) == (here.padding, here.flips, here.mean)


@pytest.mark.parametrize("mode", ["L", "CMYK", "1"])
def test_every_kind_of_jpeg_becomes_rgb(tmp_path, mode):
    file = tmp_path / "a.JPEG"
    save_image(file, mode=mode, size=(30, 20))
    expected = F.center_crop(F.resize(Image.open(file).convert("RGB"), 18), [16, 16])
    assert np.array_equal(of(file)[0], np.asarray(expected))


def test_a_png_by_the_name_of_a_jpeg_and_odd_metadata(tmp_path, recwarn):
    pixels = random_images(20, 30, 4)
    Image.fromarray(pixels).save(tmp_path / "a.JPEG", format="PNG")
    assert of(tmp_path / "a.JPEG")[0].shape == (16, 16, 3)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.JPEG", exif=b"Exif\0\0broken")
    assert of(tmp_path / "b.JPEG").view((0, (0, 0, 0))).shape == (16, 16, 3)
    assert not recwarn.list


def test_a_damaged_file_is_named(photos):
    file = photos / "train" / "n1" / "5.JPEG"
    file.write_bytes(file.read_bytes()[:-200])
    files = read(photos).train_images
    place = list(files.paths).index(str(file))
    for visit in ((place, None), (place, (0, 0, 0))):
        with pytest.raises(InputError, match=r"n1/5\.JPEG is not a readable image"):
            files.view(visit)


def test_deep_images_are_refused(tmp_path):
    Image.fromarray(np.zeros((30, 30), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="more than 8 bits"):
        of(tmp_path / "deep.png")[0]


def test_data_are_known_by_names_and_labels_and_their_sizes_are_noted(photos, tmp_path):
    first = read(photos)
    shutil.copytree(photos, tmp_path / "moved")
    moved = read(tmp_path / "moved")
    assert (moved.checksum, moved.environment) == (first.checksum, first.environment)
    save_image(tmp_path / "moved" / "train" / "n0" / "0.JPEG", size=(41, 30))
    mended = read(tmp_path / "moved")
    assert mended.checksum == first.checksum
    assert mended.environment["images"] != first.environment["images"]
    (tmp_path / "moved" / "train" / "n0" / "0.JPEG").rename(tmp_path / "moved" / "train" / "n0" / "00.JPEG")
    assert read(tmp_path / "moved").checksum != first.checksum
    assert {"pillow", "libjpeg"} < first.environment.keys()


def test_paths_are_kept_as_they_are():
    paths = ["a", "", "ü/\udcff.JPEG", "c" * 300]
    assert list(Paths(paths)) == paths
    with pytest.raises(IndexError):
        Paths(paths)[4]


@pytest.mark.parametrize(
    "prepare, words",
    [
        (lambda root: shutil.rmtree(root / "train"), r"train is missing; --dataset imagenet reads train/ and val/"),
        (lambda root: shutil.rmtree(root / "val"), r"val is missing; --dataset imagenet reads train/ and val/"),
        (
            lambda root: (
                [shutil.move(file, root / "val") for file in sorted(root.glob("val/*/*"))]
                + [folder.rmdir() for folder in root.glob("val/n*")]
            ),
            r"val holds 8 images in no class folder: move each .* WordNet ID",
        ),
        (lambda root: (root / "val" / "n9").mkdir(), "val/n9 is not a class"),
        (lambda root: [shutil.rmtree(root / "train" / f"n{i}") for i in range(3)], "has 1 class folders"),
    ],
)
def test_other_layouts_of_imagenet_are_refused(photos, prepare, words):
    prepare(photos)
    with pytest.raises(InputError, match=words):
        read(photos)


def test_the_number_of_classes_is_noted(photos):
    assert any("4 classes, of the 1000" in note for note in read(photos).notes)
    other = read_source("imagefolder", photos, 16, data_in="files")
    assert any("normalised as ImageNet's" in note for note in other.notes) and other.mean == read(photos).mean
