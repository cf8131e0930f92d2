"""Which jobs of a cluster are queued or run, as the cluster itself says."""

import getpass
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

LOOK_INTERVAL = 30.0  # seconds between two questions to SLURM, whose controller serves all users
ABSENCE = 60.0  # seconds for which a job must be missing, since shared disks show its result later
GOES_ON = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "COMPLETING")  # states in sacct


class Queue(Protocol):
    """The jobs of a cluster."""

    def holds(self, number: str) -> bool:
        """Whether this job is queued or running."""
        ...

    def is_over(self, number: str) -> bool:
        """Whether this job is neither, and what it has left can be seen."""
        ...

    def last_state(self, number: str) -> str:
        """How this job ended, in the cluster's words; nothing where they are not known."""
        ...


class SlurmQueue:
    """The jobs of this user in SLURM, by `squeue`, which needs no accounting; where that fails, the last answer holds,
    and every job counts as queued while there is none. A job is over when an answer lacks it that was given `ABSENCE`
    after it was first found missing: one that was submitted meanwhile is in that answer."""

    def __init__(self) -> None:
        self.numbers: set[str] | None = None
        self.asked = self.answered = float("-inf")
        self.missed: dict[str, float] = {}  # when a job was first missing

    def holds(self, number: str) -> bool:
        self.look()
        return self.numbers is None or number in self.numbers

    def is_over(self, number: str) -> bool:
        if self.holds(number):
            self.missed.pop(number, None)
            return False
        missing_since = self.missed.setdefault(number, time.monotonic())
        if self.answered - missing_since < ABSENCE:
            return False
        if self.last_state(number).startswith(GOES_ON):
            del self.missed[number]
            return False
        return True

    def look(self) -> None:
        """Ask SLURM, unless it has just been asked."""
        if time.monotonic() - self.asked < LOOK_INTERVAL:
            return
        answer = answer_of(["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%A"])
        self.asked = time.monotonic()
        if answer is not None:
            self.numbers, self.answered = set(answer.split()), self.asked

    def last_state(self, number: str) -> str:
        answer = answer_of(["sacct", "-X", "-n", "-P", "-o", "State", "-j", number])
        return answer.strip().partition("\n")[0] if answer else ""


class LocalQueue:
    """Jobs of this machine, by their processes; `folder` is that of their files, which is among the words of each."""

    def __init__(self, folder: Path):
        self.folder = folder

    def holds(self, number: str) -> bool:
        """True also where `ps` cannot tell: a job that is taken for gone would be started once more."""
        command = ["ps", "-ww", "-p", number, "-o", "stat=", "-o", "args="]
        try:
            done = subprocess.run(command, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return True
        if done.returncode:
            return bool(done.stderr)  # there is no such process if it says nothing
        if done.stdout.startswith(b"Z"):  # ended, and not yet waited for
            return False
        return os.fsencode(self.folder) in (command_line(number) or done.stdout)

    def is_over(self, number: str) -> bool:
        return not self.holds(number)

    def last_state(self, number: str) -> str:
        return ""


def command_line(number: str) -> bytes:
    """The command of a process, its words ended by zeros, as Linux has it; nothing elsewhere. `ps` prints a question
    mark for each letter that is none of its locale's."""
    try:
        return Path("/proc", number, "cmdline").read_bytes()
    except OSError:
        return b""


def answer_of(command: Sequence[str]) -> str | None:
    """What a command prints; None if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
