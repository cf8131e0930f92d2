"""Accuracy against remaining weights, and against what all of it took."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from reports.accuracy import Curve
from reports.document import Figure
from reports.methods import Task
from reports.statistics import spread
from reports.style import canvas, density_axis, dodge, finish, legend_below, look, percent, thousands

WINNING, EQUAL = "winning (against dense", "equal (against IMP"


def accuracy_figure(task: Task, curves: Sequence[Curve], name: str, what: str, margin: float) -> Figure:
    """One line for each method; mean +- standard deviation over seeds, dense network as a band, the two markers."""
    figure, (axes,) = canvas(height=4.4)
    densities = [point.density for curve in curves for point in curve.points]
    span = math.log(max(densities) / min(densities)) if min(densities) < max(densities) else 1.0
    dense_bands(axes, curves)
    for number, curve in enumerate(curves):
        accuracy_line(axes, curve, task.searches.index(curve.method.search), dodge(number, len(curves), span))
    for curve in curves:
        mark(axes, curve.winning, curve, "*", 260)
        mark(axes, curve.equal, curve, "o", 170)
    label_marks(axes, curves, margin)
    density_axis(axes, [1.0, *densities])
    accuracy_axis(axes)
    legend_below(figure, axes, columns=2)
    caption = (
        f"{what}, {task.name}. Test accuracy at the best validation epoch; mean and standard deviation over seeds "
        "where there are several."
    )
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
        axes.axhline(mean, color="#888888", lw=1, ls=(0, (1, 1)), zorder=0, label=f"dense network{seeds(curve.dense)}")
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


def mark(axes: Axes, density: float | None, curve: Curve, marker: str, size: float) -> None:
    """A hollow sign around the last point before the first failure."""
    for point in curve.points:
        if point.density == density:
            axes.scatter([density], [point.mean], s=size, marker=marker, fc="none", ec="black", lw=1.2, zorder=5)


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
    figure, (axes,) = canvas(height=4.4)
    for steps, mean in dense:
        axes.scatter([steps], [mean], marker="X", s=60, color="#666666", zorder=4, label="dense network, one training")
    for search, label, points in lines:
        style = look(task.searches.index(search))
        axes.plot([p[0] for p in points], [p[1] for p in points], **style._asdict(), label=label)
        for steps, mean, density in told(points):
            axes.annotate(
                percent(density), (steps, mean), (3, 5), textcoords="offset points", fontsize=8, color=style.color
            )
    axes.set_xlabel("optimiser steps in all")
    axes.xaxis.set_major_formatter(thousands)
    axes.margins(x=0.06, y=0.1)
    accuracy_axis(axes)
    legend_below(figure, axes)
    return finish(figure, name, caption)


def told(points: list) -> list:
    """The first, the last and one in the middle."""
    return [points[i] for i in sorted({0, len(points) // 2, len(points) - 1})]
