"""The cache of decoded images: what it is valid for, where it lies, damage, killed writers."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from lottery.readers import decoded_cache
from lottery.readers.folder_layouts import list_image_folder
from lottery.readers.registry import read_source
from tests.readers.helpers import assert_same, forbid_decoding, random_images, save_grey_image, save_image, train_names


def cache_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npz"))


def test_second_read_comes_from_the_cache(folder, monkeypatch):
    first = read_source("imagefolder", folder)
    assert [file.parent for file in cache_files(folder)] == [folder / ".decoded"]
    forbid_decoding(monkeypatch)
    assert_same(read_source("imagefolder", folder), first)
    moved = folder.rename(folder.with_name("moved"))
    assert_same(read_source("imagefolder", moved), first)
    monkeypatch.chdir(moved)
    assert_same(read_source("imagefolder", Path()), first)


def test_the_run_that_writes_the_cache_says_where_and_how_large_it_is(folder):
    (note,) = (note for note in read_source("imagefolder", folder).notes if "decoded" in note)
    (file,) = cache_files(folder)
    assert f"kept in {file} (0.0 MB)" in note and "it may be deleted" in note
    assert not [note for note in read_source("imagefolder", folder).notes if "decoded" in note]
    file.unlink()
    assert [note for note in read_source("imagefolder", folder).notes if "decoded" in note] == [note]


def touch(root: Path) -> None:
    os.utime(root / "train" / "dog" / "9.png", ns=(0, 1))


@pytest.mark.parametrize(
    "change",
    [
        touch,
        lambda root: save_image(root / "train" / "dog" / "9.png", seed=99),
        lambda root: save_image(root / "test" / "dog" / "new.png"),
        lambda root: (root / "test" / "cat" / "2.png").unlink(),
        lambda root: (root / "test" / "cat" / "2.png").rename(root / "test" / "dog" / "2.png"),
    ],
)
def test_a_change_replaces_the_cache(folder, change):
    read_source("imagefolder", folder)
    (before,) = cache_files(folder)
    change(folder)
    source = read_source("imagefolder", folder)
    (after,) = cache_files(folder)  # the old one is gone
    assert after != before
    expected = [np.asarray(image) for image, _ in datasets.ImageFolder(folder / "train")]
    assert np.array_equal(source.train_images, expected)


def test_each_image_size_has_its_cache(folder, monkeypatch):
    sizes = (None, 16, 20)
    first = [read_source("imagefolder", folder, size) for size in sizes]
    assert [source.image_size for source in first] == [12, 16, 20] and len(cache_files(folder)) == 3
    forbid_decoding(monkeypatch)
    for size, source in zip(sizes, first, strict=True):
        assert_same(read_source("imagefolder", folder, size), source)


def test_read_only_folder_is_cached_in_the_users_directory(folder, user_cache, monkeypatch):
    (folder / ".decoded").touch()  # a file where the folder would be: cannot be made, as in a read-only root
    first = read_source("imagefolder", folder)
    assert len(cache_files(user_cache)) == 1
    touch(folder)
    read_source("imagefolder", folder)
    assert len(cache_files(user_cache)) == 1
    forbid_decoding(monkeypatch)
    assert_same(read_source("imagefolder", folder), first)


def test_without_a_place_for_the_cache_it_says_so_and_goes_on(folder, user_cache, capsys):
    (folder / ".decoded").touch()
    user_cache.parent.touch()
    first = read_source("imagefolder", folder)
    assert "not cached" in capsys.readouterr().err
    assert_same(read_source("imagefolder", folder), first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:2000],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[:1000] + bytes([data[1000] ^ 4]) + data[1001:],
    ],
)
def test_damaged_cache_is_replaced(folder, damage, capsys, monkeypatch):
    first = read_source("imagefolder", folder)
    (file,) = cache_files(folder)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert_same(read_source("imagefolder", folder), first)
    assert "cannot be used" in capsys.readouterr().err
    forbid_decoding(monkeypatch)
    assert_same(read_source("imagefolder", folder), first)


def test_any_byte_changed_is_seen_or_harmless(tmp_path):
    arrays = {"images": random_images(12, 2, 2, 1), "counts": np.arange(3)}
    file = decoded_cache.save(tmp_path, "v", "key", arrays, "c0", "identity")
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        loaded = decoded_cache.load(tmp_path, "v", "key", tuple(arrays), lambda found: found.contents == "c0")
        assert loaded is None or all(np.array_equal(loaded[name], array) for name, array in arrays.items()), place


def test_a_killed_write_leaves_no_cache_and_its_file_is_removed_later(tmp_path, monkeypatch):
    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "savez", killed)
        decoded_cache.save(tmp_path, "v", "key", {}, "c0", "identity")
    assert list((tmp_path / ".decoded").iterdir()) == []

    recent, abandoned = tmp_path / ".decoded" / "1.tmp", tmp_path / ".decoded" / "2.tmp"
    recent.touch()
    abandoned.touch()
    os.utime(abandoned, (0, time.time() - 2 * decoded_cache.ABANDONED))
    saved = decoded_cache.save(tmp_path, "v", "key", {"a": np.arange(3)}, "c0", "identity")
    assert sorted((tmp_path / ".decoded").iterdir()) == [recent, saved, saved.with_suffix(".seen")]


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
        save_grey_image(file, 300 + seed)
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
    places = [train_names(list_image_folder(root)).index(f"{file.parent.name}/{file.name}") for file in twins]
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
