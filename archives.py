"""CIFAR and MNIST: finding, checking, downloading and reading the original files.

No pickle is opened before its checksum holds, and no file that is there is ever downloaded over.
"""

import contextlib
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils import InputError

# MNIST's unpacked files, by MD5: the .gz that many mirrors have were packed anew and differ from torchvision's.
UNPACKED = {
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
}

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]  # train, test, class names


def read_cifar(kind: type, root: Path, download: bool) -> Arrays:
    """CIFAR-10 or -100, `kind` being torchvision's class, which unpickles a file only once its checksum holds."""
    files = {
        root / kind.base_folder / name: md5
        for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    }
    if not any(file.exists() for file in files):
        archive = root / kind.filename
        if archive.exists():
            check_files({archive: kind.tgz_md5})
        check_may_fetch(kind, root, download)
        fetch(kind, root, wanted=[archive], made=files)
    try:
        train, test = kind(root, train=True), kind(root, train=False)
    except RuntimeError as error:  # torchvision does not say which file it was
        check_files(files)
        raise InputError(f"{root / kind.base_folder} cannot be read: {error}") from error
    return (
        np.ascontiguousarray(train.data),
        np.array(train.targets, dtype=np.int64),
        np.ascontiguousarray(test.data),
        np.array(test.targets, dtype=np.int64),
        tuple(train.classes),
    )


def read_mnist(kind: type, root: Path, download: bool) -> Arrays:
    """MNIST or Fashion-MNIST from <root>/<kind>/raw, where torchvision keeps its four files.

    A packed file (.gz) has a known checksum and is read in preference to an unpacked one, which has none. It is
    unpacked in memory, so the folder may be read-only.
    """
    packed = {root / kind.__name__ / "raw" / name: md5 for name, md5 in kind.resources}
    if not any(file.exists() or file.with_suffix("").exists() for file in packed):
        check_may_fetch(kind, root, download)
        fetch(kind, root, wanted=packed, made=[file.with_suffix("") for file in packed])
    files = [file if file.exists() else file.with_suffix("") for file in packed]
    train_images, train_labels, test_images, test_labels = (
        read_idx(file, md5) for file, md5 in zip(files, packed.values(), strict=True)
    )
    check_mnist(files[:2], train_images, train_labels, kind.classes)
    check_mnist(files[2:], test_images, test_labels, kind.classes)
    return (
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
        tuple(kind.classes),
    )


def check_mnist(files: list[Path], images: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
    """Unpacked files have no checksum; refuse those that cannot belong together."""
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


def read_idx(file: Path, packed_md5: str) -> np.ndarray:
    """The uint8 array in an IDX file, packed or not; its name says how many axes there are (idx3 or idx1).

    The format: two zero bytes, the type (8: bytes), the number of axes, each axis's length as four bytes (most
    significant first), then the values. Raises InputError for a file of another format or length.
    """
    data = unpack(file, packed_md5) if file.suffix == ".gz" else read_bytes(file)
    axes = 3 if "idx3" in file.name else 1
    shape = [int.from_bytes(data[4 * axis : 4 * axis + 4], "big") for axis in range(1, axes + 1)]
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != 4 + 4 * axes + math.prod(shape):
        raise InputError(f"{file} is cut short or not an IDX file of {axes} axes; delete it and put the original there")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()  # a buffer's view is read-only


def unpack(file: Path, md5: str) -> bytes:
    """The contents of a .gz that is the original, or holds the original; InputError for any other."""
    data = read_bytes(file)
    genuine = md5_of(data) == md5
    try:
        contents = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        contents = b""
    if not genuine and md5_of(contents) not in UNPACKED:
        raise mismatch(file, md5)
    return contents


def read_bytes(file: Path) -> bytes:
    if not file.is_file():
        raise InputError(
            f"{file} is missing, though other files of the data set are there; "
            f"put it there, or delete the others to have all of them fetched again"
        )
    return file.read_bytes()


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def mismatch(file: Path, md5: str) -> InputError:
    return InputError(
        f"{file} does not match its checksum (MD5 {md5}): it is damaged, cut short or not the original; "
        f"delete it and put the original there"
    )


def check_files(checksums: dict[Path, str]) -> None:
    """Raise InputError for the first file that is missing or whose MD5 is another one."""
    for file, md5 in checksums.items():
        if md5_of(read_bytes(file)) != md5:
            raise mismatch(file, md5)


def check_may_fetch(kind: type, root: Path, download: bool) -> None:
    """InputError, with nothing written, for a reader that only looks at what is there."""
    if not download:
        raise InputError(f"{kind.__name__} is not in {root}")


def fetch(kind: type, root: Path, wanted: Iterable[Path], made: Iterable[Path]) -> None:
    """Have torchvision download the files `wanted` and unpack them to the files `made`.

    A checked archive that is there already is only unpacked. What a failed attempt leaves behind is removed, or the
    next one would take it for the user's own damaged file.
    """
    new = [file for file in [*wanted, *made] if not file.exists()]
    try:
        kind(root, download=True)
    except (OSError, RuntimeError) as error:
        for file in new:
            with contextlib.suppress(OSError):  # a read-only folder
                file.unlink(missing_ok=True)
        names, folder = ", ".join(file.name for file in wanted), next(iter(wanted)).parent
        reason = " ".join(str(error).split())  # torchvision's reasons span lines
        raise InputError(
            f"{kind.__name__} is not in {root} and could not be downloaded or unpacked there ({reason}); "
            f"put {names} into {folder} and run again"
        ) from error
