"""The figure of channels selected along a pre-training: accuracy against iterations."""

import itertools

from lottery.greedy.names import GREEDY
from lottery.reports.chapters.greedy_figures import (
    LABELS,
    accuracy_axis,
    draw_accuracies,
    draw_references,
    iteration_axis,
    label_panels,
    most_lines,
    panel_grid,
)
from lottery.reports.chapters.greedy_tables import points_text
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Figure
from lottery.reports.style import legend_below, line_style, render
from lottery.results.channel_runs import SELECTED_BY, network_name

STAGES = {"selected": "as selected", "fine_tuned": "fine-tuned"}
SELECTIONS = {GREEDY: "greedy selection", "random": "random channels", "magnitude": "largest filters"}


def goal_text(cell: Cell) -> str:
    """The goal of a cell: ``keep 0.5``, or ``tolerance 0.02, layers layer1.*``."""
    goal, value, layers = cell.swept
    return f"{goal} {value:g}" + ("" if layers == "all" else f", layers {layers}")


def measured_stages(sweep: Sweep) -> dict[str, str]:
    """Those of `STAGES` that any run has reached."""
    return {stage: words for stage, words in STAGES.items() if is_measured(sweep, network_name(GREEDY, stage))}


def selections(sweep: Sweep) -> dict[str, str]:
    """Those of `SELECTIONS` that any run has made."""
    return {by: SELECTIONS[by] for by in SELECTED_BY if is_measured(sweep, network_name(by, "selected"))}


def is_measured(sweep: Sweep, network: str) -> bool:
    return any(network in point for run in sweep.runs for point in run.points)


def accuracy_figure(sweep: Sweep, name: str) -> Figure:
    """A row for each goal, a column for each stage; a line for the dense network and for each kind of selection."""
    stages = measured_stages(sweep)
    figure, panels = panel_grid(len(sweep.cells), len(stages))
    iterations = sorted({iteration for cell in sweep.cells for iteration in cell.iterations()})
    for axes, (cell, stage) in zip(panels, itertools.product(sweep.cells, stages), strict=True):
        draw_references(axes, cell, "test", sweep.delta)
        lines = {"dense": "dense"} | {network_name(by, stage): words for by, words in selections(sweep).items()}
        for number, (network, words) in enumerate(lines.items()):
            draw_accuracies(axes, cell, network, "test", line_style(number), words)
    for axes in panels:
        iteration_axis(axes, iterations, LABELS // len(stages))
    accuracy_axis(panels)
    for axes, words in zip(panels, stages.values(), strict=False):  # the first row
        axes.set_title(words, fontsize=9)
    label_panels(panels, map(goal_text, sweep.cells), "pre-training iterations", "accuracy (%)")
    legend_below(figure, most_lines(panels), columns=3)
    caption = (
        f"Accuracy on the test set, {sweep.name}. Mean over seeds, band: one standard deviation. Grey: the dense "
        f"network at the end of its pre-training, and down to {points_text(sweep.delta)} below it. The axis of "
        "accuracies is stretched towards 100."
    )
    return render(figure, name, caption)
