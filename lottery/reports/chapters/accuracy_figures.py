"""Accuracy against remaining weights, and against what all of it took."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from lottery.reports.comparison.accuracy import Curve
from lottery.reports.comparison.methods import Task
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Figure
from lottery.reports.style import COLOURS, canvas, density_axis, dodge, finish, legend_below, look, percent, thousands
from lottery.retraining.rules import RULES

WINNING, EQUAL = "winning (against dense", "equal (against IMP"


def accuracy_figure(task: Task, every: Sequence[Curve], name: str, what: str, margin: float) -> Figure:
    """One line for each method; mean +- standard deviation over seeds, dense network as a band, the two markers.

    Where there are too many to tell apart, those whose tickets were altered are left to their own chapter.
    """
    plain = [curve for curve in every if not curve.method.is_altered]
    curves = plain if plain and len(every) > len(COLOURS) else every
    figure, (axes,) = canvas(height=4.2 + 0.1 * len(curves))
    densities = [point.density for curve in curves for point in curve.points]
    dense_bands(axes, curves)
    asides = dodge(len(curves), densities)
    for curve, aside in zip(curves, asides, strict=True):
        number = task.searches.index(curve.method.search)
        accuracy_line(axes, curve, number, aside)
        mark(axes, curve.winning, curve, aside, marker="*", s=300, ec=look(number).color)
        mark(axes, curve.equal, curve, aside, marker="o", s=190, ec=look(number).color)
    label_marks(axes, curves, margin)
    density_axis(axes, [1.0, *densities], asides=asides)
    accuracy_axis(axes)
    legend_below(figure, axes, columns=2)
    caption = (
        f"{what}, {task.name}. Test accuracy at the best validation epoch, without a validation set after the "
        "last; mean and standard deviation over seeds where there are several."
    )
    if len(curves) < len(every):
        caption += " Tickets that were altered, and those of rules, are in a chapter of their own."
    return finish(figure, name, caption)


def accuracy_axis(axes: Axes) -> None:
    """Percent; a standard deviation may reach above 100, the axis does not."""
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))


def dense_bands(axes: Axes, curves: Sequence[Curve]) -> None:
    """The dense network's mean, and its standard deviation on either side; one band for each recipe."""
    drawn = []
    for curve in curves:
        if not curve.dense or curve.dense in drawn:
            continue
        drawn.append(curve.dense)
        mean, deviation = spread(curve.dense.values())
        rule = f", {RULES[curve.method.further].name}" if curve.method.further else ""
        label = f"dense network{rule}{seeds(curve.dense)}"
        axes.axhline(mean, color="#888888", lw=1, ls=(0, (1, 1)), zorder=0, label=label)
        if deviation:
            axes.axhspan(mean - deviation, mean + deviation, color="#888888", alpha=0.18, lw=0, zorder=0)


def accuracy_line(axes: Axes, curve: Curve, number: int, aside: float) -> None:
    style = look(number)
    axes.errorbar(
        [point.density * aside for point in curve.points],
        [point.mean for point in curve.points],
        yerr=[point.deviation or 0 for point in curve.points] if curve.seeds > 1 else None,
        **style._asdict(),
        capsize=2.5,
        elinewidth=1,
        label=f"{curve.method.name}{seeds(range(curve.seeds))}",
    )


def seeds(values: Sequence | dict) -> str:
    return f" ({len(values)} seed{'s' if len(values) > 1 else ''})"


def mark(axes: Axes, density: float | None, curve: Curve, aside: float, **how) -> None:
    """A hollow sign, in the method's colour, around the last point before the first failure."""
    for point in curve.points:
        if point.density == density:
            axes.scatter([density * aside], [point.mean], fc="none", lw=1.5, zorder=5, **how)


def label_marks(axes: Axes, curves: Sequence[Curve], margin: float) -> None:
    """The signs in the legend, those that are drawn."""
    for marker, words, there in (
        ("*", WINNING, any(curve.winning for curve in curves)),
        ("o", EQUAL, any(curve.equal for curve in curves)),
    ):
        if there:
            label = f"{words}, margin {margin:g})"
            axes.scatter([], [], s=110, marker=marker, fc="none", ec="black", lw=1.2, label=label)


def effort_figure(task: Task, lines: Sequence[tuple[str, str, list]], dense: list, name: str, caption: str) -> Figure:
    """Accuracy against all optimiser steps; `lines` are (search, label, [(steps, accuracy, density)]).

    Some points tell their remaining weights, so that the same sparsity can be found on every line.
    """
    figure, (axes,) = canvas(height=4.2 + 0.08 * len(lines))
    for steps, mean in dense:
        axes.scatter([steps], [mean], marker="X", s=60, color="#666666", zorder=4, label="dense network, one training")
    for search, label, points in lines:
        style = look(task.searches.index(search))
        axes.plot([p[0] for p in points], [p[1] for p in points], **style._asdict(), label=label)
    axes.margins(x=0.06, y=0.1)
    steps_axis(axes, [steps for steps, _ in dense] + [p[0] for _, _, points in lines for p in points])
    accuracy_axis(axes)
    annotate_densities(figure, axes, [(look(task.searches.index(search)).color, points) for search, _, points in lines])
    legend_below(figure, axes)
    return finish(figure, name, caption)


def steps_axis(axes: Axes, steps: Sequence[float]) -> None:
    """Optimiser steps, on a log scale where they are far apart."""
    axes.set_xlabel("optimiser steps in all")
    if max(steps) > 6 * min(steps):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(thousands)


def annotate_densities(figure, axes: Axes, lines: Sequence[tuple[str, list]]) -> None:
    """Remaining weights beside the last, the first and a middle point of each line, where there is room for it."""
    figure.canvas.draw()  # gives the points their places
    taken: list[tuple[float, float]] = []
    for place in (-1, 0, None):
        for color, points in lines:
            steps, mean, density = points[len(points) // 2 if place is None else place]
            x, y = axes.transData.transform((steps, mean)) * 72 / figure.dpi
            if all(abs(x - other) > 24 or abs(y - above) > 10 for other, above in taken):
                taken.append((x, y))
                axes.annotate(
                    percent(density), (steps, mean), (3, 5), textcoords="offset points", fontsize=8, color=color
                )
