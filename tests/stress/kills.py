"""Kill runs at random moments, give the same command again until they end, and compare with unbroken ones, to the bit.

    python -m tests.stress.kills --count 100

For each of the three scripts at least --count times SIGKILL, some of them while a file is written, one in ten to a
fresh process and the others to a fork that has imported everything already; beside them SIGINT and SIGTERM, after
which the exit status and the sentence with the command that goes on are looked at. Exit status 0 if every run ended
with the very files of an unbroken one, else 1.
"""

import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.script import run_script
from tests.stress import campaign
from tests.stress.campaign import Campaign, conclude, keep, workplace
from tests.stress.processes import LONGEST, Ended, Process, finish, prepare, running
from tests.stress.runs import VARIANTS, Runs, saving
from tests.stress.same_files import differences
from utils import RunError

COLUMNS = ["SIGKILL", "in a write", "fresh", "SIGINT, SIGTERM", "runs"]
INTERVALS = ("0", "0.3", "60")  # seconds at stake: every epoch is written, some are, only beginnings and ends are
FRESH, GENTLE, AT_A_WRITE = 0.1, 0.15, 0.4  # shares of the attempts
MOST_ATTEMPTS = 200
LAST_WORDS = re.compile(r"^(the newest ticket, .* is in|test accuracy at the best validation epoch)", re.MULTILINE)


class Blow(NamedTuple):
    """A signal `after` so many seconds; with `then` it waits for the next file to be begun, and so many more."""

    number: int
    after: float
    then: float | None
    fresh: bool

    def told(self) -> str:
        moment = f"{self.after:.3f} s" + ("" if self.then is None else f", next write + {1000 * self.then:.1f} ms")
        return f"{signal.Signals(self.number).name} after {moment}{' (fresh process)' if self.fresh else ''}"


NONE = Blow(signal.SIGKILL, LONGEST, None, False)  # after which nothing is left to strike


def draw(random: np.random.Generator, seconds: float, start_up: float) -> Blow:
    """A blow to a run that lasts so many seconds when it is not disturbed, longer by `start_up` in a fresh process."""
    fresh = random.random() < FRESH
    number = random.choice([signal.SIGINT, signal.SIGTERM]) if random.random() < GENTLE else signal.SIGKILL
    after = random.uniform(0, seconds + (start_up if fresh else 0))
    then = random.uniform(0, 0.012) if random.random() < AT_A_WRITE else None
    return Blow(int(number), after, then, fresh)


def strike(process: Process, blow: Blow, directory: RunDirectory) -> bool:
    """Whether the blow was dealt before the process had ended."""
    if process.wait(blow.after):
        return False
    if blow.then is not None:
        while not directory.leftovers():
            if process.wait(0.0003):
                return False
        time.sleep(blow.then)
    if process.wait(0):
        return False
    process.send(blow.number)
    return True


class Case:
    """One run, struck down again and again until it ends."""

    def __init__(self, runs: Runs, row: Campaign, number: int, start_up: float):
        self.row, self.number, self.start_up = row, number, start_up
        self.random = row.random(number)
        script, variant = row.name, number % len(VARIANTS[row.name])
        self.whole, self.seconds = runs.unbroken(script, variant)
        self.folder = runs.folder / "case"
        interval = self.random.choice(INTERVALS)
        self.job = saving(runs.job(script, variant), self.folder / "run", save_interval=interval)
        self.told: list[str] = []

    def run(self) -> None:
        for _ in range(MOST_ATTEMPTS):
            blow = draw(self.random, self.seconds, self.start_up)
            if self.row.late:
                blow = NONE
            ended, struck = self.attempt(blow)
            self.told.append(f"{blow.told()} -> {ended.status}" if struck else f"ended with {ended.status}")
            if trouble := self.trouble(ended, blow.number if struck else 0):
                return self.fail(trouble, ended.err)
            if ended.status == 0:
                self.row.tally["runs"] += 1
                if found := differences(self.folder / "run", self.whole):
                    self.fail("other files than those of an unbroken run:", *found)
                return
        self.fail(f"it never ended in {MOST_ATTEMPTS} attempts")

    def attempt(self, blow: Blow) -> tuple[Ended, bool]:
        directory = RunDirectory(self.folder / "run")
        with running(self.job, self.folder / "said", blow.fresh) as (process, ends):
            struck = strike(process, blow, directory)
        if struck and ends[0].status == -signal.SIGKILL:
            self.row.tally["SIGKILL"] += 1
            self.row.tally["fresh"] += blow.fresh
            self.row.tally["in a write"] += bool(directory.leftovers())
        elif struck and ends[0].status:
            self.row.tally["SIGINT, SIGTERM"] += 1
        return ends[0], struck

    def trouble(self, ended: Ended, number: int) -> str | None:
        """What is wrong with how an attempt ended that was sent signal `number`, or none (0)."""
        if ended.status == 0 or (number == signal.SIGKILL and ended.status == -number):
            return None
        if number == 0 or number == signal.SIGKILL:
            return f"exit status {ended.status} that no signal explains"
        if ended.status in (-number, 1) and (not ended.out or LAST_WORDS.search(ended.out)):
            return None  # before the script's first line, or after its last, Python ends in its own way
        again = f"To go on: python {self.job.script}.py {shlex.join(self.job.words)}"
        if ended.status != 128 + number or len(ended.complaints) != 1 or again not in ended.err:
            return (
                f"exit status {ended.status} after {signal.Signals(number).name}, or not one line that says {again!r}"
            )
        return None

    def fail(self, *lines: str) -> None:
        self.row.fail(self.number, self.job.told(), *self.told, *lines, keep(self.folder))


def parser():
    return campaign.parser(__doc__, count=100, counted="SIGKILLs to each script, at least", minutes=30)


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    prepare()
    rows = []
    with workplace() as folder:
        runs = Runs(folder)
        for script in VARIANTS:
            rows.append(Campaign(script, args, args.minutes / len(VARIANTS)))
            start_up = fresh_start(runs, script)
            for number in rows[-1].numbers("SIGKILL"):
                Case(runs, rows[-1], number, start_up).run()
                shutil.rmtree(folder / "case")
    conclude(rows, COLUMNS)


def fresh_start(runs: Runs, script: str) -> float:
    """The seconds by which a fresh process takes longer than a fork; RunError if it leaves other files."""
    (whole, seconds), folder = runs.unbroken(script, 0), runs.folder / f"{script}_fresh"
    ended = finish(saving(runs.job(script, 0), folder), runs.folder / "said", fresh=True)
    if ended.status or (found := differences(folder, whole)):
        raise RunError(f"{script}.py in a fresh process: {ended.err or found}")
    return ended.seconds - seconds


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "tests.stress.kills", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
