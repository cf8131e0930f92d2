"""Accuracies by epoch of retrained tickets and of the dense network, means over seeds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lottery.reports.comparison.accuracy import ROUNDING, log_ratio
from lottery.reports.comparison.masks import evenly_spaced
from lottery.reports.comparison.methods import DENSE, TICKETS, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.results.ticket_runs import Run

MOST_DENSITIES = 3
MEASURED = ("validation", "test")


class EpochPoint(NamedTuple):
    """What a method's runs reached after an epoch, in percent: mean and standard deviation; None where one of them did
    not measure it."""

    epoch: int
    validation: tuple[float | None, float | None]
    test: tuple[float | None, float | None]


class TrainingCurve(NamedTuple):
    """The trainings of a method's tickets of one density, or of the dense network."""

    method: Method
    density: float
    runs: int
    points: list[EpochPoint]


def training_curves(task: Task) -> list[TrainingCurve]:
    """From dense to sparse the curves at a few densities of retrained tickets, the sparsest among them, and those of
    the dense network. Altered tickets have a chapter of their own. Only runs with lines in metrics.jsonl count."""
    by_method = {method: runs_by_density(method) for method in task.methods if method.kind in (TICKETS, DENSE)}
    curves = [
        TrainingCurve(method, density, len(runs), points)
        for method, by_density in by_method.items()
        if not method.is_altered
        for density, runs in by_density.items()
        if (points := epoch_points(runs))
    ]
    sparse = distinct(curve.density for curve in curves if curve.density < 1)
    chosen = [1.0, *(sparse[place] for place in evenly_spaced(range(len(sparse)), MOST_DENSITIES))]
    shown = [curve for curve in curves if any(log_ratio(curve.density, density) <= ROUNDING for density in chosen)]
    return sorted(shown, key=lambda curve: -curve.density) if sparse else []


def runs_by_density(method: Method) -> dict[float, list[Run]]:
    """The runs with metrics; densities that are equal up to rounding count as one."""
    found: dict[float, list[Run]] = defaultdict(list)
    for run in (run for run in method.runs if run.epochs):
        same = next((density for density in found if log_ratio(density, run.density) <= ROUNDING), run.density)
        found[same].append(run)
    return found


def distinct(densities) -> list[float]:
    """From dense to sparse; those that are equal up to rounding once."""
    found: list[float] = []
    for density in sorted(densities, reverse=True):
        if not found or log_ratio(found[-1], density) > ROUNDING:
            found.append(density)
    return found


def epoch_points(runs: Sequence[Run]) -> list[EpochPoint]:
    """The epochs that all of these runs have: means over some of them would jump."""
    lines = [{line["epoch"]: line for line in run.epochs} for run in runs]
    shared = sorted(set.intersection(*(set(by_epoch) for by_epoch in lines)))
    return [EpochPoint(epoch, *(measured([by[epoch] for by in lines], name) for name in MEASURED)) for epoch in shared]


def measured(lines: Sequence[dict], name: str) -> tuple[float | None, float | None]:
    values = [line.get(name) for line in lines]
    return (None, None) if None in values else spread(values)
