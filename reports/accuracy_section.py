"""The first chapter: how accurate tickets are, which of them win, and which equal IMP's."""

from collections.abc import Sequence

from reports.accuracy import NEARLY, Curve, curves_of, level, points_of
from reports.accuracy_figures import accuracy_figure
from reports.document import Column, Figure, Listing, Paragraph, Part, Table
from reports.methods import DENSE, SEARCH, TICKETS, Task
from reports.statistics import FEWEST, Interval, holds
from reports.style import percent

WHAT = {SEARCH: "Networks of the searches' rounds", TICKETS: "Tickets, retrained on all the training data"}
COLUMNS = (
    Column("networks"),
    Column("method"),
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


def accuracy_parts(task: Task, number: int, margin: float) -> list[Part]:
    """Verdicts, a figure for each family of curves, and the table of all that is drawn in them."""
    families = {kind: curves_of(task, kind, margin) for kind in (TICKETS, SEARCH)}
    families = {kind: curves for kind, curves in families.items() if curves}
    figures: list[Figure] = [
        accuracy_figure(task, curves, f"accuracy-{kind}-{number}", WHAT[kind], margin)
        for kind, curves in families.items()
    ]
    verdicts = [sentence for kind, curves in families.items() for sentence in verdict_sentences(kind, curves)]
    rows = [row for kind, curves in families.items() for curve in curves for row in table_rows(kind, curve, margin)]
    rows += [dense_row(point, method.name) for method in task.of(DENSE) for point in points_of(method)]
    caption = (
        f"Accuracies of {task.name}. std: over seeds. minus: mean of the differences between runs of the same seed, in "
        f"points, with its 95 % interval (Student's t); not below: the interval lies above -{margin:g}."
    )
    return [
        *unpaired(families),
        *([rule(margin), Listing(verdicts)] if verdicts else []),
        *figures,
        Table(f"accuracy-{number}", caption, COLUMNS, rows),
    ]


def verdict_sentences(kind: str, curves: Sequence[Curve]) -> list[str]:
    """What the two markers say of each method, or why they say nothing."""
    where = "during the search" if kind == SEARCH else "retrained"
    return [
        f"{curve.method.name}, {where}: " + "; ".join(filter(None, [winning(curve), equal(curve)])) + "."
        for curve in curves
    ]


def winning(curve: Curve) -> str:
    differences = [point.against_dense for point in curve.points if point.density < 1]
    return _verdict("winning", "the dense network", differences, curve.winning)


def equal(curve: Curve) -> str:
    if curve.method.is_imp:
        return ""
    differences = [point.on_a_par for point in curve.points if point.density < 1]
    reference = "IMP at nearly the same sparsity" if curve.method.is_carried else "IMP"
    return _verdict("equal", reference, differences, curve.equal)


def _verdict(marker: str, reference: str, differences: Sequence[Interval | None], last: float | None) -> str:
    pairs = max((difference.n for difference in differences if difference), default=0)
    if not pairs:
        return f"no run of {reference} with the same seed"
    if pairs < FEWEST:
        return f"no verdict against {reference} from {pairs} pair{'s' if pairs > 1 else ''}"
    if last is None:
        return f"not shown to be {marker} at any sparsity"
    return f"{marker} down to {percent(last)} % of the weights ({100 * (1 - last):.2f} % sparse)"


def rule(margin: float) -> Paragraph:
    """What the markers and the verdicts mean."""
    return Paragraph(
        "Winning: down to the last sparsity before the first at which the 95 % interval of (method - dense network), "
        f"over pairs of runs with the same seed, does not lie above -{margin:g} points (--margin). Equal: the same "
        "against IMP at the same sparsity; of an elastic ticket, whose density its copies decide, at the nearest if "
        f"the densities are within a factor of {NEARLY:g}. Fewer than {FEWEST} pairs give values, no verdict."
    )


def unpaired(families: dict[str, Sequence[Curve]]) -> list[Paragraph]:
    """Warnings where a method's seeds are not those of what it is compared with, or none is there to compare with."""
    found = []
    for curve in (curve for curves in families.values() for curve in curves):
        alone = {seed for point in curve.points for seed in point.values} - curve.dense.keys()
        if not curve.dense:
            found.append(f"{curve.method.name}: there is no dense network with the same recipe among the runs.")
        elif alone:
            names = ", ".join(map(str, sorted(alone, key=str)))
            found.append(f"{curve.method.name}: no dense network with seed {names}; such runs are in no difference.")
        lone = {seed for point in curve.points if _partly_paired(point) for seed in point.values}
        if lone:
            found.append(f"{curve.method.name}: its seeds are not all those of IMP; only pairs are compared.")
    return [Paragraph(text, warns=True) for text in dict.fromkeys(found)]


def _partly_paired(point) -> bool:
    return point.against_imp is not None and point.against_imp.n < len(point.values)


def table_rows(kind: str, curve: Curve, margin: float) -> list[list]:
    return [
        [
            "search" if kind == SEARCH else "retrained",
            curve.method.name,
            *_numbers(point),
            *_difference(point.against_dense, holds(point.against_dense, margin)),
            None if point.imp_density is None else 100 * point.imp_density,
            *_difference(point.against_imp, holds(point.on_a_par, margin)),
        ]
        for point in curve.points
    ]


def dense_row(point, name: str) -> list:
    return ["dense", name, *_numbers(point), *_difference(None, None), None, *_difference(None, None)]


def _numbers(point) -> list:
    density = level(point.density)
    return [100 * density, 100 * (1 - density), len(point.values), point.mean, point.deviation]


def _difference(found: Interval | None, verdict: bool | None) -> list:
    return [*(found or (None, None, None, None)), verdict]
