"""Image folders as people have them: hidden entries, links, val/ beside test/, exchanged and unusable files."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from lottery.checkpointing.checkpoint import read
from lottery.readers import class_folders, image_decoding
from lottery.readers.folder_layouts import list_image_folder
from lottery.readers.registry import read_source
from utils import InputError

SHORT = "--arch tests.networks:tiny --epochs 1 --decreasing_lr 1 --batch_size 8".split()


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_image(file, seed=0, side=12):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)).save(file)


@pytest.fixture
def root(tmp_path):
    """Classes a and b: twelve images each train, three each test."""
    for seed in range(24):
        save_image(tmp_path / "images" / "train" / "ab"[seed % 2] / f"{seed:02}.png", seed)
    for seed in range(6):
        save_image(tmp_path / "images" / "test" / "ab"[seed % 2] / f"{seed}.png", 100 + seed)
    return tmp_path / "images"


def names(listing):
    return [file.rpartition("/train/")[2] for file, _ in listing.train]


def notes_of(root):
    return "\n".join(list_image_folder(root).notes)


# --- what counts ------------------------------------------------------------------------------------------------------


def test_hidden_entries_are_left_out(root):
    before = list_image_folder(root)
    for hidden in ("train/.ipynb_checkpoints", "test/.cache", "train/a/.thumbnails", "val_/.x"):
        save_image(root / hidden / "1.png")
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
    assert "to files and folders that count already: 2" in notes_of(root)


def test_links_to_files_elsewhere_count_as_they_did(root, tmp_path):
    """A data set may be made of links: to files, to folders, of class folders."""
    (root / "train").rename(tmp_path / "pool")
    (root / "train" / "a").mkdir(parents=True)
    for file in (tmp_path / "pool" / "a").iterdir():
        (root / "train" / "a" / file.name).symlink_to(file)
    (root / "train" / "b").symlink_to(tmp_path / "pool" / "b")
    listing = list_image_folder(root)
    assert names(listing) == [f"{'ab'[seed % 2]}/{seed:02}.png" for seed in (*range(0, 24, 2), *range(1, 24, 2))]
    assert listing.notes == ()
    (root / "train" / "a" / "01.png").symlink_to(tmp_path / "pool" / "b" / "01.png")
    assert len(list_image_folder(root).train) == 25
    assert "1 examples of" in notes_of(root) and "are files of another class, too" in notes_of(root)


def test_training_images_that_test_are_said(root):
    shutil.rmtree(root / "test")
    (root / "test").symlink_to(root / "train")
    assert f"24 images of {root}/test are the very files of training images" in notes_of(root)


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


# --- val/ beside test/ ------------------------------------------------------------------------------------------------


def test_val_beside_test_validates(root, call, tmp_path):
    """Its images come after those of train/, whose numbers stay."""
    without = read_source("imagefolder", root)
    for seed in range(4):
        save_image(root / "val" / "ab"[seed % 2] / f"{seed}.png", 200 + seed)
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
    save_image(root / "val" / "a" / "1.png")
    words = "--hidden 8 --iterations 2 --neurons 2 --fine_tune 0 --prune_at 0".split()
    words += ["--dataset", "imagefolder", "--data", root, "--save_dir", tmp_path / "run", "--examples"]
    status, _, err = call("main_greedy", *words, 25)
    assert status == 2 and "--examples 25 is more than the 24 examples of the training set" in err
    assert call("main_greedy", *words, 24)[0] == 0


def test_a_run_begun_before_val_was_read_does_not_go_on(root, call, tmp_path):
    words = ["--dataset", "imagefolder", "--data", root, *SHORT, "--save_dir", tmp_path / "run"]
    assert call("main_train", *words)[0] == 0
    save_image(root / "val" / "a" / "1.png")
    status, _, err = call("main_train", *words)
    assert status == 2 and "data checksum was" in err and "Give --data as it was" in err


@pytest.mark.parametrize("name, words", [("val/c/1.png", "val/c is not a class"), ("val/1.png", "no class folder")])
def test_a_val_that_is_no_validation_set_is_refused(root, name, words):
    save_image(root / name)
    with pytest.raises(InputError, match=words):
        list_image_folder(root)


def test_val_alone_is_the_test_set_and_said(root):
    (root / "test").rename(root / "val")
    source = read_source("imagefolder", root)
    assert source.validation == 0 and len(source.test_images) == 6
    assert "val is the test set, since there is no test/" in source.notes[0]


# --- files that were exchanged ----------------------------------------------------------------------------------------


def exchange_by_name(a, b):
    a.rename(a.with_suffix(".x"))
    b.rename(a)
    a.with_suffix(".x").rename(b)


def exchange_contents(a, b):
    """In place, as rsync --inplace and tar do."""
    contents, times = a.read_bytes(), (a.stat().st_atime_ns, a.stat().st_mtime_ns)
    a.write_bytes(b.read_bytes())
    b.write_bytes(contents)
    for file in (a, b):
        os.utime(file, ns=times)


@pytest.fixture
def twins(root):
    """Two images whose files have one size and time."""
    files = [root / "train" / name for name in ("a/00.bmp", "b/01.bmp")]
    for seed, file in enumerate(files):
        save_image(file, 300 + seed)
        os.utime(file, ns=(0, 10**18))
    assert files[0].stat().st_size == files[1].stat().st_size
    return files


@pytest.mark.parametrize("exchange", [exchange_by_name, exchange_contents])
@pytest.mark.parametrize("cache", ["new", "of an earlier version"])
def test_exchanged_files_do_not_come_from_the_cache(root, twins, exchange, cache):
    first = read_source("imagefolder", root)
    if cache != "new":
        age(root)
    exchange(*twins)
    second = read_source("imagefolder", root)
    places = [names(list_image_folder(root)).index(f"{file.parent.name}/{file.name}") for file in twins]
    assert np.array_equal(second.train_images[places], first.train_images[places[::-1]])
    assert not np.array_equal(second.train_images[places[0]], first.train_images[places[0]])
    third = read_source("imagefolder", root)
    assert np.array_equal(third.train_images, second.train_images)


def age(root):
    """Make the cache one of an earlier version, which knows no contents."""
    (file,) = (root / ".decoded").glob("*.npz")
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in ("images", "counts")}
    np.savez(file, **kept)
    file.with_suffix(".seen").unlink()


DIGEST = "lottery.readers.cached_images.file_digest"
DECODE = "lottery.readers.image_decoding.decode"


def forbid(monkeypatch, *functions):
    def fail(*args):
        raise AssertionError("read again")

    for function in functions:
        monkeypatch.setattr(function, fail)


def test_unchanged_files_are_not_read_again(root, monkeypatch):
    first = read_source("imagefolder", root)
    forbid(monkeypatch, DIGEST, DECODE)
    assert np.array_equal(read_source("imagefolder", root).train_images, first.train_images)


def test_a_cache_of_an_earlier_version_is_used_as_long_as_nothing_happened_to_the_files(root, monkeypatch):
    first = read_source("imagefolder", root)
    age(root)
    forbid(monkeypatch, DIGEST, DECODE)
    assert np.array_equal(read_source("imagefolder", root).train_images, first.train_images)


def test_a_copied_folder_is_read_once_and_not_decoded_again(root, tmp_path, monkeypatch):
    first = read_source("imagefolder", root)
    shutil.copytree(root, tmp_path / "copy")  # other inodes, the same times
    with monkeypatch.context() as patch:
        forbid(patch, DECODE)
        assert np.array_equal(read_source("imagefolder", tmp_path / "copy").train_images, first.train_images)
    forbid(monkeypatch, DIGEST, DECODE)
    assert np.array_equal(read_source("imagefolder", tmp_path / "copy").train_images, first.train_images)


# --- files that cannot be used ----------------------------------------------------------------------------------------


def test_an_image_above_pillows_limit_is_told_as_such(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    save_image(root / "train" / "a" / "large.png", side=20)
    with pytest.raises(InputError, match=r"large\.png has 400 pixels, more than the 200 that are read"):
        read_source("imagefolder", root, 12)


def test_an_image_that_pillow_only_warns_of_is_read(root, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    read_source("imagefolder", root)
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]


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
        save_image(root / part / name / "1.png")
    with pytest.raises(InputError, match="in the same Unicode form: rename one of the two"):
        list_image_folder(root)


def test_names_of_any_bytes_are_read_and_can_be_printed(root):
    odd = [os.fsdecode(b"\xff\xfe"), "two\nlines", "a b", "猫"]
    for name in odd:
        save_image(root / "train" / name / f"{name}.png")
    source = read_source("imagefolder", root)
    assert source.classes == ("a", "a b", "b", r"two\nlines", "猫", r"\xff\xfe")
    "".join(source.classes).encode()
    assert class_folders.shown("plain/path.png") == "plain/path.png"
