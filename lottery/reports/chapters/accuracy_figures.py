"""Figures of test accuracy against density, and against optimiser steps."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lottery.reports.comparison.accuracy import Curve, Seeds
from lottery.reports.comparison.effort import EffortLine, EffortPoint
from lottery.reports.comparison.grouping import TRAINING_SETTINGS, Group, name_groups_
from lottery.reports.comparison.methods import TICKETS, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Figure
from lottery.reports.point_labels import label_some_points
from lottery.reports.style import (
    COLOURS,
    WIDTH,
    LineStyle,
    canvas,
    density_axis,
    dodge,
    legend_below,
    line_style,
    log_axis,
    percent,
    render,
)
from lottery.retraining.rules import RULES, takes_trained

Line = TypeVar("Line", Curve, EffortLine)
WINNING, EQUAL = "winning (against dense", "equal (against IMP"
MOST_DEPTH = 4  # a line that falls so many times as far as the usual one leaves the axis,
LEAST_DEPTH = 10  # if it falls by more than so many points
DENSE_LINES = ((0, (1, 1)), (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (2, 3)))  # of the dense networks of several recipes


def accuracy_figure(
    task: Task, curves: Sequence[Curve], name: str, networks: str, margin: float, width: float = WIDTH
) -> Figure:
    """A line for each method with mean and standard deviation over seeds, the dense network as a band, and markers.

    If there are more methods than colours, those with altered tickets are left to their own chapter.
    """
    drawn = readable(curves)
    left_out, curves = len(drawn) < len(curves), drawn
    figure, (axes,) = canvas(height=3.8, width=width)
    densities = [point.density for curve in curves for point in curve.points]
    draw_dense_bands(axes, curves)
    factors = dodge(len(curves), densities)
    same = len(set(numbers_of_seeds(curves))) == 1
    for curve, factor in zip(curves, factors, strict=True):
        style = method_style(task, curve.method)
        draw_curve(axes, curve, style, factor, "" if same else seeds_text(numbers_of_seeds([curve])))
        draw_marker(axes, curve.winning, curve, factor, marker="*", s=300, ec=style.color)
        draw_marker(axes, curve.equal, curve, factor, marker="o", s=190, ec=style.color)
    label_markers(axes, curves, margin)
    density_axis(axes, [1.0, *densities], factors=factors)
    means = {curve.method.name: [point.mean for point in curve.points] for curve in curves}
    below = accuracy_axis(axes, means, [spread(known.values())[0] for _, known in dense_references(curves)])
    legend_below(figure, axes, columns=2)
    caption = (
        f"{networks}, {task.name}. Test accuracy at the best validation epoch (at the last one where nothing "
        f"validates); {over_seeds(curves)}."
    )
    if left_out:
        caption += " Tickets that were altered, and those of rules, are in a chapter of their own."
    return render(figure, name, caption + below)


def method_style(task: Task, method: Method) -> LineStyle:
    """That of its search. Where the tickets of one search were trained by several recipes, each further one has its
    colour with another marker and line."""
    recipes = [other for other in task.by_kind(method.kind) if other.search == method.search]
    return line_style(task.search_names.index(method.search) + len(COLOURS) * recipes.index(method))


def over_seeds(curves: Sequence[Curve]) -> str:
    """What is shown of these curves, for a caption."""
    seeds = numbers_of_seeds(curves)
    if max(seeds) == 1:
        return "one seed"
    return f"mean and standard deviation over {f'{seeds[0]} seeds' if len(set(seeds)) == 1 else 'seeds'}"


def numbers_of_seeds(curves: Sequence[Curve]) -> list[int]:
    """How many seeds each point has: those of a curve differ where some seeds have not got as far."""
    return [len(point.values) for curve in curves for point in curve.points]


def readable(lines: Sequence[Line]) -> Sequence[Line]:
    """Those that a figure shows: of more lines than there are colours only the methods whose tickets are not altered,
    if there are any."""
    plain = [line for line in lines if not line.method.is_altered]
    return plain if len(lines) > len(COLOURS) and plain else lines


def accuracy_axis(axes: Axes, lines: Mapping[str, Sequence[float]], dense: Sequence[float] = ()) -> str:
    """Accuracy in percent. The axis ends at 100, even if a standard deviation reaches above it. Where a few of the
    lines, given by name, fall so far that the others could not be told apart, it ends below those others and the dense
    networks; returns a sentence on the lines that leave it, for the caption, or nothing."""
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    best = max([*map(max, lines.values()), *dense])
    depths = {name: best - min(means) for name, means in lines.items()}
    usual = statistics.median(depths.values())
    deepest = max(MOST_DEPTH * usual, LEAST_DEPTH)
    if max(depths.values()) <= deepest:
        return ""
    others = [*depths.values(), *(best - accuracy for accuracy in dense)]
    shown = max(depth for depth in others if depth <= deepest) or 1.0
    axes.set_ylim(best - 1.25 * shown, min(best + 0.25 * shown, 100.5))
    below = [name for name, depth in depths.items() if depth > 1.25 * shown]
    lowest = min(min(means) for means in lines.values())
    return f" The axis ends above points of {'; '.join(below)}, the lowest of which is at {lowest:.2f} %."


def draw_dense_bands(axes: Axes, curves: Sequence[Curve]) -> None:
    """The dense network's mean and standard deviation, a band for each recipe."""
    for (name, dense), line in zip(dense_references(curves), itertools.cycle(DENSE_LINES), strict=False):
        mean, deviation = spread(dense.values())
        axes.axhline(mean, color="#888888", lw=1, ls=line, zorder=0, label=f"{name}{seeds_text([len(dense)])}")
        if deviation:
            axes.axhspan(mean - deviation, mean + deviation, color="#888888", alpha=0.18, lw=0, zorder=0)


def dense_references(curves: Sequence[Curve]) -> list[tuple[str, Seeds]]:
    """Name and accuracies of each dense network that these curves are compared with, one for each recipe."""
    first = [curve for n, curve in enumerate(curves) if curve.dense not in [other.dense for other in curves[:n]]]
    found = [curve for curve in first if curve.dense]
    return list(zip(dense_names([curve.method for curve in found]), [curve.dense for curve in found], strict=True))


def dense_names(methods: Sequence[Method]) -> list[str]:
    """Names of the dense networks that these methods are compared with: several are told apart by their recipes."""
    groups = [Group(method.settings) for method in methods]
    name_groups_(groups, dense_name, TRAINING_SETTINGS)
    return [group.name for group in groups]


def dense_name(settings: Mapping) -> str:
    """The dense network; or, beside tickets that were trained on from trained weights, it trained on by their rule."""
    rule = settings.get("rule")
    return f"dense network, {RULES[rule].name}" if rule in RULES and takes_trained(rule) else "dense network"


def draw_curve(axes: Axes, curve: Curve, style: LineStyle, factor: float, seeds: str) -> None:
    axes.errorbar(
        [point.density * factor for point in curve.points],
        [point.mean for point in curve.points],
        yerr=[point.deviation or 0 for point in curve.points] if curve.seeds > 1 else None,
        **style._asdict(),
        capsize=2.5,
        elinewidth=1,
        label=f"{curve.method.name}{seeds}",
    )


def seeds_text(numbers: Sequence[int]) -> str:
    return f" ({range_text(numbers)} seed{'s' if max(numbers) > 1 else ''})"


def range_text(numbers: Sequence[int]) -> str:
    """ "5", or "2 to 5"."""
    return " to ".join(map(str, sorted({min(numbers), max(numbers)})))


def draw_marker(axes: Axes, density: float | None, curve: Curve, factor: float, **style) -> None:
    """A hollow marker around the point of this density."""
    for point in curve.points:
        if point.density == density:
            axes.scatter([density * factor], [point.mean], fc="none", lw=1.5, zorder=5, **style)


def label_markers(axes: Axes, curves: Sequence[Curve], margin: float) -> None:
    """Legend entries for the markers that are drawn."""
    for marker, words, is_drawn in (
        ("*", WINNING, any(curve.winning for curve in curves)),
        ("o", EQUAL, any(curve.equal for curve in curves)),
    ):
        if is_drawn:
            label = f"{words}, margin {margin:g})"
            axes.scatter([], [], s=110, marker=marker, fc="none", ec="black", lw=1.2, label=label)


def effort_figure(
    task: Task,
    lines: Sequence[EffortLine],
    dense: Sequence[EffortPoint],
    name: str,
    caption: str,
    width: float,
    unit: str = "optimiser steps",
) -> Figure:
    """Accuracy against all that was spent, in `unit`, mean and standard deviation over seeds. Some points are annotated
    with their density, so that one sparsity can be found on every line."""
    figure, (axes,) = canvas(height=3.8, width=width)
    if dense:
        places = [point.spent for point in dense], [point.accuracy for point in dense]
        axes.scatter(*places, marker="X", s=60, color="#666666", zorder=4, label="dense network")
    styles = [effort_style(task, line) for line in lines]
    for line, style in zip(lines, styles, strict=True):
        several = any(point.deviation for point in line.points)
        axes.errorbar(
            [point.spent for point in line.points],
            [point.accuracy for point in line.points],
            yerr=[point.deviation or 0 for point in line.points] if several else None,
            **style._asdict(),
            capsize=2,
            elinewidth=0.8,
            label=line.name,
        )
    axes.margins(x=0.06, y=0.1)
    spending_axis(axes, unit, [point.spent for points in (dense, *(each.points for each in lines)) for point in points])
    accuracies = {line.name: [point.accuracy for point in line.points] for line in lines}
    below = accuracy_axis(axes, accuracies, [point.accuracy for point in dense])
    annotate_densities(figure, axes, [(style.color, line.points) for style, line in zip(styles, lines, strict=True)])
    legend_below(figure, axes, columns=2)
    return render(figure, name, caption + below)


def effort_style(task: Task, line: EffortLine) -> LineStyle:
    """That of the method; a second line of one method has its colour with another marker."""
    if line.note and line.method.kind == TICKETS:
        return line_style(task.search_names.index(line.method.search) + len(COLOURS))
    return method_style(task, line.method)


def spending_axis(axes: Axes, unit: str, spent: Sequence[float]) -> None:
    """Optimiser steps or FLOPs, on a log scale if they span more than a factor of 6."""
    axes.set_xlabel(f"{unit} in all")
    if max(spent) > 6 * min(spent):
        axes.set_xscale("log")
        log_axis(axes.xaxis)


def annotate_densities(figure: Canvas, axes: Axes, lines: Sequence[tuple[str, Sequence[EffortPoint]]]) -> None:
    """The density beside the last, the first and a middle point of each line, where there is room for it."""
    figure.canvas.draw()
    labels = []
    for index in (-1, 0, None):
        for color, points in lines:
            point = points[len(points) // 2 if index is None else index]
            labels.append((percent(point.density), (point.spent, point.accuracy), color))
    label_some_points(figure, axes, labels)
