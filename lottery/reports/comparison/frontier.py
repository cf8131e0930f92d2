"""The cheapest search at each density: accuracy of retrained tickets against what it took to find them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lottery.reports.comparison.accuracy import Curve, Point, accuracy_curves, imp_reference, point_at
from lottery.reports.comparison.cost import is_pruned_before
from lottery.reports.comparison.effort import EffortLine, steps_at, ticket_lines
from lottery.reports.comparison.method_costs import MethodCost, cost_at, searched_seeds, ticket_costs
from lottery.reports.comparison.methods import TICKETS, Task
from lottery.reports.comparison.statistics import holds

FEWEST_SEARCHES = 3  # IMP among them: of fewer, the verdicts and the table of costs say as much


@dataclass(frozen=True)
class Searched:
    """A search and its retrained tickets of one density; costs are means over the tickets' seeds."""

    name: str
    point: Point
    cost: MethodCost
    steps_in_all: float | None  # to find the ticket and to train it

    @property
    def steps(self) -> float:
        return self.cost.mean(attrgetter("steps")) or 0.0

    @property
    def flops(self) -> float | None:
        """Zero-aware FLOPs of the search's training."""
        return self.cost.mean(attrgetter("training_flops"))


Cost = Callable[[Searched], float | None]


@dataclass(frozen=True)
class Frontier:
    """The searches with tickets of one density, those of fewest steps first, of these those of fewest FLOPs.

    Tickets that are pruned before training, and static masks, take no step.
    """

    density: float
    imp: Searched  # the most thorough one, also among the searches
    searches: Sequence[Searched]

    def efficient(self, cost: Cost) -> list[Searched]:
        """The frontier: from cheap to dear, each search whose mean accuracy is above that of all that cost as much or
        less. Without searches whose cost is not known."""
        known = [(spent, -each.point.mean, each) for each in self.searches if (spent := cost(each)) is not None]
        found: list[Searched] = []
        for _, _, each in sorted(known, key=lambda row: row[:2]):
            found += [each] if not found or each.point.mean > found[-1].point.mean else []
        return found

    def cheapest_as_good(self, margin: float) -> Searched | None:
        """The search of fewest steps shown to be as good as IMP at this density by itself; None if there is none."""
        return next((each for each in self.cheaper if holds(each.point.against_imp, margin)), None)

    @property
    def cheaper(self) -> list[Searched]:
        """Those that took fewer steps than IMP."""
        return [each for each in self.searches if each.steps < self.imp.steps]

    def saved(self, searched: Searched, cost: Cost) -> float | None:
        """The share of IMP's cost that this search saves; None where one of the two is not known."""
        spent, mine = cost(self.imp), cost(searched)
        return 1 - mine / spent if spent and mine is not None else None


def frontiers(task: Task, margin: float) -> list[Frontier]:
    """From dense to sparse, for each IMP that others are compared with; altered tickets, and searches with other
    numbers of examples in a batch, whose steps are not IMP's, are left out."""
    curves = [curve for curve in accuracy_curves(task, TICKETS, margin) if not curve.method.is_altered]
    references = {id(curve): imp_reference(curve, curves) for curve in curves}
    lines, found = ticket_lines(task), []
    for imp in curves:
        batch_size = imp.method.search_settings.get("batch_size")
        others = [other for other in curves if references[id(other)] is imp]
        others = [other for other in others if _has_batches_of(other, batch_size)]
        found += [_frontier(task, imp, others, lines, point) for point in imp.points if others and point.density < 1]
    return [each for each in found if each and len(each.searches) >= FEWEST_SEARCHES]


def _has_batches_of(curve: Curve, size: int | None) -> bool:
    """Whether its search took steps on batches of this size, or none at all."""
    return is_pruned_before(curve.method) or curve.method.search_settings.get("batch_size") == size


def _frontier(
    task: Task, imp: Curve, others: Sequence[Curve], lines: Sequence[EffortLine], at: Point
) -> Frontier | None:
    """The searches with tickets as dense as this point of IMP's; None if what IMP's took is not known."""
    seeds = searched_seeds([imp, *others], at.density)
    costs = ticket_costs(task, seeds)
    in_all = {id(line.method): steps_at(line, at.density) for line in lines}

    def searched(curve: Curve) -> Searched | None:
        point, cost = point_at(curve.points, at.density), cost_at(curve.method.search, costs, at.density)
        return Searched(curve.method.name, point, cost, in_all.get(id(curve.method))) if point and cost else None

    reference = searched(imp)
    if reference is None:
        return None
    found = [reference, *filter(None, map(searched, others))]
    found.sort(key=lambda each: (each.steps, each.flops or 0.0))
    return Frontier(at.density, reference, found)
