"""Accuracy and all the optimiser steps that it took: of the search, and of the training of its ticket."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lottery.checkpointing.script_names import Script
from lottery.reports.comparison.accuracy import ROUNDING, log_ratio, rounded
from lottery.reports.comparison.cost import SearchCosts, training_row
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.results.ticket_runs import FOREIGN


class EffortPoint(NamedTuple):
    """Networks of one density: means over seeds, and the accuracies' standard deviation (None for one seed)."""

    density: float
    steps: float  # optimiser steps in all
    accuracy: float
    deviation: float | None


@dataclass(frozen=True)
class EffortLine:
    """A method's networks from dense to sparse."""

    method: Method
    points: Sequence[EffortPoint]


def ticket_lines(task: Task) -> list[EffortLine]:
    """Of each method of retrained tickets whose searches are among the runs: the steps of both together."""
    costs = {
        (method.search, run.seed, run.settings.get("density")): SearchCosts(run).by_round
        for method in task.by_kind(SEARCH)
        for run in method.runs
        if run.script != FOREIGN
    }
    lines = []
    for method in task.by_kind(TICKETS):
        found = defaultdict(list)
        for run in method.runs:
            settings, k = (run.ticket or {}).get("settings") or {}, (run.ticket or {}).get("prunings")
            k = 1 if settings.get("script") == Script.DST else k
            by_round = costs.get((method.search, settings.get("seed"), settings.get("density")), [])
            if k and len(by_round) >= k:
                row = training_row(run)
                found[rounded(row["density"])].append((by_round[k - 1].steps + row["steps"], row["test"]))
        lines.append(EffortLine(method, _points(found)))
    return [line for line in lines if line.points]


def steps_at(line: EffortLine, density: float) -> float | None:
    return next((point.steps for point in line.points if log_ratio(point.density, density) <= ROUNDING), None)


def search_lines(task: Task) -> list[EffortLine]:
    """Of the networks that the searches themselves trained: the steps up to the end of their round."""
    lines = []
    for method in task.by_kind(SEARCH):
        found = defaultdict(list)
        for run in method.runs:
            for row, cost in zip(run.rounds, SearchCosts(run).by_round, strict=False):
                found[rounded(row["density"])].append((cost.steps, row["test"]))
        lines.append(EffortLine(method, _points(found)))
    return [line for line in lines if line.points]


def dense_points(task: Task) -> list[EffortPoint]:
    """Of each method of the dense network."""
    return [
        point
        for method in task.by_kind(DENSE)
        for point in _points({1.0: [(training_row(run)["steps"], training_row(run)["test"]) for run in method.runs]})
    ]


def _points(found: Mapping[float, Sequence[tuple[int, float | None]]]) -> list[EffortPoint]:
    """From dense to sparse, of (steps, accuracy) by density; without networks whose accuracy is not known."""
    known = {density: [pair for pair in pairs if pair[1] is not None] for density, pairs in found.items()}
    points = []
    for density in sorted(filter(known.get, known), reverse=True):
        steps, accuracies = zip(*known[density], strict=True)
        points.append(EffortPoint(density, spread(steps)[0], *spread(accuracies)))
    return points
