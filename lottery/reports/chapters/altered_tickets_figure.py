"""The figure of altered tickets: a panel for each network, a row for each kind of ticket."""

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lottery.reports.comparison.accuracy import Point, Seeds
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Figure
from lottery.reports.style import canvas, line_style, percent, render, wrapped

MOST_ROWS, MOST_PANELS = 45, 4  # of a readable figure
LABEL_WIDTH = 48  # letters of a line beside a row
GREY = "#888888"
PLAIN, ELASTIC, CONTROL = line_style(0), line_style(1), line_style(2)


class Row(NamedTuple):
    """A kind of ticket. Rows sort by these fields: by prunings, or from dense to sparse for tickets of one pruning;
    elastic tickets last, and each control after what it is a control of."""

    prunings: int
    sparser: float  # minus the density, of tickets pruned to one
    is_elastic: bool
    base: str
    is_control: bool
    name: str


Rows = dict[Row, dict[str, Point]]  # the tickets of each row by the network they were trained in


def ticket_figures(rows: Rows, dense: Mapping[str, Seeds | None], data: str, name: str) -> list[Figure]:
    """One figure with the dense network as a band in each panel; none if it would be too large to read."""
    if len(rows) > MOST_ROWS or len(dense) > MOST_PANELS:
        return []
    labels = row_labels(rows)
    lines = max(label.count("\n") + 1 for label in labels)
    figure, panels = canvas(1, len(dense), height=1.1 + (0.1 + 0.16 * lines) * len(rows), sharey=True)
    for axes, (arch, known) in zip(panels, dense.items(), strict=True):
        if known:
            draw_dense_band(axes, known)
        for y, (row, points) in enumerate(rows.items()):
            if arch in points:
                draw_ticket(axes, y, points[arch], row)
        axes.set(title=arch, xlabel="test accuracy (%)", ylim=(len(rows) - 0.4, -0.7))
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_yticks(range(len(rows)), labels)
    caption = (
        f"Elastic tickets, controls and rules, {data}: mean and standard deviation over seeds, remaining weights in "
        "percent above each; the dense network as a band."
    )
    return [render(figure, name, caption)]


def row_labels(rows: Rows) -> list[str]:
    """The names of the rows, with their prunings if these differ, on as many lines as they need."""
    several = len({row.prunings for row in rows}) > 1
    names = [f"{row.name}, {row.prunings} prunings" if several and row.prunings else row.name for row in rows]
    return [wrapped(name, LABEL_WIDTH) for name in names]


def draw_dense_band(axes: Axes, dense: Seeds) -> None:
    mean, deviation = spread(dense.values())
    axes.axvline(mean, color=GREY, lw=1, ls=(0, (1, 1)), zorder=0)
    axes.axvspan(mean - (deviation or 0), mean + (deviation or 0), color=GREY, alpha=0.18, lw=0, zorder=0)


def draw_ticket(axes: Axes, y: int, point: Point, row: Row) -> None:
    style = CONTROL if row.is_control else ELASTIC if row.is_elastic else PLAIN
    axes.errorbar(point.mean, y, xerr=point.deviation, fmt=style.marker, color=style.color, capsize=2.5)
    axes.annotate(percent(point.density), (point.mean, y), (0, 4), textcoords="offset points", ha="center", fontsize=7)
