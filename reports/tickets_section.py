"""The chapter on tickets that were altered before they were trained: carried to another network, or made controls.

Its table is that of Chen et al. (NeurIPS 2021, table 5): where tickets come from in rows, networks in columns.
"""

from collections.abc import Mapping, Sequence

from reports.accuracy import Curve, Point, Seeds, curves_of
from reports.document import Column, Listing, Paragraph, Part, Table
from reports.methods import TASK, TICKETS, Task, differing
from reports.statistics import Interval, spread

DENSE = "dense network"
EXPLAINED = (
    "Test accuracy in percent: mean ± standard deviation over seeds, remaining weights, number of seeds. Columns are "
    "the networks that were trained, rows where their tickets come from. The density of an elastic ticket follows from "
    "which units were copied; each control has as many weights as the ticket it stands in for."
)


def altered_ticket_parts(tasks: Sequence[Task], margin: float) -> list[Part]:
    """For each data set that has such tickets the table, and elastic tickets beside IMP; nothing without any."""
    parts: list[Part] = []
    for number, related in enumerate(relatives(tasks), 1):
        curves = {network(task): curves_of(task, TICKETS, margin) for task in related}
        wanted = {
            stage(point)
            for each in curves.values()
            for curve in each
            for point in curve.points
            if curve.method.is_altered
        }
        if wanted:
            parts += [table(curves, wanted, related[0], number), *beside_imp(curves)]
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


def stage(point: Point) -> tuple[int | None, float | None]:
    """How far tickets had been pruned where they were found: their prunings, or if found at once their density."""
    return point.prunings, point.density_found


def table(curves: Mapping[str, Sequence[Curve]], wanted: set[tuple], task: Task, number: int) -> Table:
    """A row for each method of the tickets that had been pruned so far, a column for each network."""
    cells: dict[tuple, dict[str, str]] = {}
    for arch, found in curves.items():
        for curve in found:
            for point in curve.points:
                if stage(point) in wanted:
                    cells.setdefault(_row(curve, point), {})[arch] = cell(point)
    dense = [DENSE, None, *(dense_cell(found) for found in curves.values())]
    rows = [[key[-1], key[0] or None, *(cells[key].get(arch) for arch in curves)] for key in sorted(cells)]
    caption = f"Elastic tickets and controls, {task.methods[0].settings['dataset']}."
    columns = [Column("tickets"), Column("prunings", "d"), *map(Column, curves)]
    return Table(f"altered-tickets-{number}", caption, columns, [dense, *rows])


def _row(curve: Curve, point: Point) -> tuple[int, float, bool, str, str]:
    """What a row is sorted by: its prunings, of tickets found at once from dense to sparse, elastic tickets last, each
    search's before its controls; then its name."""
    method = curve.method
    return point.prunings or 0, -(point.density_found or 0), method.is_carried, method.search, method.name


def cell(point: Point) -> str:
    return f"{mean_text(point.values)} at {100 * point.density:.2f} % ({len(point.values)})"


def dense_cell(curves: Sequence[Curve]) -> str | None:
    """The dense network that the tickets of a task are compared with."""
    known = [curve.dense for curve in curves if curve.dense]
    return f"{mean_text(known[0])} ({len(known[0])})" if known else None


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
