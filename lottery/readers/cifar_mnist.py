"""CIFAR and MNIST: finding, verifying, downloading and reading the original files.

Checksums are those of the contents, since mirrors repack the archives. No pickle is opened before its checksum has been
verified, and no existing file is ever overwritten by a download.
"""

import contextlib
import gzip
import hashlib
import lzma
import math
import tarfile
import zlib
from collections.abc import Iterable
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lottery.checkpointing.atomic_file import write_atomically
from lottery.readers.contents import Contents
from utils import InputError, RunError

# MD5 of the unpacked files; torchvision has those of the packed ones.
UNPACKED = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


# --- CIFAR ------------------------------------------------------------------------------------------------------------


def read_cifar(kind: Any, root: Path, download: bool) -> Contents:
    """CIFAR-10 or -100; `kind` is torchvision's class, which unpickles a file only after verifying its checksum."""
    files = {
        root / kind.base_folder / name: md5
        for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    }
    archive, missing = root / kind.filename, {file: md5 for file, md5 in files.items() if not file.exists()}
    if missing and archive.exists() and download:
        unpack_archive(archive, kind.tgz_md5, missing)
    elif len(missing) == len(files):
        check_may_download(kind, root, download)
        download_files(kind, root, wanted=[archive], made=files)
    try:
        train, test = kind(root, train=True), kind(root, train=False)
    except RuntimeError as error:  # torchvision does not say which file it was
        check_checksums(files)
        raise InputError(f"{root / kind.base_folder} cannot be read: {error}") from error
    return Contents(
        np.ascontiguousarray(train.data),
        np.array(train.targets, dtype=np.int64),
        np.ascontiguousarray(test.data),
        np.array(test.targets, dtype=np.int64),
        tuple(train.classes),
    )


def unpack_archive(archive: Path, packed_md5: str, files: dict[Path, str]) -> None:
    """Extract the missing `files`, a mapping to their MD5s, from the archive, however it is packed.

    InputError, with nothing written, if the archive does not hold all of them with these MD5s.
    """
    found = read_members(archive, [f"{file.parent.name}/{file.name}" for file in files])
    contents = {file: found.get(f"{file.parent.name}/{file.name}", b"") for file in files}
    if any(md5_checksum(contents[file]) != md5 for file, md5 in files.items()):
        raise checksum_error(archive, packed_md5)
    try:
        for file, data in contents.items():
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, methodcaller("write", data))
    except (OSError, RunError) as error:
        raise InputError(f"{archive} cannot be unpacked: {error}") from error


def read_members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The members of these names in an archive, as far as it can be read."""
    found, wanted = {}, set(names)
    with (
        contextlib.suppress(tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError),
        tarfile.open(archive) as tar,
    ):
        for member in tar:  # in order, since seeking back would unpack everything again
            if member.name.removeprefix("./") in wanted and member.isfile():
                found[member.name.removeprefix("./")] = tar.extractfile(member).read()
    return found


# --- MNIST ------------------------------------------------------------------------------------------------------------


def read_mnist(kind: Any, root: Path, download: bool) -> Contents:
    """MNIST or Fashion-MNIST from <root>/<kind>/raw, where torchvision keeps the four files.

    A packed file (.gz) is preferred to an unpacked one, since only it is required to be the original. It is unpacked in
    memory, so the folder may be read-only.
    """
    packed = {root / kind.__name__ / "raw" / name: md5 for name, md5 in kind.resources}
    if not any(file.exists() or file.with_suffix("").exists() for file in packed):
        check_may_download(kind, root, download)
        download_files(kind, root, wanted=packed, made=[file.with_suffix("") for file in packed])
    known = UNPACKED[kind.__name__]
    found = [read_original(file, md5, known[file.stem]) for file, md5 in packed.items()]
    files = [each.file for each in found]
    train_images, train_labels, test_images, test_labels = (read_idx(each.file, each.data) for each in found)
    check_mnist(files[:2], train_images, train_labels, kind.classes)
    check_mnist(files[2:], test_images, test_labels, kind.classes)
    return Contents(
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
        tuple(kind.classes),
        notes=tuple(each.note for each in found if each.note),
    )


class Found(NamedTuple):
    """The contents of one of the four files, the file they come from, and a note for the log."""

    file: Path
    data: bytes
    note: str = ""


def read_original(packed: Path, packed_md5: str, md5: str) -> Found:
    """The contents of the .gz if it holds the original, otherwise those of the unpacked file beside it if that does.

    Without a .gz, any unpacked file is used, with a note if it is not the original. InputError if there is no file, or
    if there is a .gz and neither file is the original.
    """
    plain = packed.with_suffix("")
    if not packed.exists():
        data = read_bytes(plain)
        changed = f"{plain} does not have the contents of the original file (MD5 {md5}); it is used as it is"
        return Found(plain, data, "" if md5_checksum(data) == md5 else changed)
    data = unpack_gzip(packed, packed_md5, md5)
    if data is not None:
        return Found(packed, data)
    beside = plain.read_bytes() if plain.is_file() else b""
    if md5_checksum(beside) != md5:
        raise checksum_error(packed, packed_md5)
    return Found(plain, beside, f"{packed} is damaged or not the original; {plain.name} beside it is, and is used")


def check_mnist(files: list[Path], images: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
    """InputError for images and labels that cannot belong together; unpacked files need not be the originals."""
    if len(images) != len(labels) or images.shape[1] != images.shape[2] or images.size == 0:
        raise InputError(
            f"{files[0]} holds images of shape {images.shape} and {files[1]} {len(labels)} labels; "
            f"delete both and put the original files there"
        )
    if labels.max() >= len(classes):
        raise InputError(
            f"{files[1]} holds the label {labels.max()}, and there are {len(classes)} classes; "
            f"delete it and put the original file there"
        )


def read_idx(file: Path, data: bytes) -> np.ndarray:
    """The uint8 array in the contents of an IDX file, whose name gives the number of axes (idx3 or idx1).

    Format: two zero bytes, the type (8: bytes), the number of axes, the length of each axis as a big-endian 32-bit
    integer, then the values. InputError for another format or length.
    """
    axes = 3 if "idx3" in file.name else 1
    shape = [int.from_bytes(data[4 * axis : 4 * axis + 4], "big") for axis in range(1, axes + 1)]
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != 4 + 4 * axes + math.prod(shape):
        raise InputError(f"{file} is cut short or not an IDX file of {axes} axes; delete it and put the original there")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()  # a buffer's view is read-only


def unpack_gzip(file: Path, packed_md5: str, md5: str) -> bytes | None:
    """The contents of a .gz that holds the original, however it is packed; None for any other file."""
    data = read_bytes(file)
    try:
        contents = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None
    return contents if md5_checksum(data) == packed_md5 or md5_checksum(contents) == md5 else None


# --- files ------------------------------------------------------------------------------------------------------------


def read_bytes(file: Path) -> bytes:
    if not file.is_file():
        raise InputError(
            f"{file} is missing, though other files of the data set are there; "
            f"put it there, or delete the others to have all of them fetched again"
        )
    return file.read_bytes()


def md5_checksum(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def checksum_error(file: Path, md5: str) -> InputError:
    return InputError(
        f"{file} does not match its checksum (MD5 {md5}): it is damaged, cut short or not the original; "
        f"delete it and put the original there"
    )


def check_checksums(checksums: dict[Path, str]) -> None:
    """InputError for the first file that is missing or has another MD5."""
    for file, md5 in checksums.items():
        if md5_checksum(read_bytes(file)) != md5:
            raise checksum_error(file, md5)


def check_may_download(kind: type, root: Path, download: bool) -> None:
    """InputError if downloading is not allowed."""
    if not download:
        raise InputError(f"{kind.__name__} is not in {root}")


def download_files(kind: type, root: Path, wanted: Iterable[Path], made: Iterable[Path]) -> None:
    """Let torchvision download the files `wanted` and unpack them to the files `made`.

    Remains of a failed attempt are removed, and the folders that it made, if nothing else is in them; otherwise the
    next run would take them for the user's damaged files.
    """
    new = [file for file in [*wanted, *made] if not file.exists()]
    folders = sorted({folder for file in new for folder in file.parents if not folder.exists()}, reverse=True)
    try:
        kind(root, download=True)
    except (OSError, RuntimeError) as error:
        for file in new:
            with contextlib.suppress(OSError):  # a read-only folder
                file.unlink(missing_ok=True)
        for folder in folders:
            with contextlib.suppress(OSError):  # with a file of somebody else, or never made
                folder.rmdir()
        names, folder = ", ".join(file.name for file in wanted), next(iter(wanted)).parent
        reason = " ".join(str(error).split())  # torchvision's reasons span lines
        raise InputError(
            f"{kind.__name__} is not in {root} and could not be downloaded or unpacked there ({reason}); "
            f"put {names} into {folder} and run again"
        ) from error
