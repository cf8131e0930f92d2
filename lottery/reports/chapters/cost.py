"""The chapter on cost: what finding a ticket took."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from lottery.reports.chapters.effort import effort_tables, flops_parts
from lottery.reports.comparison.accuracy import rounded
from lottery.reports.comparison.method_costs import (
    MethodCost,
    imp_cost,
    last_shared,
    method_costs,
    percentage,
    same_density,
    saved_against,
)
from lottery.reports.comparison.methods import SEARCH, Task
from lottery.reports.document import Column, Figure, Folded, Paragraph, Part, Table
from lottery.reports.style import canvas, density_axis, legend_below, line_style, percent, render

BATCH_SELECTION = Column("batch selection", ".2f")
COLUMNS = (
    Column("method"),
    Column("prunings", "d"),
    Column("remaining (%)", ".2f"),
    Column("seeds", "d"),
    Column("steps", ",.0f"),
    Column("examples", ",.0f"),
    Column("extra passes", ",.0f"),
    Column("training FLOPs", ".3e"),
    Column("other FLOPs", ".3e"),
    Column("seconds", ",.1f"),
    Column("saved: find (%)", ".2f"),
    Column("by data", ".2f"),
    Column("schedule", ".2f"),
    Column("early stop", ".2f"),
    BATCH_SELECTION,
    Column("saved: find and train (%)", ".2f"),
    Column("steps saved against IMP here (%)", ".2f"),
    Column("FLOPs saved against IMP here (%)", ".2f"),
)
SAVED_BY = ("data", "schedule", "early stop", BATCH_SELECTION.heading)  # parts of the steps saved, columns of their own
EXPLAINED = (
    "Steps, examples, extra forward passes and seconds are those of all rounds before the ticket is known. Saved: of "
    "vanilla IMP's optimiser steps, k full trainings for k prunings, and one more each to find and train. Saved "
    "against IMP here: of the steps, or training FLOPs, that the most thorough IMP runs among these took to a ticket "
    "of the same density. FLOPs are zero-aware, what a machine would do that skips every dropped weight: forward "
    "FLOPs of each layer times its density, three times for forward and backward; where the gradient of dropped "
    "weights is computed as well, one of them dense. Other FLOPs: extra passes, validation and test, forward alone. "
    "On today's hardware dropped weights take as long as kept ones: seconds are what was measured."
)


def cost_parts(task: Task) -> list[Part]:
    """Figures and tables; nothing for runs that do not record their cost."""
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method)]
    if not costs:
        return flops_parts(task)
    rows = [cost_row(cost, costs) for cost in costs]
    shared = last_shared(costs)
    newest = [row for row, cost in zip(rows, costs, strict=True) if cost in shared]
    short = cost_table(f"cost_{task.stem}", f"Finding {which_ticket(shared)}, {task.name}; means over seeds.", newest)
    whole = cost_table(f"cost_by_round_{task.stem}", f"The same after every round, {task.name}.", rows, folded=True)
    definitions = Folded("What the columns mean", [Paragraph(EXPLAINED)])
    figure = cost_figure(task, costs)
    return [*flops_warnings(costs), figure, short, definitions, whole, *effort_tables(task), *flops_parts(task)]


def cost_table(tag: str, caption: str, rows: list[list], folded: bool = False) -> Table:
    """A table with `COLUMNS`, without that of batch selection where it saved nothing."""
    selects = any(row[COLUMNS.index(BATCH_SELECTION)] for row in rows)
    shown = [place for place, column in enumerate(COLUMNS) if selects or column is not BATCH_SELECTION]
    return Table(tag, caption, [COLUMNS[place] for place in shown], [[row[place] for place in shown] for row in rows],
                 folded=folded)  # fmt: skip


def which_ticket(shared: Sequence[MethodCost]) -> str:
    """What the tickets of `last_shared` are, in words: densities that are equal up to rounding count as one."""
    if all(same_density(cost, shared[0]) for cost in shared):
        return f"the ticket with {percent(shared[0].density)} % of the weights"
    return "each method's last ticket"


def cost_row(cost: MethodCost, costs: Iterable[MethodCost]) -> list:
    """The row of a table with `COLUMNS`; `costs` are those of all methods."""
    imp = imp_cost(cost, costs)
    return [
        cost.method.name,
        cost.prunings,
        100 * rounded(cost.density),
        len(cost.by_seed),
        *(cost.mean(attrgetter(name)) for name in ("steps", "examples", "forward_passes")),
        cost.mean(attrgetter("training_flops")),
        cost.mean(attrgetter("evaluation_flops")),
        cost.mean(attrgetter("seconds")),
        percentage(cost.mean(attrgetter("saved"))),
        *(percentage(cost.mean_saved_by(part)) for part in SAVED_BY),
        percentage(cost.mean(attrgetter("saved_with_training"))),
        *(saved_against(imp, cost, attrgetter(name)) for name in ("steps", "training_flops")),
    ]


def flops_warnings(costs: Sequence[MethodCost]) -> list[Paragraph]:
    names = dict.fromkeys(cost.method.name for cost in costs if cost.mean(attrgetter("training_flops")) is None)
    words = f"Not all runs of {', '.join(names)} recorded their FLOPs, which are left out for them."
    return [Paragraph(words, warns=True)] if names else []


# --- figures ----------------------------------------------------------------------------------------------------------


def cost_figure(task: Task, costs: Sequence[MethodCost]) -> Figure:
    """Steps and, where known, training FLOPs to find each ticket."""
    panels = {"optimiser steps to find": attrgetter("steps")}
    if any(cost.mean(attrgetter("training_flops")) is not None for cost in costs):
        panels["training FLOPs to find"] = attrgetter("training_flops")
    figure, every = canvas(1, len(panels), height=3.6)
    for axes, (label, value) in zip(every, panels.items(), strict=True):
        for method in task.by_kind(SEARCH):
            mine = [cost for cost in costs if cost.method is method and cost.mean(value) is not None]
            style = line_style(task.search_names.index(method.search))
            points = [(cost.density, cost.mean(value)) for cost in mine]
            axes.plot([p[0] for p in points], [p[1] for p in points], **style._asdict(), label=method.name)
        density_axis(axes, [1.0, *(cost.density for cost in costs)], labels=11 // len(panels))
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
    legend_below(figure, every[0])
    caption = f"What was spent before a ticket with so many weights was known, {task.name}; means over seeds."
    return render(figure, f"steps_to_find_{task.stem}", caption)
