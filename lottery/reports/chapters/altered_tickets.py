"""The chapter on tickets that were altered before they were trained: carried to another network, made controls, or
trained by a rule.

Its table is that of Chen et al. (NeurIPS 2021, table 5): where tickets come from in rows, networks in columns.
"""

from collections.abc import Mapping, Sequence

from lottery.reports.chapters.altered_tickets_figure import Row, Rows, ticket_figures
from lottery.reports.comparison.accuracy import Curve, Point, Seeds, curves_of
from lottery.reports.comparison.methods import TASK, TICKETS, Task, differing
from lottery.reports.comparison.statistics import Interval, spread
from lottery.reports.document import Column, Listing, Paragraph, Part, Table

Curves = Mapping[str, Sequence[Curve]]  # by network

DENSE = "dense network"
EXPLAINED = (
    "Test accuracy in percent: mean ± standard deviation over seeds, remaining weights, number of seeds. Columns are "
    "the networks that were trained, rows where their tickets come from. The density of an elastic ticket follows from "
    "which units were copied; each control but the dense one has as many weights as the ticket it stands in for."
)


def altered_ticket_parts(tasks: Sequence[Task], margin: float) -> list[Part]:
    """For each data set that has such tickets a figure, the table, elastic tickets beside IMP; nothing without any."""
    parts: list[Part] = []
    for number, related in enumerate(relatives(tasks), 1):
        curves = {network(task): curves_of(task, TICKETS, margin) for task in related}
        rows = rows_of(curves)
        if rows:
            data = related[0].methods[0].settings["dataset"]
            dense = {arch: dense_of(found) for arch, found in curves.items()}
            parts += [*ticket_figures(rows, dense, data, number), table(rows, dense, data, number)]
            parts += beside_imp(curves)
    return [Paragraph(EXPLAINED), *parts] if parts else []


def relatives(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks in groups that differ in their networks alone; without those of which the network is not known."""
    names = [name for name in TASK if name != "arch"]
    groups: list[list[Task]] = []
    for task in tasks:
        settings = task.methods[0].settings
        if "arch" not in settings:
            continue
        fitting = (each for each in groups if not differing(each[0].methods[0].settings, settings, names))
        group = next(fitting, None)
        if group is None:
            groups.append(group := [])
        group.append(task)
    return groups


def network(task: Task) -> str:
    return task.methods[0].settings["arch"]


# --- the table --------------------------------------------------------------------------------------------------------


def rows_of(curves: Curves) -> Rows:
    """The tickets by network, of each method whose tickets had been pruned as far as some that were altered."""
    every = [(arch, curve, point) for arch, found in curves.items() for curve in found for point in curve.points]
    wanted = {stage(point) for _, curve, point in every if curve.method.is_altered}
    rows: Rows = {}
    for arch, curve, point in every:
        if stage(point) in wanted:
            rows.setdefault(_row(curve, point), {})[arch] = point
    return dict(sorted(rows.items()))


def stage(point: Point) -> tuple[int | None, float | None]:
    """How far tickets had been pruned where they were found: their prunings, or if found at once their density."""
    return point.prunings, point.density_found


def _row(curve: Curve, point: Point) -> Row:
    method = curve.method
    base, prunings, sparser = method.control_of or method.search, point.prunings or 0, -(point.density_found or 0)
    return Row(prunings, sparser, method.is_carried, base, method.control_of is not None, method.name)


def table(rows: Rows, dense: Mapping[str, Seeds | None], data: str, number: int) -> Table:
    """A row for each method of the tickets that had been pruned so far, a column for each network."""
    first = [DENSE, None, *(f"{mean_text(known)} ({len(known)})" if known else None for known in dense.values())]
    cells = [
        [row.name, row.prunings or None, *(cell(there[arch]) if arch in there else None for arch in dense)]
        for row, there in rows.items()
    ]
    columns = [Column("tickets"), Column("prunings", "d"), *map(Column, dense)]
    return Table(f"altered-tickets-{number}", f"Elastic tickets, controls and rules, {data}.", columns, [first, *cells])


def cell(point: Point) -> str:
    return f"{mean_text(point.values)} at {100 * point.density:.2f} % ({len(point.values)})"


def dense_of(curves: Sequence[Curve]) -> Seeds | None:
    """The dense network that the tickets of a task are compared with."""
    return next((curve.dense for curve in curves if curve.dense), None)


def mean_text(values: Seeds) -> str:
    mean, deviation = spread(values.values())
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


# --- elastic tickets beside IMP ---------------------------------------------------------------------------------------


def beside_imp(curves: Mapping[str, Sequence[Curve]]) -> list[Part]:
    """A sentence for each elastic ticket: its accuracy, that of IMP at the nearest sparsity, and their difference."""
    sentences = [
        f"{arch}: {curve.method.name}, {100 * point.density:.2f} % of the weights: {mean_text(point.values)}; "
        f"{against(point)}."
        for arch, found in curves.items()
        for curve in found
        for point in curve.points
        if curve.method.is_carried
    ]
    return [Listing(sentences)] if sentences else []


def against(point: Point) -> str:
    if point.against_imp is None:
        return "no ticket of IMP has the same seed"
    return f"minus IMP at {100 * point.imp_density:.2f} %: {difference_text(point.against_imp)}"


def difference_text(found: Interval) -> str:
    """A mean of paired differences in words, with its interval where there are several."""
    if found.low is None:
        return f"{found.mean:+.2f} points (one pair)"
    return f"{found.mean:+.2f} points ({found.n} pairs, 95 % interval {found.low:+.2f} to {found.high:+.2f})"
