"""The chapter on altered tickets: elastic tickets, controls, and tickets trained by a rule.

Its table is laid out like table 5 of Chen et al. (NeurIPS 2021): tickets in rows, the networks they were trained in in
columns.
"""

from collections.abc import Mapping, Sequence

from lottery.reports.chapters.altered_tickets_figure import Row, Rows, ticket_figures
from lottery.reports.comparison.accuracy import Curve, Point, Seeds, accuracy_curves
from lottery.reports.comparison.grouping import TASK, differing
from lottery.reports.comparison.methods import TICKETS, Task
from lottery.reports.comparison.statistics import Interval, spread
from lottery.reports.document import Cell, Column, Listing, Paragraph, Part, Table
from models.user_code import short_name

Curves = Mapping[str, Sequence[Curve]]  # by network

DENSE = "dense network"
EXPLAINED = (
    "Test accuracy in percent: mean ± standard deviation over seeds, remaining weights, number of seeds. Columns are "
    "the networks that were trained, rows where their tickets come from. The density of an elastic ticket follows from "
    "which units were copied; each control but the dense one has as many weights as the ticket it stands in for."
)


def altered_ticket_parts(tasks: Sequence[Task], margin: float) -> list[Part]:
    """For each data set with altered tickets a figure, a table, and elastic tickets compared with IMP."""
    parts: list[Part] = []
    for related in tasks_by_data(tasks):
        curves = {arch(task): accuracy_curves(task, TICKETS, margin) for task in related}
        rows = ticket_rows(curves)
        if rows:
            data = short_name(related[0].methods[0].settings["dataset"])
            name = f"altered_tickets_{related[0].stem}"
            dense = {network: dense_accuracies(found) for network, found in curves.items()}
            parts += [*ticket_figures(rows, dense, data, name), ticket_table(rows, dense, data, name)]
            parts += elastic_parts(curves)
    return [Paragraph(EXPLAINED), *parts] if parts else []


def tasks_by_data(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks in groups that differ in their networks alone, without tasks whose network is not recorded."""
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


def arch(task: Task) -> str:
    return task.methods[0].settings["arch"]


# --- the table --------------------------------------------------------------------------------------------------------


def ticket_rows(curves: Curves) -> Rows:
    """The altered tickets, and those of other methods that were pruned as far, by network."""
    every = [(network, curve, point) for network, found in curves.items() for curve in found for point in curve.points]
    wanted = {pruning_stage(point) for _, curve, point in every if curve.method.is_altered}
    rows: Rows = {}
    for network, curve, point in every:
        if pruning_stage(point) in wanted:
            rows.setdefault(_row(curve, point), {})[network] = point
    return dict(sorted(rows.items()))


def pruning_stage(point: Point) -> tuple[int | None, float | None]:
    """How far tickets were pruned in their source network: prunings, or the density that was asked for."""
    return point.prunings, point.found_density


def _row(curve: Curve, point: Point) -> Row:
    method = curve.method
    base, prunings, sparser = method.base or method.search, point.prunings or 0, -(point.found_density or 0)
    return Row(prunings, sparser, method.is_elastic, base, method.base is not None, method.name)


def ticket_table(rows: Rows, dense: Mapping[str, Seeds | None], data: str, name: str) -> Table:
    """A row for each kind of ticket, a column for each network."""
    first = [DENSE, None, *(f"{mean_text(known)} ({len(known)})" if known else None for known in dense.values())]
    cells: list[list[Cell]] = [
        [row.name, row.prunings or None, *(cell_text(points[name]) if name in points else None for name in dense)]
        for row, points in rows.items()
    ]
    columns = [Column("tickets"), Column("prunings", "d"), *map(Column, dense)]
    return Table(name, f"Elastic tickets, controls and rules, {data}.", columns, [first, *cells])


def cell_text(point: Point) -> str:
    return f"{mean_text(point.values)} at {100 * point.density:.2f} % ({len(point.values)})"


def dense_accuracies(curves: Sequence[Curve]) -> Seeds | None:
    """The accuracies of the dense network that the tickets of a task are compared with."""
    return next((curve.dense for curve in curves if curve.dense), None)


def mean_text(values: Seeds) -> str:
    mean, deviation = spread(values.values())
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


# --- elastic tickets and IMP ------------------------------------------------------------------------------------------


def elastic_parts(curves: Curves) -> list[Part]:
    """A sentence for each elastic ticket: its accuracy, and its difference from IMP at the nearest density."""
    sentences = [
        f"{network}: {curve.method.name}, {100 * point.density:.2f} % of the weights: {mean_text(point.values)}; "
        f"{imp_difference_text(point)}."
        for network, found in curves.items()
        for curve in found
        for point in curve.points
        if curve.method.is_elastic
    ]
    return [Listing(sentences)] if sentences else []


def imp_difference_text(point: Point) -> str:
    if point.against_imp is None:
        return "no ticket of IMP has the same seed"
    return f"minus IMP at {100 * point.imp_density:.2f} %: {difference_text(point.against_imp)}"


def difference_text(found: Interval) -> str:
    """The mean of paired differences, with its interval if there are several pairs."""
    if found.low is None:
        return f"{found.mean:+.2f} points (one pair)"
    return f"{found.mean:+.2f} points ({found.n} pairs, 95 % interval {found.low:+.2f} to {found.high:+.2f})"
