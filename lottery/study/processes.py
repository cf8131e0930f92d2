"""Processes that run a script, forked on Linux from a server that has imported what the scripts import.

A short run spends more time importing torch and matplotlib than computing. What a run writes is the same to the bit.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]  # where the scripts are
PRELOADED = [  # none begins threads or touches a GPU, since neither survives a fork
    "torch._dynamo",  # which the first optimiser of a process imports
    "matplotlib.pyplot",
    "lottery.training.context",
    "lottery.training.plots",
    "lottery.search.control_sets",
    "lottery.search.imp",
    "lottery.search.prac_sets",
    "lottery.retraining.run",
    "lottery.sparse_training.run",
    "lottery.pruning_at_init.run",
]


class Running(Protocol):
    """A process that has been started, as `subprocess.Popen` has it: a negative status is a signal that ended it."""

    returncode: int | None

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self) -> int: ...


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Running:
    """Start a script with its arguments, with these environment variables besides its own; its output is appended to
    the log."""
    if has_server(environment):
        return Forked(command, log, environment)
    with log.open("ab") as output:
        return subprocess.Popen(
            words_of(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
        )


def words_of(command: Sequence[str]) -> list[str]:
    """The words that start a script with its arguments in a process of its own."""
    return [sys.executable, "-u", str(ROOT / command[0]), *command[1:]]


# --- forked by a server -----------------------------------------------------------------------------------------------

_has_server: bool | None = None  # None until the first run begins


def has_server(environment: Mapping[str, str]) -> bool:
    """Whether there is a server; the first call starts it with these variables, which torch reads when it is imported.
    Where there can be none, a note says so, once."""
    global _has_server
    if _has_server is None:
        _has_server = sys.platform == "linux" and _starts_server(environment)
    return _has_server


def _starts_server(environment: Mapping[str, str]) -> bool:
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    # Before Python 3.12.8 the server does not search the directories that this process does (CPython's issue 117378).
    path = os.pathsep.join(filter(None, paths))
    try:
        with variables({**environment, "PYTHONPATH": path}):
            forkserver.ensure_running()
    except OSError as error:
        print(f"study.py: note: every run imports torch itself, since no process can be forked: {error}", flush=True)
        return False
    return True


@contextmanager
def variables(changed: Mapping[str, str]) -> Iterator[None]:
    """Within it the environment has these variables."""
    before = dict(os.environ)
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Forked:
    """A process that the server forks."""

    returncode: int | None = None

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        target, given = run_script, (list(command), log, os.environ | environment, Path.cwd())
        self.process: ForkServerProcess = multiprocessing.get_context("forkserver").Process(target=target, args=given)
        self.process.start()

    def poll(self) -> int | None:
        self.returncode = self.process.exitcode
        return self.returncode

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self) -> int:
        self.process.join()
        self.returncode = self.process.exitcode
        assert self.returncode is not None
        return self.returncode


def run_script(command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> None:
    """Run a script in this process as `python -u SCRIPT ARGUMENTS` would."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("ab") as output:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))
    runpy.run_path(sys.argv[0], run_name="__main__")
