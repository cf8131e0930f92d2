"""Pictures of greedy selection along a pre-training: accuracies against iterations, losses against picks."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lottery.reports.chapters.greedy_tables import points_text
from lottery.reports.comparison.statistics import spread
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Figure
from lottery.reports.style import Look, canvas, finish, legend_below, look, thousands

NETWORKS = {"dense": "dense", "selected": "selected", "fine_tuned": "selected and fine-tuned"}
MEASURED = {"train": "the sub-data-set", "test": "the test set"}
LOSSES = {  # curves, in the order of their colours
    "selected": "greedy selection",
    "random": "random multiset, measured",
    "random, mean": "random multiset, mean in theory",
    "bound after the first": "bound that knows the first pick",
    "bound": "bound",
}
ONE_RUN = {"selected", "random"}  # curves that have noise of their own
SCRATCH = "#CC79A7"
GREY = "#888888"
MOMENTS = 3  # iterations in the figure of losses
FAR = 6  # times as large: what takes a log scale
LABELS = 14  # iterations there is room for on all axes side by side


def accuracy_figure(sweep: Sweep, measured: str, name: str) -> Figure:
    """A row for each width, a column for each size of the sub-data-set; a line for each network."""
    widths, sizes = widths_of(sweep), sizes_of(sweep)
    figure, panels = grid(len(widths), len(sizes))
    iterations = sorted({iteration for cell in sweep.cells for iteration in cell.iterations()})
    for axes, place in zip(panels, itertools.product(widths, sizes), strict=True):
        cell = sweep.cell(*place)
        if cell is None:
            axes.text(0.5, 0.5, "no run", transform=axes.transAxes, ha="center", va="center", color=GREY)
            continue
        reference_lines(axes, cell, measured, sweep.delta)
        for number, (network, told) in enumerate(NETWORKS.items()):
            accuracy_line(axes, cell, network, measured, look(number), told)
    for axes in panels:
        iteration_axis(axes, iterations, LABELS // len(sizes))
    accuracy_axis(panels)
    for axes, size in zip(panels, sizes, strict=False):  # those of the first row
        axes.set_title(f"{size:,} examples", fontsize=9)
    label(panels, map(width_text, widths), "pre-training iterations", "accuracy (%)")
    legend_below(figure, fullest(panels), columns=3)
    caption = (
        f"Accuracy on {MEASURED[measured]}, {sweep.name}. Mean over seeds, band: one standard deviation. Grey: the "
        f"dense network at the end of its pre-training, and down to {points_text(sweep.delta)} below it. Selected are "
        f"{sweep.settings['neurons']:,} neurons. The axis of accuracies is stretched towards 100."
    )
    return finish(figure, name, caption)


def loss_figure(sweep: Sweep, name: str) -> Figure | None:
    """A row for each width at its largest sub-data-set, a column for each of a few iterations; None without curves."""
    widths = widths_of(sweep)
    cells = [max((cell for cell in sweep.cells if cell.place.width == width), key=lambda cell: cell.place.examples)
             for width in widths]  # fmt: skip
    moments = a_few(sorted(set.intersection(*(set(known_iterations(cell)) for cell in cells))))
    if not moments:
        return None
    figure, panels = grid(len(widths), len(moments))
    for axes, (cell, iteration) in zip(panels, itertools.product(cells, moments), strict=True):
        losses(axes, cell, iteration)
        told = [f"iteration {iteration:,}"] if cell is cells[0] else []
        axes.set_title("\n".join([*told, *vacuous_text(cell, iteration)]), fontsize=9)
    loss_axes(panels)
    label(panels, map(width_text, widths), "picks", "loss")
    legend_below(figure, fullest(panels), columns=3)
    sizes = list(dict.fromkeys(f"{cell.place.examples:,} examples" for cell in cells))
    caption = (
        f"Loss on the sub-data-set after each pick, {sweep.name}, {', '.join(sizes)}"
        f"{' (the largest of each width)' if len(sizes) > 1 else ''}. Mean over seeds, band: from the lowest to the "
        "highest. Where the bound is above the loss of the zero function, which needs no neuron, it is vacuous."
    )
    return finish(figure, name, caption)


# --- panels -----------------------------------------------------------------------------------------------------------


def grid(rows: int, columns: int) -> tuple[Canvas, list[Axes]]:
    """Small multiples with shared axes."""
    return canvas(rows, columns, height=1.2 + 2.1 * rows, sharex=True, sharey=True)


def label(panels: Sequence[Axes], rows: Iterable[str], x: str, y: str) -> None:
    """What the axes are, in the last row and in the first column, there with what the row is of."""
    rows = list(rows)
    columns = len(panels) // len(rows)
    for axes in panels[-columns:]:
        axes.set_xlabel(x)
    for axes, row in zip(panels[::columns], rows, strict=True):
        axes.set_ylabel(f"{row}\n{y}")


def widths_of(sweep: Sweep) -> list[int]:
    return sorted({cell.place.width for cell in sweep.cells})


def sizes_of(sweep: Sweep) -> list[int]:
    return sorted({cell.place.examples for cell in sweep.cells})


def width_text(width: int) -> str:
    return f"width {width:,}"


def fullest(panels: Sequence[Axes]) -> Axes:
    """The panel with most lines, whose legend is that of all."""
    return max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[0]))


# --- accuracies -------------------------------------------------------------------------------------------------------


def reference_lines(axes: Axes, cell: Cell, measured: str, delta: float) -> None:
    """The dense network at its end, what is good enough beside it, and the network trained from scratch."""
    if dense := cell.ends("dense"):
        mean = spread(end[measured] for end in dense)[0]
        axes.axhspan(mean - delta, mean, color=GREY, alpha=0.25, lw=0, zorder=0)
        axes.axhline(mean, color=GREY, lw=1, ls=(0, (1, 1)), zorder=1, label="dense at the end")
    if scratch := cell.ends("scratch"):
        mean = spread(end[measured] for end in scratch)[0]
        axes.axhline(mean, color=SCRATCH, lw=1.2, ls=(0, (5, 2)), zorder=1, label="as small, from scratch")


def accuracy_line(axes: Axes, cell: Cell, network: str, measured: str, style: Look, told: str) -> None:
    found = {iteration: cell.measured(network, iteration) for iteration in cell.iterations()}
    spreads = {iteration: spread(each[measured] for each in seeds) for iteration, seeds in found.items() if seeds}
    if not spreads:
        return
    means, deviations = np.array([[mean, deviation or 0.0] for mean, deviation in spreads.values()]).T
    axes.plot(list(spreads), means, **style._asdict() | {"markersize": 4}, label=told)
    above = np.minimum(means + deviations, 100)  # a standard deviation may reach above it, an accuracy does not
    axes.fill_between(list(spreads), means - deviations, above, color=style.color, alpha=0.2, lw=0)


def iteration_axis(axes: Axes, iterations: Sequence[int], room: int) -> None:
    """The iterations selected at; where they lie much closer in the beginning, on a scale that spreads them out."""
    gaps = [b - a for a, b in itertools.pairwise(iterations)]
    if gaps and max(gaps) > 3 * min(gaps):
        first = next(iteration for iteration in iterations if iteration > 0)
        axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    step = math.ceil(len(iterations) / max(room, 2))
    axes.xaxis.set_major_locator(FixedLocator(iterations[::step]))
    axes.xaxis.set_minor_locator(FixedLocator(iterations))
    axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(thousands)
    axes.tick_params(axis="x", labelsize=8)


def accuracy_axis(panels: Sequence[Axes]) -> None:
    """Percent, stretched towards 100, so that points that matter there can be seen beside an untrained network's."""
    drawn = [axes.dataLim for axes in panels if np.isfinite(axes.dataLim.y0)]
    low, high = max(0.0, min(limits.y0 for limits in drawn)), max(limits.y1 for limits in drawn)
    ticks = [*range(0, 100, 10), 95, 98, 99, 100] if high - low > 10 else range(101)
    labelled = apart([tick for tick in ticks if low <= tick <= high + 1], 0.07 * (stretched(high) - stretched(low)))
    for axes in panels:
        axes.set_yscale("function", functions=(stretched, relaxed))
        axes.set_ylim(relaxed(stretched(low) - 0.1), relaxed(stretched(high) + 0.15))
        axes.yaxis.set_major_locator(FixedLocator(labelled))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def stretched(accuracy):
    """Where an accuracy lies on the axis: -log(101 - a), in which a point near 100 is as long as ten near 90."""
    return -np.log(101 - np.clip(accuracy, -1e3, 100.9))


def relaxed(place):
    return 101 - np.exp(-np.asarray(place, dtype=float))


def apart(ticks: Sequence[float], least: float) -> list[float]:
    """Those that are at least so far apart on the stretched axis, from the top down."""
    chosen: list[float] = []
    for tick in sorted(ticks, reverse=True):
        if not chosen or stretched(chosen[-1]) - stretched(tick) >= least:
            chosen.append(tick)
    return chosen


# --- losses -----------------------------------------------------------------------------------------------------------


def known_iterations(cell: Cell) -> list[int]:
    return [iteration for iteration in cell.iterations() if curves_of(cell, iteration)]


def curves_of(cell: Cell, iteration: int) -> list[dict]:
    """The losses after each pick, of each seed that has them."""
    return [point["curves"] for point in cell.points(iteration) if "curves" in point]


def a_few(iterations: Sequence[int]) -> list[int]:
    """The first, the middle and the last."""
    if len(iterations) <= MOMENTS:
        return list(iterations)
    return [iterations[place * (len(iterations) - 1) // (MOMENTS - 1)] for place in range(MOMENTS)]


def losses(axes: Axes, cell: Cell, iteration: int) -> None:
    """Selection, what it has to be better than, and what is known of it beforehand."""
    found = curves_of(cell, iteration)
    for number, (name, told) in enumerate(LOSSES.items()):
        if all(name in curves for curves in found):
            by_seed = np.array([curves[name] for curves in found])  # (seeds, picks)
            picks, style = np.arange(1, by_seed.shape[1] + 1), look(number)
            axes.plot(picks, by_seed.mean(0), color=style.color, ls=style.linestyle, label=told)
            if name in ONE_RUN:
                axes.fill_between(picks, by_seed.min(0), by_seed.max(0), color=style.color, alpha=0.2, lw=0)
    horizontal(axes, cell, iteration, lambda point: point["dense"]["loss"], "dense network then", SCRATCH, (0, (5, 2)))
    horizontal(axes, cell, iteration, lambda point: point["zero"]["loss"], "zero function", GREY, (0, (1, 1)))


def loss_axes(panels: Sequence[Axes]) -> None:
    """Both on log scales, losses where they are far apart: bounds may lie orders above what they bound."""
    limits = [axes.dataLim for axes in panels]
    far = max(each.y1 for each in limits) > FAR * min(each.y0 for each in limits)
    for axes in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(thousands)
        axes.xaxis.set_minor_formatter("")
        if far:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter("")


def horizontal(
    axes: Axes, cell: Cell, iteration: int, loss: Callable[[dict], float], told: str, color: str, line: object
) -> None:
    mean = spread(map(loss, cell.points(iteration)))[0]
    axes.axhline(mean, color=color, lw=1.3, ls=line, label=told)


def vacuous_text(cell: Cell, iteration: int) -> list[str]:
    """From which pick on the bound says anything, in all seeds; nothing where there is no bound."""
    points = [point for point in cell.points(iteration) if "vacuous" in point]
    if not points:
        return []
    starts = [point["informative from"] for point in points]
    if None in starts:
        share = starts.count(None)
        return [f"bound always vacuous{f' ({share} of {len(starts)} seeds)' if share < len(starts) else ''}"]
    return [f"bound vacuous before pick {max(starts):,}" if max(starts) > 1 else "bound never vacuous"]
