"""Which files of a class folder count: hidden entries, links, loops, files of no known kind, odd names."""

import os
import shutil

import pytest
from PIL import Image

from lottery.readers import class_folders, image_decoding
from lottery.readers.folder_layouts import list_image_folder
from lottery.readers.registry import read_source
from tests.readers.helpers import SHORT, notes, save_grey_image, train_names
from utils import InputError


def test_hidden_entries_are_left_out(root):
    before = list_image_folder(root)
    for hidden in ("train/.ipynb_checkpoints", "test/.cache", "train/a/.thumbnails", "val_/.x"):
        save_grey_image(root / hidden / "1.png")
    (root / "train" / "a" / "._00.png").write_bytes(b"what macOS leaves beside a file")
    (root / "train" / "a" / "Thumbs.db").write_bytes(b"what Windows leaves in a folder")
    (root / "train" / ".DS_Store").write_bytes(b"")
    assert list_image_folder(root) == before and before.notes == ()


def test_a_folder_linked_into_itself_counts_once(root):
    before = list_image_folder(root)
    (root / "train" / "a" / "0").symlink_to(root / "train" / "a")
    (root / "train" / "a" / "sub").mkdir()
    (root / "train" / "a" / "sub" / "up").symlink_to("..")
    after = list_image_folder(root)
    assert after.train == before.train and "that count already: 2" in "\n".join(after.notes)


def test_a_link_to_all_classes_adds_none_to_a_class(root):
    before = list_image_folder(root)
    (root / "train" / "a" / "all").symlink_to(root / "train")
    assert list_image_folder(root).train == before.train
    (root / "train" / "a" / "top").symlink_to(root)  # where test/ lies as well
    assert list_image_folder(root).train == before.train
    (root / "train" / "c").symlink_to(root / "train" / "b")
    with pytest.raises(InputError, match="train/c holds only links to images of other classes"):
        list_image_folder(root)


def test_a_file_counts_once_in_its_class_and_the_file_itself_rather_than_a_link(root):
    before = list_image_folder(root)
    (root / "train" / "a" / "-before.png").symlink_to(root / "train" / "a" / "00.png")
    (root / "train" / "a" / "b01.png").symlink_to(root / "train" / "b" / "01.png")  # another class's
    assert list_image_folder(root).train == before.train
    assert "to files and folders that count already: 2" in notes(root)


def test_links_to_files_elsewhere_count_as_they_did(root, tmp_path):
    """A data set may be made of links: to files, to folders, of class folders."""
    (root / "train").rename(tmp_path / "pool")
    (root / "train" / "a").mkdir(parents=True)
    for file in (tmp_path / "pool" / "a").iterdir():
        (root / "train" / "a" / file.name).symlink_to(file)
    (root / "train" / "b").symlink_to(tmp_path / "pool" / "b")
    listing = list_image_folder(root)
    assert train_names(listing) == [f"{'ab'[seed % 2]}/{seed:02}.png" for seed in (*range(0, 24, 2), *range(1, 24, 2))]
    assert listing.notes == ()
    (root / "train" / "a" / "01.png").symlink_to(tmp_path / "pool" / "b" / "01.png")
    assert len(list_image_folder(root).train) == 25
    assert "1 examples of" in notes(root) and "are files of another class, too" in notes(root)


def test_training_images_that_test_are_said(root):
    shutil.rmtree(root / "test")
    (root / "test").symlink_to(root / "train")
    assert f"24 images of {root}/test are the very files of training images" in notes(root)


def test_validation_images_that_test_are_said(root):
    """They would choose the epoch whose test accuracy is told."""
    (root / "val").symlink_to(root / "test")
    assert f"images of {root}/val are the very files of images of {root}/test" in notes(root)


def test_files_of_no_known_kind_are_counted_and_said(root, call, tmp_path):
    for name in ("train/a/1.gif", "train/b/2.GIF", "test/a/3.gif", "train/b/4.jfif"):
        (root / name).write_bytes(b"")
    shutil.copy(root / "train" / "a" / "00.png", root / "train" / "stray.png")
    words = ["--dataset", "imagefolder", "--data", root, *SHORT, "--save_dir"]
    for run in ("first", "from the cache"):
        status, out, err = call("main_train", *words, tmp_path / run)
        assert status == 0, err
        assert "note: left out 4 files" in out and "not images of a known kind: .gif (3), .jfif (1)" in out
        assert "left out 1 images that lie directly in" in out
    (root / "train" / "c").mkdir()
    (root / "train" / "c" / "1.gif").write_bytes(b"")
    with pytest.raises(InputError, match=r"train/c holds no image \(.*\), only \.gif \(1\); remove it"):
        list_image_folder(root)


@pytest.mark.parametrize(
    "prepare, words",
    [
        (lambda root: (root / "train" / "c").symlink_to("/mnt/gone"), r"train/c cannot be read \(No such file"),
        (lambda root: (root / "train" / "a" / "more").symlink_to("/mnt/gone"), "a/more cannot be read"),
        (lambda root: (root / "train" / "a" / "1.png").symlink_to("1.png"), r"a/1\.png cannot be read \(Too many"),
        (lambda root: os.mkfifo(root / "train" / "a" / "pipe.png"), r"pipe\.png is no regular file"),
        (lambda root: (root / "test" / "a\nb").mkdir(), r"test/a\\nb is not a class"),
        (lambda root: (root / "train" / "a" / "x\ny.png").write_bytes(b""), r"x\\ny\.png is not a readable image"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(root, prepare, words):
    prepare(root)
    with pytest.raises(InputError, match=words) as caught:
        read_source("imagefolder", root)
    assert "\n" not in str(caught.value)


def test_folders_and_files_without_permission_are_named(root, monkeypatch):
    """Also for root, who may read everything: the system's refusal is simulated."""
    real = os.scandir

    def scandir(folder):
        if str(folder).endswith("train/b"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"train/b cannot be read \(Permission denied"):
        patch.setattr(os, "scandir", scandir)
        list_image_folder(root)

    def opened(file, *args, **kwargs):
        raise PermissionError(13, "Permission denied", file)

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(InputError, match=r"\.png cannot be read \(Permission denied\)"):
        image_decoding.read_header(str(root / "train" / "a" / "00.png"))


def test_classes_that_differ_in_unicode_form_only_are_told_apart(root):
    for part, name in (("train", "caf\u00e9"), ("test", "cafe\u0301")):
        save_grey_image(root / part / name / "1.png")
    with pytest.raises(InputError, match="in the same Unicode form: rename one of the two"):
        list_image_folder(root)


def test_names_of_any_bytes_are_read_and_can_be_printed(root):
    odd = [os.fsdecode(b"\xff\xfe"), "two\nlines", "a b", "猫"]
    for name in odd:
        save_grey_image(root / "train" / name / f"{name}.png")
    source = read_source("imagefolder", root)
    assert source.classes == ("a", "a b", "b", r"two\nlines", "猫", r"\xff\xfe")
    "".join(source.classes).encode()
    assert class_folders.shown("plain/path.png") == "plain/path.png"
