"""Keeping the run that --overwrite replaces: it is moved aside, to NAME.old beside its directory NAME.

    NAME's files -> NAME.old.moving;   then NAME.old goes;   then NAME.old.moving becomes NAME.old

Whenever a process dies on the way, `mend_` knows which half was done: as long as a file of the run is still in its
place the others come back to it, and else the rest is done. Only files that a run writes are moved or removed.
"""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lottery.checkpointing.atomic_file import writing
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.run_directory import LOCK, RunDirectory, occupied
from lottery.checkpointing.signals import shielded
from utils import InputError

KEPT, MOVING = ".old", ".moving"
COPY = re.compile(r"copy_\d+")  # directories of main_stability.py's trainings


def kept_place(directory: RunDirectory) -> Path:
    """Where its run is moved to: NAME.old beside the directory; `old` within it, where nothing can be put beside it, as
    at a mount point."""
    path = directory.path.resolve()
    is_mount = os.path.ismount(path)
    if is_mount or not os.access(path.parent, os.W_OK | os.X_OK):
        return path / KEPT[1:]
    return path.with_name(path.name + KEPT)


def is_kept_place(path: Path, others: set[Path]) -> bool:
    """Whether this directory is the kept one of one of these others, all given as resolved paths."""
    name = path.name.removesuffix(MOVING)
    return name.endswith(KEPT) and path.with_name(name.removesuffix(KEPT)) in others


def check_place(place: Path, inputs: Sequence[Path]) -> None:
    """InputError where what lies at the kept place may not be replaced: it is at work, is read by this very run, or is
    no run."""
    if not place.exists() and not place.is_symlink():
        return
    if not place.is_dir() or place.is_symlink():
        raise InputError(f"--overwrite would put {place} in the place of what is no directory: move it away")
    if foreign := strangers(place):
        raise InputError(
            f"--overwrite keeps the run that it replaces in {place}, which holds {foreign[0].name}, no file of a run: "
            "move it away, or choose another --save_dir"
        )
    for path in inputs:
        if place in (path.resolve(), *path.resolve().parents):
            raise InputError(f"--overwrite would remove {path}, which this run reads: choose another --save_dir")
    with occupied(RunDirectory(place)):
        pass


def strangers(folder: Path) -> list[Path]:
    """What lies in a run's directory, or in those of its copies, but is none of its files."""
    directory, found = RunDirectory(folder), []
    own = {*directory.files(), *directory.leftovers(), directory.events, folder / LOCK}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and COPY.fullmatch(entry.name):
            found += strangers(entry)
        elif entry not in own:
            found.append(entry)
    return found


def is_worth_keeping(directory: RunDirectory) -> bool:
    """Whether something would be lost with this run: a checkpoint, unless it is that of a beginning alone, or records
    whose checkpoints are gone. A second --overwrite soon after the first must not replace a finished run by one that
    has done nothing."""
    files = directory.checkpoints()
    if not files:
        return directory.summary.exists()
    return len(files) > 1 or not _has_only_begun(files[0])


def _has_only_begun(checkpoint: Path) -> bool:
    """Whether the run has saved no epoch, iteration, layer or point yet; a ticket without a training is more."""
    try:
        content = read(checkpoint)
    except InputError:  # damaged, which may be repaired, or not ours
        return False
    if content.get("momentum") is not None:
        return not (content.get("history") or content.get("rounds") or content.get("point", {}).get("layers"))
    return "points" in content and not content["points"] and not content.get("iteration")


def set_aside_(directories: Sequence[RunDirectory], place: Path) -> None:
    """Move the files of a run, the first of these directories, and of its copies in the others to `place`, in place
    of what lies there. RunError if that cannot be done; `mend_` then brings them together again."""
    moving = place.with_name(place.name + MOVING)
    with writing(place), shielded():
        moving.mkdir()
        for directory in directories:
            folder = moving / directory.path.relative_to(directories[0].path)
            for file in own_files(directory):
                folder.mkdir(exist_ok=True)
                shutil.move(file, folder / file.name)
        _replace(place, moving)


def _replace(place: Path, moving: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    moving.rename(place)


def own_files(directory: RunDirectory) -> list[Path]:
    """The run's files, and the folder of TensorBoard's."""
    return [*directory.files(), *([directory.events] if directory.events.is_dir() else [])]


def mend_(directories: Sequence[RunDirectory]) -> None:
    """Undo or end what a process that died within `set_aside_` has left of it."""
    place = kept_place(directories[0])
    moving = place.with_name(place.name + MOVING)
    if not moving.is_dir():
        return
    with writing(directories[0].path), shielded():
        if not any(own_files(directory) for directory in directories):
            check_place(place, [])
            _replace(place, moving)
            return
        for directory in directories:
            folder = moving / directory.path.relative_to(directories[0].path)
            for file in own_files(RunDirectory(folder)):
                if not (directory.path / file.name).exists():
                    shutil.move(file, directory.path / file.name)
        shutil.rmtree(moving)
