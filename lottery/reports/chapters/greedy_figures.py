"""Figures of greedy selection along a pre-training: accuracy against iterations, loss against picks."""

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
from lottery.reports.style import LineStyle, NumberFormatter, canvas, legend_below, line_style, log_axis, render

NETWORKS = {"dense": "dense", "selected": "selected", "fine_tuned": "selected and fine-tuned"}
MEASURED = {"train": "the sub-data-set", "test": "the test set"}
LOSSES = {  # curves, in the order of their colours
    "selected": "greedy selection",
    "random": "random multiset, measured",
    "random, mean": "random multiset, mean in theory",
    "bound after the first": "bound that knows the first pick",
    "bound": "bound",
}
WITH_BANDS = {"selected", "random"}  # curves drawn with their range over seeds
SCRATCH = "#CC79A7"
GREY = "#888888"
LOSS_ITERATIONS = 3  # in the figure of losses
LOG_FROM = 6  # a loss axis is logarithmic if its values span a larger factor
LABELS = 14  # labels of iterations that fit in a row of panels


def accuracy_figure(sweep: Sweep, measured: str, name: str) -> Figure:
    """A row for each width, a column for each size of the sub-data-set; a line for each network."""
    widths, sizes = sweep_widths(sweep), sweep_sizes(sweep)
    figure, panels = panel_grid(len(widths), len(sizes))
    iterations = sorted({iteration for cell in sweep.cells for iteration in cell.iterations()})
    for axes, swept in zip(panels, itertools.product(widths, sizes), strict=True):
        cell = sweep.cell(*swept)
        if cell is None:
            axes.text(0.5, 0.5, "no run", transform=axes.transAxes, ha="center", va="center", color=GREY)
            continue
        draw_references(axes, cell, measured, sweep.delta)
        for number, (network, words) in enumerate(NETWORKS.items()):
            draw_accuracies(axes, cell, network, measured, line_style(number), words)
    for axes in panels:
        iteration_axis(axes, iterations, LABELS // len(sizes))
    accuracy_axis(panels)
    for axes, size in zip(panels, sizes, strict=False):  # the first row
        axes.set_title(f"{size:,} examples", fontsize=9)
    label_panels(panels, map(width_text, widths), "pre-training iterations", "accuracy (%)")
    legend_below(figure, most_lines(panels), columns=3)
    caption = (
        f"Accuracy on {MEASURED[measured]}, {sweep.name}. Mean over seeds, band: one standard deviation. Grey: the "
        f"dense network at the end of its pre-training, and down to {points_text(sweep.delta)} below it. Selected are "
        f"{sweep.settings['neurons']:,} neurons. The axis of accuracies is stretched towards 100."
    )
    return render(figure, name, caption)


def loss_figure(sweep: Sweep, name: str) -> Figure | None:
    """A row for each width at its largest sub-data-set, a column for each of a few iterations; None if there are no
    curves."""
    widths = sweep_widths(sweep)
    cells = [max((cell for cell in sweep.cells if cell.swept.width == width), key=lambda cell: cell.swept.examples)
             for width in widths]  # fmt: skip
    iterations = a_few(sorted(set.intersection(*(set(iterations_with_curves(cell)) for cell in cells))))
    if not iterations:
        return None
    figure, panels = panel_grid(len(widths), len(iterations))
    for axes, (cell, iteration) in zip(panels, itertools.product(cells, iterations), strict=True):
        draw_losses(axes, cell, iteration)
        heading = [f"iteration {iteration:,}"] if cell is cells[0] else []
        axes.set_title("\n".join([*heading, *vacuous_text(cell, iteration)]), fontsize=9)
    loss_axes(panels)
    label_panels(panels, map(width_text, widths), "picks", "loss")
    legend_below(figure, most_lines(panels), columns=3)
    sizes = list(dict.fromkeys(f"{cell.swept.examples:,} examples" for cell in cells))
    caption = (
        f"Loss on the sub-data-set after each pick, {sweep.name}, {', '.join(sizes)}"
        f"{' (the largest of each width)' if len(sizes) > 1 else ''}. Mean over seeds, band: from the lowest to the "
        "highest. Where the bound is above the loss of the zero function, which needs no neuron, it is vacuous."
    )
    return render(figure, name, caption)


# --- panels -----------------------------------------------------------------------------------------------------------


def panel_grid(rows: int, columns: int) -> tuple[Canvas, list[Axes]]:
    """A figure of panels that share their axes."""
    return canvas(rows, columns, height=1.2 + 2.1 * rows, sharex=True, sharey=True)


def label_panels(panels: Sequence[Axes], rows: Iterable[str], x: str, y: str) -> None:
    """Label the x axes in the last row, and the y axes in the first column with what their row shows."""
    rows = list(rows)
    columns = len(panels) // len(rows)
    for axes in panels[-columns:]:
        axes.set_xlabel(x)
    for axes, row in zip(panels[::columns], rows, strict=True):
        axes.set_ylabel(f"{row}\n{y}")


def sweep_widths(sweep: Sweep) -> list[int]:
    return sorted({cell.swept.width for cell in sweep.cells})


def sweep_sizes(sweep: Sweep) -> list[int]:
    return sorted({cell.swept.examples for cell in sweep.cells})


def width_text(width: int) -> str:
    return f"width {width:,}"


def most_lines(panels: Sequence[Axes]) -> Axes:
    """The panel with most lines, whose legend serves for all."""
    return max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[0]))


# --- accuracies -------------------------------------------------------------------------------------------------------


def draw_references(axes: Axes, cell: Cell, measured: str, delta: float) -> None:
    """The dense network at the end of its pre-training, the band down to `delta` below it, and the network from
    scratch."""
    if dense := cell.final("dense"):
        mean = spread(end[measured] for end in dense)[0]
        axes.axhspan(mean - delta, mean, color=GREY, alpha=0.25, lw=0, zorder=0)
        axes.axhline(mean, color=GREY, lw=1, ls=(0, (1, 1)), zorder=1, label="dense at the end")
    if scratch := cell.final("scratch"):
        mean = spread(end[measured] for end in scratch)[0]
        axes.axhline(mean, color=SCRATCH, lw=1.2, ls=(0, (5, 2)), zorder=1, label="as small, from scratch")


def draw_accuracies(axes: Axes, cell: Cell, network: str, measured: str, style: LineStyle, words: str) -> None:
    """A network's mean accuracy by iteration, with a band of one standard deviation."""
    found = {iteration: cell.measured(network, iteration) for iteration in cell.iterations()}
    spreads = {iteration: spread(each[measured] for each in seeds) for iteration, seeds in found.items() if seeds}
    if not spreads:
        return
    means, deviations = np.array([[mean, deviation or 0.0] for mean, deviation in spreads.values()]).T
    axes.plot(list(spreads), means, **style._asdict() | {"markersize": 4}, label=words)
    above = np.minimum(means + deviations, 100)  # no accuracy is higher
    axes.fill_between(list(spreads), means - deviations, above, color=style.color, alpha=0.2, lw=0)


def iteration_axis(axes: Axes, iterations: Sequence[int], room: int) -> None:
    """The iterations of the selections, on a symmetric log scale if they lie much closer at the beginning."""
    gaps = [b - a for a, b in itertools.pairwise(iterations)]
    if gaps and max(gaps) > 3 * min(gaps):
        first = next(iteration for iteration in iterations if iteration > 0)
        axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    step = math.ceil(len(iterations) / max(room, 2))
    axes.xaxis.set_major_locator(FixedLocator(iterations[::step]))
    axes.xaxis.set_minor_locator(FixedLocator(iterations))
    axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(NumberFormatter())
    axes.tick_params(axis="x", labelsize=8)


def accuracy_axis(panels: Sequence[Axes]) -> None:
    """Accuracy in percent, stretched towards 100, so that small differences there can be seen beside the accuracy of an
    untrained network."""
    drawn = [axes.dataLim for axes in panels if np.isfinite(axes.dataLim.y0)]
    low, high = max(0.0, min(limits.y0 for limits in drawn)), max(limits.y1 for limits in drawn)
    ticks = [*range(0, 100, 10), 95, 98, 99, 100] if high - low > 10 else range(101)
    labelled = spaced([tick for tick in ticks if low <= tick <= high + 1], 0.07 * (stretched(high) - stretched(low)))
    for axes in panels:
        axes.set_yscale("function", functions=(stretched, unstretched))
        axes.set_ylim(unstretched(stretched(low) - 0.1), unstretched(stretched(high) + 0.15))
        axes.yaxis.set_major_locator(FixedLocator(labelled))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def stretched(accuracy):
    """The position of an accuracy on the axis: -log(101 - accuracy)."""
    return -np.log(101 - np.clip(accuracy, -1e3, 100.9))


def unstretched(position):
    """The inverse of `stretched`."""
    return 101 - np.exp(-np.asarray(position, dtype=float))


def spaced(ticks: Sequence[float], least: float) -> list[float]:
    """Those of the ticks that are at least so far apart on the stretched axis, chosen from the top down."""
    chosen: list[float] = []
    for tick in sorted(ticks, reverse=True):
        if not chosen or stretched(chosen[-1]) - stretched(tick) >= least:
            chosen.append(tick)
    return chosen


# --- losses -----------------------------------------------------------------------------------------------------------


def iterations_with_curves(cell: Cell) -> list[int]:
    return [iteration for iteration in cell.iterations() if loss_curves(cell, iteration)]


def loss_curves(cell: Cell, iteration: int) -> list[dict]:
    """By name the losses after each pick, of each seed that has them."""
    return [point["curves"] for point in cell.points(iteration) if "curves" in point]


def a_few(iterations: Sequence[int]) -> list[int]:
    """The first, the middle and the last."""
    if len(iterations) <= LOSS_ITERATIONS:
        return list(iterations)
    return [iterations[i * (len(iterations) - 1) // (LOSS_ITERATIONS - 1)] for i in range(LOSS_ITERATIONS)]


def draw_losses(axes: Axes, cell: Cell, iteration: int) -> None:
    """The losses of greedy and of random selection after each pick, the bounds, and two networks to compare with."""
    found = loss_curves(cell, iteration)
    for number, (name, words) in enumerate(LOSSES.items()):
        if all(name in curves for curves in found):
            by_seed = np.array([curves[name] for curves in found])  # (seeds, picks)
            picks, style = np.arange(1, by_seed.shape[1] + 1), line_style(number)
            axes.plot(picks, by_seed.mean(0), color=style.color, ls=style.linestyle, label=words)
            if name in WITH_BANDS:
                axes.fill_between(picks, by_seed.min(0), by_seed.max(0), color=style.color, alpha=0.2, lw=0)
    draw_mean(axes, cell, iteration, lambda point: point["dense"]["loss"], "dense network then", SCRATCH, (0, (5, 2)))
    draw_mean(axes, cell, iteration, lambda point: point["zero"]["loss"], "zero function", GREY, (0, (1, 1)))


def loss_axes(panels: Sequence[Axes]) -> None:
    """Picks on a log scale; losses too if they span a large factor, as bounds may lie far above what they bound."""
    limits = [axes.dataLim for axes in panels]
    is_wide = max(each.y1 for each in limits) > LOG_FROM * min(each.y0 for each in limits)
    for axes in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(NumberFormatter())
        axes.xaxis.set_minor_formatter("")
        if is_wide:
            axes.set_yscale("log")
            log_axis(axes.yaxis)


def draw_mean(
    axes: Axes, cell: Cell, iteration: int, loss: Callable[[dict], float], words: str, color: str, line: object
) -> None:
    """A horizontal line at the mean of a loss."""
    mean = spread(map(loss, cell.points(iteration)))[0]
    axes.axhline(mean, color=color, lw=1.3, ls=line, label=words)


def vacuous_text(cell: Cell, iteration: int) -> list[str]:
    """From which pick on the bound is not vacuous in all seeds; nothing if there is no bound."""
    points = [point for point in cell.points(iteration) if "vacuous" in point]
    if not points:
        return []
    starts = [point["informative from"] for point in points]
    if None in starts:
        share = starts.count(None)
        return [f"bound always vacuous{f' ({share} of {len(starts)} seeds)' if share < len(starts) else ''}"]
    return [f"bound vacuous before pick {max(starts):,}" if max(starts) > 1 else "bound never vacuous"]
