"""The chapter on masks: their distances from epoch to epoch, dead filters, vanishing layers."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes

from lottery.reports.chapters.layer_densities import DENSITY_BY_LAYER, layer_density_parts, layer_names
from lottery.reports.comparison.masks import vanishing_layers
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.document import Cell, Column, Figure, Listing, Paragraph, Part, Table, file_stem
from lottery.reports.style import (
    canvas,
    density_axis,
    legend_below,
    line_style,
    log_axis,
    render,
)
from lottery.results.ticket_runs import Run

ENDS = (
    Column("run"),
    Column("round", "d"),
    Column("largest distance", ".4f"),
    Column("last distance", ".4f"),
    Column("armed"),
    Column("stopped"),
    Column("epochs", "d"),
    Column("planned", "d"),
)
STOPPED: dict[str, Any] = {"marker": "s", "s": 36, "fc": "none", "ec": "black", "lw": 1.0, "zorder": 4}  # its marker
MOST_WARNINGS = 12


def mask_parts(task: Task) -> list[Part]:
    """What the searches of this task recorded of their masks."""
    searches = task.by_kind(SEARCH)
    parts = [part for method in searches for part in distance_parts(task, method)]
    known = [method for method in searches if layer_names(method)]
    parts += layer_density_parts(task, known)
    parts += dead_parts(task, [method for method in known if keeps_filters(method)])
    return [*vanishing_parts(searches), *parts]


def vanishing_parts(methods: Sequence[Method]) -> list[Part]:
    """A warning that lists the layers that are about to vanish."""
    found = [warning for method in methods for warning in vanishing_layers(method.name, method.runs)]
    if not found:
        return []
    more = len(found) - MOST_WARNINGS
    rest = [f"… and {more} more: tables/{DENSITY_BY_LAYER}_*.csv have all densities."] if more > 0 else []
    words = "Some layers are about to vanish: little or no signal passes them."
    return [Paragraph(words, warns=True), Listing(found[:MOST_WARNINGS] + rest)]


# --- distances --------------------------------------------------------------------------------------------------------


def mask_distances(run: Run, row: dict) -> list[tuple[float, float]]:
    """(epoch, mask distance) in a round, from metrics.jsonl, or from the round's row, whose list begins at the second
    epoch."""
    lines = [line for line in run.epochs if line["round"] == row["round"]]
    found = [(line["epoch"], line["distance"]) for line in lines if line.get("distance") is not None]
    if found or row.get("interval"):
        return found
    return list(enumerate(row.get("distances") or [], start=1))


def distance_parts(task: Task, method: Method) -> list[Part]:
    """A figure and tables of all runs; nothing for a search without early stop."""
    rows = [
        [run.name, row["round"], epoch, distance]
        for run in method.runs
        for row in run.rounds
        for epoch, distance in mask_distances(run, row)
    ]
    if not rows or method.settings.get("eb_eps") is None:
        return []
    where = f"{file_stem(method.name)}_{task.stem}"
    tag = f"mask_distance_{where}"
    columns = (Column("run"), Column("round", "d"), Column("epoch", "d"), Column("distance", ".4f"))
    ends = [end_row(run, row) for run in method.runs for row in run.rounds if row.get("distances") is not None]
    return [
        distance_figure(task, method, tag),
        Table(f"ends_of_rounds_{where}", f"When rounds ended, {method.name}, {task.name}.", ENDS, ends, len(ends) > 12),
        Table(tag, f"Mask distance by epoch, {method.name}, {task.name}.", columns, rows, folded=True),
    ]


def end_row(run: Run, row: dict) -> list:
    distances = row["distances"] or [None]
    largest = None if distances == [None] else max(distances)
    end = [row[key] for key in ("armed", "stopped", "epochs", "epochs_planned")]
    return [run.name, row["round"], largest, distances[-1], *end]


def distance_figure(task: Task, method: Method, name: str) -> Figure:
    """For each round a line of each seed, with a square where it stopped early, and their mean if there are several."""
    by_round = distances_by_round(method)
    floor = min((d for lines in by_round.values() for line in lines for _, d in line.points if d > 0), default=1e-3) / 2
    figure, (axes,) = canvas(height=3.8)
    for k, lines in by_round.items():
        shade = matplotlib.colormaps["cividis"](0.92 * k / max(1, *by_round))
        curves = [[(epoch, max(distance, floor)) for epoch, distance in line.points] for line in lines]
        draw_distances(axes, k, curves, shade)
        ends = [points[-1] for points, line in zip(curves, lines, strict=True) if line.stopped]
        axes.scatter(*zip(*ends, strict=True) if ends else ([], []), **STOPPED)
    eps = method.settings["eb_eps"]
    axes.axhline(eps, color="black", ls="--", lw=1, label=f"--eb_eps {eps:g}")
    if any(line.stopped for lines in by_round.values() for line in lines):
        axes.scatter([], [], **STOPPED, label="stopped early here")
    axes.set_yscale("log")
    log_axis(axes.yaxis)
    axes.set(xlabel="epoch of the round", ylabel="mask distance")
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, axes)
    caption = (
        f"Mask distance by epoch, {method.name}, {task.name}: {lines_text(method)}, the round's number at the end. A "
        "round may stop once the newest distances in a row are all below eps. The lowest may be zero."
    )
    return render(figure, name, caption)


class DistanceLine(NamedTuple):
    """The mask distances of a run's round, and whether it stopped early after the last."""

    points: list[tuple[float, float]]  # (epoch, distance)
    stopped: bool


def distances_by_round(method: Method) -> dict[int, list[DistanceLine]]:
    """By round a line of each run that recorded distances."""
    found: dict[int, list[DistanceLine]] = {}
    for run in method.runs:
        for row in run.rounds:
            if points := mask_distances(run, row):
                found.setdefault(row["round"], []).append(DistanceLine(points, row["stopped"]))
    return dict(sorted(found.items()))


def draw_distances(axes: Axes, k: int, curves: Sequence[Sequence[tuple[float, float]]], shade: tuple) -> None:
    """The lines of a round's seeds, thin beside their mean where there are several."""
    main = curves[0] if len(curves) == 1 else mean_distances(curves)
    for points in curves if len(curves) > 1 else []:
        axes.plot(*zip(*points, strict=True), color=shade, lw=0.6, alpha=0.5)
    dots = {"marker": ".", "ms": 4} if len(main) <= 40 else {}
    axes.plot(*zip(*main, strict=True), color=shade, lw=1.4, **dots)
    axes.annotate(f"{k}", main[-1], (5, 0), textcoords="offset points", va="center", fontsize=8)


def mean_distances(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The geometric mean over seeds, as the axis is logarithmic, at the epochs that all of them reached: later means
    would be over other seeds. Of the longest line if they share none."""
    shared = set.intersection(*({epoch for epoch, _ in points} for points in curves))
    by_epoch = [dict(points) for points in curves]
    means = [(epoch, statistics.geometric_mean(each[epoch] for each in by_epoch)) for epoch in sorted(shared)]
    longest: Sequence[tuple[float, float]] = max(curves, key=len)
    return means or list(longest)


def lines_text(method: Method) -> str:
    """What the lines of the figure are, in words."""
    seeds = len(method.runs)
    if seeds == 1:
        return f"seed {method.runs[0].seed}, a line for each round"
    return f"a line for each round, the geometric mean of {seeds} seeds as far as all trained, beside thin ones of each"


# --- dead filters -----------------------------------------------------------------------------------------------------


def keeps_filters(method: Method) -> bool:
    """Whether a row of its masks is a filter, which it is not of coefficients along the outputs."""
    return "out" not in (method.settings.get("basis_axes") or ())


def dead_filters(method: Method) -> list[tuple[float, float]]:
    """(density, number of filters without any weight) from dense to sparse, means over seeds."""
    found: dict[float, list[int]] = {}
    for run in method.runs:
        for row in run.rounds:
            if row.get("layers"):
                dead = sum(layer["dead_filters"] for layer in row["layers"].values())
                found.setdefault(row["density"], []).append(dead)
    return [(density, statistics.fmean(found[density])) for density in sorted(found, reverse=True)]


def dead_parts(task: Task, methods: Sequence[Method]) -> list[Part]:
    """The number of dead filters, those without any weight, against density."""
    lines = {method: dead_filters(method) for method in methods}
    if not lines:
        return []
    if not any(dead for points in lines.values() for _, dead in points):
        return [Paragraph(f"No filter of any of these networks is dead: each has weights left ({task.name}).")]
    figure, (axes,) = canvas(height=3.4)
    for method, points in lines.items():
        style = line_style(task.search_names.index(method.search))
        axes.plot([d for d, _ in points], [n for _, n in points], **style._asdict(), label=method.name)
    density_axis(axes, [1.0, *(density for points in lines.values() for density, _ in points)])
    axes.set_ylim(bottom=0, top=max(1, *(n for points in lines.values() for _, n in points)) * 1.05)
    axes.set_ylabel("filters of which nothing is left")
    legend_below(figure, axes)
    caption = f"Dead filters: output channels without a weight, over all layers, {task.name}; means over seeds."
    columns = (Column("method"), Column("remaining (%)", ".2f"), Column("dead filters", ".1f"))
    rows: list[list[Cell]] = [
        [method.name, 100 * density, dead] for method, points in lines.items() for density, dead in points
    ]
    name = f"dead_filters_{task.stem}"
    return [render(figure, name, caption), Table(name, caption, columns, rows, folded=True)]
