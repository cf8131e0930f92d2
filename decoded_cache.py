"""Decoded images kept on disk, so that a folder of image files is decoded once and not in every run.

A cache file is an uncompressed .npz, whose zip checksums tell a damaged file from a whole one. Its name carries a key
that the caller makes from whatever the contents depend on: a file is either the right one or not found. It lies in
<root>/.decoded or, where that cannot be written, in the user's cache directory.
"""

import hashlib
import os
import re
import secrets
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

from file_system import reason

ABANDONED = 3600  # seconds after which a temporary file that does not grow is a killed run's


def cache_folders(root: Path) -> list[Path]:
    """Where the cache of `root` may lie, best first: with the images, or in a folder of the user's for this root."""
    root = root.resolve()
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', root.name)}-{hashlib.sha256(bytes(root)).hexdigest()[:16]}"
    try:
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # an account without a home
        return [root / ".decoded"]
    return [root / ".decoded", users / "prac-tickets" / name]


def load(root: Path, variant: str, key: str, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """The arrays `names` saved for `root` under this variant and key; None where there are none or damaged ones."""
    for folder in cache_folders(root):
        file = folder / f"{variant}-{key}.npz"
        try:
            return read(file, names)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:  # a damaged file raises many kinds: of zipfile, of NumPy, MemoryError for its shape
            print(f"the cache file {file} cannot be used ({error}); reading the images again", file=sys.stderr)
    return None


def read(file: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz: as np.load, but a shape that damage made smaller is seen, too."""
    arrays = {}
    with zipfile.ZipFile(file) as members:
        for name in names:
            with members.open(f"{name}.npy") as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                if member.read(1):
                    raise ValueError(f"{name} is longer than its array")
    return arrays


def save(root: Path, variant: str, key: str, arrays: dict[str, np.ndarray]) -> Path | None:
    """Save `arrays` in the first folder that can be written and remove the files of this variant with another key.

    Returns the file; None, said on stderr, where no folder can be written: the run goes on without.
    """
    reasons = []
    for folder in cache_folders(root):
        try:
            file = write(folder, f"{variant}-{key}.npz", arrays)
        except OSError as error:
            reasons.append(f"{folder}: {reason(error)}")
            continue
        for other in filter(Path.is_dir, cache_folders(root)):
            remove_stale(other, variant, file)
        return file
    print(
        f"the decoded images are not cached, so the next run decodes them again ({'; '.join(reasons)})", file=sys.stderr
    )
    return None


def write(folder: Path, name: str, arrays: dict[str, np.ndarray]) -> Path:
    """Write whole or not at all: to a name of its own first, then renamed, whatever other runs do meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{secrets.token_hex(8)}.tmp"
    try:
        with partial.open("xb") as file:
            np.savez(file, **arrays)
        return partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def remove_stale(folder: Path, variant: str, current: Path) -> None:
    """Remove what no run will read again: other keys' files of this variant, and temporary files of killed runs."""
    stale = [file for file in folder.glob(f"{variant}-*.npz") if file != current]
    for file in [*stale, *folder.glob("*.tmp")]:
        try:
            if file.suffix == ".npz" or time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink()
        except OSError:
            continue  # another run was quicker, or the folder is read-only: either way nothing to do
