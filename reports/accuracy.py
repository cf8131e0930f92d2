"""Accuracy against density, by method: means over seeds, and each method against its references, seed by seed."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reports.methods import DENSE, SEARCH, TICKETS, Method, Task, differing
from reports.runs import Run
from reports.statistics import Interval, holds, last_before_failure, paired, spread

Seeds = dict[int | str, float]  # a test accuracy by seed


@dataclass
class Point:
    """A method at one density, and how it differs from the dense network and from IMP there, in points."""

    density: float
    values: Seeds
    against_dense: Interval | None = None
    against_imp: Interval | None = None

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
        curve.equal = marker([(point.density, point.against_imp) for point in curve.points], margin) if imp else None
    return sorted(curves, key=lambda curve: task.searches.index(curve.method.search))


def yardstick(curve: Curve, curves: Sequence[Curve]) -> Curve | None:
    """IMP with this curve's recipe, of several the one with most settings in common; None for IMP itself."""
    imps = [other for other in curves if other.method.is_imp and other.method.same_recipe(curve.method)]
    mine = curve.method.settings
    return (
        min(imps, key=lambda imp: len(differing(mine, imp.method.settings, mine)), default=None)
        if (not curve.method.is_imp)
        else None
    )


def compare(curve: Curve, imp: Curve | None) -> None:
    """Enter the differences from the references, over the seeds that both have."""
    theirs = {level(point.density): point.values for point in imp.points} if imp else {}
    for point in curve.points:
        point.against_dense = paired(point.values, curve.dense)
        point.against_imp = paired(point.values, theirs.get(level(point.density), {}))


def marker(differences: Sequence[tuple[float, Interval | None]], margin: float) -> float | None:
    """The last density before the first failure; the dense network itself is no ticket."""
    sparse = [(density, holds(difference, margin)) for density, difference in differences if density < 1]
    return last_before_failure(sparse)


def points_of(method: Method) -> list[Point]:
    """Its densities, from dense to sparse, with the accuracy of each seed; several of one seed are averaged."""
    numbers = replicates(method)
    found: dict[float, dict] = defaultdict(lambda: defaultdict(list))
    for run in method.runs:
        for row in run.rounds:
            if row["test"] is not None:
                found[level(row["density"])][numbers[id(run)]].append(row["test"])
    return [
        Point(density, {seed: statistics.fmean(tests) for seed, tests in sorted(found[density].items(), key=str)})
        for density in sorted(found, reverse=True)
    ]


def level(density: float) -> float:
    """The same number for densities that mean the same count of weights."""
    return float(f"{density:.6g}")


def replicates(method: Method) -> dict[int, int | str]:
    """What pairs a run with those of other methods: its seed; for a retrained ticket the seed of its search, or, where
    one ticket is trained with several seeds, that of the training."""
    if method.kind != TICKETS:
        return {id(run): run.seed for run in method.runs}
    found = {id(run): ((run.ticket or {}).get("settings") or {}).get("seed", run.seed) for run in method.runs}
    trained = {id(run): run.seed for run in method.runs}
    return trained if len(set(found.values())) == 1 < len(set(trained.values())) else found


def dense_reference(task: Task, method: Method) -> Seeds:
    """The dense network's accuracy by seed, with this method's recipe: main_train.py without a ticket where there is
    such a run, else round 0 of IMP."""
    imp = [other for other in task.of(SEARCH) if other.is_imp and other.same_recipe(method)]
    dense = [other for other in task.of(DENSE) if other.same_recipe(method)]
    rows: Seeds = {}
    for run in runs_of(imp) + runs_of(dense):
        tests = [row["test"] for row in run.rounds if row["density"] == 1 and row["test"] is not None]
        if tests:
            rows[run.seed] = tests[0]
    return rows


def runs_of(methods: Sequence[Method]) -> list[Run]:
    return [run for method in methods for run in method.runs]
