"""A run's directory: what its files are called, where a run stands, and whether a command may go on with it."""

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checkpoint import FORMAT, read
from utils import InputError


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run, under the names the 2021 code gave them.

    A pruning script numbers them by round; `main_train.py` has one network and no numbers (round None).
    """

    path: Path

    def checkpoint(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}checkpoint.pth.tar"

    def best(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}model_SA_best.pth.tar"

    def curves(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}net_train.png"

    def rewinding(self, epoch: int) -> Path:
        """The rewinding weights: those after (0-based) `epoch`, numbered as the 2021 code does, by epochs done."""
        return self.path / f"epoch_{epoch + 1}_rewind_weight.pt"

    def newest(self) -> Path | None:
        """The checkpoint with the highest round, or main_train's only one."""
        found = sorted(self.path.glob("*checkpoint.pth.tar"), key=lambda file: _round_of(file))
        return found[-1] if found else None

    def files(self) -> list[Path]:
        """Everything a run has written here, by name; nothing else is ever removed."""
        patterns = ("*checkpoint.pth.tar", "*model_SA_best.pth.tar", "*net_train.png", "epoch_*_rewind_weight.pt")
        return [file for pattern in patterns for file in sorted(self.path.glob(pattern))]

    def make(self, opening: "Opening") -> None:
        """Bring the directory to where the run begins: made, emptied of an old run, or with what a run that comes
        from elsewhere left there."""
        self.path.mkdir(parents=True, exist_ok=True)
        if opening.clear:
            for file in self.files():
                file.unlink()
        if opening.source and opening.source.parent.resolve() != self.path.resolve():
            for file in RunDirectory(opening.source.parent).files():
                if _round_of(file) in (opening.saved["state"], -1) and file.name != opening.source.name:
                    shutil.copy2(file, self.path / file.name)
            shutil.copy2(opening.source, self.path / opening.source.name)


def _number(round: int | None) -> str:
    return "" if round is None else str(round)


def _round_of(file: Path) -> int:
    """The number a file's name begins with, -1 if it has none."""
    digits = "".join(itertools.takewhile(str.isdigit, file.name))
    return int(digits) if digits else -1


@dataclass(frozen=True)
class Opening:
    """How a run begins: from a saved state, or (None) from nothing; `clear` says to remove an old run first."""

    saved: dict | None
    source: Path | None
    clear: bool = False


def open_run(
    directory: RunDirectory, settings: Mapping, *, resume: bool, checkpoint: Path | None, overwrite: bool
) -> Opening:
    """Whether to start or to go on; InputError, with nothing touched, where neither is right.

    The same command on the same directory goes on. Another one is refused with the settings that differ. `checkpoint`
    names the file to go on from, in this directory or another.
    """
    if overwrite and (resume or checkpoint):
        raise InputError("--overwrite starts anew and --resume goes on: give one of them")
    if checkpoint and not resume:
        raise InputError(f"--checkpoint {checkpoint} is read with --resume only: add it")
    if overwrite:
        return Opening(None, None, clear=True)
    source = checkpoint or directory.newest()
    if source is None:
        if resume:
            raise InputError(f"nothing to resume: {directory.path} holds no checkpoint")
        if directory.files():
            raise InputError(f"{directory.path} holds files of a run but no checkpoint: --overwrite removes them")
        return Opening(None, None)
    if checkpoint and checkpoint.parent.resolve() != directory.path.resolve() and directory.files():
        raise InputError(f"{directory.path} holds a run: go on from {checkpoint} in an empty --save_dir")
    return Opening(_check_own(source, settings), source)


def _check_own(source: Path, settings: Mapping) -> dict:
    """The saved state in `source`, made by us under these settings."""
    saved = read(source)
    if "format" not in saved:
        raise InputError(
            f"{source} was not written by this suite (a checkpoint of the 2021 code is a ticket, not a run to go on "
            "with): choose another --save_dir, or start anew with --overwrite"
        )
    if saved["format"] != FORMAT:
        raise InputError(f"{source} has file format {saved['format']}, this version goes on from format {FORMAT} only")
    if "model_SA_best" in source.name:
        raise InputError(f"{source} is the network at its best epoch; a run goes on from a file named ...checkpoint")
    if differences := _differences(saved["settings"], settings):
        raise InputError(
            f"{source.parent} holds a run with other settings: {'; '.join(differences)}. "
            "Give the same settings to go on, another --save_dir, or --overwrite to start anew"
        )
    return saved


def _differences(there: Mapping, here: Mapping) -> list[str]:
    """The settings that differ, in words; more pruning rounds than before extend a run and are no difference."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    extended = there.get("pruning_times", 0) < here.get("pruning_times", 0)
    return [
        f"{name} was {there.get(name)}, is {here.get(name)}"
        for name in names
        if not (name == "pruning_times" and extended)
    ]
