"""Image folders and Tiny-ImageNet: order and labels against torchvision, the role of val/, refused layouts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from lottery.checkpointing.checkpoint import read
from lottery.readers import class_folders, folder_layouts
from lottery.readers.folder_layouts import list_image_folder
from lottery.readers.registry import read_source
from tests.readers.helpers import SHORT, assert_same, forbid_decoding, save_grey_image, save_image
from utils import InputError


def test_suffixes_are_torchvisions():
    assert class_folders.SUFFIXES == datasets.folder.IMG_EXTENSIONS


def test_image_folder_has_torchvisions_order_labels_and_pixels(folder):
    source = read_source("imagefolder", folder)
    for part, images, labels in (
        ("train", source.train_images, source.train_labels),
        ("test", source.test_images, source.test_labels),
    ):
        twin = datasets.ImageFolder(folder / part)
        ours = getattr(folder_layouts.list_image_folder(folder), part)
        assert [str(file) for file, _ in ours] == [file for file, _ in twin.samples]
        assert len(images) == len(twin)
        for (image, _), ours_image in zip(twin, images, strict=True):
            assert np.array_equal(ours_image, np.asarray(image))
        names = [twin.classes[label] for label in twin.targets]
        assert [source.classes[label] for label in labels] == names
    assert source.classes == ("cat", "cat.x", "dog")
    assert (source.image_size, source.channels, source.padding, source.flips) == (12, 3, 1, True)


def test_test_is_preferred_to_val_and_val_does(folder):
    with_test = read_source("imagefolder", folder)
    shutil.copytree(folder / "test", folder / "val")
    save_image(folder / "val" / "dog" / "more.png")
    assert len(read_source("imagefolder", folder).test_images) == 3
    shutil.rmtree(folder / "test")
    assert len(read_source("imagefolder", folder).test_images) == 4
    (folder / "val" / "dog" / "more.png").unlink()
    assert_same(read_source("imagefolder", folder), with_test)


def test_normalisation_is_the_training_images_mean_and_standard_deviation(folder):
    source = read_source("imagefolder", folder)
    scaled = source.train_images.astype(np.float64) / 255
    assert source.mean == pytest.approx(scaled.mean((0, 1, 2)), rel=1e-12)
    assert source.std == pytest.approx(scaled.std((0, 1, 2)), rel=1e-12)
    assert all(type(value) is float for value in source.mean + source.std)


@pytest.mark.parametrize(
    "prepare, words",
    [
        (lambda root: shutil.rmtree(root / "train"), "no folder train/"),
        (lambda root: shutil.rmtree(root / "test"), "neither a folder test/ nor val/"),
        (lambda root: (root / "train" / "ant").mkdir(), "train/ant holds no image"),
        (lambda root: (root / "test" / "cat.x").mkdir(), r"test/cat\.x holds no image"),
        (lambda root: save_image(root / "test" / "cow" / "1.png"), "test/cow is not a class.*'cow'"),
        (
            lambda root: [shutil.rmtree(root / "train" / name) for name in ("cat", "cat.x")],
            r"two classes, got \['dog'\]",
        ),
        (lambda root: [shutil.rmtree(root / "test" / name) for name in ("cat", "dog")], "test holds no class folder"),
        (
            lambda root: save_image(root / "test" / "dog" / "2.png", size=(12, 14)),
            r"differ in size: \S+ has 12×12 pixels, \S+2\.png has 12×14 pixels; give --image_size",
        ),
        (
            lambda root: (root / "train" / "cat" / "5.png").write_bytes(b"no image"),
            r"train/cat/5\.png is not a readable",
        ),
        (lambda root: (root / "train" / "cat" / "5.png").write_bytes(b""), r"train/cat/5\.png is not a readable"),
        (lambda root: (root / "train" / "cat" / "5.png").symlink_to("nowhere"), r"train/cat/5\.png cannot be read"),
        (
            lambda root: Image.fromarray(np.zeros((12, 12), np.uint16)).save(root / "test" / "dog" / "deep.png"),
            r"deep\.png has more than 8 bits",
        ),
    ],
)
def test_image_folder_refuses(folder, prepare, words):
    prepare(folder)
    with pytest.raises(InputError, match=words):
        read_source("imagefolder", folder)


WNIDS = ("n02", "n01", "n10")  # in wnids.txt unsorted, as in the archive


def write_tiny(root: Path, layout: str) -> Path:
    """Three classes, four training images and three in val each; one is grey, as some of the real ones are."""
    root.mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    rows = []
    for number, wnid in enumerate(WNIDS):
        for image in range(4):
            name = root / "train" / wnid / "images" / f"{wnid}_{image}.JPEG"
            save_image(name, size=(64, 64), mode="L" if image == 2 else "RGB", seed=10 * number + image)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("n01_0.JPEG\t0\t0\t62\t62\n")
        for image in range(number, 30, 10):
            inside = {"flat": "images", "sorted": wnid, "sorted, with images/": f"{wnid}/images"}[layout]
            save_image(root / "val" / inside / f"val_{image}.JPEG", size=(64, 64), seed=100 + image)
            rows.append(f"val_{image}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(rows)))
    return root


def test_tiny_imagenet_is_the_same_in_every_layout(tmp_path):
    flat = read_source("tiny-imagenet", write_tiny(tmp_path / "flat" / "tiny-imagenet-200", "flat"))
    assert_same(read_source("tiny-imagenet", tmp_path / "flat"), flat)
    for layout in ("sorted", "sorted, with images/"):
        assert_same(read_source("tiny-imagenet", write_tiny(tmp_path / layout, layout)), flat)
    assert flat.classes == ("n01", "n02", "n10")
    assert flat.train_images.shape == (12, 64, 64, 3) and flat.test_images.shape == (9, 64, 64, 3)
    assert flat.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert (flat.padding, flat.flips, flat.mean[0], flat.std[2]) == (4, True, 0.4802, 0.2262)

    for part, images in (("train", flat.train_images), ("val", flat.test_images)):
        twin = datasets.ImageFolder(tmp_path / "sorted" / part)
        assert np.array_equal(images, [np.asarray(image) for image, _ in twin])


def test_tiny_imagenet_is_cached(tmp_path, monkeypatch):
    first = read_source("tiny-imagenet", write_tiny(tmp_path / "tiny", "flat"))
    forbid_decoding(monkeypatch)
    assert_same(read_source("tiny-imagenet", tmp_path / "tiny"), first)


def append(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


@pytest.mark.parametrize(
    "layout, prepare, words",
    [
        ("flat", lambda root: shutil.rmtree(root / "val"), "val is missing"),
        ("flat", lambda root: shutil.rmtree(root / "train"), "train is missing"),
        ("flat", lambda root: shutil.rmtree(root / "train" / "n10"), r"wnids\.txt and the folders .* n10"),
        ("flat", lambda root: shutil.rmtree(root / "train" / "n10" / "images"), "n10 holds no image"),
        ("flat", lambda root: (root / "val" / "val_annotations.txt").unlink(), "neither class folders nor"),
        ("flat", lambda root: append(root / "val" / "val_annotations.txt", "val_9.JPEG\n"), "a tab and a class"),
        (
            "flat",
            lambda root: append(root / "val" / "val_annotations.txt", "val_9.JPEG\tn99\t0\n"),
            "names the class n99",
        ),
        (
            "flat",
            lambda root: (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\n", encoding="utf-16"),
            r"val_annotations\.txt is no text in UTF-8",
        ),
        (
            "flat",
            lambda root: (root / "wnids.txt").write_text("n01\n", encoding="utf-16"),
            r"wnids\.txt is no text in UTF-8",
        ),
        ("flat", lambda root: (root / "val" / "images" / "val_1.JPEG").unlink(), r"val_1\.JPEG cannot be read"),
        ("sorted", lambda root: (root / "val" / "n01" / "val_1.JPEG").unlink(), "hold 8 images, .* names 9"),
    ],
)
def test_tiny_imagenet_refuses(tmp_path, layout, prepare, words):
    root = write_tiny(tmp_path / "tiny", layout)
    prepare(root)
    with pytest.raises(InputError, match=words):
        read_source("tiny-imagenet", root)


def test_val_beside_test_validates(root, call, tmp_path):
    """Its images come after those of train/, whose numbers stay."""
    without = read_source("imagefolder", root)
    for seed in range(4):
        save_grey_image(root / "val" / "ab"[seed % 2] / f"{seed}.png", 200 + seed)
    source = read_source("imagefolder", root)
    assert source.validation == 4 and source.train_labels[24:].tolist() == [0, 0, 1, 1]
    assert np.array_equal(source.train_images[:24], without.train_images)
    assert np.array_equal(source.train_images[24, ..., 0], np.asarray(Image.open(root / "val" / "a" / "0.png")))
    assert np.array_equal(source.test_images, without.test_images)
    assert (source.mean, source.std) == (without.mean, without.std), "of the images that train"
    words = ["--dataset", "imagefolder", "--data", root, *SHORT, "--save_dir"]
    status, out, err = call("main_train", *words, tmp_path / "run")
    assert status == 0, err
    assert "24 examples train, 4 validate, 6 test" in out and "the 4 images of val/ validate" in out
    content = read(tmp_path / "run" / "checkpoint.pth.tar")
    assert content["sequence"].tolist() == list(range(24)) and content["validation"].tolist() == [24, 25, 26, 27]

    status, out, _ = call("main_train", *words, tmp_path / "none", "--val_fraction", 0)
    assert status == 0 and "24 examples train, 0 validate, 6 test" in out and "val/ are not used" in out
    status, _, err = call("main_train", *words, tmp_path / "half", "--val_fraction", 0.5)
    assert status == 2 and "--val_fraction 0.5: the images of val/ validate" in err
    np.save(tmp_path / "split.npy", np.arange(24))
    status, out, _ = call("main_train", *words, tmp_path / "split", "--split_file", tmp_path / "split.npy")
    assert status == 0 and "21 examples train, 3 validate" in out and "val/ is not used" in out and "lists" not in out


def test_val_beside_test_is_not_trained_on_by_a_run_without_validation(root, call, tmp_path):
    save_grey_image(root / "val" / "a" / "1.png")
    words = "--hidden 8 --iterations 2 --neurons 2 --fine_tune 0 --prune_at 0".split()
    words += ["--dataset", "imagefolder", "--data", root, "--save_dir", tmp_path / "run", "--examples"]
    status, _, err = call("main_greedy", *words, 25)
    assert status == 2 and "--examples 25 is more than the 24 examples of the training set" in err
    assert call("main_greedy", *words, 24)[0] == 0


def test_a_run_begun_before_val_was_read_does_not_go_on(root, call, tmp_path):
    words = ["--dataset", "imagefolder", "--data", root, *SHORT, "--save_dir", tmp_path / "run"]
    assert call("main_train", *words)[0] == 0
    save_grey_image(root / "val" / "a" / "1.png")
    status, _, err = call("main_train", *words)
    assert status == 2 and "data checksum was" in err and "Give --data as it was" in err


@pytest.mark.parametrize("name, words", [("val/c/1.png", "val/c is not a class"), ("val/1.png", "no class folder")])
def test_a_val_that_is_no_validation_set_is_refused(root, name, words):
    save_grey_image(root / name)
    with pytest.raises(InputError, match=words):
        list_image_folder(root)


def test_val_alone_is_the_test_set_and_said(root):
    (root / "test").rename(root / "val")
    source = read_source("imagefolder", root)
    assert source.validation == 0 and len(source.test_images) == 6
    assert "val is the test set, since there is no test/" in source.notes[0]
