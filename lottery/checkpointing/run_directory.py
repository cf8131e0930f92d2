"""A run's directory: what its files are called, and that one process at a time works in it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from lottery.checkpointing.file_system import locked, reason
from utils import InputError

LOCK = ".lock"
OWN = re.compile(
    r"\d*(checkpoint\.pth\.tar|model_SA_best\.pth\.tar|net_train\.png)|(epoch|iteration)_\d+_rewind_weight\.pt"
    r"|\d+sliced\.pt|metrics\.jsonl|summary\.json|stability\.png|robustness\.json"
)
CHECKPOINT = re.compile(r"(\d*)checkpoint\.pth\.tar")


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

    def rewinding(self, epoch: int | None, iteration: int | None = None) -> Path:
        """The rewinding weights: those after so many optimiser steps, or else those after (0-based) `epoch`, numbered
        as the 2021 code does, by epochs done."""
        point = f"epoch_{epoch + 1}" if iteration is None else f"iteration_{iteration}"
        return self.path / f"{point}_rewind_weight.pt"

    def sliced(self, round: int) -> Path:
        """A network without its dropped channels (main_channels.py)."""
        return self.path / f"{round}sliced.pt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def line(self) -> Path:
        """The picture of the line between two networks (main_stability.py)."""
        return self.path / "stability.png"

    @property
    def robustness(self) -> Path:
        """Accuracies under attack (main_robustness.py)."""
        return self.path / "robustness.json"

    @property
    def events(self) -> Path:
        """TensorBoard's."""
        return self.path / "tensorboard"

    def checkpoints(self) -> list[Path]:
        """The checkpoints by round, the highest first; or main_train's only one."""
        found = {file: CHECKPOINT.fullmatch(file.name) for file in self.files()}
        rounds = {file: int(match[1] or -1) for file, match in found.items() if match}
        return sorted(rounds, key=rounds.get, reverse=True)

    def files(self) -> list[Path]:
        """What a run writes here, by name; nothing else is ever removed."""
        there = sorted(self.path.iterdir()) if self.path.is_dir() else []
        return [file for file in there if OWN.fullmatch(file.name)]

    def leftovers(self) -> list[Path]:
        """Half-written files of a run that was killed: a file's name between a dot and a random ending."""
        there = self.path.iterdir() if self.path.is_dir() else []
        return [file for file in there if file.name[0] == "." and OWN.fullmatch(file.name[1:].rpartition(".")[0])]


def _number(round: int | None) -> str:
    return "" if round is None else str(round)


def checkpoint_name(content: Mapping) -> str:
    """What a run calls the file with this content. Without momentum it is the network at its best epoch."""
    kind = "checkpoint" if "momentum" in content else "model_SA_best"
    return f"{_number(content['state'])}{kind}.pth.tar"


@contextmanager
def occupied(directory: RunDirectory) -> Iterator[None]:
    """The directory, made if it is not there, for this process alone; InputError while another one is at work in it.

    The lock ends with the process, however that ends. A directory made for a command that turns out to be wrong is
    taken away again.
    """
    made = [folder for folder in (directory.path, *directory.path.parents) if not folder.exists()]
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        lock = locked(directory.path / LOCK)
    except Timeout:
        raise InputError(
            f"another run is at work in {directory.path}: wait for its end, or choose another --save_dir"
        ) from None
    except OSError as error:
        raise InputError(f"--save_dir {directory.path} cannot be used: {reason(error)}") from None
    wrong = False
    try:
        yield
    except InputError:
        wrong = True
        raise
    finally:
        with suppress(OSError):  # the directory may be gone, or no longer empty
            for file in {directory.path / LOCK, Path(lock.lock_file) if lock else directory.path / LOCK}:
                file.unlink(missing_ok=True)
            for folder in made if wrong else []:
                folder.rmdir()
        if lock:
            lock.release()
