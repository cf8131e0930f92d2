"""Accuracy against density, by method: means over seeds, and each method against its references, seed by seed."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task, differing
from lottery.reports.comparison.statistics import Interval, holds, last_before_failure, paired, spread
from lottery.results.runs import Run
from lottery.results.ticket_origins import density_found, prunings, seed_found
from lottery.tickets.controls import is_maskless

Seeds = dict[int | str, float]  # a test accuracy by seed
ROUNDED = 1e-3  # how far densities that are meant to be equal are apart, where one was rounded in every round
NEARLY = 1.25  # a verdict is given on densities whose ratio is at most this, one round of pruning a fifth


@dataclass
class Point:
    """A method at one density, and how it differs from the dense network and from IMP there, in points.

    Tickets that were carried here from another network have the mean of their densities, and are compared with IMP at
    the nearest one, `imp_density`.
    """

    density: float
    values: Seeds
    prunings: int | None = None  # of retrained tickets, in the network they were found in
    density_found: float | None = None  # there, of tickets that were found at once
    imp_density: float | None = None
    against_dense: Interval | None = None
    against_imp: Interval | None = None

    @property
    def on_a_par(self) -> Interval | None:
        """The difference from IMP if the two densities are nearly the same, so that a verdict may rest on it."""
        near = self.imp_density is not None and apart(self.density, self.imp_density) <= math.log(NEARLY)
        return self.against_imp if near else None

    @property
    def mean(self) -> float:
        return spread(self.values.values())[0]

    @property
    def deviation(self) -> float | None:
        return spread(self.values.values())[1]


@dataclass(eq=False)
class Curve:
    """A method from dense to sparse. `winning` and `equal` are the densities of its markers."""

    method: Method
    points: list[Point]
    dense: Seeds
    winning: float | None = None
    equal: float | None = None

    @property
    def seeds(self) -> int:
        return max(len(point.values) for point in self.points)


def curves_of(task: Task, kind: str, margin: float) -> list[Curve]:
    """The curves of the searches, or of their retrained tickets, each compared with its references."""
    curves = [Curve(method, points_of(method), dense_reference(task, method)) for method in task.of(kind)]
    for curve in curves:
        imp = yardstick(curve, curves)
        compare(curve, imp)
        curve.winning = marker([(point.density, point.against_dense) for point in curve.points], margin)
        curve.equal = marker([(point.density, point.on_a_par) for point in curve.points], margin) if imp else None
    return sorted(curves, key=lambda curve: task.searches.index(curve.method.search))


def yardstick(curve: Curve, curves: Sequence[Curve]) -> Curve | None:
    """IMP with this curve's recipe, trained for as many steps and with seeds of the same kind; of several the one with
    most settings in common; None for IMP itself."""
    if curve.method.is_imp:
        return None
    imps = [other for other in curves if other.method.is_imp and comparable(other.method, curve.method)]
    mine = curve.method.settings
    return min(imps, key=lambda imp: len(differing(mine, imp.method.settings, mine)), default=None)


def comparable(a: Method, b: Method) -> bool:
    """Whether a difference of the two, seed by seed, means something: one recipe, as many steps, seeds of one kind."""
    return a.same_recipe(b) and a.further == b.further and by_training(a) == by_training(b)


def compare(curve: Curve, imp: Curve | None) -> None:
    """Enter the differences from the references, over the seeds that both have."""
    for point in curve.points:
        point.against_dense = paired(point.values, curve.dense)
        reference = counterpart(point, imp, curve.method) if imp else None
        if reference:
            point.imp_density = reference.density
            point.against_imp = paired(point.values, reference.values)


def counterpart(point: Point, imp: Curve, method: Method) -> Point | None:
    """IMP at the density of this point, None where it has no such point; for carried tickets IMP at the nearest."""
    nearest = min(imp.points, key=lambda other: apart(other.density, point.density), default=None)
    alike = nearest and (method.is_carried or apart(nearest.density, point.density) <= ROUNDED)
    return nearest if alike else None


def apart(a: float, b: float) -> float:
    """How far two densities are from each other: the logarithm of their ratio."""
    return abs(math.log(a / b))


def marker(differences: Sequence[tuple[float, Interval | None]], margin: float) -> float | None:
    """The last density before the first failure; the dense network itself is no ticket."""
    sparse = [(density, holds(difference, margin)) for density, difference in differences if density < 1]
    return last_before_failure(sparse)


def points_of(method: Method) -> list[Point]:
    """Its densities, from dense to sparse, with the accuracy of each seed; several of one seed are averaged.

    Carried tickets go together by what they were before, since each seed has a density of its own.
    """
    together: dict[float | tuple, list[tuple[Run, dict]]] = defaultdict(list)
    for run in method.runs:
        for row in run.rounds:
            if row["test"] is not None:
                before = prunings(run), density_found(run)
                together[before if method.is_carried else level(row["density"])].append((run, row))
    points = [_point(found, replicates(method)) for found in together.values()]
    return sorted(points, key=lambda point: -point.density)


def _point(found: Sequence[tuple[Run, dict]], numbers: dict[int, int | str]) -> Point:
    tests: dict[int | str, list[float]] = defaultdict(list)
    for run, row in found:
        tests[numbers[id(run)]].append(row["test"])
    density = level(statistics.fmean(row["density"] for _, row in found))
    values = {seed: statistics.fmean(accuracies) for seed, accuracies in sorted(tests.items(), key=str)}
    return Point(density, values, prunings(found[0][0]), density_found(found[0][0]))


def level(density: float) -> float:
    """The same number for densities that mean the same count of weights."""
    return float(f"{density:.6g}")


def replicates(method: Method) -> dict[int, int | str]:
    """What pairs a run with those of other methods: its seed; for a retrained ticket the seed of its search, or, where
    one ticket is trained with several seeds, that of the training."""
    if method.kind != TICKETS or by_training(method):
        return {id(run): run.seed for run in method.runs}
    return {id(run): seed_found(run) for run in method.runs}


def by_training(method: Method) -> bool:
    """Whether its runs are tickets of one search, trained with several seeds."""
    found = {seed_found(run) for run in method.runs}
    return method.kind == TICKETS and len(found) == 1 < len({run.seed for run in method.runs})


def dense_reference(task: Task, method: Method) -> Seeds:
    """The dense network's accuracy by seed, with this method's recipe: main_train.py without a ticket where there is
    such a run, the mean of several in other orders; else round 0 of IMP. For tickets that were trained further by a
    rule, the same search's dense network that was trained further by that rule."""
    if method.further:
        return further_trained(task, method)
    imp = [other for other in task.of(SEARCH) if other.is_imp and other.same_recipe(method)]
    dense = [other for other in task.of(DENSE) if other.same_recipe(method)]
    return dense_rounds(runs_of(imp)) | dense_rounds(runs_of(dense))


def dense_rounds(runs: Sequence[Run]) -> Seeds:
    """The test accuracy of each seed's dense network, the mean of those that it has."""
    tests: dict[int | str, list[float]] = defaultdict(list)
    for run in runs:
        tests[run.seed] += [row["test"] for row in run.rounds if row["density"] == 1 and row["test"] is not None][:1]
    return {seed: statistics.fmean(found) for seed, found in tests.items() if found}


def further_trained(task: Task, method: Method) -> Seeds:
    """The accuracies of its control without a mask, which began with the trained weights of the dense network."""
    base = method.control_of or method.search
    dense = [
        other
        for other in task.of(TICKETS)
        if other.control_of == base and is_maskless(other.control) and comparable(other, method)
    ]
    return {seed: value for other in dense for point in points_of(other) for seed, value in point.values.items()}


def runs_of(methods: Sequence[Method]) -> list[Run]:
    return [run for method in methods for run in method.runs]
