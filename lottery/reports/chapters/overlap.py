"""The chapter on the overlap of tickets: the masks of two runs with one density."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.comparison.overlap_pairs import Pair, ticket_pairs
from lottery.reports.document import Cell, Column, Figure, Paragraph, Part, Table
from lottery.reports.style import (
    LineStyle,
    canvas,
    density_axis,
    label_cells,
    legend_below,
    line_style,
    percent,
    render,
    shortened,
)

MOST_IN_MATRIX = 16
COLUMNS = (
    Column("remaining (%)", ".2f"),
    Column("ticket"),
    Column("its prunings", "d"),
    Column("other ticket"),
    Column("other's prunings", "d"),
    Column("in common (%)", ".2f"),
    Column("by chance (%)", ".2f"),
)
EXPLAINED = (
    "weights kept in both tickets, in percent of those kept in either; by chance: what two random masks with as many "
    "weights in each layer would have in common"
)


def overlap_parts(task: Task) -> list[Part]:
    """A curve for each pair of methods, a matrix of the runs at the sparsest density that most of them have, and a
    table."""
    method_by_run = {id(run): method for method in task.by_kind(SEARCH) for run in method.runs}
    found = ticket_pairs([run for method in task.by_kind(SEARCH) for run in method.runs])
    parts: list[Part] = [Paragraph(f"{', '.join(names)}: {text}", True) for text, names in found.problems.items()]
    if not found.pairs:
        return parts
    curves = overlap_curves(found.pairs, method_by_run)
    parts += [curves_figure(task, curves)] if curves else []
    return [*parts, *matrix_parts(task, pairs_in_matrix(found.pairs)), pair_table(task, found.pairs)]


def pair_table(task: Task, pairs: Sequence[Pair]) -> Table:
    rows: list[list[Cell]] = [
        [
            100 * pair.density,
            *(cell for ticket in (pair.first, pair.second) for cell in (ticket.run.name, ticket.prunings)),
            *(100 * share for share in pair.overlap),
        ]
        for pair in pairs
    ]
    caption = f"Tickets of one density in pairs, {task.name}: {EXPLAINED}."
    return Table(f"overlap_{task.stem}", caption, COLUMNS, rows, folded=len(rows) > 12)


def pairs_in_matrix(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs of the density that has most of them, of several such the sparsest."""
    by_density: dict[float, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_density[pair.density].append(pair)
    return max(reversed(by_density.values()), key=len)


def overlap_curves(pairs: Sequence[Pair], method_by_run: dict[int, Method]) -> dict[str, list]:
    """Lists of (density, in common, by chance), means over pairs, by label.

    A curve is of pairs of one method with different seeds, or of two methods with the same seed. If IMP is there, two
    methods are IMP and another one, and the label begins with IMP.
    """
    found: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    has_imp = any(method.is_imp for method in method_by_run.values())
    for pair in pairs:
        first, second = method_by_run[id(pair.first.run)], method_by_run[id(pair.second.run)]
        if first is second:
            found[f"{first.name}: two seeds"][pair.density].append(pair.overlap)
        elif pair.first.run.seed == pair.second.run.seed and (first.is_imp or not has_imp):
            found[f"{first.name} and {second.name}: one seed"][pair.density].append(pair.overlap)
    return {
        label: [(density, *map(statistics.fmean, zip(*each, strict=True))) for density, each in by_density.items()]
        for label, by_density in found.items()
    }


def curves_figure(task: Task, curves: dict[str, list]) -> Figure:
    """In common and by chance against density."""
    figure, (axes,) = canvas(height=3.8)
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
    return render(figure, f"overlap_{task.stem}", caption)


def matrix_parts(task: Task, pairs: Sequence[Pair]) -> list[Part]:
    """A heat map of pairs of one density, every run against every other; left out if it would be trivial or too large
    to read."""
    names = list(dict.fromkeys(ticket.run.name for pair in pairs for ticket in (pair.first, pair.second)))
    if not 2 < len(names) <= MOST_IN_MATRIX:
        return []
    shares = {(pair.first.run.name, pair.second.run.name): pair.overlap.share for pair in pairs}
    shares |= {(b, a): share for (a, b), share in shares.items()}
    values = [[100 * shares.get((a, b), float("nan")) for b in names] for a in names]
    figure, (axes,) = canvas(height=1.6 + 0.33 * len(names))
    image = axes.imshow(values, cmap="Greys", vmin=0, vmax=100, aspect="auto")
    label_cells(image, "{:.0f}".format)
    axes.set_xticks(range(len(names)), range(1, len(names) + 1))
    axes.set_yticks(range(len(names)), [f"{shortened(name)}  {place}" for place, name in enumerate(names, 1)])
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="in common (%)", pad=0.02)
    caption = (
        f"Tickets with {percent(pairs[0].density)} % of the weights, every run against every other, {task.name}: "
        f"{EXPLAINED}."
    )
    return [render(figure, f"overlap_matrix_{task.stem}", caption)]
