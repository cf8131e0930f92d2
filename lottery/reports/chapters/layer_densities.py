"""Part of the chapter on masks: the density of each layer."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter

from lottery.reports.chapters.accuracy_figures import method_style
from lottery.reports.comparison.accuracy import rounded
from lottery.reports.comparison.methods import Method, Task
from lottery.reports.document import Cell, Column, Figure, Part, Table, file_stem
from lottery.reports.style import (
    canvas,
    density_axis,
    label_cells,
    legend_below,
    log_axis,
    percent,
    render,
    shortened,
)
from lottery.results.ticket_runs import Run

TICKS = [digit * 10.0**power for power in range(-5, 0) for digit in (1, 2, 5)] + [1.0]
MOST_PANELS = 6  # layers that have a panel each, with a line for every method
PANELS = 3  # side by side
MOST_LAYERS = 60  # with their names in a heat map
MOST_LABELLED = 14  # columns of a heat map with numbers in its cells
DENSITY_BY_LAYER = "density_by_layer"  # how names of its figures and tables begin


def layer_density_parts(task: Task, methods: Sequence[Method]) -> list[Part]:
    """Tables of each layer's density, and figures: one with a panel for each layer if there are few, otherwise a heat
    map for each method."""
    layers = list(dict.fromkeys(name for method in methods for name in layer_names(method)))
    if len(layers) > MOST_PANELS:
        return [part for method in methods for part in (density_map(task, method), density_table(task, method))]
    figures: list[Part] = [panels_figure(task, methods, layers)] if len(layers) > 1 else []
    return figures + [density_table(task, method) for method in methods]


def layer_names(method: Method) -> list[str]:
    """The layers of the last round that records them."""
    rows = [row for run in method.runs for row in run.rounds if row.get("layers")]
    return list(rows[-1]["layers"]) if rows else []


# --- by round or density of all ---------------------------------------------------------------------------------------


def stage(run: Run, row: Mapping) -> float:
    """What rows of several seeds have in common: their round, or the density where a run finds a single ticket."""
    return row["round"] if run.numbers_rounds else rounded(row["density"])


def stages(method: Method) -> list[float]:
    """From dense to sparse, those that recorded layers."""
    found = {stage(run, row) for run in method.runs for row in run.rounds if row.get("layers")}
    return sorted(found, reverse=not method.runs[0].numbers_rounds)


def layer_density(method: Method, name: str, where: float) -> float | None:
    """The density of a layer at a `stage`, mean over seeds; None if no run recorded it."""
    layers = [row["layers"][name] for row in rows_at(method, where) if name in row.get("layers", {})]
    return mean_density(layers)


def rows_at(method: Method, where: float) -> list[dict]:
    return [row for run in method.runs for row in run.rounds if stage(run, row) == where]


def mean_density(layers: Iterable[Mapping]) -> float | None:
    densities = [layer["kept"] / layer["size"] for layer in layers]
    return statistics.fmean(densities) if densities else None


def stage_labels(method: Method) -> list[str]:
    in_rounds = method.runs[0].numbers_rounds
    return [f"{where}" if in_rounds else percent(where) for where in stages(method)]


def by_what(method: Method) -> str:
    return "round" if method.runs[0].numbers_rounds else "remaining weights"


def caption_of(task: Task, method: Method) -> str:
    return f"Density of each layer by {by_what(method)}, {method.name}, {task.name}; means over seeds."


def tag_of(task: Task, method: Method) -> str:
    return f"{DENSITY_BY_LAYER}_{file_stem(method.name)}_{task.stem}"


def density_table(task: Task, method: Method) -> Table:
    """Each layer's density by round, or by the density of all where a run has one ticket."""
    in_rounds = method.runs[0].numbers_rounds
    heads = [f"round {label} (%)" if in_rounds else f"at {label} % (%)" for label in stage_labels(method)]
    columns = [Column("layer"), *(Column(head, ".2f") for head in heads)]
    rows: list[list[Cell]] = []
    for name in layer_names(method):
        densities = [layer_density(method, name, where) for where in stages(method)]
        rows.append([name, *(None if density is None else 100 * density for density in densities)])
    return Table(tag_of(task, method), caption_of(task, method), columns, rows, folded=True)


# --- figures ----------------------------------------------------------------------------------------------------------


def panels_figure(task: Task, methods: Sequence[Method], layers: Sequence[str]) -> Figure:
    """A panel for each layer: its density against that of all prunable weights, a line for each method."""
    rows, columns = -(-len(layers) // PANELS), min(PANELS, len(layers))
    figure, every = canvas(rows, columns, height=0.6 + 2.4 * rows, sharex=True, sharey=True)
    for axes, name in zip(every, layers, strict=False):
        for method in methods:
            points = layer_points(method, name)
            style = method_style(task, method)._asdict()
            axes.plot([d for d, _ in points], [d for _, d in points], **style, label=method.name)
        axes.set_title(shortened(name.removesuffix(".weight")))
    for axes in every[len(layers) :]:
        axes.set_visible(False)
    densities = [row["density"] for method in methods for run in method.runs for row in run.rounds]
    for axes in every:
        axes.plot([min(densities), 1], [min(densities), 1], color="#888888", lw=1, ls=(0, (1, 1)), zorder=0)
        density_axis(axes, [1.0, *densities], labels=5)
        axes.set_yscale("log")
        log_axis(axes.yaxis)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda density, _: percent(density)))
    for axes in every[::columns]:
        axes.set_ylabel("density of the layer (%)")
    legend_below(figure, every[0])
    caption = (
        f"Density of each layer against that of all prunable weights, {task.name}; means over seeds. On the dotted "
        "line a layer is as dense as all."
    )
    return render(figure, f"{DENSITY_BY_LAYER}_{task.stem}", caption)


def layer_points(method: Method, name: str) -> list[tuple[float, float]]:
    """(density of all prunable weights, density of a layer) from dense to sparse, means over seeds. Layers without any
    weight are left out, for which a logarithmic axis has no place."""
    points = []
    for where in stages(method):
        rows = [row for row in rows_at(method, where) if name in row.get("layers", {})]
        density = mean_density(row["layers"][name] for row in rows)
        if density:
            points.append((statistics.fmean(row["density"] for row in rows), density))
    return points


def density_map(task: Task, method: Method) -> Figure:
    """A heat map of each layer's density by round, or by the density of all where a run has one ticket."""
    names, labels = layer_names(method), stage_labels(method)
    values = [[layer_density(method, name, where) for where in stages(method)] for name in names]
    shown = [[math.nan if v is None else v for v in line] for line in values]
    lowest = min((v for line in shown for v in line if v > 0), default=0.1)
    figure, (axes,) = canvas(height=1.2 + 0.17 * max(6, min(len(names), MOST_LAYERS)))
    norm = LogNorm(min(lowest, 0.1), 1.0, clip=True)  # an empty layer is as dark as the sparsest
    image = axes.imshow(shown, aspect="auto", cmap="cividis", norm=norm, interpolation="nearest")
    if len(labels) <= MOST_LABELLED and len(names) <= MOST_LAYERS:
        label_cells(image, percent, 7)
    step = -(-len(names) // MOST_LAYERS)
    axes.set_yticks(
        range(0, len(names), step), [shortened(name.removesuffix(".weight")) for name in names[::step]], fontsize=8
    )
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("round" if by_what(method) == "round" else "remaining weights (%)")
    axes.grid(False)
    ticks = [tick for tick in TICKS if tick >= norm.vmin]
    bar = figure.colorbar(
        image, ax=axes, label="density (%)", pad=0.02, ticks=ticks, format=FuncFormatter(lambda v, _: percent(v))
    )
    bar.minorticks_off()
    return render(figure, tag_of(task, method), f"{caption_of(task, method)} Numbers in percent.")
