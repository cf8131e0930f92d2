"""Backing up the run that --overwrite replaces: its files move from directory NAME to NAME.old beside it.

    NAME's files -> NAME.old.moving;   then NAME.old is deleted;   then NAME.old.moving is renamed to NAME.old

If the process dies in between, `repair_` completes or undoes the move: as long as a file of the run is still in NAME,
the others come back to it; otherwise the backup is completed. Only files that a run writes are moved or deleted.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lottery.checkpointing.atomic_file import writing
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.run_directory import LOCK, RunDirectory, locked
from lottery.checkpointing.signals import shielded
from utils import InputError

BACKUP, MOVING = ".old", ".moving"
COPY = re.compile(r"copy_\d+")  # directories of main_stability.py's trainings


def backup_path(directory: RunDirectory) -> Path:
    """NAME.old beside the directory; `old` within it where nothing can be put beside it, as at a mount point."""
    path = directory.path.resolve()
    is_mount = os.path.ismount(path)
    if is_mount or not os.access(path.parent, os.W_OK | os.X_OK):
        return path / BACKUP[1:]
    return path.with_name(path.name + BACKUP)


def is_backup_path(path: Path, others: set[Path]) -> bool:
    """Whether this directory is the backup of one of `others`; all are resolved paths."""
    name = path.name.removesuffix(MOVING)
    return name.endswith(BACKUP) and path.with_name(name.removesuffix(BACKUP)) in others


def check_backup_path(place: Path, inputs: Sequence[Path]) -> None:
    """InputError where `place` holds something that may not be deleted: a run in progress, files that this very run
    reads (`inputs`), or anything that is not a run."""
    if not place.exists() and not place.is_symlink():
        return
    if not place.is_dir() or place.is_symlink():
        raise InputError(f"--overwrite would replace {place}, which is not a directory: move it away")
    if foreign := foreign_files(place):
        raise InputError(
            f"--overwrite keeps the run that it replaces in {place}, which holds {foreign[0].name}, no file of a run: "
            "move it away, or choose another --save_dir"
        )
    for path in inputs:
        if place in (path.resolve(), *path.resolve().parents):
            raise InputError(f"--overwrite would remove {path}, which this run reads: choose another --save_dir")
    with locked(RunDirectory(place)):
        pass


def foreign_files(folder: Path) -> list[Path]:
    """The entries of a run's directory, and of its copies' directories, that no run has written."""
    directory, found = RunDirectory(folder), []
    own = {*directory.files(), *directory.leftovers(), directory.tensorboard, folder / LOCK}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and COPY.fullmatch(entry.name):
            found += foreign_files(entry)
        elif entry not in own:
            found.append(entry)
    return found


def is_worth_keeping(directory: RunDirectory) -> bool:
    """Whether deleting this run would lose work: it has a checkpoint with progress, or records, networks or weights
    without a checkpoint.

    A second --overwrite soon after the first must not replace the backup of a finished run by one that has done
    nothing.
    """
    files = directory.checkpoints()
    if not files:
        return any(file.suffix in (".json", ".tar", ".pt") for file in directory.files())
    return len(files) > 1 or not _has_only_begun(files[0])


def _has_only_begun(checkpoint: Path) -> bool:
    """Whether the run has saved no epoch, iteration, layer or point yet. A ticket without a training counts as more."""
    try:
        content = read(checkpoint)
    except InputError:  # damaged, which may be repaired, or not ours
        return False
    if content.get("momentum") is not None:
        return not (content.get("history") or content.get("rounds") or content.get("point", {}).get("layers"))
    return "points" in content and not content["points"] and not content.get("iteration")


def back_up_(directories: Sequence[RunDirectory], place: Path) -> None:
    """Move the files of a run, the first of these directories, and of its copies, the others, to `place`, replacing
    what is there. RunError if that fails; `repair_` then brings them together again."""
    moving = place.with_name(place.name + MOVING)
    with writing(place), shielded():
        moving.mkdir()
        for directory in directories:
            folder = moving / directory.path.relative_to(directories[0].path)
            for file in run_files(directory):
                folder.mkdir(exist_ok=True)
                shutil.move(file, folder / file.name)
        _replace(place, moving)


def _replace(place: Path, moving: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    moving.rename(place)


def run_files(directory: RunDirectory) -> list[Path]:
    """The run's files, and TensorBoard's folder."""
    return [*directory.files(), *([directory.tensorboard] if directory.tensorboard.is_dir() else [])]


def repair_(directories: Sequence[RunDirectory]) -> None:
    """Complete or undo a `back_up_` during which the process died."""
    place = backup_path(directories[0])
    moving = place.with_name(place.name + MOVING)
    if not moving.is_dir():
        return
    with writing(directories[0].path), shielded():
        if not any(run_files(directory) for directory in directories):
            check_backup_path(place, [])
            _replace(place, moving)
            return
        for directory in directories:
            folder = moving / directory.path.relative_to(directories[0].path)
            for file in run_files(RunDirectory(folder)):
                if not (directory.path / file.name).exists():
                    shutil.move(file, directory.path / file.name)
        shutil.rmtree(moving)
