"""Sort runs of greedy selection into sweeps.

Runs of one sweep differ in their seeds and in the settings that it varies: the network's width and the size of the
sub-data-set, or how many channels are kept.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lottery.greedy.required_pretraining import first_match
from lottery.reports.comparison.grouping import differing, grouped, name_groups_
from lottery.reports.comparison.repeats import first_of_each_, log_repeats
from lottery.reports.document import file_stem
from lottery.results.greedy_runs import GreedyRun
from lottery.results.runs import Log
from models.user_code import short_name

SWEPT = {"seed", "hidden", "examples", "keep", "top1_tol", "layers"}
SELECTION = "greedy selection"  # how names of sweeps begin
NO_RESULT = {"memory", "baselines"}  # settings that change nothing of a greedy selection, but for rounding
WEIGHTS = "weights checksum"  # of the network selected from, if it was given


@dataclass(eq=False)
class Cell:
    """The runs of one combination of swept settings, one for each seed, in order of seeds."""

    swept: Any  # a NeuronSweep or a ChannelSweep, the same kind in all cells of a sweep
    runs: list[GreedyRun]

    def iterations(self) -> list[int] | list[None]:
        """The iterations at which any seed was selected; [None] for given weights."""
        return sorted({point["iteration"] for run in self.runs for point in run.points})

    def points(self, iteration: int | None) -> list[dict]:
        """What was measured at an iteration, for each seed that has it."""
        return [point for run in self.runs for point in run.points if point["iteration"] == iteration]

    def by_seed(self, network: str, iteration: int | None) -> dict[int, dict]:
        """The measurements of a network at an iteration by seed."""
        return {
            run.seed: point[network]
            for run in self.runs
            for point in run.points
            if point["iteration"] == iteration and network in point
        }

    def measured(self, network: str, iteration: int | None) -> list[dict]:
        return list(self.by_seed(network, iteration).values())

    def final(self, network: str) -> list[dict]:
        """The final measurements of the "dense" network, or of that from "scratch", of each seed that has finished."""
        return [run.final[network] for run in self.runs if network in run.final]

    def required_pretraining(self, network: str, measured: str, delta: float) -> dict[int, int | None]:
        """By seed the first iteration that is good enough, None for never.

        Without seeds that have not finished their pre-training and selections; empty for a network that was not made.
        """
        return {
            run.seed: first_match(run.points, network, measured, dense, delta)
            for run in self.runs
            if (dense := run.final.get("dense")) and run.is_complete(network)
        }


@dataclass(eq=False)
class Sweep:
    """Runs that differ in their swept settings and seeds alone."""

    name: str
    cells: list[Cell]  # in order of their swept settings

    @property
    def stem(self) -> str:
        """Its name as part of the names of files: "tiny_on_digits"."""
        return file_stem(self.name.removeprefix(SELECTION).removeprefix(" of channels").removeprefix(" of "))

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
        """The different --delta of its runs."""
        return sorted({run.delta for run in self.runs})

    @property
    def delta(self) -> float:
        """The strictest --delta, which is used for all runs."""
        return self.deltas[0]

    def cell(self, *swept: object) -> Cell | None:
        return next((cell for cell in self.cells if cell.swept == swept), None)


def group_by_sweep(runs: Sequence[GreedyRun], log: Log) -> list[Sweep]:
    """The runs sorted by script and sweep; runs that repeat another are left out and logged."""
    sweeps: list[Sweep] = []
    for script in dict.fromkeys(run.script for run in runs):
        own = [run for run in runs if run.script == script]
        deciding = [name for name in all_settings(own) if name not in SWEPT | NO_RESULT | {WEIGHTS}]
        groups = grouped(own, lambda run: run.settings, partial(same_sweep, deciding))
        name_groups_(groups, sweep_name, deciding)
        if len(groups) > 1:
            names = "; ".join(group.name for group in groups)
            log(f"The runs of {script} have {len(groups)} settings, which share no figure: {names}.")
        sweeps += [Sweep(group.name, sweep_cells(group.items)) for group in groups]
    log_repeats(runs, "the settings and seed", log)
    return sweeps


def all_settings(runs: Sequence[GreedyRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.settings))


def same_sweep(deciding: Sequence[str], a: Mapping, b: Mapping) -> bool:
    """Whether two runs' settings are of one sweep: equal in the deciding ones, and in the given weights if they have
    one seed. Each seed may have been given weights of its own."""
    return not differing(a, b, [*deciding, WEIGHTS] if a["seed"] == b["seed"] else deciding)


def sweep_name(settings: Mapping) -> str:
    what = f" of channels of {short_name(settings['arch'])}" if "arch" in settings else ""
    return f"{SELECTION}{what} on {short_name(settings['dataset'])}"


def sweep_cells(runs: Sequence[GreedyRun]) -> list[Cell]:
    """The cells, with one run of each seed, that with most selections; the others are marked."""
    furthest = sorted(runs, key=lambda run: (-run.done, not run.summary["finished"]))
    found: dict[tuple, list[GreedyRun]] = defaultdict(list)
    for run in sorted(first_of_each_(furthest, lambda run: (run.swept, run.seed)), key=lambda run: run.seed):
        found[run.swept].append(run)
    return [Cell(swept, its) for swept, its in sorted(found.items())]
