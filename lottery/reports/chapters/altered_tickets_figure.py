"""Tickets that were altered before they were trained, as dots: a panel for each network, a row for each kind."""

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lottery.reports.comparison.accuracy import Point, Seeds
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Figure
from lottery.reports.style import canvas, finish, look, percent

MOST_ROWS, MOST_PANELS = 45, 4  # of a figure that can be read
GREY = "#888888"
PLAIN, CARRIED, CONTROL = look(0), look(1), look(2)


class Row(NamedTuple):
    """What a row is about, sorted as it stands: by prunings, of tickets found at once from dense to sparse, elastic
    tickets last, controls behind what they are controls of; then by name."""

    prunings: int
    sparser: float
    is_carried: bool
    base: str
    is_control: bool
    name: str


Rows = dict[Row, dict[str, Point]]  # the tickets of each row by the network they were trained in


def ticket_figures(rows: Rows, dense: Mapping[str, Seeds | None], data: str, number: int) -> list[Figure]:
    """One figure, the dense network as a band in each panel; none if it would be too large to read."""
    if len(rows) > MOST_ROWS or len(dense) > MOST_PANELS:
        return []
    figure, panels = canvas(1, len(dense), height=1.1 + 0.26 * len(rows), sharey=True)
    for axes, (arch, known) in zip(panels, dense.items(), strict=True):
        if known:
            band(axes, known)
        for place, (row, there) in enumerate(rows.items()):
            if arch in there:
                dot(axes, place, there[arch], row)
        axes.set(title=arch, xlabel="test accuracy (%)", ylim=(len(rows) - 0.4, -0.7))
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_yticks(range(len(rows)), label_of(rows))
    caption = (
        f"Elastic tickets, controls and rules, {data}: mean and standard deviation over seeds, remaining weights in "
        "percent above each; the dense network as a band."
    )
    return [finish(figure, f"altered-tickets-{number}", caption)]


def label_of(rows: Rows) -> list[str]:
    """The names of the rows, with their prunings where these differ."""
    several = len({row.prunings for row in rows}) > 1
    return [f"{row.name}, {row.prunings} prunings" if several and row.prunings else row.name for row in rows]


def band(axes: Axes, dense: Seeds) -> None:
    mean, deviation = spread(dense.values())
    axes.axvline(mean, color=GREY, lw=1, ls=(0, (1, 1)), zorder=0)
    axes.axvspan(mean - (deviation or 0), mean + (deviation or 0), color=GREY, alpha=0.18, lw=0, zorder=0)


def dot(axes: Axes, place: int, point: Point, row: Row) -> None:
    style = CONTROL if row.is_control else CARRIED if row.is_carried else PLAIN
    axes.errorbar(point.mean, place, xerr=point.deviation, fmt=style.marker, color=style.color, capsize=2.5)
    axes.annotate(
        percent(point.density), (point.mean, place), (0, 4), textcoords="offset points", ha="center", fontsize=7
    )
