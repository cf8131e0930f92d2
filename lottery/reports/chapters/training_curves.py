"""The chapter on accuracy by epoch, of retrained tickets and of the dense network."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lottery.reports.chapters.accuracy_figures import DENSE_LINES, method_style
from lottery.reports.chapters.greedy_figures import accuracy_axis
from lottery.reports.comparison.methods import DENSE, Method, Task
from lottery.reports.comparison.training_curves import MEASURED, TrainingCurve, distinct, training_curves
from lottery.reports.document import Cell, Column, Figure, Part, Table
from lottery.reports.style import canvas, legend_below, percent, render

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
    # The dense network may be the only one that was validated: then test accuracies are what all have.
    tickets = [curve for curve in curves if curve.method.kind != DENSE]
    name = next((name for name in MEASURED if any(means(curve, name) for curve in tickets)), None)
    if not name:
        return []
    rows: list[list[Cell]] = [
        [curve.method.name, 100 * curve.density, curve.runs, point.epoch, *point.validation, *point.test]
        for curve in curves
        for point in curve.points
    ]
    caption = f"Accuracies by epoch, {task.name}: means and standard deviations over seeds."
    table = Table(f"accuracy_by_epoch_{task.stem}", caption, COLUMNS, rows, folded=True)
    drawn = [curve for curve in curves if means(curve, name)]
    return [curve_figure(task, drawn, name, f"accuracy_by_epoch_{task.stem}"), table]


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
    for method in dict.fromkeys(curve.method for curve in curves):  # no panel need have all of them
        color, line = curve_style(task, method)
        panels[0].plot([], [], color=color, ls=line, lw=1.2, label=method.name)
    legend_below(figure, panels[0], columns=2)
    caption = (
        f"{measured.capitalize()} accuracy by epoch of retrained tickets, and of the dense network, {task.name}; means "
        "over seeds. The axis of accuracies is stretched towards 100."
    )
    return render(figure, name, caption)


def draw_curve(axes: Axes, task: Task, curve: TrainingCurve, measured: str) -> None:
    points = means(curve, measured)
    color, line = curve_style(task, curve.method)
    axes.plot([epoch for epoch, _ in points], [mean for _, mean in points], color=color, ls=line, lw=1.2)


def curve_style(task: Task, method: Method) -> tuple[str, object]:
    """Its colour and line; dense networks are grey, those of several recipes with lines of their own."""
    if method.kind == DENSE:
        return GREY, DENSE_LINES[task.by_kind(DENSE).index(method) % len(DENSE_LINES)]
    style = method_style(task, method)
    return style.color, style.linestyle
