"""Find the directories of runs within a folder, such as a study's."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lottery.checkpointing.backup import COPY, is_backup_path
from lottery.checkpointing.run_directory import CHECKPOINT, RunDirectory

SKIPPED = re.compile(rf"\..*|__pycache__|{COPY.pattern}")  # names of folders that are not searched


def find_runs(folder: Path) -> list[Path]:
    """The runs' directories in a folder, at any depth, in natural order: seed_2 before seed_10. The folder itself if it
    is a run.

    What is within a run's directory is not searched. Nor are hidden folders, the copies that main_stability.py trains,
    and NAME.old, which --overwrite made, beside NAME. Links are followed; a folder reached twice counts once. Folders
    that cannot be read are passed over. No file is opened.
    """
    return list(_runs_within(folder, set()))


def runs_within_run(folder: Path) -> list[Path]:
    """The runs in folders within a run's own directory, which `find_runs` does not search."""
    folders = [inner for inner in sorted(folder.iterdir()) if inner.is_dir() and not inner.is_symlink()]
    folders = [inner for inner in folders if not SKIPPED.fullmatch(inner.name)]
    return [run for inner in folders for run in find_runs(inner)]


def _runs_within(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir() for entry in entries}
    except OSError:
        return
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    if any(is_record(name) for name, is_folder in names.items() if not is_folder):
        yield folder
        return
    folders = [folder / name for name in sorted(names, key=natural) if names[name] and not SKIPPED.fullmatch(name)]
    beside = set(folders)
    for inner in folders:
        if not is_backup_path(inner, beside):
            yield from _runs_within(inner, visited)


def is_record(name: str) -> bool:
    """Whether a directory with a file of this name is a run's."""
    return name == RunDirectory(Path()).summary.name or CHECKPOINT.fullmatch(name) is not None


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers within names by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
