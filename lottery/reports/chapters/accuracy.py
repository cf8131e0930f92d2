"""The chapter on accuracy: test accuracy against density, in figures and in a table."""

from collections.abc import Mapping, Sequence

from lottery.reports.chapters.accuracy_figures import accuracy_figure
from lottery.reports.chapters.verdict import PAIRS
from lottery.reports.comparison.accuracy import Curve, accuracy_curves, accuracy_points, rounded
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Task
from lottery.reports.comparison.statistics import Interval, holds
from lottery.reports.document import Column, Figure, Paragraph, Part, Table
from lottery.reports.style import WIDTH

NETWORKS = {SEARCH: "Networks of the searches' rounds", TICKETS: "Tickets, retrained on all the training data"}
COLUMNS = (
    Column("method"),
    Column("networks"),
    Column("remaining (%)", ".2f"),
    Column("sparsity (%)", ".2f"),
    Column("seeds", "d"),
    Column("test (%)", ".2f"),
    Column("std", ".2f"),
    *(
        column
        for reference in ("dense", "IMP")
        for column in (
            *([Column("IMP's remaining (%)", ".2f")] if reference == "IMP" else []),
            Column(f"pairs with {reference}", "d"),
            Column(f"minus {reference}", "+.2f"),
            Column(f"minus {reference}, low", "+.2f"),
            Column(f"minus {reference}, high", "+.2f"),
            Column(f"not below {reference}"),
        )
    ),
)


def accuracy_parts(task: Task, margin: float) -> list[Part]:
    """A figure of the searches' own networks, where the summary shows that of retrained tickets, and a table of all
    accuracies."""
    families = {kind: accuracy_curves(task, kind, margin) for kind in (TICKETS, SEARCH)}
    families = {kind: curves for kind, curves in families.items() if curves}
    figures = [figure_of(task, SEARCH, families[SEARCH], margin)] if len(families) > 1 else []
    rows = [row for kind, curves in families.items() for curve in curves for row in table_rows(kind, curve, margin)]
    rows += [dense_row(point, method.name) for method in task.by_kind(DENSE) for point in accuracy_points(method)]
    caption = (
        f"Accuracies of {task.name}. std: over seeds. minus: mean of the differences between {PAIRS}, "
        f"in points, with its 95 % interval (Student's t); not below: the interval lies "
        f"above -{margin:g}."
    )
    return [
        *pairing_warnings(families),
        *figures,
        Table(f"accuracy_{task.stem}", caption, COLUMNS, rows, folded=True),
    ]


def figure_of(task: Task, kind: str, curves: Sequence[Curve], margin: float, width: float = WIDTH) -> Figure:
    """Accuracy against remaining weights, of retrained tickets or of the searches' own networks."""
    where = {SEARCH: "_in_search", TICKETS: ""}[kind]
    return accuracy_figure(task, curves, f"accuracy_vs_weights{where}_{task.stem}", NETWORKS[kind], margin, width)


def pairing_warnings(families: Mapping[str, Sequence[Curve]]) -> list[Paragraph]:
    """Warnings about methods with seeds that a reference lacks, about methods without a dense network, and about those
    that are not compared."""
    texts = []
    for curve in (curve for curves in families.values() for curve in curves):
        missing = {seed for point in curve.points for seed in point.values} - curve.dense.keys()
        if curve.method.continues:
            texts.append(
                f"{curve.method.name}: during the search its networks are trained for longer than the dense network "
                "and those of IMP, so that only its retrained tickets are compared."
            )
        elif not curve.dense:
            texts.append(f"{curve.method.name}: there is no dense network with the same recipe among the runs.")
        elif missing:
            names = ", ".join(map(str, sorted(missing, key=str)))
            texts.append(f"{curve.method.name}: no dense network with seed {names}; such runs are in no difference.")
        unpaired = {seed for point in curve.points if _partly_paired(point) for seed in point.values}
        if unpaired:
            texts.append(f"{curve.method.name}: its seeds are not all those of IMP; only pairs are compared.")
    return [Paragraph(text, warns=True) for text in dict.fromkeys(texts)]


def _partly_paired(point) -> bool:
    return point.against_imp is not None and point.against_imp.n < len(point.values)


def table_rows(kind: str, curve: Curve, margin: float) -> list[list]:
    return [
        [
            curve.method.name,
            "search" if kind == SEARCH else "retrained",
            *_numbers(point),
            *_difference(point.against_dense, holds(point.against_dense, margin)),
            None if point.imp_density is None else 100 * point.imp_density,
            *_difference(point.against_imp, holds(point.against_near_imp, margin)),
        ]
        for point in curve.points
    ]


def dense_row(point, name: str) -> list:
    return [name, "dense", *_numbers(point), *_difference(None, None), None, *_difference(None, None)]


def _numbers(point) -> list:
    density = rounded(point.density)
    return [100 * density, 100 * (1 - density), len(point.values), point.mean, point.deviation]


def _difference(found: Interval | None, verdict: bool | None) -> list:
    return [*(found or (None, None, None, None)), verdict]
