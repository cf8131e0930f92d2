"""Accuracy against all that it took: in optimiser steps, the figure of the summary, and in training FLOPs."""

from collections.abc import Sequence

from lottery.reports.chapters.accuracy_figures import effort_figure
from lottery.reports.comparison.effort import FLOPS, EffortLine, dense_points, flops_lines, search_lines, ticket_lines
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.document import Cell, Column, Figure, Part, Table
from lottery.reports.style import COLUMN_WIDTH, WIDTH


def effort_of(task: Task, kind: str, lines: Sequence[EffortLine]) -> Figure:
    what = {
        TICKETS: "Test accuracy of retrained tickets against all optimiser steps, to find the ticket and to train it",
        SEARCH: "Test accuracy of each round's network against all optimiser steps up to the end of its round",
    }[kind]
    caption = f"{what}, {task.name}. Numbers: remaining weights in percent."
    return effort_figure(task, lines, dense_points(task), f"accuracy_vs_steps_{task.stem}", caption, COLUMN_WIDTH)


def effort_tables(task: Task) -> list[Table]:
    """The numbers of the figure of accuracy against steps."""
    lines = ticket_lines(task) or search_lines(task)
    caption = f"Accuracy and all steps that it took, {task.name}."
    spent = Column("steps in all", ",.0f")
    return [effort_table(lines, spent, f"accuracy_vs_steps_{task.stem}", caption)] if lines else []


def effort_table(lines: Sequence[EffortLine], spent: Column, name: str, caption: str) -> Table:
    columns = [Column("method"), Column("remaining (%)", ".2f"), spent, Column("test (%)", ".2f"), Column("std", ".2f")]
    rows: list[list[Cell]] = [
        [line.name, 100 * point.density, point.spent, point.accuracy, point.deviation]
        for line in lines
        for point in line.points
    ]
    return Table(name, caption, columns, rows, folded=True)


def flops_parts(task: Task) -> list[Part]:
    """Accuracy against training FLOPs, where there are networks whose training is sparse from the beginning on, or
    becomes so."""
    lines = flops_lines(task)
    if not lines:
        return []
    name, what = f"accuracy_vs_flops_{task.stem}", f"Test accuracy against all zero-aware training FLOPs, {task.name}."
    counted = (
        "Of tickets those of the search and of the training; of networks of main_dst.py, as found, those of their one "
        "training; of tickets that were pruned before training, those of scoring dense weights, and of the training; "
        "of elastic ones those of the training alone. Numbers: remaining weights in percent."
    )
    dense = dense_points(task, FLOPS)
    return [
        effort_figure(task, lines, dense, name, f"{what} {counted}", WIDTH, "training FLOPs"),
        effort_table(
            lines, Column("training FLOPs in all", ".3e"), name, f"Accuracy and all training FLOPs, {task.name}."
        ),
    ]
