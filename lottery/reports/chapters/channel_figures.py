"""Pictures of channels selected along a pre-training: accuracies against iterations."""

import itertools

from lottery.greedy.names import GREEDY
from lottery.reports.chapters.greedy_figures import (
    LABELS,
    accuracy_axis,
    accuracy_line,
    fullest,
    grid,
    iteration_axis,
    label,
    reference_lines,
)
from lottery.reports.chapters.greedy_tables import points_text
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Figure
from lottery.reports.style import finish, legend_below, look
from lottery.results.channel_runs import SELECTED_BY, network_name

STAGES = {"selected": "as selected", "fine_tuned": "fine-tuned"}
WAYS = {GREEDY: "greedy selection", "random": "random channels", "magnitude": "largest filters"}


def place_text(cell: Cell) -> str:
    """keep 0.5; tolerance 0.02, layers layer1.*"""
    goal, at, layers = cell.place
    return f"{goal} {at:g}" + ("" if layers == "all" else f", layers {layers}")


def stages_of(sweep: Sweep) -> dict[str, str]:
    """Those of `STAGES` that any run has got to."""
    return {stage: told for stage, told in STAGES.items() if is_there(sweep, network_name(GREEDY, stage))}


def ways_of(sweep: Sweep) -> dict[str, str]:
    """Those of `WAYS` that any run has selected by."""
    return {by: WAYS[by] for by in SELECTED_BY if is_there(sweep, network_name(by, "selected"))}


def is_there(sweep: Sweep, network: str) -> bool:
    return any(network in point for run in sweep.runs for point in run.points)


def accuracy_figure(sweep: Sweep, name: str) -> Figure:
    """A row for each goal, a column for each stage; a line for the dense network, and for each way to select."""
    stages, ways = stages_of(sweep), ways_of(sweep)
    figure, panels = grid(len(sweep.cells), len(stages))
    iterations = sorted({iteration for cell in sweep.cells for iteration in cell.iterations()})
    for axes, (cell, stage) in zip(panels, itertools.product(sweep.cells, stages), strict=True):
        reference_lines(axes, cell, "test", sweep.delta)
        lines = {"dense": "dense"} | {network_name(by, stage): told for by, told in ways.items()}
        for number, (network, told) in enumerate(lines.items()):
            accuracy_line(axes, cell, network, "test", look(number), told)
    for axes in panels:
        iteration_axis(axes, iterations, LABELS // len(stages))
    accuracy_axis(panels)
    for axes, told in zip(panels, stages.values(), strict=False):  # those of the first row
        axes.set_title(told, fontsize=9)
    label(panels, map(place_text, sweep.cells), "pre-training iterations", "accuracy (%)")
    legend_below(figure, fullest(panels), columns=3)
    caption = (
        f"Accuracy on the test set, {sweep.name}. Mean over seeds, band: one standard deviation. Grey: the dense "
        f"network at the end of its pre-training, and down to {points_text(sweep.delta)} below it. The axis of "
        "accuracies is stretched towards 100."
    )
    return finish(figure, name, caption)
