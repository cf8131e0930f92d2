"""The chapter on the differences from methods that were named (`report.py --against`)."""

from collections.abc import Sequence

from lottery.reports.chapters.verdict import NETWORKS, PAIRS
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.against import Against, against, standing
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.comparison.statistics import FEWEST
from lottery.reports.document import Cell, Column, Listing, Paragraph, Part, Table, file_stem

COLUMNS = (
    Column("method"),
    Column("networks"),
    Column("remaining (%)", ".2f"),
    Column("pairs", "d"),
    Column("difference", "+.2f"),
    Column("low", "+.2f"),
    Column("high", "+.2f"),
    Column("verdict"),
)


def against_parts(task: Task, names: Sequence[str], margin: float) -> list[Part]:
    """A table for each name: all other methods minus this one, and those that cannot be compared with it."""
    parts: list[Part] = []
    for name in names:
        found = {kind: against(accuracy_curves(task, kind, margin), name) for kind in (TICKETS, SEARCH)}
        rows = [row for kind, others in found.items() for other in others for row in table_rows(kind, other, margin)]
        stem = f"differences_from_{file_stem(name)}_{task.stem}"
        parts += [Table(stem, caption(name, task, margin), COLUMNS, rows)] if rows else []
        items = [
            f"{other.method}, {NETWORKS[kind]}: trained otherwise than {name} ({', '.join(other.trained_otherwise)})."
            for kind, others in found.items()
            for other in others
            if other.trained_otherwise
        ]
        parts += [Paragraph("Not compared:"), Listing(items)] if items else []
        if not rows and not items and any(method.name == name for method in task.methods):
            parts.append(Paragraph(f"No other method has a seed and a density in common with {name}."))
    return parts


def caption(name: str, task: Task, margin: float) -> str:
    return (
        f"Other methods minus {name}, {task.name}: mean of the differences between {PAIRS}, "
        "in points of test accuracy, with its 95 % interval (Student's t). Better: the interval lies above zero; "
        f"as good: above -{margin:g}; worse: below zero. No verdict from fewer than {FEWEST} pairs."
    )


def table_rows(kind: str, other: Against, margin: float) -> list[list[Cell]]:
    return [
        [other.method, NETWORKS[kind], 100 * density, *difference, standing(difference, margin)]
        for density, difference in other.differences
    ]
