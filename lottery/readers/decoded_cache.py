"""The disk cache of decoded images, so that a folder of image files is decoded only once.

A cache file is an uncompressed .npz, whose zip checksums reveal damage. Its name contains a key made by the caller, and
it stores a hash of the contents it was decoded from. A note beside it stores the identity (another hash made by the
caller) that the image files had when they were last found to have these contents. Both are in <root>/.decoded or, where
that cannot be written, in the user's cache directory.
"""

import contextlib
import hashlib
import os
import re
import secrets
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lottery.checkpointing.file_system import write_failure
from utils import InputError

CONTENTS = "contents"  # the array that holds the contents' hash
NOTE = ".seen"  # suffix of the note
ABANDONED = 3600  # seconds without growth after which a temporary file is taken for that of a killed run


class CacheFile(NamedTuple):
    """A cache file, and what is known of the image files it was decoded from."""

    file: Path
    written_ns: int
    contents: str | None  # None in a file of an earlier version
    identity: str | None  # of the image files when last found to have these contents


def cache_folders(root: Path) -> list[Path]:
    """The folders where the cache of `root` may be, best first: beside the images, or in the user's cache directory."""
    root = root.resolve()
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', root.name)}-{hashlib.sha256(bytes(root)).hexdigest()[:16]}"
    try:
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # an account without a home
        return [root / ".decoded"]
    return [root / ".decoded", users / "prac-tickets" / name]


def load(
    root: Path, variant: str, key: str, names: tuple[str, ...], accepts: Callable[[CacheFile], bool]
) -> dict[str, np.ndarray] | None:
    """The arrays `names` saved for `root` under this variant and key; None if there is no cache file that the caller
    `accepts`, or only a damaged one."""
    for folder in cache_folders(root):
        file = folder / f"{variant}-{key}.npz"
        try:
            with zipfile.ZipFile(file) as members:
                if accepts(describe_cache_file(root, file, members)):
                    return read_arrays(members, names)
        except InputError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:  # a damaged file raises many kinds, among them MemoryError for its shape
            print(f"the cache file {file} cannot be used ({error}); reading the images again", file=sys.stderr)
    return None


def describe_cache_file(root: Path, file: Path, members: zipfile.ZipFile) -> CacheFile:
    """What is known of an opened cache file. The note counts only if it names the same contents."""
    has_contents = f"{CONTENTS}.npy" in members.namelist()
    contents = read_arrays(members, (CONTENTS,))[CONTENTS].tobytes().hex() if has_contents else None
    for folder in cache_folders(root):
        with contextlib.suppress(OSError, ValueError):
            about, identity = (folder / f"{file.stem}{NOTE}").read_text().split()
            if about == contents:
                return CacheFile(file, file.stat().st_mtime_ns, contents, identity)
    return CacheFile(file, file.stat().st_mtime_ns, contents, None)


def read_arrays(members: zipfile.ZipFile, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz. Unlike np.load, it detects a shape that damage made smaller."""
    arrays = {}
    for name in names:
        with members.open(f"{name}.npy") as member:
            arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):
                raise ValueError(f"{name} is longer than its array")
    return arrays


def save(
    root: Path, variant: str, key: str, arrays: dict[str, np.ndarray], contents: str, identity: str
) -> Path | None:
    """Save `arrays`, decoded from files with these contents and this identity, in the first writable folder, and remove
    this variant's files with another key.

    Returns the file, or None, with a message on stderr, if no folder can be written.
    """
    whole = arrays | {CONTENTS: np.frombuffer(bytes.fromhex(contents), np.uint8)}
    savez = partial(np.savez, **whole)  # type: ignore[arg-type]  # mypy takes one of them for allow_pickle
    file, reasons = write_in_first_folder(root, f"{variant}-{key}.npz", savez)
    if file is None:
        print(f"the decoded images are not cached, so the next run decodes them again ({reasons})", file=sys.stderr)
        return None
    write_note(root, file.stem, identity, contents)
    for other in filter(Path.is_dir, cache_folders(root)):
        remove_stale(other, variant, file)
    return file


def write_note(root: Path, stem: str, identity: str, contents: str) -> None:
    """Note that image files of this identity have these contents. Without the note, the next run reads them again."""
    write_in_first_folder(root, f"{stem}{NOTE}", lambda opened: opened.write(f"{contents} {identity}\n".encode()))


def write_in_first_folder(root: Path, name: str, save: Callable[[BinaryIO], object]) -> tuple[Path | None, str]:
    """Write the file in the first folder where that is possible; (None, reasons) if it is possible in none."""
    reasons = []
    for folder in cache_folders(root):
        try:
            return write_file(folder, name, save), ""
        except OSError as error:
            reasons.append(f"{folder}: {write_failure(error)}")
    return None, "; ".join(reasons)


def write_file(folder: Path, name: str, save: Callable[[BinaryIO], object]) -> Path:
    """Write to a temporary file and rename it, so that other runs see all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{secrets.token_hex(8)}.tmp"
    try:
        with partial.open("xb") as file:
            save(file)
        return partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def remove_stale(folder: Path, variant: str, current: Path) -> None:
    """Remove this variant's files with other keys, and temporary files of killed runs."""
    stale = [file for file in folder.glob(f"{variant}-*.npz") if file != current]
    stale += [file for file in folder.glob(f"{variant}-*{NOTE}") if file.stem != current.stem]
    for file in [*stale, *folder.glob("*.tmp")]:
        try:
            if file in stale or time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink()
        except OSError:
            continue  # removed by another run, or the folder is read-only
