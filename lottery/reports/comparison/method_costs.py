"""What methods spent on their tickets: means over seeds, and what they saved against IMP at the same density."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lottery.reports.comparison.accuracy import ROUNDING, Curve, has_training_seeds, log_ratio, point_at, rounded
from lottery.reports.comparison.cost import SearchCosts, TicketCost, is_pruned_before, scoring_cost
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.results.ticket_runs import FOREIGN


@dataclass
class MethodCost:
    """What a method's runs had spent on the ticket after one number of prunings."""

    method: Method
    by_seed: list[TicketCost]

    @property
    def prunings(self) -> int:
        return self.by_seed[0].prunings

    @property
    def density(self) -> float:
        """The mean over seeds, which differ where whole blocks are pruned."""
        return rounded(statistics.fmean(cost.density for cost in self.by_seed))

    def mean(self, value: Callable[[TicketCost], float | None]) -> float | None:
        """The mean over seeds; None if one of them did not record it."""
        values = [value(cost) for cost in self.by_seed]
        return None if None in values else statistics.fmean(values)

    def mean_saved_by(self, part: str) -> float | None:
        """The mean over seeds of the fraction of steps that one cause saved, 0 for what a run does not do; None if one
        of them did not record it."""
        return self.mean(lambda cost: None if cost.saved_by is None else cost.saved_by.get(part, 0.0))


def method_costs(method: Method, seeds: Container | None = None) -> list[MethodCost]:
    """By number of prunings, as far as all of its seeds, or all of these, have got: further means would be over other
    seeds. A method that finds one ticket a run has runs for each density."""
    by_density: dict[float, list[list[TicketCost]]] = defaultdict(list)
    runs = [run for run in method.runs if seeds is None or run.seed in seeds]
    for run in (run for run in runs if run.script != FOREIGN):
        by_density[run.settings.get("density", 0)].append(SearchCosts(run).by_ticket)
    found = [by_density[density] for density in sorted(by_density, reverse=True)]
    return [MethodCost(method, list(by_seed)) for by_run in found for by_seed in zip(*by_run, strict=False)]


def ticket_costs(task: Task, seeds: Mapping[str, Container]) -> list[MethodCost]:
    """Of all searches, by the seeds of their tickets, and of tickets that were pruned before training."""
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method, seeds.get(method.search))]
    for method in filter(is_pruned_before, task.methods):
        by_density: dict[float, list[TicketCost]] = defaultdict(list)
        for run in method.runs:
            by_density[rounded(run.density)].append(scoring_cost(run))
        costs += [MethodCost(method, found) for found in by_density.values()]
    return costs


def searched_seeds(curves: Sequence[Curve], density: float) -> dict[str, set]:
    """By search the seeds whose tickets of this density are in a mean: steps are means over them, too."""
    seeds: dict[str, set] = {}
    for curve in curves:
        point = point_at(curve.points, density)
        if point and not has_training_seeds(curve.method):
            seeds.setdefault(curve.method.search, set()).update(point.values)
    return seeds


def cost_at(search: str, costs: Iterable[MethodCost], density: float) -> MethodCost | None:
    fitting = (cost for cost in costs if cost.method.search == search)
    return next((cost for cost in fitting if log_ratio(cost.density, density) <= ROUNDING), None)


def last_shared(costs: Sequence[MethodCost]) -> list[MethodCost]:
    """Of each method the ticket of the lowest density that all have reached; its last one if there is no such."""
    by_method: dict[int, list[MethodCost]] = defaultdict(list)
    for cost in costs:
        by_method[id(cost.method)].append(cost)
    for first in sorted(costs, key=attrgetter("density")):
        found = [next((cost for cost in own if same_density(cost, first)), None) for own in by_method.values()]
        if None not in found:
            return [cost for cost in found if cost]
    return [own[-1] for own in by_method.values()]


def same_density(a: MethodCost, b: MethodCost) -> bool:
    return log_ratio(a.density, b.density) <= ROUNDING


def percentage(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def imp_cost(cost: MethodCost, costs: Iterable[MethodCost]) -> MethodCost | None:
    """What the most thorough IMP, with as many examples in a batch, had spent on its ticket of the same density; None
    for that search itself."""
    batch_size = cost.method.settings.get("batch_size")
    imps = [
        other
        for other in costs
        if other.method.is_imp and same_density(other, cost) and other.method.settings.get("batch_size") == batch_size
    ]
    most = max(imps, key=lambda other: other.method.thoroughness, default=None)
    return None if most is None or most.method is cost.method else most


def saved_against(
    imp: MethodCost | None, cost: MethodCost, value: Callable[[TicketCost], float | None]
) -> float | None:
    """The share in percent of what IMP had spent that this one saves; None where one of them is not known."""
    spent, mine = imp and imp.mean(value), cost.mean(value)
    return percentage(1 - mine / spent) if spent and mine is not None else None
