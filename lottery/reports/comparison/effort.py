"""Accuracy and all that it took, in optimiser steps or training FLOPs: of the search, and of training its ticket."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lottery.checkpointing.script_names import Script
from lottery.reports.comparison.accuracy import ROUNDING, log_ratio, rounded
from lottery.reports.comparison.cost import SearchCosts, TicketCost, is_pruned_before, scoring_cost, training_row
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.results.ticket_runs import FOREIGN, Run
from lottery.training.costs import sum_or_none, training_flops


class Spending(NamedTuple):
    """What is counted: by the cost of a search, and by the run of a training; None where it is not recorded."""

    of_search: Callable[[TicketCost], float | None]
    of_training: Callable[[Run], float | None]


STEPS = Spending(lambda cost: cost.steps, lambda run: training_row(run)["steps"])
FLOPS = Spending(
    lambda cost: cost.training_flops, lambda run: training_flops(run.summary.get("flops", {}), training_row(run))
)


class EffortPoint(NamedTuple):
    """Networks of one density: means over seeds, and the accuracies' standard deviation (None for one seed)."""

    density: float
    spent: float  # optimiser steps, or training FLOPs, in all
    accuracy: float
    deviation: float | None


@dataclass(frozen=True)
class EffortLine:
    """A method's networks from dense to sparse. `note`: what tells them from other networks of the method."""

    method: Method
    points: Sequence[EffortPoint]
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.method.name}{self.note}"


def ticket_lines(task: Task, spending: Spending = STEPS) -> list[EffortLine]:
    """Of each method of retrained tickets whose searches are among the runs, or that were pruned before training: what
    both took together."""
    costs = {
        (method.search, run.seed, run.settings.get("density")): SearchCosts(run).by_ticket
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
            by_ticket = costs.get((method.search, settings.get("seed"), settings.get("density")), [])
            if is_pruned_before(method):
                k, by_ticket = 1, [scoring_cost(run)]
            if k and len(by_ticket) >= k:
                row = training_row(run)
                both = sum_or_none([spending.of_search(by_ticket[k - 1]), spending.of_training(run)])
                found[rounded(row["density"])].append((both, row["test"]))
        lines.append(EffortLine(method, _points(found)))
    return [line for line in lines if line.points]


def steps_at(line: EffortLine, density: float) -> float | None:
    return next((point.spent for point in line.points if log_ratio(point.density, density) <= ROUNDING), None)


def search_lines(task: Task, spending: Spending = STEPS) -> list[EffortLine]:
    """Of the networks that the searches themselves trained: what was spent up to the end of their round."""
    lines = []
    for method in task.by_kind(SEARCH):
        found = defaultdict(list)
        for run in method.runs:
            for row, cost in zip(run.rounds, SearchCosts(run).by_round, strict=False):
                found[rounded(row["density"])].append((spending.of_search(cost), row["test"]))
        lines.append(EffortLine(method, _points(found)))
    return [line for line in lines if line.points]


def dense_points(task: Task, spending: Spending = STEPS) -> list[EffortPoint]:
    """Of each method of the dense network."""
    return [
        point
        for method in task.by_kind(DENSE)
        for point in _points({1.0: [(spending.of_training(run), training_row(run)["test"]) for run in method.runs]})
    ]


# --- training FLOPs ---------------------------------------------------------------------------------------------------


def flops_lines(task: Task) -> list[EffortLine]:
    """Accuracy against training FLOPs, beside sparse training or tickets that are pruned before they train; nothing
    where there are neither: then steps tell as much.

    Of tickets of searches in rounds, the search and the training; of networks of main_dst.py their one training, and of
    its tickets both; of tickets of main_init.py the scoring and their training; of those of main_elastic.py their
    training alone.
    """
    trained = [method for method in task.by_kind(SEARCH) if method.settings["script"] == Script.DST]
    alone = [method for method in task.by_kind(TICKETS) if method.is_elastic]
    if not trained and not alone and not any(map(is_pruned_before, task.methods)):
        return []
    found = [line for line in search_lines(task, FLOPS) if line.method in trained]
    lines = [replace(line, note=", as found") for line in found]
    lines += [replace(line, note=", ticket" if _is_of(line, trained) else "") for line in ticket_lines(task, FLOPS)]
    for method in alone:
        pairs = defaultdict(list)
        for run in method.runs:
            pairs[rounded(training_row(run)["density"])].append((FLOPS.of_training(run), training_row(run)["test"]))
        lines.append(EffortLine(method, _points(pairs)))
    return [line for line in lines if line.points]


def _is_of(line: EffortLine, methods: Sequence[Method]) -> bool:
    return line.method.search in [method.search for method in methods]


def _points(found: Mapping[float, Sequence[tuple[float | None, float | None]]]) -> list[EffortPoint]:
    """From dense to sparse, of (spent, accuracy) by density; without networks of which either is not known."""
    known = {density: [pair for pair in pairs if None not in pair] for density, pairs in found.items()}
    points = []
    for density in sorted(filter(known.get, known), reverse=True):
        spent, accuracies = zip(*known[density], strict=True)
        points.append(EffortPoint(density, spread(spent)[0], *spread(accuracies)))
    return points
