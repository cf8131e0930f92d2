"""Accuracy against all optimiser steps that it took: the figure of the summary, and its numbers."""

from collections.abc import Sequence

from lottery.reports.chapters.accuracy_figures import effort_figure
from lottery.reports.comparison.effort import EffortLine, dense_points, search_lines, ticket_lines
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.document import Cell, Column, Figure, Table
from lottery.reports.style import COLUMN_WIDTH


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
    columns = [Column("method"), Column("remaining (%)", ".2f"), Column("steps in all", ",.0f")]
    columns += [Column("test (%)", ".2f"), Column("std", ".2f")]
    rows: list[list[Cell]] = [
        [line.method.name, 100 * point.density, point.steps, point.accuracy, point.deviation]
        for line in lines
        for point in line.points
    ]
    caption = f"Accuracy and all steps that it took, {task.name}."
    return [Table(f"accuracy_vs_steps_{task.stem}", caption, columns, rows, folded=True)] if rows else []
