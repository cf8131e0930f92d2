"""Sentences and tables that both chapters on greedy selection share: required pre-training, and measurements."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from lottery.reports.comparison.statistics import spread
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Cell as Entry
from lottery.reports.document import Column, Paragraph, Table
from lottery.results.channel_runs import ChannelSweep
from lottery.results.greedy_runs import NeuronSweep

MOST_LISTED = 6  # seeds whose iterations are listed one by one
COLUMNS = {  # of the swept settings
    NeuronSweep: (Column("width", ",d"), Column("examples", ",d")),
    ChannelSweep: (Column("goal"), Column("at", "g"), Column("layers")),
}
MEASURES = {"train": ("train (%)", ".2f"), "validation": ("validation (%)", ".2f"), "test": ("test (%)", ".2f"),
            "loss": ("loss", ".4f")}  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------------


def sweep_warnings(sweep: Sweep, cells: str) -> list[Paragraph]:
    """Warnings about runs with different --delta or seeds; `cells` is what the cells of the sweep are called."""
    texts = []
    if len(sweep.deltas) > 1:
        deltas = ", ".join(f"{delta:g}" for delta in sweep.deltas)
        texts.append(f"{sweep.name}: the runs have --delta {deltas}; {sweep.delta:g} is used for all.")
    seeds = {tuple(run.seed for run in cell.runs) for cell in sweep.cells}
    if len(seeds) > 1:
        texts.append(f"{sweep.name}: not all {cells} have the same seeds; only pairs are compared.")
    return [Paragraph(text, warns=True) for text in texts]


def or_infinity(first: int | None) -> float:
    """An iteration, or infinity for None (never), so that iterations can be compared."""
    return math.inf if first is None else first


def iterations_text(firsts: Iterable[int | None]) -> str:
    """The iterations of all seeds; of many seeds their lower median and range."""
    found = [or_infinity(first) for first in firsts]
    if len(found) <= MOST_LISTED:
        return iteration_list(found)
    median_and_range = (statistics.median_low(found), min(found), max(found))
    return "median {}, {} to {}".format(*map(iteration_text, median_and_range))


def iteration_list(iterations: Sequence[float]) -> str:
    return ", ".join(map(iteration_text, iterations))


def iteration_text(iteration: float) -> str:
    """Without a comma for thousands, since commas separate the items of a list."""
    return "never" if iteration == math.inf else f"{iteration:.0f}"


def points_text(delta: float) -> str:
    return f"{delta:g} point{'' if delta == 1 else 's'}"


# --- tables -----------------------------------------------------------------------------------------------------------


def swept_columns(sweep: Sweep) -> list[Column]:
    """The columns of the settings that the sweep varies."""
    return list(COLUMNS[type(sweep.cells[0].swept)])


def measured_table(name: str, sweep: Sweep, networks: Mapping[str, str], measures: Sequence[str]) -> Table:
    """Every network at every iteration: mean and standard deviation over seeds."""
    caption = f"Every network that was measured, {sweep.name}."
    rows = [
        [*cell.swept, iteration, name_in_table, *spreads(seeds, measures)]
        for cell in sweep.cells
        for iteration in cell.iterations()
        for network, name_in_table in networks.items()
        if (seeds := cell.measured(network, iteration))
    ]
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("network"), *spread_columns(measures)]
    return Table(name, caption, columns, rows, folded=True)


def spread_columns(measures: Sequence[str]) -> list[Column]:
    """The columns of what `spreads` returns."""
    named = [(Column(*MEASURES[name]), Column(f"{name}, std", MEASURES[name][1])) for name in measures]
    return [Column("seeds", "d"), *(column for pair in named for column in pair)]


def spreads(seeds: Sequence[Mapping[str, float | None]], measures: Sequence[str]) -> list[Entry]:
    """[n, mean, standard deviation, mean, ...]: over seeds, for each measure."""
    return [len(seeds), *(value for name in measures for value in spread_or_none(seed[name] for seed in seeds))]


def spread_or_none(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None if a value is unknown."""
    values = list(values)
    return (None, None) if None in values else spread(values)


def mean(values: Iterable[float | None]) -> float | None:
    """The mean; None if a value is unknown."""
    return spread_or_none(values)[0]


def required_texts(cell: Cell, pairs: Iterable[tuple[str, str]], delta: float) -> list[str | None]:
    """For each pair of network and measure the first good enough iterations of all seeds; None if there are none."""
    return [iterations_text(cell.required_pretraining(*pair, delta).values()) or None for pair in pairs]
