"""Which runs of greedy selection go together: those that differ in their seeds and places alone, where a place is a
network's width and the size of the sub-data-set, or how many channels are kept."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lottery.greedy.required_pretraining import first_match
from lottery.reports.comparison.methods import differing, grouped, name_groups
from lottery.results.greedy_runs import GreedyRun

SWEPT = {"seed", "hidden", "examples", "keep", "top1_tol", "layers"}
NO_RESULT = {"memory", "baselines"}  # settings that what is selected greedily does not depend on, but for rounding
WEIGHTS = "weights checksum"  # of the network selected from, where it was given


@dataclass(eq=False)
class Cell:
    """One place: a run for each seed, in their order."""

    place: tuple
    runs: list[GreedyRun]

    def iterations(self) -> list[int] | list[None]:
        """Those that any seed was selected at; [None] for given weights."""
        return sorted({point["iteration"] for run in self.runs for point in run.points})

    def points(self, iteration: int | None) -> list[dict]:
        """What each seed found at an iteration."""
        return [point for run in self.runs for point in run.points if point["iteration"] == iteration]

    def by_seed(self, network: str, iteration: int | None) -> dict[int, dict]:
        """A network at an iteration, of each seed that has it."""
        return {
            run.seed: point[network]
            for run in self.runs
            for point in run.points
            if point["iteration"] == iteration and network in point
        }

    def measured(self, network: str, iteration: int | None) -> list[dict]:
        return list(self.by_seed(network, iteration).values())

    def ends(self, network: str) -> list[dict]:
        """The "dense" network at the end of its pre-training, or that from "scratch", of each seed that is there."""
        return [run.ends[network] for run in self.runs if network in run.ends]

    def first(self, network: str, measured: str, delta: float) -> dict[int, int | None]:
        """By seed the first iteration that is good enough, None for never; without seeds that are not yet at the end
        of their pre-training or selections, and empty for a network that was not made."""
        return {
            run.seed: first_match(run.points, network, measured, dense, delta)
            for run in self.runs
            if (dense := run.ends.get("dense")) and run.has(network)
        }


@dataclass(eq=False)
class Sweep:
    """All that differs in places and seeds alone."""

    name: str
    cells: list[Cell]  # in the order of their places

    @property
    def runs(self) -> list[GreedyRun]:
        return [run for cell in self.cells for run in cell.runs]

    @property
    def settings(self) -> Mapping:
        return self.cells[0].runs[0].settings

    @property
    def script(self) -> str:
        return self.settings["script"]

    @property
    def deltas(self) -> list[float]:
        """What its runs were told is good enough."""
        return sorted({run.delta for run in self.runs})

    @property
    def delta(self) -> float:
        """One for all: the strictest."""
        return self.deltas[0]

    def cell(self, *place: object) -> Cell | None:
        return next((cell for cell in self.cells if cell.place == place), None)


def sweeps_of(runs: Sequence[GreedyRun]) -> tuple[list[Sweep], list[str]]:
    """The runs, sorted, those of one script after the other, and what there is to say about them."""
    sweeps: list[Sweep] = []
    notes: list[str] = []
    for script in dict.fromkeys(run.script for run in runs):
        own = [run for run in runs if run.script == script]
        deciding = [name for name in all_settings(own) if name not in SWEPT | NO_RESULT | {WEIGHTS}]
        groups = grouped(own, lambda run: run.settings, partial(go_together, deciding))
        name_groups(groups, sweep_name, deciding)
        if len(groups) > 1:
            names = "; ".join(group.name for group in groups)
            notes.append(f"The runs of {script} have {len(groups)} settings, which share no figure: {names}.")
        sweeps += [Sweep(group.name, cells_of(group.items, notes)) for group in groups]
    return sweeps, notes


def all_settings(runs: Sequence[GreedyRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.settings))


def go_together(deciding: Sequence[str], a: Mapping, b: Mapping) -> bool:
    """Whether two runs' settings are of one sweep. Each seed may have been given weights of its own; one seed has the
    same ones."""
    return not differing(a, b, [*deciding, WEIGHTS] if a["seed"] == b["seed"] else deciding)


def sweep_name(settings: Mapping) -> str:
    what = f" of channels of {settings['arch']}" if "arch" in settings else ""
    return f"greedy selection{what} on {settings['dataset']}"


def cells_of(runs: Sequence[GreedyRun], notes: list[str]) -> list[Cell]:
    """One run of each seed, that with most selections; where there are more, that is noted."""
    found: dict[tuple, dict[int, GreedyRun]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: (-run.done, not run.summary["finished"])):
        seeds = found[run.place]
        if run.seed in seeds:
            notes.append(f"{run.name} repeats the settings and seed of {seeds[run.seed].name}, which alone is counted.")
        seeds.setdefault(run.seed, run)
    return [Cell(place, [seeds[seed] for seed in sorted(seeds)]) for place, seeds in sorted(found.items())]
