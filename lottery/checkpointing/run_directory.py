"""A run's directory: the names of its files, and the lock that keeps a second process out."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from lottery.checkpointing.file_system import lock_file, write_failure
from utils import InputError

LOCK = ".lock"
OWN = re.compile(
    r"\d*(checkpoint\.pth\.tar|model_SA_best\.pth\.tar|net_train\.png)|(epoch|iteration)_\d+_rewind_weight\.pt"
    r"|\d+sliced\.pt|metrics\.jsonl|summary\.json|stability\.png|robustness\.json"
)
CHECKPOINT = re.compile(r"(\d*)checkpoint\.pth\.tar")


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run, named as in the 2021 PrAC-LTH code.

    A search numbers them by round; `main_train.py` trains one network, whose files have no number (round None).
    """

    path: Path

    def checkpoint(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}checkpoint.pth.tar"

    def best(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}model_SA_best.pth.tar"

    def curves(self, round: int | None) -> Path:
        return self.path / f"{_number(round)}net_train.png"

    def rewinding(self, epoch: int | None, iteration: int | None = None) -> Path:
        """The rewinding weights: those after `iteration` optimiser steps if given, otherwise those at the end of
        (0-based) `epoch`. As in the 2021 code, the name counts the epochs done."""
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
    def stability_figure(self) -> Path:
        """Error along the line between two networks (main_stability.py)."""
        return self.path / "stability.png"

    @property
    def robustness(self) -> Path:
        """Accuracy under attack (main_robustness.py)."""
        return self.path / "robustness.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, highest round first; or the only one of main_train.py."""
        found = {file: CHECKPOINT.fullmatch(file.name) for file in self.files()}
        rounds = {file: int(match[1] or -1) for file, match in found.items() if match}
        return sorted(rounds, key=rounds.get, reverse=True)

    def files(self) -> list[Path]:
        """The files here that a run writes, recognised by name. Nothing else is ever deleted."""
        there = sorted(self.path.iterdir()) if self.path.is_dir() else []
        return [file for file in there if OWN.fullmatch(file.name)]

    def leftovers(self) -> list[Path]:
        """Temporary files of a run that was killed while writing: `.NAME.RANDOM`."""
        there = self.path.iterdir() if self.path.is_dir() else []
        return [file for file in there if file.name[0] == "." and OWN.fullmatch(file.name[1:].rpartition(".")[0])]


def _number(round: int | None) -> str:
    return "" if round is None else str(round)


def checkpoint_name(content: Mapping) -> str:
    """The name a run gives to a file with this content. Without a momentum key it is the network at its best epoch."""
    kind = "checkpoint" if "momentum" in content else "model_SA_best"
    return f"{_number(content['state'])}{kind}.pth.tar"


def progress(content: Mapping | None) -> tuple[int, int]:
    """How far a checkpoint is: its round, and how many epochs of it are done; both 0 where it does not say."""
    return (content or {}).get("state") or 0, (content or {}).get("epoch") or 0


def removed(file: Path) -> bool:
    """Remove a file, if it is there; whether it is gone."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
        return True
    return False


@contextmanager
def locked(directory: RunDirectory) -> Iterator[None]:
    """Hold the directory's lock, creating the directory if needed; InputError while another process holds it.

    The operating system releases the lock when the process ends, however it ends. If the body raises InputError, a
    directory created here is removed again.
    """
    created = [folder for folder in (directory.path, *directory.path.parents) if not folder.exists()]
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        lock = lock_file(directory.path / LOCK)
    except Timeout:
        raise InputError(
            f"another run is at work in {directory.path}: wait for its end, or choose another --save_dir"
        ) from None
    except OSError as error:
        raise InputError(f"--save_dir {directory.path} cannot be used: {write_failure(error)}") from None
    refused = False
    try:
        yield
    except InputError:
        refused = True
        raise
    finally:
        files = {directory.path / LOCK, Path(lock.lock_file) if lock else directory.path / LOCK}
        held = [file for file in files if not removed(file)]  # Windows removes no file that is open
        if lock:
            lock.release()
        for file in held:
            removed(file)
        with suppress(OSError):  # the directory may be gone, or no longer empty
            for folder in created if refused else []:  # NFS keeps the name of a removed file until it is closed
                folder.rmdir()
