"""Decoded images kept on disk, so that a folder of image files is decoded once and not in every run.

A cache file is an uncompressed .npz, whose zip checksums tell a damaged file from a whole one. Its name carries a key
that the caller makes, and it says by a hash from which contents it was decoded. Beside it lies a note with the
identity, a hash that the caller makes, of the files when they were last found to have these contents. Both lie in
<root>/.decoded or, where that cannot be written, in the user's cache directory.
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
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lottery.checkpointing.file_system import write_failure
from utils import InputError

CONTENTS = "contents"  # the array that holds their hash
NOTE = ".seen"  # suffix
ABANDONED = 3600  # seconds after which a temporary file that does not grow is a killed run's


class Found(NamedTuple):
    """A cache file, and what it says about what it was decoded from."""

    file: Path
    written_ns: int
    contents: str | None  # None in a file of an earlier version
    identity: str | None  # of the files that were last found to have these contents


def cache_folders(root: Path) -> list[Path]:
    """Where the cache of `root` may lie, best first: with the images, or in a folder of the user's for this root."""
    root = root.resolve()
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', root.name)}-{hashlib.sha256(bytes(root)).hexdigest()[:16]}"
    try:
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # an account without a home
        return [root / ".decoded"]
    return [root / ".decoded", users / "prac-tickets" / name]


def load(
    root: Path, variant: str, key: str, names: tuple[str, ...], accepts: Callable[[Found], bool]
) -> dict[str, np.ndarray] | None:
    """The arrays `names` saved for `root` under this variant and key; None where there are none that the caller
    `accepts`, or damaged ones."""
    for folder in cache_folders(root):
        file = folder / f"{variant}-{key}.npz"
        try:
            with zipfile.ZipFile(file) as members:
                if accepts(found(root, file, members)):
                    return read(members, names)
        except InputError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:  # a damaged file raises many kinds: of zipfile, of NumPy, MemoryError for its shape
            print(f"the cache file {file} cannot be used ({error}); reading the images again", file=sys.stderr)
    return None


def found(root: Path, file: Path, members: zipfile.ZipFile) -> Found:
    """What is known of an opened cache file. The note counts only if it is about the same contents."""
    contents = read(members, (CONTENTS,))[CONTENTS].tobytes().hex() if f"{CONTENTS}.npy" in members.namelist() else None
    for folder in cache_folders(root):
        with contextlib.suppress(OSError, ValueError):
            about, identity = (folder / f"{file.stem}{NOTE}").read_text().split()
            if about == contents:
                return Found(file, file.stat().st_mtime_ns, contents, identity)
    return Found(file, file.stat().st_mtime_ns, contents, None)


def read(members: zipfile.ZipFile, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz: as np.load, but a shape that damage made smaller is seen, too."""
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
    """Save `arrays`, decoded from files with these contents and this identity, in the first folder that can be written,
    and remove the files of this variant with another key.

    Returns the file; None, said on stderr, where no folder can be written: the run goes on without.
    """
    whole = arrays | {CONTENTS: np.frombuffer(bytes.fromhex(contents), np.uint8)}
    file, reasons = write_first(root, f"{variant}-{key}.npz", lambda opened: np.savez(opened, **whole))
    if file is None:
        print(f"the decoded images are not cached, so the next run decodes them again ({reasons})", file=sys.stderr)
        return None
    remember(root, file.stem, identity, contents)
    for other in filter(Path.is_dir, cache_folders(root)):
        remove_stale(other, variant, file)
    return file


def remember(root: Path, stem: str, identity: str, contents: str) -> None:
    """Note that the files of this identity have these contents. Where it cannot be written, they are read again."""
    write_first(root, f"{stem}{NOTE}", lambda opened: opened.write(f"{contents} {identity}\n".encode()))


def write_first(root: Path, name: str, save: Callable[[BinaryIO], object]) -> tuple[Path | None, str]:
    """The file, written in the first folder where that is possible; None, and why not, where it is in none."""
    reasons = []
    for folder in cache_folders(root):
        try:
            return write(folder, name, save), ""
        except OSError as error:
            reasons.append(f"{folder}: {write_failure(error)}")
    return None, "; ".join(reasons)


def write(folder: Path, name: str, save: Callable[[BinaryIO], object]) -> Path:
    """Write whole or not at all: to a name of its own first, then renamed, whatever other runs do meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{secrets.token_hex(8)}.tmp"
    try:
        with partial.open("xb") as file:
            save(file)
        return partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def remove_stale(folder: Path, variant: str, current: Path) -> None:
    """Remove what no run will read again: other keys' files of this variant, and temporary files of killed runs."""
    stale = [file for file in folder.glob(f"{variant}-*.npz") if file != current]
    stale += [file for file in folder.glob(f"{variant}-*{NOTE}") if file.stem != current.stem]
    for file in [*stale, *folder.glob("*.tmp")]:
        try:
            if file in stale or time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink()
        except OSError:
            continue  # another run was quicker, or the folder is read-only: either way nothing to do
