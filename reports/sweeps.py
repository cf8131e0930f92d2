"""Which runs of main_greedy.py go together: those that differ in the network's width, the size of the sub-data-set and
the seed alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greedy.needed import first_match
from reports.greedy_runs import GreedyRun
from reports.methods import differing, grouped, name_groups

SWEPT = {"hidden", "examples", "seed"}
NO_RESULT = {"memory"}  # settings that results do not depend on, but for rounding


@dataclass(eq=False)
class Cell:
    """One width and one size of the sub-data-set: a run for each seed, in their order."""

    width: int
    examples: int
    runs: list[GreedyRun]

    def iterations(self) -> list[int]:
        """Those that any seed was selected at."""
        return sorted({point["iteration"] for run in self.runs for point in run.points})

    def points(self, iteration: int) -> list[dict]:
        """What each seed found at an iteration."""
        return [point for run in self.runs for point in run.points if point["iteration"] == iteration]

    def measured(self, network: str, iteration: int) -> list[dict]:
        """A network at an iteration, of each seed that has it."""
        return [point[network] for point in self.points(iteration) if network in point]

    def ends(self, network: str) -> list[dict]:
        """The "dense" network at the end of its pre-training, or that from "scratch", of each seed that is there."""
        return [end for run in self.runs if (end := run.end(network)) is not None]

    def first(self, network: str, measured: str, delta: float) -> dict[int, int | None]:
        """By seed the first iteration that is good enough, None for never; without seeds that are not yet at the end
        of their pre-training, and empty for a network that was not made."""
        return {
            run.seed: first_match(run.points, network, measured, dense, delta)
            for run in self.runs
            if (dense := run.end("dense")) and any(network in point for point in run.points)
        }


@dataclass(eq=False)
class Sweep:
    """All that differs in width, size of the sub-data-set and seed alone."""

    name: str
    cells: list[Cell]  # by width, then by size

    @property
    def runs(self) -> list[GreedyRun]:
        return [run for cell in self.cells for run in cell.runs]

    @property
    def settings(self) -> Mapping:
        return self.cells[0].runs[0].settings

    @property
    def widths(self) -> list[int]:
        return sorted({cell.width for cell in self.cells})

    @property
    def sizes(self) -> list[int]:
        return sorted({cell.examples for cell in self.cells})

    @property
    def deltas(self) -> list[float]:
        """What its runs were told is good enough."""
        return sorted({run.delta for run in self.runs})

    @property
    def delta(self) -> float:
        """One for all: the strictest."""
        return self.deltas[0]

    def cell(self, width: int, examples: int) -> Cell | None:
        fitting = (cell for cell in self.cells if (cell.width, cell.examples) == (width, examples))
        return next(fitting, None)


def sweeps_of(runs: Sequence[GreedyRun]) -> tuple[list[Sweep], list[str]]:
    """The runs, sorted, and what there is to say about them."""
    deciding = list(dict.fromkeys(name for run in runs for name in run.settings if name not in SWEPT | NO_RESULT))
    groups = grouped(runs, lambda run: run.settings, lambda a, b: not differing(a, b, deciding))
    name_groups(groups, lambda settings: f"greedy selection on {settings['dataset']}", deciding)
    notes: list[str] = []
    if len(groups) > 1:
        names = "; ".join(group.name for group in groups)
        notes.append(f"The runs of main_greedy.py have {len(groups)} settings, which share no figure: {names}.")
    return [Sweep(group.name, cells_of(group.items, notes)) for group in groups], notes


def cells_of(runs: Sequence[GreedyRun], notes: list[str]) -> list[Cell]:
    """One run of each seed, that with most selections; where there are more, that is noted."""
    found: dict[tuple[int, int], dict[int, GreedyRun]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: (-len(run.points), run.end("scratch") is None)):
        seeds = found[run.width, run.examples]
        if run.seed in seeds:
            notes.append(f"{run.name} has the settings and seed of {seeds[run.seed].name}, which alone counts.")
        seeds.setdefault(run.seed, run)
    return [Cell(*place, [seeds[seed] for seed in sorted(seeds)]) for place, seeds in sorted(found.items())]
