"""Words and tables that the chapters on greedy selection share: what was needed, and what was measured."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from lottery.reports.comparison.statistics import spread
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Cell as Entry
from lottery.reports.document import Column, Paragraph, Table
from lottery.results.channel_runs import Channels
from lottery.results.greedy_runs import Neurons

LISTED = 6  # seeds whose iterations are listed one by one
COLUMNS = {  # of what the cells of a sweep differ in
    Neurons: (Column("width", ",d"), Column("examples", ",d")),
    Channels: (Column("goal"), Column("at", "g"), Column("layers")),
}
MEASURES = {"train": ("train (%)", ".2f"), "validation": ("validation (%)", ".2f"), "test": ("test (%)", ".2f"),
            "loss": ("loss", ".4f")}  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------------


def warnings(sweep: Sweep, places: str) -> list[Paragraph]:
    """Where means must be read with care; `places` is what the cells of the sweep are, in words."""
    found = []
    if len(sweep.deltas) > 1:
        told = ", ".join(f"{delta:g}" for delta in sweep.deltas)
        found.append(f"{sweep.name}: the runs have --delta {told}; {sweep.delta:g} is used for all.")
    seeds = {tuple(run.seed for run in cell.runs) for cell in sweep.cells}
    if len(seeds) > 1:
        found.append(f"{sweep.name}: not all {places} have the same seeds; only pairs are compared.")
    return [Paragraph(text, warns=True) for text in found]


def endless(first: int | None) -> float:
    """Never is later than any iteration."""
    return math.inf if first is None else first


def times(firsts: Iterable[int | None]) -> str:
    """Iterations by seed; of many seeds their median (of an even number the earlier of two) and range."""
    found = [endless(first) for first in firsts]
    if len(found) <= LISTED:
        return listed(found)
    ends = (statistics.median_low(found), min(found), max(found))
    return "median {}, {} to {}".format(*map(iteration_text, ends))


def listed(iterations: Sequence[float]) -> str:
    return ", ".join(map(iteration_text, iterations))


def iteration_text(iteration: float) -> str:
    """Without a comma for the thousands: there are commas between them."""
    return "never" if iteration == math.inf else f"{iteration:.0f}"


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def points_text(delta: float) -> str:
    return f"{delta:g} point{'' if delta == 1 else 's'}"


# --- tables -----------------------------------------------------------------------------------------------------------


def place_columns(sweep: Sweep) -> list[Column]:
    return list(COLUMNS[type(sweep.cells[0].place)])


def measured_table(name: str, sweep: Sweep, networks: Mapping[str, str], measures: Sequence[str]) -> Table:
    """Every network at every iteration: mean and standard deviation over seeds."""
    caption = f"Every network that was measured, {sweep.name}."
    rows = [
        [*cell.place, iteration, told, *spreads(seeds, measures)]
        for cell in sweep.cells
        for iteration in cell.iterations()
        for network, told in networks.items()
        if (seeds := cell.measured(network, iteration))
    ]
    columns = [*place_columns(sweep), Column("iteration", "d"), Column("network"), *spread_columns(measures)]
    return Table(name, caption, columns, rows, folded=True)


def spread_columns(measures: Sequence[str]) -> list[Column]:
    """Of what `spreads` gives."""
    named = [(Column(*MEASURES[name]), Column(f"{name}, std", MEASURES[name][1])) for name in measures]
    return [Column("seeds", "d"), *(column for pair in named for column in pair)]


def spreads(seeds: Sequence[Mapping[str, float | None]], measures: Sequence[str]) -> list[Entry]:
    """n, and of each measure the mean and the standard deviation over seeds."""
    return [len(seeds), *(value for name in measures for value in spread_or_none(seed[name] for seed in seeds))]


def spread_or_none(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where a value is not known."""
    values = list(values)
    return (None, None) if None in values else spread(values)


def mean(values: Iterable[float | None]) -> float | None:
    """None if one is not known."""
    return spread_or_none(values)[0]


def needed_texts(cell: Cell, ways: Iterable[tuple[str, str]], delta: float) -> list[str | None]:
    """By network and accuracy the first good iterations of the seeds; None where there is no such network."""
    return [times(cell.first(*way, delta).values()) or None for way in ways]
