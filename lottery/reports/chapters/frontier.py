"""The chapter on the cheapest search: at each density, accuracy of retrained tickets against what finding them took."""

import math
import statistics
from collections.abc import Sequence
from operator import attrgetter

from matplotlib.axes import Axes

from lottery.reports.chapters.summary import difference_text
from lottery.reports.comparison.frontier import Cost, Frontier, Searched, frontiers
from lottery.reports.comparison.masks import evenly_spaced
from lottery.reports.comparison.method_costs import percentage
from lottery.reports.comparison.methods import Task
from lottery.reports.comparison.statistics import FEWEST, falls_below, holds, interval
from lottery.reports.document import Cell, Column, Figure, Folded, Listing, Paragraph, Part, Table
from lottery.reports.point_labels import label_all_points
from lottery.reports.style import (
    COLOURS,
    SUPERSCRIPTS,
    canvas,
    legend_below,
    log_axis,
    percent,
    points,
    render,
)

STEPS, FLOPS = attrgetter("steps"), attrgetter("flops")
COSTS: dict[str, tuple[str, Cost]] = {  # by part of a file's name: the label of the axis, and the value
    "steps": ("optimiser steps to find the ticket", STEPS),
    "flops": ("zero-aware FLOPs to find the ticket", FLOPS),
}
MOST_PANELS = 6
LEFT = 0.5  # of the least cost: where searches stand that cost nothing
WIDE = 30  # the dearest search over the cheapest, from which on only powers of ten have room as ticks
DEPTH = 6  # panels end so many margins below IMP: networks that learn nothing would flatten all others
COLUMNS = (
    Column("remaining (%)", ".3g"),
    Column("number", "d"),
    Column("search"),
    Column("steps to find", ",.0f"),
    Column("saved (%)", ".1f"),
    Column("to find and train", ",.0f"),
    Column("training FLOPs to find", ".2e"),
    Column("saved (%)", ".1f"),
    Column("seeds", "d"),
    Column("test (%)", ".2f"),
    Column("minus IMP"),
    Column("as good as IMP"),
    Column("on the frontier"),
)


def frontier_parts(task: Task, margin: float) -> list[Part]:
    """A sentence for each density, figures by steps and by FLOPs, a table; nothing if there are too few searches."""
    found = frontiers(task, margin)
    if not found:
        return []
    sentences = Listing([sentence(each, margin) for each in found])
    figures = [frontier_figure(task, found, name, margin) for name, (_, cost) in COSTS.items() if is_known(found, cost)]
    return [sentences, *figures, frontier_table(task, found, margin), Folded("What this means", [Paragraph(MEANING)])]


MEANING = (
    "A ticket is the mask and the starting weights that its search left, both: a search of short rounds also rewinds "
    "to weights that a learning rate which falls sooner has made. Tickets are retrained by one recipe. What a search "
    "saves is a share of the most thorough IMP's cost at the same density. As good as IMP: the rule of the verdicts, "
    "applied to each density by itself, from pairs of runs with the same seed. The frontier: no search that costs as "
    "much or less has tickets of a higher mean accuracy; it says nothing about chance. The cheapest of many searches "
    "has been chosen among them: seeds that chose it do not count for it. Zero-aware FLOPs are those of a machine "
    "that skips every dropped weight. Tickets that are pruned before training take no optimiser step to find; their "
    "FLOPs are those of passes, forward and backward, through the dense network over the examples that were scored. "
    "A static mask is drawn, and costs nothing."
)


def is_known(found: Sequence[Frontier], cost: Cost) -> bool:
    return all(cost(each) is not None for frontier in found for each in frontier.searches)


def sentence(frontier: Frontier, margin: float) -> str:
    """The cheapest search that is as good as IMP at this density, or what a verdict lacks."""
    where, best = f"At {percent(frontier.density)} % of the weights", frontier.cheapest_as_good(margin)
    pairs = max((each.point.against_imp.n for each in frontier.searches if each.point.against_imp), default=0)
    if pairs < FEWEST:
        return f"{where}: no verdict from {pairs} {'pair' if pairs == 1 else 'pairs'}, fewer than {FEWEST}."
    if best is None:
        return f"{where} no search that takes fewer steps is shown to be as good as {frontier.imp.name}."
    saved = f"{best.steps:,.0f} steps, {100 * (frontier.saved(best, STEPS) or 0):.1f} % fewer than {frontier.imp.name}"
    in_all = frontier.saved(best, attrgetter("steps_in_all"))
    saved += "" if in_all is None else f" ({100 * in_all:.1f} % fewer with the training of the ticket)"
    difference = best.point.against_imp
    return (
        f"{where} the cheapest search shown to be as good as {frontier.imp.name} is {best.name}: {saved}; "
        f"{difference_text(difference) if difference else ''} points.{cheaper_text(frontier, best, margin)}"
    )


def cheaper_text(frontier: Frontier, best: Searched, margin: float) -> str:
    """How many cheaper searches there are, and of how many it is shown that they are worse."""
    cheaper = [each for each in frontier.searches if each.steps < best.steps]
    if not cheaper:
        return ""
    worse = sum(falls_below(each.point.against_imp, margin) for each in cheaper)
    shown = f" ({worse} of them worse by more than {points(margin)})" if worse else ""
    return f" Not shown to be as good, though cheaper: {len(cheaper)}{shown}."


def frontier_table(task: Task, found: Sequence[Frontier], margin: float) -> Table:
    rows = [row for frontier in found for row in frontier_rows(frontier, margin)]
    caption = f"Searches from the cheapest to the dearest by density, {task.name}. Numbers are those in the figures."
    return Table(f"cheapest_search_{task.stem}", caption, COLUMNS, rows, folded=len(rows) > 12)


def frontier_rows(frontier: Frontier, margin: float) -> list[list[Cell]]:
    """A row for each search with `COLUMNS`."""
    efficient = frontier.efficient(STEPS)
    rows: list[list[Cell]] = []
    for number, each in enumerate(frontier.searches, 1):
        against = None if each is frontier.imp else each.point.against_imp
        rows.append([
            100 * frontier.density, number, each.name, each.steps, percentage(frontier.saved(each, STEPS)),
            each.steps_in_all, each.flops, percentage(frontier.saved(each, FLOPS)),
            len(each.point.values), each.point.mean, difference_text(against) if against else None,
            holds(against, margin), each in efficient,
        ])  # fmt: skip
    return rows


# --- figures ----------------------------------------------------------------------------------------------------------


def frontier_figure(task: Task, found: Sequence[Frontier], name: str, margin: float) -> Figure:
    """A panel for each density: accuracy against cost, with IMP's interval as a band, and the frontier as steps."""
    shown = evenly_spaced(found, MOST_PANELS)
    label, cost = in_units(*COSTS[name], shown)
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, every = canvas(rows, columns, height=0.6 + 2.6 * rows)
    for axes, frontier in zip(every, shown, strict=False):
        draw_frontier(axes, frontier, cost, margin)
        axes.set_title(f"{percent(frontier.density)} % of the weights", loc="left")
    for axes in every[len(shown) :]:
        axes.set_axis_off()
    for place, axes in enumerate(every[: len(shown)]):
        axes.set_xlabel(label if place + columns >= len(shown) else "")
        axes.set_ylabel("test accuracy (%)" if place % columns == 0 else "")
    legend_below(figure, every[0])
    figure.canvas.draw()
    for axes, frontier in zip(every, shown, strict=False):
        label_all_points(figure, axes, point_labels(frontier, cost, margin))
    caption = (
        f"Accuracy of retrained tickets against {COSTS[name][0]}, {task.name}; means over seeds. "
        "Numbers: those of the table, from the cheapest search to the dearest."
    )
    if any(cost(each) == 0 for frontier in shown for each in frontier.searches):
        caption += " The leftmost ones cost nothing: a log axis has no place for 0."
    return render(figure, f"cheapest_search_{name}_{task.stem}", caption)


def in_units(label: str, cost: Cost, found: Sequence[Frontier]) -> tuple[str, Cost]:
    """The label and the cost, from 1e9 up in powers of a thousand: tick labels with a power each have no room."""
    largest = max(cost(each) or 0.0 for frontier in found for each in frontier.searches)
    power = 3 * int(math.log10(largest or 1) // 3)
    if power < 9:
        return label, cost
    return f"{label} (10{str(power).translate(SUPERSCRIPTS)})", lambda each: (cost(each) or 0.0) / 10**power


def draw_frontier(axes: Axes, frontier: Frontier, cost: Cost, margin: float) -> None:
    """Points below the panel stand at its lower end, as triangles, with their accuracy."""
    floor = lowest_shown(frontier, margin)
    efficient = frontier.efficient(cost)
    places = dict(zip(map(id, frontier.searches), point_places(frontier, cost, margin), strict=True))
    draw_imp(axes, frontier.imp, margin)
    corners = [places[id(each)] for each in efficient]
    last = max(x for x, _ in places.values()), corners[-1][1]
    axes.step(*zip(*corners, last, strict=True), where="post", color=COLOURS[0], label="the frontier")
    for is_efficient, label in ((True, "searches on it"), (False, "other searches")):
        own = [each for each in frontier.searches if each is not frontier.imp and (each in efficient) == is_efficient]
        draw_points(axes, [places[id(each)] for each in own], floor, COLOURS[0] if is_efficient else "white", label)
    axes.scatter(*places[id(frontier.imp)], s=48, marker="D", color=COLOURS[1], zorder=4, label="IMP")
    axes.set_xscale("log")
    axes.margins(x=0.25 if any(each.point.mean < floor for each in frontier.searches) else 0.08)
    axes.set_ylim(*shown_accuracies(frontier.imp, [y for _, y in places.values()], margin))
    log_axis(axes.xaxis, subs=(1, 2, 5) if last[0] < WIDE * min(x for x, _ in places.values()) else (1,))


def draw_points(axes: Axes, places: Sequence[tuple[float, float]], floor: float, face: str, label: str) -> None:
    """Circles, with an entry in the legend also where there are none; triangles for those at the floor."""
    within, below = ([place for place in places if (place[1] > floor) == above] for above in (True, False))
    for own, marker, text in ((within, "o", label), (below, "v", None)):
        axes.scatter([x for x, _ in own], [y for _, y in own], s=34, marker=marker, fc=face, ec=COLOURS[0], zorder=3,
                     label=text)  # fmt: skip


def point_labels(frontier: Frontier, cost: Cost, margin: float) -> list[tuple[str, tuple[float, float], str]]:
    """The number of each search beside its point; with its accuracy, where that lies below the panel."""
    floor = lowest_shown(frontier, margin)
    means = [each.point.mean for each in frontier.searches]
    texts = [f"{n}: {mean:.1f} %" if mean < floor else str(n) for n, mean in enumerate(means, 1)]
    places = point_places(frontier, cost, margin)
    return [(text, place, "black") for text, place in zip(texts, places, strict=True)]


def lowest_shown(frontier: Frontier, margin: float) -> float:
    """`DEPTH` margins below IMP; below all of them, where half of the searches or more would stand at the lower end."""
    depth, means = frontier.imp.point.mean - DEPTH * margin, [each.point.mean for each in frontier.searches]
    return depth if statistics.median(means) > depth else min(means) - margin


def point_places(frontier: Frontier, cost: Cost, margin: float) -> list[tuple[float, float]]:
    """Where each search stands in its panel: at the lower end those whose accuracy lies below it, and at `LEFT` of the
    least cost those that cost nothing, which a log axis does not show."""
    floor, spent = lowest_shown(frontier, margin), [cost(each) or 0.0 for each in frontier.searches]
    left = LEFT * min(filter(None, spent), default=1.0)
    return [(x or left, max(each.point.mean, floor)) for x, each in zip(spent, frontier.searches, strict=True)]


def shown_accuracies(imp: Searched, accuracies: Sequence[float], margin: float) -> tuple[float, float]:
    """The ends of the axis: all points have room, and IMP's interval up to a margin above its mean, since that of two
    or three seeds would leave the points none."""
    found = interval(list(imp.point.values.values()))
    high = found.high if found and found.high is not None else imp.point.mean
    band = min(high, imp.point.mean + margin)
    low, high = min(*accuracies, imp.point.mean - margin), max(*accuracies, band)
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def draw_imp(axes: Axes, imp: Searched, margin: float) -> None:
    """IMP's accuracy as a band, the interval of its mean, and how far below it a search may be."""
    found = interval(list(imp.point.values.values()))
    if found and found.low is not None and found.high is not None:
        axes.axhspan(found.low, found.high, color=COLOURS[1], alpha=0.15, lw=0, label="IMP's 95 % interval")
    axes.axhline(imp.point.mean - margin, color=COLOURS[1], lw=1, ls="--", label=f"IMP less {points(margin)}")
