"""The chapter on the overlap of tickets: the masks of two runs after equally many prunings."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lottery.checkpointing.run_directory import RunDirectory
from lottery.reports.comparison.accuracy import rounded
from lottery.reports.comparison.masks import Overlap, evenly_spaced, overlap, same_layers
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.document import Cell, Column, Figure, Paragraph, Part, Table
from lottery.reports.style import (
    LineStyle,
    canvas,
    density_axis,
    label_cells,
    legend_below,
    line_style,
    render,
    shortened,
)
from lottery.results.ticket_runs import Run
from pruner import Mask
from utils import InputError

MOST_ROUNDS = 5  # masks are read from checkpoints, which is slow
MOST_IN_MATRIX = 16
COLUMNS = (
    Column("prunings", "d"),
    Column("remaining (%)", ".2f"),
    Column("ticket"),
    Column("other ticket"),
    Column("in common (%)", ".2f"),
    Column("by chance (%)", ".2f"),
)
EXPLAINED = (
    "weights kept in both tickets, in percent of those kept in either; by chance: what two random masks with as many "
    "weights in each layer would have in common"
)


class Pair(NamedTuple):
    """Two runs' tickets after `prunings` prunings."""

    prunings: int
    density: float  # of the first one
    first: Run
    second: Run
    overlap: Overlap


def overlap_parts(task: Task, number: int) -> list[Part]:
    """A curve for each pair of methods, a matrix of all runs for the last ticket that all have, and a table.

    Of searches in rounds: a training that finds a single ticket has none after as many prunings as they have.
    """
    method_by_run = {id(run): method for method in task.by_kind(SEARCH) for run in method.runs}
    searches = [run for method in task.by_kind(SEARCH) for run in method.runs if run.numbers_rounds]
    runs = [run for run in searches if sparse_rounds(run)]
    problems: dict[str, dict[str, None]] = defaultdict(dict)  # names of runs by what is wrong with them
    pairs: list[Pair] = []
    for k in evenly_spaced(shared_rounds(runs), MOST_ROUNDS):
        masks = {}
        for run in runs:
            try:
                masks[id(run)] = read_mask(run, k)
            except InputError as error:
                problems[str(error)][run.name] = None
        pairs += pairs_after(k, [run for run in runs if masks.get(id(run))], masks)
    parts: list[Part] = [Paragraph(f"{', '.join(names)}: {problem}", True) for problem, names in problems.items()]
    if not pairs:
        return parts
    curves = overlap_curves(pairs, method_by_run)
    parts += [curves_figure(task, curves, number)] if curves else []
    parts += matrix_parts(task, [pair for pair in pairs if pair.prunings == pairs[-1].prunings], runs, number)
    return [*parts, pair_table(task, pairs, number)]


def pair_table(task: Task, pairs: Sequence[Pair], number: int) -> Table:
    rows: list[list[Cell]] = [
        [pair.prunings, 100 * pair.density, pair.first.name, pair.second.name, *(100 * share for share in pair.overlap)]
        for pair in pairs
    ]
    caption = f"Tickets in pairs, {task.name}: {EXPLAINED}."
    return Table(f"overlap-{number}", caption, COLUMNS, rows, folded=len(rows) > 12)


def sparse_rounds(run: Run) -> set[int]:
    """The numbers of prunings after which it trained the ticket."""
    return {row["round"] for row in run.rounds if row["density"] < 1}


def shared_rounds(runs: Sequence[Run]) -> list[int]:
    """The numbers of prunings that all runs have."""
    return sorted(set.intersection(*map(sparse_rounds, runs))) if len(runs) > 1 else []


def read_mask(run: Run, k: int) -> Mask:
    """The run's mask after k prunings. InputError, for readers of the report, if it cannot be read."""
    if not RunDirectory(run.path).checkpoint(k).exists():
        raise InputError("not all checkpoints are there; the tickets that are missing are compared with none.")
    try:
        return run.mask(k)
    except InputError as error:
        raise InputError(f"{error}; its ticket is compared with none.") from None


def pairs_after(k: int, runs: Sequence[Run], masks: dict[int, Mask]) -> list[Pair]:
    """All pairs of these runs after k prunings whose masks, by ``id`` of the run, have the same layers."""
    return [
        Pair(k, ticket_density(a, k), a, b, overlap(masks[id(a)], masks[id(b)]))
        for a, b in itertools.combinations(runs, 2)
        if same_layers(masks[id(a)], masks[id(b)])
    ]


def ticket_density(run: Run, k: int) -> float:
    return rounded(next(row["density"] for row in run.rounds if row["round"] == k))


def overlap_curves(pairs: Sequence[Pair], method_by_run: dict[int, Method]) -> dict[str, list]:
    """Lists of (density, in common, by chance), means over pairs, by label.

    A curve is of pairs of one method with different seeds, or of two methods with the same seed. If IMP is there, two
    methods are IMP and another one, and the label begins with IMP.
    """
    found: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    has_imp = any(method.is_imp for method in method_by_run.values())
    for pair in pairs:
        first, second = method_by_run[id(pair.first)], method_by_run[id(pair.second)]
        if first is second:
            found[f"{first.name}: two seeds"][pair.density].append(pair.overlap)
        elif pair.first.seed == pair.second.seed and (first.is_imp or not has_imp):
            found[f"{first.name} and {second.name}: one seed"][pair.density].append(pair.overlap)
    return {
        label: [(density, *map(statistics.fmean, zip(*each, strict=True))) for density, each in by_density.items()]
        for label, by_density in found.items()
    }


def curves_figure(task: Task, curves: dict[str, list], number: int) -> Figure:
    """In common and by chance against density."""
    figure, (axes,) = canvas(height=3.8 + 0.12 * len(curves))
    for i, (label, points) in enumerate(curves.items()):
        style: LineStyle = line_style(i)
        densities = [density for density, _, _ in points]
        axes.plot(densities, [100 * share for _, share, _ in points], **style._asdict(), label=label)
        axes.plot(densities, [100 * chance for _, _, chance in points], color=style.color, lw=1, ls=":", alpha=0.8)
    axes.plot([], [], color="#444444", lw=1, ls=":", label="by chance, each in its colour")
    density_axis(axes, [1.0, *(density for points in curves.values() for density, _, _ in points)])
    axes.set_ylim(0, 102)
    axes.set_ylabel("in common (%)")
    legend_below(figure, axes, columns=2)
    caption = f"What two tickets have in common, {task.name}: {EXPLAINED}. Means over pairs."
    return render(figure, f"overlap-{number}", caption)


def matrix_parts(task: Task, pairs: Sequence[Pair], runs: Sequence[Run], number: int) -> list[Part]:
    """A heat map of pairs of equally many prunings, every run against every other; left out if it would be trivial or
    too large to read."""
    if not 2 < len(runs) <= MOST_IN_MATRIX:
        return []
    shares = {(pair.first.name, pair.second.name): pair.overlap.share for pair in pairs}
    shares |= {(b, a): share for (a, b), share in shares.items()}
    names = [run.name for run in runs]
    values = [[100 * shares.get((a, b), float("nan")) for b in names] for a in names]
    figure, (axes,) = canvas(height=1.6 + 0.33 * len(names))
    image = axes.imshow(values, cmap="Greys", vmin=0, vmax=100, aspect="auto")
    label_cells(image, "{:.0f}".format)
    axes.set_xticks(range(len(names)), range(1, len(names) + 1))
    axes.set_yticks(range(len(names)), [f"{shortened(name)}  {place}" for place, name in enumerate(names, 1)])
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="in common (%)", pad=0.02)
    caption = f"Tickets after {pairs[0].prunings} prunings, every run against every other, {task.name}: {EXPLAINED}."
    return [render(figure, f"overlap-matrix-{number}", caption)]
