"""The chapter on accuracy by epoch, of retrained tickets and of the dense network."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lottery.reports.chapters.greedy_figures import accuracy_axis
from lottery.reports.comparison.methods import DENSE, Task
from lottery.reports.comparison.training_curves import MEASURED, TrainingCurve, distinct, training_curves
from lottery.reports.document import Cell, Column, Figure, Part, Table
from lottery.reports.style import canvas, legend_below, line_style, percent, render

GREY = "#888888"
COLUMNS = (
    Column("method"),
    Column("remaining (%)", ".2f"),
    Column("runs", "d"),
    Column("epoch", "d"),
    *(Column(f"{name}{what}", ".2f") for name in MEASURED for what in (" (%)", ", std")),
)


def training_curve_parts(task: Task) -> list[Part]:
    """A panel for each of a few densities, and a table; nothing without retrained tickets that recorded epochs."""
    curves = training_curves(task)
    name = next((name for name in MEASURED if any(means(curve, name) for curve in curves)), None)
    if not name:
        return []
    rows: list[list[Cell]] = [
        [curve.method.name, 100 * curve.density, curve.runs, point.epoch, *point.validation, *point.test]
        for curve in curves
        for point in curve.points
    ]
    caption = f"Accuracies by epoch, {task.name}: means and standard deviations over seeds."
    table = Table(f"accuracy_by_epoch_{task.stem}", caption, COLUMNS, rows, folded=True)
    return [curve_figure(task, curves, name, f"accuracy_by_epoch_{task.stem}"), table]


def means(curve: TrainingCurve, name: str) -> list[tuple[int, float]]:
    """(epoch, mean accuracy) where it was measured."""
    found = [(point.epoch, getattr(point, name)[0]) for point in curve.points]
    return [(epoch, mean) for epoch, mean in found if mean is not None]


def curve_figure(task: Task, curves: Sequence[TrainingCurve], measured: str, name: str) -> Figure:
    """A panel for each density, with the dense network in all."""
    densities = distinct(curve.density for curve in curves if curve.method.kind != DENSE)
    figure, panels = canvas(1, len(densities), height=3.4, sharey=True)
    for axes, density in zip(panels, densities, strict=True):
        for curve in curves:
            if curve.method.kind == DENSE or distinct([curve.density, density]) == [max(curve.density, density)]:
                draw_curve(axes, task, curve, measured)
        axes.set_title(f"{percent(density)} % of the weights", fontsize=9)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel(f"{measured} accuracy (%)")
    accuracy_axis(panels)
    legend_below(figure, max(panels, key=lambda axes: len(axes.lines)), columns=2)
    caption = (
        f"{measured.capitalize()} accuracy by epoch of retrained tickets, and of the dense network, {task.name}; means "
        "over seeds. The axis of accuracies is stretched towards 100."
    )
    return render(figure, name, caption)


def draw_curve(axes: Axes, task: Task, curve: TrainingCurve, measured: str) -> None:
    points = means(curve, measured)
    dense = curve.method.kind == DENSE
    style = line_style(0 if dense else task.search_names.index(curve.method.search))
    color, line = (GREY, (0, (1, 1))) if dense else (style.color, style.linestyle)
    axes.plot(
        [epoch for epoch, _ in points], [mean for _, mean in points], color=color, ls=line, lw=1.2,
        label=curve.method.name,
    )  # fmt: skip
