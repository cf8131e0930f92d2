"""What the long tests share: their flags, their bounds, and what they say at the end."""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.report import aligned
from lottery.cli import flags
from utils import RunError

MOST_FAILURES = 20  # after which a test has said enough


def parser(doc: str, count: int, counted: str, minutes: float) -> flags.Parser:
    """A parser with the flags that every test takes."""
    parser = flags.Parser(doc)
    parser.add_argument("--count", type=flags.positive_int, default=count, help=counted)
    parser.add_argument("--minutes", type=flags.positive, default=minutes, help="end after so many, counted out or not")
    parser.add_argument("--seed", type=flags.count_from_0, default=0, help="what is drawn at random follows from it")
    parser.add_argument("--first", type=flags.count_from_0, default=0, help="number of the first case: repeats one")
    return parser


class Campaign:
    """A row of cases, each a function of the seed and its number, with what they came to."""

    def __init__(self, name: str, args: argparse.Namespace, minutes: float | None = None):
        self.name, self.args = name, args
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        self.began = time.monotonic()
        self.seconds = 0.0
        self.end = self.began + 60 * (minutes or args.minutes)

    def numbers(self, counted: str) -> Iterator[int]:
        """Case after case until the tally holds --count of what is `counted`, time is up, or too much has failed."""
        number = self.args.first
        while self.tally[counted] < self.args.count and not self.late:
            if len(self.failures) >= MOST_FAILURES:
                return
            yield number
            number += 1
            self.seconds = time.monotonic() - self.began

    def random(self, number: int) -> np.random.Generator:
        """The chance of one case."""
        return np.random.default_rng([self.args.seed, number])

    def fail(self, number: int, *lines: str) -> None:
        """A case went wrong: say so at once, with all that is needed to see it again."""
        again = f"case {number} of --seed {self.args.seed} (--first {number})"
        self.failures.append("\n  ".join([f"{self.name}, {again}:", *lines]))
        print(self.failures[-1], file=sys.stderr, flush=True)

    @property
    def late(self) -> bool:
        return time.monotonic() > self.end


def run_cases(
    rows: Mapping[str, Callable[[Campaign, int], object]], args: argparse.Namespace, counted: str, folder: Path
) -> list[Campaign]:
    """Case after case of each row, which has its name and does one in `folder`/case; they share the minutes."""
    campaigns = []
    for name, run_case in rows.items():
        campaigns.append(Campaign(name, args, args.minutes / len(rows)))
        for number in campaigns[-1].numbers(counted):
            run_case(campaigns[-1], number)
            shutil.rmtree(folder / "case")
    return campaigns


def conclude(campaigns: list[Campaign], columns: list[str]) -> None:
    """The table of what was done; RunError if anything failed."""
    rows = [["", *columns, "seconds", "failures"]]
    for campaign in campaigns:
        cells = [str(campaign.tally[column]) for column in columns]
        rows.append([campaign.name, *cells, f"{campaign.seconds:.0f}", str(len(campaign.failures))])
    print("\n".join(aligned(rows)))
    failed = sum(len(campaign.failures) for campaign in campaigns)
    print(f"seed {campaigns[0].args.seed}: {failed or 'nothing'} failed")
    if failed:
        raise RunError(f"{failed} cases failed, they are told above")


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for all that a test writes, which goes with it; what failed is moved out of it by `keep`."""
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        yield Path(folder)


def keep(folder: Path) -> str:
    """Where the files of a case that failed are from now on, in a sentence."""
    kept = Path(tempfile.mkdtemp(prefix="stress-failed-"))
    shutil.copytree(folder, kept, dirs_exist_ok=True)
    return f"its files are in {kept}"
