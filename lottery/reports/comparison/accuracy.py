"""Accuracy by density of each method: means over seeds, and paired differences from the dense network and from IMP."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lottery.bases.config import SINGLE
from lottery.reports.comparison.grouping import differing
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.comparison.statistics import Interval, holds, last_before_failure, paired, spread
from lottery.results.ticket_origins import found_density, prunings, search_seed
from lottery.results.ticket_runs import Run
from lottery.tickets.controls import is_maskless

Seeds = dict[int | str, float]  # a test accuracy by seed
ROUNDING = 1e-3  # the log ratio of densities that are meant to be equal, where one was rounded in every round
NEAR_RATIO = 1.25  # of two densities, at most, for a verdict: one round that prunes a fifth


@dataclass
class Point:
    """A method at one density, and its differences there from the dense network and from IMP, in points.

    For elastic tickets the density is the mean over seeds, and IMP is the point of the nearest density, `imp_density`.
    """

    density: float
    values: Seeds
    prunings: int | None = None  # of retrained tickets, in the network they were found in
    found_density: float | None = None  # of tickets that were pruned to one density, in their network
    stage: float | tuple | None = None  # what its tickets have in common: `ticket_stage`
    imp_density: float | None = None
    against_dense: Interval | None = None
    against_imp: Interval | None = None

    @property
    def against_near_imp(self) -> Interval | None:
        """The difference from IMP, if the two densities are close enough for a verdict."""
        near = self.imp_density is not None and log_ratio(self.density, self.imp_density) <= math.log(NEAR_RATIO)
        return self.against_imp if near else None

    @property
    def mean(self) -> float:
        return spread(self.values.values())[0]

    @property
    def deviation(self) -> float | None:
        return spread(self.values.values())[1]


@dataclass(eq=False)
class Curve:
    """A method's points from dense to sparse.

    `winning` and `equal` are the lowest densities down to which it is not worse than the dense network and IMP; None if
    this is not shown at the densest ticket, with which a verdict begins.
    """

    method: Method
    points: list[Point]
    dense: Seeds
    winning: float | None = None
    equal: float | None = None

    @property
    def seeds(self) -> int:
        return max(len(point.values) for point in self.points)


def accuracy_curves(task: Task, kind: str, margin: float) -> list[Curve]:
    """The curves of the searches, or of their retrained tickets, each compared with its references."""
    curves = [Curve(method, accuracy_points(method), dense_reference(task, method)) for method in task.by_kind(kind)]
    for curve in curves:
        imp = imp_reference(curve, curves)
        add_differences_(curve, imp)
        curve.winning = last_supported([(point.density, point.against_dense) for point in curve.points], margin)
        near_imp = [(point.density, point.against_near_imp) for point in curve.points]
        curve.equal = last_supported(near_imp, margin) if imp else None
    return sorted(curves, key=lambda curve: task.search_names.index(curve.method.search))


def imp_reference(curve: Curve, curves: Sequence[Curve]) -> Curve | None:
    """The curve of IMP to compare with: of equal training settings and number of steps, with seeds of the same kind; of
    several one with tickets of the same densities, of those the most thorough search, then the one with most settings
    in common, its search's included. None for IMP itself, unless there is a more thorough one with tickets of the same
    densities."""
    imps = [other for other in curves if other.method.is_imp and is_comparable(other.method, curve.method)]
    shared = [imp for imp in imps if shares_densities(curve, imp)]
    imps = shared or imps
    if curve.method.is_imp:
        imps = [other for other in shared if other.method.thoroughness > curve.method.thoroughness]
    most = max((imp.method.thoroughness for imp in imps), default=None)
    thorough = [imp for imp in imps if imp.method.thoroughness == most]
    return min(thorough, key=lambda imp: number_of_differences(curve.method, imp.method), default=None)


def number_of_differences(a: Method, b: Method) -> int:
    """Of two methods' settings, and of those of the searches that found their tickets."""
    pairs = ((a.settings, b.settings), (a.search_settings, b.search_settings))
    return sum(len(differing(mine, its, mine)) for mine, its in pairs)


def shares_densities(curve: Curve, imp: Curve) -> bool:
    """Whether there is a density below 1 at which they can be compared."""
    return any(reference_point(point, imp, curve.method) for point in curve.points if point.density < 1)


def is_comparable(a: Method, b: Method) -> bool:
    """Whether their accuracies may be paired by seed: one recipe and rule, seeds of one kind. A rewound ticket has the
    steps up to its rewinding point behind it, besides."""
    same_rule = (a.continuing_rule, a.continues) == (b.continuing_rule, b.continues)
    return a.same_recipe(b) and same_rule and has_training_seeds(a) == has_training_seeds(b)


def add_differences_(curve: Curve, imp: Curve | None) -> None:
    """Enter the differences from the dense network and from IMP into each point, over the seeds that both have."""
    for point in curve.points:
        point.against_dense = paired(point.values, curve.dense)
        reference = reference_point(point, imp, curve.method) if imp else None
        if reference:
            point.imp_density = reference.density
            point.against_imp = paired(point.values, reference.values)


def reference_point(point: Point, imp: Curve, method: Method) -> Point | None:
    """IMP's point of the same density, None if it has none; for elastic tickets IMP's point of the nearest density."""
    nearest = min(imp.points, key=lambda other: log_ratio(other.density, point.density), default=None)
    fits = nearest and (method.is_elastic or log_ratio(nearest.density, point.density) <= ROUNDING)
    return nearest if fits else None


def log_ratio(a: float, b: float) -> float:
    """The distance of two densities: |log(a / b)|."""
    return abs(math.log(a / b))


def last_supported(differences: Sequence[tuple[float, Interval | None]], margin: float) -> float | None:
    """The last density, from dense to sparse, before the first at which the difference is not above -margin; the dense
    network itself does not count."""
    sparse = [(density, holds(difference, margin)) for density, difference in differences if density < 1]
    return last_before_failure(sparse)


def accuracy_points(method: Method) -> list[Point]:
    """The method's densities from dense to sparse, with the accuracy of each seed; several of one seed are averaged.

    Where each seed has a density of its own, tickets are grouped by how far they were pruned.
    """
    together: dict[float | tuple, list[tuple[Run, dict]]] = defaultdict(list)
    for run in method.runs:
        for row in run.rounds:
            if row["test"] is not None:
                together[ticket_stage(method, run, row)].append((run, row))
    points = [_point(found, pairing_seeds(method), stage) for stage, found in together.items()]
    return sorted(points, key=lambda point: -point.density)


def ticket_stage(method: Method, run: Run, row: Mapping) -> float | tuple:
    """What tickets of several seeds have in common that belong together: their density, or how far they, or those that
    elastic ones were made of, were pruned."""
    if not has_own_densities(method):
        return rounded(row["density"])
    return (row["round"], None) if run.is_search else (prunings(run), found_density(run))


def has_own_densities(method: Method) -> bool:
    """Whether the densities of its tickets differ a little from seed to seed: of elastic tickets, and where whole
    blocks are pruned, which are of several sizes."""
    return method.is_elastic or method.search_settings.get("block", SINGLE) != SINGLE


def _point(found: Sequence[tuple[Run, dict]], seeds: dict[int, int | str], stage: float | tuple) -> Point:
    tests: dict[int | str, list[float]] = defaultdict(list)
    for run, row in found:
        tests[seeds[id(run)]].append(row["test"])
    density = rounded(statistics.fmean(row["density"] for _, row in found))
    values = {seed: statistics.fmean(accuracies) for seed, accuracies in sorted(tests.items(), key=str)}
    return Point(density, values, prunings(found[0][0]), found_density(found[0][0]), stage)


def rounded(density: float) -> float:
    """To six digits, so that densities computed in different ways from one count of weights are equal."""
    return float(f"{density:.6g}")


def point_at(points: Iterable[Point], density: float) -> Point | None:
    """The point of this density, up to rounding."""
    return next((point for point in points if log_ratio(point.density, density) <= ROUNDING), None)


def pairing_seeds(method: Method) -> dict[int, int | str]:
    """By ``id`` of the run the seed that pairs it with runs of other methods: its own; for a retrained ticket that of
    its search, unless one ticket is trained with several seeds."""
    if method.kind != TICKETS or has_training_seeds(method):
        return {id(run): run.seed for run in method.runs}
    return {id(run): search_seed(run) for run in method.runs}


def has_training_seeds(method: Method) -> bool:
    """Whether its runs train tickets of one search with several seeds, so that the seeds are those of the trainings."""
    found = {search_seed(run) for run in method.runs}
    return method.kind == TICKETS and len(found) == 1 < len({run.seed for run in method.runs})


def of_what(method: Method) -> str:
    """Its name, with the word that what pairs of its runs show is of one ticket alone, where they train just one."""
    return f"{method.name}, one ticket" if has_training_seeds(method) else method.name


def dense_reference(task: Task, method: Method) -> Seeds:
    """The dense network's accuracy by seed, with this method's recipe: of main_train.py without a ticket if there is
    such a run, else of round 0 of IMP. For tickets whose trained weights were trained further by a rule, that of the
    dense network of the same search trained further by the same rule. None for the networks of a search that continues
    from round to round, which are trained for longer."""
    if method.continues:
        return {}
    if method.continuing_rule:
        return continued_dense_accuracies(task, method)
    imp = [other for other in task.by_kind(SEARCH) if other.is_imp and other.same_recipe(method)]
    dense = [other for other in task.by_kind(DENSE) if other.same_recipe(method)]
    return dense_accuracies(all_runs(imp)) | dense_accuracies(all_runs(dense))


def dense_accuracies(runs: Sequence[Run]) -> Seeds:
    """The test accuracy of the dense network by seed; the mean over runs of one seed, which differ in their order."""
    tests: dict[int | str, list[float]] = defaultdict(list)
    for run in runs:
        tests[run.seed] += [row["test"] for row in run.rounds if row["density"] == 1 and row["test"] is not None][:1]
    return {seed: statistics.fmean(found) for seed, found in tests.items() if found}


def continued_dense_accuracies(task: Task, method: Method) -> Seeds:
    """The accuracies of its control without a mask, which began with the trained weights of the dense network."""
    base = method.base or method.search
    dense = [
        other
        for other in task.by_kind(TICKETS)
        if other.base == base and is_maskless(other.control) and is_comparable(other, method)
    ]
    return {seed: value for other in dense for point in accuracy_points(other) for seed, value in point.values.items()}


def all_runs(methods: Sequence[Method]) -> list[Run]:
    return [run for method in methods for run in method.runs]
