"""Runs of the scripts in processes of their own, which can be killed at any moment.

A process is a fork of this one, which has imported all that a script imports, so that a run begins within
milliseconds; or a fresh one, as from a shell. Either is a real process with a real end.
"""

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from lottery.checkpointing.signals import SIGNALS

ROOT = Path(__file__).parents[2]
IMPORTED = ("main_imp", "main_PrAC_imp", "main_train", "verify", "models.build")
LONGEST = 120.0  # seconds of a run of a few seconds; beyond it hangs


class Job(NamedTuple):
    """A script's module and its arguments."""

    script: str
    words: tuple[str, ...]

    def told(self) -> str:
        return " ".join(["python", f"{self.script}.py", *self.words])


class Ended(NamedTuple):
    """How a process ended: its exit status, minus the signal's number if one killed it, and what it said."""

    status: int
    seconds: float
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        return self.err.splitlines()


def prepare() -> None:
    """Import all that the scripts do, on one thread: a fork takes no other threads along, and bits depend on them."""
    torch.set_num_threads(1)
    for module in IMPORTED:
        __import__(module)
    import matplotlib.pyplot
    import sklearn.datasets

    assert matplotlib.pyplot and sklearn.datasets


class Process:
    """A run that is under way; what it says goes to two files in `log`."""

    def __init__(self, pid: int, log: Path):
        self.pid, self.log, self.began = pid, log, time.perf_counter()
        self.descriptor = os.pidfd_open(pid)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        return bool(select.select([self.descriptor], [], [], max(seconds, 0.0))[0])

    def send(self, number: int) -> None:
        """A signal; to a process that has just ended it means nothing."""
        os.kill(self.pid, number)

    def ended(self) -> Ended:
        """Once it has ended."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        said = [(self.log / name).read_text(errors="replace") for name in ("out", "err")]
        return Ended(os.waitstatus_to_exitcode(status), time.perf_counter() - self.began, *said)


@contextmanager
def running(
    job: Job, log: Path, fresh: bool = False, first: Callable[[], object] | None = None
) -> Iterator[tuple[Process, list[Ended]]]:
    """A process at work on `job`, and a list that holds its end once the block is left; it does not outlive the block.

    `first` is called in the new process before anything else.
    """
    log.mkdir(parents=True, exist_ok=True)
    process, ends = Process(_fork(job, log, fresh, first), log), []
    try:
        yield process, ends
        if not process.wait(LONGEST):
            process.send(signal.SIGABRT)
    except BaseException:
        process.send(signal.SIGKILL)
        raise
    finally:
        ends.append(process.ended())


def finish(job: Job, log: Path, fresh: bool = False, first: Callable[[], object] | None = None) -> Ended:
    """Run `job` to its own end."""
    with running(job, log, fresh, first) as (_, ends):
        pass
    return ends[0]


def _fork(job: Job, log: Path, fresh: bool, first: Callable[[], object] | None) -> int:
    """The new process's number. Signals wait until its handlers are those of a process that has just begun."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid == 0:
        _work(job, log, fresh, first)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return pid


def _work(job: Job, log: Path, fresh: bool, first: Callable[[], object] | None) -> NoReturn:
    status = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(log / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(ROOT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if first:
            first()
        if fresh:
            _become([sys.executable, f"{job.script}.py", *job.words])
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        status = __import__(job.script).main(list(job.words))
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _become(command: Sequence[str]) -> NoReturn:
    os.execve(command[0], command, os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
