"""Sort runs of main_stability.py: into families of a method's tickets, and there by starting step and density."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lottery.reports.comparison.accuracy import rounded
from lottery.reports.comparison.grouping import BY_SEED, NOT_METHOD, TASK, differing, grouped, name_groups_
from lottery.reports.comparison.method_names import search_name
from lottery.reports.comparison.methods import PLAN, REPEATED_TRAINING, UNKNOWN, is_dense, task_name, without_repeats_
from lottery.reports.comparison.repeats import log_repeats
from lottery.reports.comparison.statistics import spread
from lottery.results.runs import Log
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_origins import alteration, prunings, search_settings
from lottery.search.pruning_plan import prunes_alike

REWINDING = {"prune_type", "rewind_epoch", "rewind_iteration"}  # follows from the step at which a ticket starts
OF_SEARCH = "search "  # begins the names of settings of the search
OF_RUN = {"order_seeds", "script", "ticket step"}  # of a run, not of its method
TICKETS = "tickets"  # key of the name of the tickets' method


@dataclass(eq=False)
class FamilyPoint:
    """Tickets of one density that start at one step: a run for each seed and pair of orders."""

    step: int | None
    prunings: int | None
    runs: list[StabilityRun]

    @property
    def density(self) -> float:
        return rounded(spread(run.density for run in self.runs)[0])

    def mean_and_std(self, value: Callable[[StabilityRun], float]) -> tuple[float, float | None]:
        """Of a value of each run; the standard deviation of a single run is None."""
        return spread(map(value, self.runs))

    @property
    def barrier(self) -> tuple[float, float | None]:
        """Mean and standard deviation of the barrier of test error."""
        return self.mean_and_std(lambda run: run.summary["barrier"]["test_error"])

    @property
    def error(self) -> tuple[float, float | None]:
        """Mean and standard deviation of the copies' test error in percent."""
        return self.mean_and_std(lambda run: run.copies_test_error)


@dataclass(eq=False)
class Family:
    """A method's tickets, trained alike: runs of one task that differ in density, starting step and seed alone."""

    task: str
    name: str
    points: list[FamilyPoint]  # by step, then from dense to sparse

    @property
    def runs(self) -> list[StabilityRun]:
        return [run for point in self.points for run in point.runs]

    @property
    def steps(self) -> list[int | None]:
        """The steps at which its tickets start, an unknown one (None) last."""
        return list(dict.fromkeys(point.step for point in self.points))

    def points_at(self, step: int | None) -> list[FamilyPoint]:
        """The tickets that start at this step, from dense to sparse."""
        return [point for point in self.points if point.step == step]


def group_by_family(runs: Sequence[StabilityRun], log: Log) -> list[Family]:
    """The runs by task and method; runs that repeat another are left out and logged."""
    tasks = grouped(runs, lambda run: run.settings, lambda a, b: not differing(a, b, TASK))
    name_groups_(tasks, task_name, TASK)
    families = []
    for task in tasks:
        by_search = grouped(task.items, lambda run: search_settings(run) or {}, is_same_search)
        methods = [group for search in by_search for group in grouped(search.items, deciding_settings, is_same_method)]
        name_groups_(methods, lambda settings: settings[TICKETS])
        own = [(method.name, without_repeats_(method.items)) for method in methods]
        families += [Family(task.name, name, family_points(its)) for name, its in own]
    log_repeats(runs, REPEATED_TRAINING, log)
    return families


def families_by_task(families: Sequence[Family]) -> dict[str, list[Family]]:
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.task, []).append(family)
    return found


def is_same_search(a: Mapping, b: Mapping) -> bool:
    """Whether searches with these settings are one method but for their rewinding points. Each seed may have followed a
    run of its own; rates and densities are compared by what they come to."""
    names = [name for name in a if name not in NOT_METHOD | REWINDING | {*PLAN} and not name.startswith(BY_SEED)]
    return prunes_alike(a, b) and not differing(a, b, names)


def is_same_method(a: Mapping, b: Mapping) -> bool:
    """Whether the `deciding_settings` of runs on tickets of one search are those of one method."""
    return not differing(a, b, [name for name in a if not name.startswith(OF_SEARCH)])


def deciding_settings(run: StabilityRun) -> Mapping:
    """The settings that decide a method, those of its search under names that say so."""
    search = search_settings(run)
    found = {
        name: value
        for name, value in (search or {}).items()
        if name not in NOT_METHOD | REWINDING and not name.startswith(BY_SEED)
    }
    own = {name: value for name, value in run.settings.items() if name not in NOT_METHOD | OF_RUN}
    name = search_name(search) if search else "dense network" if is_dense(run) else UNKNOWN
    return {TICKETS: name + alteration(run)} | {f"{OF_SEARCH}{name}": value for name, value in found.items()} | own


def family_points(runs: Sequence[StabilityRun]) -> list[FamilyPoint]:
    together: dict[tuple, list[StabilityRun]] = defaultdict(list)
    for run in runs:
        pruned = prunings(run)
        together[run.step, pruned, rounded(run.density) if pruned is None else None].append(run)
    points = [FamilyPoint(step, pruned, found) for (step, pruned, _), found in together.items()]
    return sorted(points, key=lambda point: (point.step is None, point.step or 0, -point.density))
