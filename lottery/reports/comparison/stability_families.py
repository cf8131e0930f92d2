"""Which runs of main_stability.py go together: a method's tickets, by the step at which they start and by density."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lottery.reports.comparison.accuracy import level
from lottery.reports.comparison.methods import (
    BY_SEED,
    NOT_METHOD,
    TASK,
    UNKNOWN,
    describe,
    differing,
    grouped,
    is_dense,
    name_groups,
    task_name,
    without_copies,
)
from lottery.reports.comparison.statistics import spread
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_origins import alteration, prunings, search_settings

REWINDING = {"prune_type", "rewind_epoch", "rewind_iteration"}  # told by the step at which a ticket starts
OF_RUN = {"order_seeds", "script", "ticket step"}  # of a run, not of its method
WHAT = "tickets"  # how the setting is called that says whose they are


@dataclass(eq=False)
class Place:
    """Tickets of one density that start at one step: a run for each seed and pair of orders."""

    step: int | None
    prunings: int | None
    runs: list[StabilityRun]

    @property
    def density(self) -> float:
        return level(spread(run.density for run in self.runs)[0])

    def of(self, value: Callable[[StabilityRun], float]) -> tuple[float, float | None]:
        """Mean and standard deviation over the runs."""
        return spread(map(value, self.runs))

    @property
    def barrier(self) -> tuple[float, float | None]:
        """Of the test error."""
        return self.of(lambda run: run.summary["barrier"]["test_error"])


@dataclass(eq=False)
class Family:
    """A method's tickets, trained in one way: runs of one task that differ in density, starting step and seed alone."""

    task: str
    name: str
    places: list[Place]  # by step, then from dense to sparse

    @property
    def runs(self) -> list[StabilityRun]:
        return [run for place in self.places for run in place.runs]

    @property
    def steps(self) -> list[int | None]:
        """Where its tickets start, the unknown last."""
        return list(dict.fromkeys(place.step for place in self.places))

    def at(self, step: int | None) -> list[Place]:
        """From dense to sparse."""
        return [place for place in self.places if place.step == step]


def families_of(runs: Sequence[StabilityRun]) -> tuple[list[Family], list[str]]:
    """The runs by task and method, each once, and what there is to say about them."""
    tasks = grouped(runs, lambda run: run.settings, lambda a, b: not differing(a, b, TASK))
    name_groups(tasks, task_name, TASK)
    families, notes = [], []
    for task in tasks:
        methods = grouped(task.items, deciding, lambda a, b: not differing(a, b, a))
        name_groups(methods, lambda settings: settings[WHAT], ())
        own = [(method.name, without_copies(method.items, notes)) for method in methods]
        families += [Family(task.name, name, places_of(its)) for name, its in own]
    return families, notes


def by_task(families: Sequence[Family]) -> dict[str, list[Family]]:
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.task, []).append(family)
    return found


def deciding(run: StabilityRun) -> Mapping:
    """What must be the same of two runs of one family. Each seed may have followed a run of its own."""
    search = search_settings(run)
    found = {
        name: value
        for name, value in (search or {}).items()
        if name not in NOT_METHOD | REWINDING and not name.startswith(BY_SEED)
    }
    own = {name: value for name, value in run.settings.items() if name not in NOT_METHOD | OF_RUN}
    what = describe(search) if search else "dense network" if is_dense(run) else UNKNOWN
    return {WHAT: what + alteration(run)} | {f"search {name}": value for name, value in found.items()} | own


def places_of(runs: Sequence[StabilityRun]) -> list[Place]:
    together: dict[tuple, list[StabilityRun]] = defaultdict(list)
    for run in runs:
        pruned = prunings(run)
        together[run.step, pruned, level(run.density) if pruned is None else None].append(run)
    places = [Place(step, pruned, found) for (step, pruned, _), found in together.items()]
    return sorted(places, key=lambda place: (place.step is None, place.step or 0, -place.density))
