"""Every data set from small files in its official format, against torchvision, Pillow and arithmetic by hand."""

import gzip
import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets, transforms

from lottery.readers import (
    cifar_mnist,
    class_folders,
    contents,
    decoded_cache,
    folder_layouts,
    image_decoding,
    registry,
)
from lottery.readers import digits as digits_reader
from lottery.readers.registry import DATASETS, check_source, read_source
from npy_files.make_splits import SPLITS, SUBSETS, permutation
from utils import InputError

HERE = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    """The user's cache directory, so that no test writes into the real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "prac-tickets"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def assert_same(one: registry.Source, other: registry.Source) -> None:
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert (one.classes, one.mean, one.std) == (other.classes, other.mean, other.std)


def flip_byte(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


# ------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "name, folder, image_size, words",
    [
        ("cifar", "there", None, "cifar10, cifar100.*'cifar'"),
        ("imagefolder", "missing", None, "missing is not a folder"),
        ("tiny-imagenet", "missing", None, "missing is not a folder"),
        ("mnist", "file", None, "file is a file"),
        ("cifar10", "there", 32, "imagefolder only"),
        ("digits", "there", 8, "imagefolder only"),
        ("imagefolder", "there", 7, "between 8 and 512 pixels, got 7"),
        ("imagefolder", "there", 513, "between 8 and 512 pixels, got 513"),
    ],
)
def test_check_source_refuses(tmp_path, name, folder, image_size, words):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    for check in (check_source, read_source):
        with pytest.raises(InputError, match=words):
            check(name, tmp_path / folder, image_size)


def test_check_source_allows_what_can_be_downloaded_or_needs_no_folder(tmp_path):
    for name in ("cifar10", "cifar100", "mnist", "fashion-mnist", "digits"):
        check_source(name, tmp_path / "new", None)
    check_source("imagefolder", tmp_path, 8)
    check_source("imagefolder", tmp_path, 512)


def test_importing_and_checking_load_no_large_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lottery.readers.registry import check_source;"
        "check_source('imagefolder', Path('.'), 32);"
        "print([name for name in ('torch', 'torchvision', 'sklearn', 'PIL', 'tqdm') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=HERE, text=True).strip() == "[]"


# ------------------------------------------------------------------------------------- CIFAR


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


# ------------------------------------------------------------------------------------- MNIST

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


# ------------------------------------------------------------------------------------- image folders


def save_image(file: Path, *, size: tuple[int, int] = (12, 12), mode: str = "RGB", seed: int = 0) -> None:
    """A random image, lossless where the file's format is; `size` is (width, height)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = random_images(size[1], size[0], 3, seed=seed)
    Image.fromarray(pixels).convert(mode).save(file, format="PNG" if file.suffix.lower() == ".png" else None)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, nested folders, suffixes in any case, files that are no images."""
    root = tmp_path / "images"
    names = [
        "train/dog/b.png",
        "train/dog/a.PNG",
        "train/dog/10.png",
        "train/dog/9.png",
        "train/dog/B/z.png",
        "train/dog/a/y.png",
        "train/dog/a/b/x.Png",
        "train/cat/1.bmp",
        "train/cat/2.ppm",
        "train/cat.x/3.tiff",
        "test/dog/1.png",
        "test/cat/2.png",
        "test/cat/sub/1.png",
    ]
    for seed, name in enumerate(names):
        save_image(root / name, seed=seed)
    (root / "train" / "dog" / "notes.txt").write_text("not an image")
    (root / "train" / "list.csv").write_text("not a class")
    return root


def forbid_decoding(monkeypatch) -> None:
    def fail(*args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_decoding, "decode", fail)


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


# ------------------------------------------------------------------------------------- the cache


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


# ------------------------------------------------------------------------------------- Tiny-ImageNet

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
        ("flat", lambda root: (root / "val" / "images" / "val_1.JPEG").unlink(), r"val_1\.JPEG cannot be read"),
        ("sorted", lambda root: (root / "val" / "n01" / "val_1.JPEG").unlink(), "hold 8 images, .* names 9"),
    ],
)
def test_tiny_imagenet_refuses(tmp_path, layout, prepare, words):
    root = write_tiny(tmp_path / "tiny", layout)
    prepare(root)
    with pytest.raises(InputError, match=words):
        read_source("tiny-imagenet", root)


# ------------------------------------------------------------------------------------- digits


@pytest.fixture(scope="module")
def digits() -> registry.Source:
    return read_source("digits", Path("nowhere"))


def test_digits(digits):
    from sklearn.datasets import load_digits

    assert digits.train_images.shape == (1437, 8, 8, 1) and digits.test_images.shape == (360, 8, 8, 1)
    assert digits.train_images.dtype == np.uint8 and digits.train_labels.dtype == np.int64
    assert (digits.padding, digits.flips, digits.classes) == (1, False, tuple("0123456789"))

    original = load_digits()
    scaled = np.round(original.images * 255 / 16).astype(np.uint8)
    test = digits_reader.test_positions(original.target, 360)
    train = [place for place in range(1797) if place not in set(test.tolist())]  # in file order
    assert np.array_equal(digits.train_images[..., 0], scaled[train])
    assert np.array_equal(digits.train_labels, original.target[train])
    assert np.array_equal(digits.test_images[..., 0], scaled[test])
    assert digits.mean[0] == pytest.approx((scaled[train] / 255).mean(), rel=1e-12)
    assert digits.std[0] == pytest.approx((scaled[train] / 255).std(), rel=1e-12)


def test_digits_are_divided_in_proportion(digits):
    sizes = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    share = np.bincount(digits.test_labels)
    assert share.sum() == 360 and np.abs(share - sizes * 360 / 1797).max() < 1


def test_the_division_of_the_digits_never_changes():
    """Tickets and forgetting counts made with one division mean nothing with another."""
    from sklearn.datasets import load_digits

    positions = digits_reader.test_positions(load_digits().target, 360)
    assert positions[:12].tolist() == [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 55, 63]
    assert md5(positions.astype("<i4").tobytes()) == "310996ec752c2dafb4fc6d2f0e4b5325"


def test_positions_by_hand():
    labels = np.array([0, 1, 0, 1, 0, 0, 1, 0, 0, 0])  # seven and three: their shares of 4 are 2.8 and 1.2
    assert digits_reader.test_positions(labels, 4).tolist() == [2, 3, 5, 8]  # numbers 1, 3, 5 of class 0, 1 of class 1
    assert digits_reader.test_positions(labels, 1).tolist() == [5]  # the middle one of class 0, and none of class 1


# ------------------------------------------------------------------------------------- split files


def test_shipped_splits_are_what_the_script_makes(tmp_path):
    """CIFAR's keep the order of the files, the others are permutations by NumPy's frozen generator: int32, all."""
    script = shutil.copy(HERE / "npy_files" / "make_splits.py", tmp_path)
    subprocess.run([sys.executable, script], check=True)
    assert sorted(SPLITS) == sorted(set(DATASETS) - {"imagefolder", "digits"})
    shipped = sorted([*(f"{name}-train-val.npy" for name in SPLITS), *(f"{name}.npy" for name in SUBSETS)])
    assert sorted(file.name for file in tmp_path.glob("*.npy")) == shipped
    for name, (n, _) in SPLITS.items():
        shipped = np.load(HERE / "npy_files" / f"{name}-train-val.npy", allow_pickle=False)
        assert np.array_equal(shipped, np.load(tmp_path / f"{name}-train-val.npy"))
        assert shipped.dtype == np.int32 and np.array_equal(np.sort(shipped), np.arange(n))
        assert np.array_equal(shipped, np.arange(n)) == name.startswith("cifar")
    for name, (n, _, listed) in SUBSETS.items():
        shipped = np.load(HERE / "npy_files" / f"{name}.npy", allow_pickle=False)
        assert np.array_equal(shipped, np.load(tmp_path / f"{name}.npy")) and shipped.dtype == np.int32
        assert len(np.unique(shipped)) == len(shipped) == listed and shipped.max() < n
    assert not np.array_equal(permutation(60_000, SPLITS["mnist"][1]), permutation(60_000, SPLITS["fashion-mnist"][1]))
