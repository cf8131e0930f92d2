"""CIFAR and MNIST from small files in the official formats, against torchvision."""

import gzip
import pickle
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from lottery.readers import cifar_mnist
from lottery.readers.registry import read_source
from tests.readers.helpers import (
    assert_same,
    flip_byte,
    md5,
    random_images,
)
from utils import InputError


def write_cifar(monkeypatch, root: Path, kind: type) -> dict[str, list[int]]:
    """Four images in each of the official files; torchvision's checksum lists are changed to theirs, its check not."""
    folder, labels = root / kind.base_folder, {}
    folder.mkdir(parents=True)
    key = "labels" if kind is datasets.CIFAR10 else "fine_labels"
    lists = {"train_list": [], "test_list": []}
    for which, made in lists.items():
        for name, _ in getattr(kind, which):
            labels[name] = [len(labels), 9, 0, 3]
            batch = {"data": random_images(4, 3072, seed=len(labels)), key: labels[name], "filenames": ["a"] * 4}
            made.append([name, write_pickle(folder / name, batch)])
        monkeypatch.setattr(kind, which, made)
    names = [f"class {number}" for number in range(10 if kind is datasets.CIFAR10 else 100)]
    md5_meta = write_pickle(folder / kind.meta["filename"], {kind.meta["key"]: names})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5_meta})
    return labels


def write_pickle(file: Path, content: dict) -> str:
    data = pickle.dumps(content, protocol=2)
    file.write_bytes(data)
    return md5(data)


def pack_cifar(monkeypatch, root: Path, kind: type) -> Path:
    """Replace the folder by the official archive."""
    archive = root / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / kind.base_folder, kind.base_folder)
    shutil.rmtree(root / kind.base_folder)
    monkeypatch.setattr(kind, "tgz_md5", md5(archive.read_bytes()))
    return archive


@pytest.mark.parametrize("name, kind, batches", [("cifar10", datasets.CIFAR10, 5), ("cifar100", datasets.CIFAR100, 1)])
def test_cifar(tmp_path, monkeypatch, name, kind, batches):
    labels = write_cifar(monkeypatch, tmp_path, kind)
    source = read_source(name, tmp_path)
    assert source.train_images.shape == (4 * batches, 32, 32, 3) and source.test_images.shape == (4, 32, 32, 3)
    assert source.train_labels.tolist() == [label for file, _ in kind.train_list for label in labels[file]]
    assert source.test_labels.tolist() == labels[kind.test_list[0][0]]
    planes = random_images(4, 3072, seed=1).reshape(4, 3, 32, 32)  # the first file: red, green, blue planes
    assert np.array_equal(source.train_images[:4], planes.transpose(0, 2, 3, 1))
    assert source.train_labels.dtype == np.int64 and source.train_images.dtype == np.uint8
    assert source.train_images.flags.c_contiguous and source.train_images.flags.writeable
    assert (source.image_size, source.channels, source.padding, source.flips) == (32, 3, 4, True)
    assert len(source.classes) == (10 if batches == 5 else 100) and source.classes[3] == "class 3"
    assert source.mean[0] == (0.4914 if batches == 5 else 0.5071)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_cifar_altered_file_is_refused_and_never_unpickled(tmp_path, monkeypatch, file):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    flip_byte(tmp_path / "cifar-10-batches-py" / file, -20)
    loads, load = [], pickle.load
    monkeypatch.setattr(pickle, "load", lambda opened, **how: loads.append(opened.name) or load(opened, **how))
    with pytest.raises(InputError, match=rf"{file} does not match its checksum"):
        read_source("cifar10", tmp_path)
    assert not [name for name in loads if name.endswith(file)]


def test_cifar_missing_file_is_named_and_not_downloaded_over(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(InputError, match="data_batch_2 is missing"):
        read_source("cifar10", tmp_path)


def test_cifar_archive_is_unpacked_without_network(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    unpacked = read_source("cifar10", tmp_path)
    pack_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    assert_same(read_source("cifar10", tmp_path), unpacked)


@pytest.mark.parametrize("packing", ["w:gz", "w:xz", "w"])
def test_cifar_archive_packed_anew_is_known_by_its_contents(tmp_path, monkeypatch, packing):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    unpacked = read_source("cifar10", tmp_path)
    archive = pack_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "copy", filter="data")
    with tarfile.open(archive, packing) as tar:
        tar.add(tmp_path / "copy" / "cifar-10-batches-py", "./cifar-10-batches-py")
    assert_same(read_source("cifar10", tmp_path), unpacked)


def test_cifar_archive_fills_in_what_is_missing_and_nothing_else(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    unpacked, folder = read_source("cifar10", tmp_path), tmp_path / "cifar-10-batches-py"
    shutil.copytree(folder, tmp_path / "copy")
    pack_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    shutil.copytree(tmp_path / "copy", folder)
    (folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match="data_batch_4 is missing"):
        read_source("cifar10", tmp_path, download=False)  # that only looks
    assert_same(read_source("cifar10", tmp_path), unpacked)
    flip_byte(folder / "data_batch_4", -20)
    with pytest.raises(InputError, match="data_batch_4 does not match its checksum"):
        read_source("cifar10", tmp_path)


@pytest.mark.parametrize("member", ["data_batch_2", "batches.meta"])
def test_cifar_archive_with_other_contents_is_refused_and_nothing_is_written(tmp_path, monkeypatch, member):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    flip_byte(tmp_path / "cifar-10-batches-py" / member, -20)
    pack_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    with pytest.raises(InputError, match=r"cifar-10-python\.tar\.gz does not match its checksum"):
        read_source("cifar10", tmp_path)
    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_cifar_altered_archive_is_refused_and_kept(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    archive = pack_cifar(monkeypatch, tmp_path, datasets.CIFAR10)
    flip_byte(archive, 40)
    before = archive.read_bytes()
    with pytest.raises(InputError, match=r"cifar-10-python\.tar\.gz does not match its checksum"):
        read_source("cifar10", tmp_path)
    assert archive.read_bytes() == before


@pytest.mark.parametrize(
    "name, words",
    [
        ("cifar10", r"put cifar-10-python\.tar\.gz into \S+/new and run"),
        ("cifar100", r"put cifar-100-python\.tar\.gz into \S+/new and run"),
        ("mnist", r"put train-images-idx3-ubyte\.gz, .*t10k-labels-idx1-ubyte\.gz into \S+/new/MNIST/raw and run"),
        ("fashion-mnist", r"put train-images-idx3-ubyte\.gz, .* into \S+/new/FashionMNIST/raw and run"),
    ],
)
def test_failed_download_says_which_file_to_put_where(tmp_path, name, words):
    with pytest.raises(InputError, match=words) as caught:
        read_source(name, tmp_path / "new")
    message = str(caught.value)
    assert re.search("no network in tests|Error downloading", message)  # older torchvision keeps the cause to itself
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []  # no empty folder either


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion-mnist"])
def test_a_reader_that_may_not_download_leaves_nothing(tmp_path, name):
    with pytest.raises(InputError, match="is not in"):
        read_source(name, tmp_path / "new", download=False)
    assert not (tmp_path / "new").exists()


def test_failed_download_leaves_no_part_behind(tmp_path, monkeypatch):
    def broken(url, root, filename, md5):
        Path(root, filename).write_bytes(b"the first half")
        raise ConnectionResetError("connection lost")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", broken)
    for _ in range(2):  # the second attempt is not stopped by the first one's leftovers
        tmp_path.joinpath("root").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="connection lost"):
            read_source("cifar10", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


PARTS = {"train": 12, "t10k": 5}


def write_mnist(monkeypatch, root: Path, packed: bool, kind: type = datasets.MNIST, size: int = 28) -> Path:
    """Idx files of 12 and 5 images, packed or not; torchvision's checksums are changed to theirs."""
    folder, resources = root / kind.__name__ / "raw", []
    folder.mkdir(parents=True)
    for number, (part, n) in enumerate(PARTS.items()):
        arrays = {"images-idx3": random_images(n, size, size, seed=number), "labels-idx1": mnist_labels(n)}
        for name, array in arrays.items():
            shape = b"".join(axis.to_bytes(4, "big") for axis in array.shape)
            data = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
            zipped = gzip.compress(data, mtime=0)
            file = folder / f"{part}-{name}-ubyte"
            resources.append((f"{file.name}.gz", md5(zipped)))
            (folder / f"{file.name}.gz" if packed else file).write_bytes(zipped if packed else data)
    monkeypatch.setattr(kind, "resources", resources)
    return folder


def mnist_labels(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint8) % 10


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name, kind", [("mnist", datasets.MNIST), ("fashion-mnist", datasets.FashionMNIST)])
def test_mnist(tmp_path, monkeypatch, packed, name, kind):
    folder = write_mnist(monkeypatch, tmp_path, packed, kind)
    before = sorted(folder.iterdir())
    source = read_source(name, tmp_path)
    assert np.array_equal(source.train_images, random_images(12, 28, 28, seed=0)[..., None])
    assert np.array_equal(source.test_images, random_images(5, 28, 28, seed=1)[..., None])
    assert source.train_labels.tolist() == mnist_labels(12).tolist() and source.test_labels.tolist() == [0, 1, 2, 3, 4]
    assert source.train_labels.dtype == np.int64 and source.train_images.flags.writeable
    assert (source.image_size, source.channels, source.padding) == (28, 1, 4)
    assert source.flips == (name == "fashion-mnist") and len(source.classes) == 10
    assert (source.mean, source.std) == (((0.1307,), (0.3081,)) if name == "mnist" else ((0.2860,), (0.3530,)))
    assert sorted(folder.iterdir()) == before  # nothing is unpacked on disk: a read-only folder does


def test_mnist_equals_torchvisions(tmp_path, monkeypatch):
    write_mnist(monkeypatch, tmp_path, packed=False)
    source, train = read_source("mnist", tmp_path), datasets.MNIST(tmp_path)
    assert np.array_equal(source.train_images[..., 0], train.data.numpy())
    assert np.array_equal(source.train_labels, train.targets.numpy())


def test_mnist_altered_packed_file_is_refused_and_kept(tmp_path, monkeypatch):
    folder = write_mnist(monkeypatch, tmp_path, packed=True)
    file = folder / "t10k-labels-idx1-ubyte.gz"
    flip_byte(file, 20)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz does not match its checksum"):
        read_source("mnist", tmp_path)
    assert file.read_bytes() == before


def test_mnist_packed_anew_is_known_by_its_contents(tmp_path, monkeypatch):
    folder = write_mnist(monkeypatch, tmp_path, packed=True)
    original = read_source("mnist", tmp_path)
    contents = {file: gzip.decompress(file.read_bytes()) for file in folder.iterdir()}
    for file, data in contents.items():
        file.write_bytes(gzip.compress(data, 1, mtime=1))
    with pytest.raises(InputError, match="checksum"):
        read_source("mnist", tmp_path)
    know_contents(monkeypatch, contents)
    again = read_source("mnist", tmp_path)
    assert_same(again, original)
    assert again.notes == ()


def know_contents(monkeypatch, contents: dict[Path, bytes], kind: type = datasets.MNIST) -> None:
    """As cifar_mnist.py knows those of the true files."""
    monkeypatch.setitem(cifar_mnist.UNPACKED, kind.__name__, {file.stem: md5(data) for file, data in contents.items()})


def test_contents_are_known_by_their_data_set_and_name(tmp_path, monkeypatch):
    """Fashion-MNIST's file is no MNIST file, nor is one file of MNIST another."""
    folder = write_mnist(monkeypatch, tmp_path, packed=True)
    contents = {file: gzip.decompress(file.read_bytes()) for file in folder.iterdir()}
    know_contents(monkeypatch, contents, datasets.FashionMNIST)
    train, test = (folder / f"{part}-images-idx3-ubyte.gz" for part in PARTS)
    test.write_bytes(gzip.compress(contents[test], 1, mtime=1))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz does not match"):
        read_source("mnist", tmp_path)
    know_contents(monkeypatch, contents)
    read_source("mnist", tmp_path)
    test.write_bytes(gzip.compress(contents[train], 1, mtime=1))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz does not match"):
        read_source("mnist", tmp_path)


def test_known_contents_are_named_as_torchvision_names_the_packed_files():
    for kind in (datasets.MNIST, datasets.FashionMNIST):
        assert [f"{name}.gz" for name in cifar_mnist.UNPACKED[kind.__name__]] == [name for name, _ in kind.resources]
    known = [md5 for files in cifar_mnist.UNPACKED.values() for md5 in files.values()]
    assert len(set(known)) == 8 and all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in known)


def test_an_original_beside_a_damaged_packed_file_is_used_and_said(tmp_path, monkeypatch):
    folder = write_mnist(monkeypatch, tmp_path, packed=True)
    original = read_source("mnist", tmp_path)
    contents = {file: gzip.decompress(file.read_bytes()) for file in folder.iterdir()}
    packed = folder / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(contents[packed])
    flip_byte(packed, 40)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz does not match"):
        read_source("mnist", tmp_path)  # what lies beside it is not known to be the original
    know_contents(monkeypatch, contents)
    again = read_source("mnist", tmp_path)
    assert_same(again, original)
    (note,) = again.notes
    assert f"{packed} is damaged or not the original" in note


def test_unpacked_files_that_are_not_the_originals_are_used_and_said(tmp_path, monkeypatch):
    folder = write_mnist(monkeypatch, tmp_path, packed=False)
    notes = read_source("mnist", tmp_path).notes
    assert len(notes) == 4 and "train-images-idx3-ubyte does not have the contents of the original" in notes[0]
    know_contents(monkeypatch, {file.with_suffix(".gz"): file.read_bytes() for file in folder.iterdir()})
    assert read_source("mnist", tmp_path).notes == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"0",
        lambda data: data[:10],
        lambda data: b"",
        lambda data: b"\0\0\x0d\x03" + data[4:],
    ],
)
def test_mnist_unpacked_file_of_another_length_or_format_is_refused(tmp_path, monkeypatch, damage):
    file = write_mnist(monkeypatch, tmp_path, packed=False) / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="train-images-idx3-ubyte is cut short or not an IDX file"):
        read_source("mnist", tmp_path)


def test_mnist_files_that_do_not_belong_together_are_refused(tmp_path, monkeypatch):
    folder = write_mnist(monkeypatch, tmp_path, packed=False)
    labels = folder / "train-labels-idx1-ubyte"
    original = labels.read_bytes()
    labels.write_bytes(original[:-1] + b"\x0a")
    with pytest.raises(InputError, match="holds the label 10, and there are 10 classes"):
        read_source("mnist", tmp_path)
    labels.write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(InputError, match=r"shape \(12, 28, 28\).* 5 labels"):
        read_source("mnist", tmp_path)
    labels.unlink()
    with pytest.raises(InputError, match="train-labels-idx1-ubyte is missing"):
        read_source("mnist", tmp_path)
