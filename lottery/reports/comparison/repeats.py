"""Runs that repeat another: of those with equal settings, seed and ticket one alone is counted."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from lottery.results.runs import AnyRun, Log
from utils import listed

SomeRun = TypeVar("SomeRun", bound=AnyRun)
MOST_NAMED = 3  # runs that one note names; the chapter on runs has them all


def first_of_each_(runs: Sequence[SomeRun], key: Callable[[SomeRun], Hashable]) -> list[SomeRun]:
    """The first run of each key; in the others the name of that one is entered as `repeats`."""
    chosen: dict[Hashable, SomeRun] = {}
    for run in runs:
        first = chosen.setdefault(key(run), run)
        run.repeats = None if first is run else first.name
    return list(chosen.values())


def log_repeats(runs: Sequence[AnyRun], what: str, log: Log) -> None:
    """One sentence for all of these runs that repeat `what` of another."""
    found = [run for run in runs if run.repeats]
    if len(found) == 1:
        log(f"{found[0].name} repeats {what} of {found[0].repeats}, which alone is counted.")
    elif found:
        names = listed([f"{run.name} ({run.repeats})" for run in found], MOST_NAMED)
        log(f"{len(found)} runs repeat {what} of another (in brackets), which alone is counted: {names}.")
