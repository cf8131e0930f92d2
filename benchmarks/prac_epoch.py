"""A whole epoch of a PrAC search, part by part: train, validate, look at the test set, early-bird test, checkpoint.

plain looks at the test set and writes a file after every epoch, as the 2021 code does. ours looks at the test set, and
writes a second file, only when validation is the best so far; how often that is depends on the run, so both kinds of
epoch are reported. Nor does ours write after every epoch, but as --save_interval has it by default: once in so many
epochs as fit into a minute, of which each counts its share.

Training and evaluation are timed on a part of the data and count in proportion to the whole; the early-bird test and
the checkpoint cost the same whatever the data, and count as they are.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cases import TRAINING, Problem
from benchmarks.ours import Ours
from benchmarks.plain import Plain
from lottery.training.timing import elapsed_seconds, interleave

SAVE_INTERVAL = 60.0  # seconds, the default of --save_interval
PER_EXAMPLE = ("training", "validation", "test")
WORK = ("training", "validation", "early bird")
CHECKPOINT = "checkpoint"

Lap = dict[str, float]  # part -> seconds


def run_parts(contestant: Plain | Ours, folder: Path) -> Lap:
    """Seconds of each part of an epoch, one after another; of ours, its checkpoint in every way."""
    contestant.enter()
    contestant.warm_up()
    parts: dict[str, Callable[[], object]] = {
        "training": contestant.train,
        "validation": contestant.validate,
        "test": contestant.look_at_test,
        "early bird": contestant.early_bird,
    }
    return {
        name: elapsed_seconds(part, contestant.device)
        for name, part in (parts | checkpoints(contestant, folder)).items()
    }


def checkpoints(contestant: Plain | Ours, folder: Path) -> dict[str, Callable[[], object]]:
    if isinstance(contestant, Plain):
        return {CHECKPOINT: partial(contestant.checkpoint, folder)}
    ways = {
        "kept": {"interval": math.inf},
        "written": {},
        "kept, new best": {"interval": math.inf, "new_best": True},
        "written, new best": {"new_best": True},
    }
    return {name: partial(contestant.checkpoint, folder, **options) for name, options in ways.items()}


def measure(contestants: dict[str, Plain | Ours], problem: Problem, folder: Path, repeats: int) -> dict:
    """Kind of epoch -> seconds of a full-sized one, its parts, and the early-bird test's share of it."""
    tasks = {name: partial(run_parts, contestant, folder) for name, contestant in contestants.items()}
    results = {}
    for name, laps in interleave(tasks, repeats).items():
        laps = [full_sized(lap, TRAINING / problem.trained) for lap in laps]
        if isinstance(contestants[name], Plain):
            results[name] = median_epoch(laps, (*WORK, "test", CHECKPOINT))
        else:
            results[name] = median_epoch([with_checkpoint(lap, WORK) for lap in laps], (*WORK, CHECKPOINT))
            name, work = f"{name}, new best", (*WORK, "test")
            results[name] = median_epoch(
                [with_checkpoint(lap, work, ", new best") for lap in laps], (*work, CHECKPOINT)
            )
    return results


def full_sized(lap: Lap, scale: float) -> Lap:
    return {part: seconds * (scale if part in PER_EXAMPLE else 1) for part, seconds in lap.items()}


def with_checkpoint(lap: Lap, work: Sequence[str], kind: str = "") -> Lap:
    """The lap with an average checkpoint: written every SAVE_INTERVAL seconds of `work`, else kept in memory."""
    epochs = max(1, int(SAVE_INTERVAL / sum(lap[part] for part in work)))
    kept, written = lap[f"kept{kind}"], lap[f"written{kind}"]
    return lap | {CHECKPOINT: kept + (written - kept) / epochs}


def median_epoch(laps: list[Lap], parts: Sequence[str]) -> dict:
    """The median epoch of these parts, and the median of each."""
    totals = [sum(lap[part] for part in parts) for lap in laps]
    shares = [lap["early bird"] / total for lap, total in zip(laps, totals, strict=True)]
    return {
        "seconds": statistics.median(totals),
        "repeats": totals,
        "parts": {part: statistics.median(lap[part] for lap in laps) for part in parts},
        "early_bird_share": statistics.median(shares),
    }
