"""The chapter on cost: what finding a ticket took, and accuracy against all steps, those of its training included."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lottery.checkpointing.script_names import Script
from lottery.reports.chapters.accuracy_figures import effort_figure
from lottery.reports.comparison.accuracy import ROUNDING, log_ratio, rounded
from lottery.reports.comparison.cost import SearchCosts, TicketCost, training_row
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.document import Column, Figure, Paragraph, Part, Table
from lottery.reports.style import canvas, density_axis, legend_below, line_style, percent, render, thousands
from lottery.results.ticket_runs import FOREIGN

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
    "Steps, examples, extra forward passes and seconds are those of all rounds before the ticket is known. "
    "Saved: of vanilla IMP's optimiser steps, k full trainings for k prunings, and one more each to find and train. "
    "Saved against IMP here: of the steps, or training FLOPs, that the most thorough IMP runs among these took to a "
    "ticket of the same density. FLOPs are zero-aware, "
    "what a machine would do that skips every dropped weight: forward FLOPs of each layer times its density, three "
    "times for forward and backward. Other FLOPs: extra passes, validation and test, forward alone. On today's "
    "hardware dropped weights take as long as kept ones: seconds are what was measured."
)


@dataclass
class MethodCost:
    """What a method's runs had spent on the ticket after one number of prunings."""

    method: Method
    by_seed: list[TicketCost]

    @property
    def prunings(self) -> int:
        return self.by_seed[0].prunings

    @property
    def density(self) -> float:
        return self.by_seed[0].density

    def mean(self, value: Callable[[TicketCost], float | None]) -> float | None:
        """The mean over seeds; None if one of them did not record it."""
        values = [value(cost) for cost in self.by_seed]
        return None if None in values else statistics.fmean(values)

    def mean_saved_by(self, part: str) -> float | None:
        """The mean over seeds of the fraction of steps that one cause saved, 0 for what a run does not do; None if one
        of them did not record it."""
        return self.mean(lambda cost: None if cost.saved_by is None else cost.saved_by.get(part, 0.0))


def cost_parts(task: Task, number: int) -> list[Part]:
    """Figures and tables; nothing for runs that do not record their cost."""
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method)]
    if not costs:
        return []
    rows = [cost_row(cost, costs) for cost in costs]
    shared = last_shared(costs)
    newest = [row for row, cost in zip(rows, costs, strict=True) if cost in shared]
    short = cost_table(f"cost-{number}", f"Finding {which_ticket(shared)}, {task.name}; means over seeds.", newest)
    whole = cost_table(f"cost-by-round-{number}", f"The same after every round, {task.name}.", rows, folded=True)
    figures = [cost_figure(task, costs, number), *effort_parts(task, number)]
    return [*flops_warnings(costs), *figures, Paragraph(EXPLAINED), short, whole]


def cost_table(tag: str, caption: str, rows: list[list], folded: bool = False) -> Table:
    """A table with `COLUMNS`, without that of batch selection where it saved nothing."""
    selects = any(row[COLUMNS.index(BATCH_SELECTION)] for row in rows)
    shown = [place for place, column in enumerate(COLUMNS) if selects or column is not BATCH_SELECTION]
    return Table(tag, caption, [COLUMNS[place] for place in shown], [[row[place] for place in shown] for row in rows],
                 folded=folded)  # fmt: skip


def method_costs(method: Method) -> list[MethodCost]:
    """By number of prunings, as far as all of its seeds have got: further means would be over other seeds. A method
    that finds one ticket a run has runs for each density."""
    by_density: dict[float, list[list[TicketCost]]] = defaultdict(list)
    for run in (run for run in method.runs if run.script != FOREIGN):
        by_density[run.settings.get("density", 0)].append(SearchCosts(run).by_round)
    found = [by_density[density] for density in sorted(by_density, reverse=True)]
    return [MethodCost(method, list(by_seed)) for by_run in found for by_seed in zip(*by_run, strict=False)]


def last_shared(costs: Sequence[MethodCost]) -> list[MethodCost]:
    """Of each method the ticket of the lowest density that all have reached; its last one if there is no such."""
    by_method: dict[int, list[MethodCost]] = defaultdict(list)
    for cost in costs:
        by_method[id(cost.method)].append(cost)
    for first in sorted(costs, key=attrgetter("density")):
        found = [next((cost for cost in own if same_density(cost, first)), None) for own in by_method.values()]
        if None not in found:
            return [cost for cost in found if cost]
    return [own[-1] for own in by_method.values()]


def which_ticket(shared: Sequence[MethodCost]) -> str:
    """What the tickets of `last_shared` are, in words: densities that are equal up to rounding count as one."""
    if all(same_density(cost, shared[0]) for cost in shared):
        return f"the ticket with {percent(shared[0].density)} % of the weights"
    return "each method's last ticket"


def same_density(a: MethodCost, b: MethodCost) -> bool:
    return log_ratio(a.density, b.density) <= ROUNDING


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


def percentage(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def imp_cost(cost: MethodCost, costs: Iterable[MethodCost]) -> MethodCost | None:
    """What the most thorough IMP, with as many examples in a batch, had spent on its ticket of the same density; None
    for that search itself."""
    batch_size = cost.method.settings.get("batch_size")
    imps = [
        other
        for other in costs
        if other.method.is_imp and same_density(other, cost) and other.method.settings.get("batch_size") == batch_size
    ]
    most = max(imps, key=lambda other: other.method.thoroughness, default=None)
    return None if most is None or most.method is cost.method else most


def saved_against(
    imp: MethodCost | None, cost: MethodCost, value: Callable[[TicketCost], float | None]
) -> float | None:
    """The share in percent of what IMP had spent that this one saves; None where one of them is not known."""
    spent, mine = imp and imp.mean(value), cost.mean(value)
    return percentage(1 - mine / spent) if spent and mine is not None else None


def flops_warnings(costs: Sequence[MethodCost]) -> list[Paragraph]:
    names = dict.fromkeys(cost.method.name for cost in costs if cost.mean(attrgetter("training_flops")) is None)
    words = f"Not all runs of {', '.join(names)} recorded their FLOPs, which are left out for them."
    return [Paragraph(words, warns=True)] if names else []


# --- figures ----------------------------------------------------------------------------------------------------------


def cost_figure(task: Task, costs: Sequence[MethodCost], number: int) -> Figure:
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
        if label == "optimiser steps to find":
            axes.yaxis.set_major_formatter(thousands)
        axes.set_ylabel(label)
    legend_below(figure, every[0])
    caption = f"What was spent before a ticket with so many weights was known, {task.name}; means over seeds."
    return render(figure, f"cost-{number}", caption)


def effort_parts(task: Task, number: int) -> list[Part]:
    """Accuracy against all steps: of retrained tickets if there are any, else of the searches' own networks."""
    lines = ticket_lines(task)
    caption = (
        f"Test accuracy against all optimiser steps it took, {task.name}: those of the search to the ticket, and those "
        "of training it on all the data. Numbers: remaining weights in percent."
    )
    if not lines:
        lines = search_lines(task)
        caption = (
            f"Test accuracy of each round's network against all optimiser steps up to the end of that round, "
            f"{task.name}. Numbers: remaining weights in percent."
        )
    rows = [[label, 100 * d, steps, test] for _, label, points in lines for steps, test, d in points]
    columns = (
        Column("method"),
        Column("remaining (%)", ".2f"),
        Column("steps in all", ",.0f"),
        Column("test (%)", ".2f"),
    )
    if not lines:
        return []
    return [
        effort_figure(task, lines, dense_points(task), f"effort-{number}", caption),
        Table(f"effort-{number}", f"The numbers of this figure, {task.name}.", columns, rows, folded=True),
    ]


def ticket_lines(task: Task) -> list[tuple[str, str, list]]:
    """(search, name, [(steps, accuracy, density)]) of each method of retrained tickets whose searches are among the
    runs; means over seeds, steps of search and retraining together."""
    costs = {
        (method.search, run.seed, run.settings.get("density")): SearchCosts(run).by_round
        for method in task.by_kind(SEARCH)
        for run in method.runs
        if run.script != FOREIGN
    }
    lines = []
    for method in task.by_kind(TICKETS):
        found = defaultdict(list)
        for run in method.runs:
            settings, k = (run.ticket or {}).get("settings") or {}, (run.ticket or {}).get("prunings")
            k = 1 if settings.get("script") == Script.DST else k
            by_round = costs.get((method.search, settings.get("seed"), settings.get("density")), [])
            if k and len(by_round) >= k:
                row = training_row(run)
                found[rounded(row["density"])].append((by_round[k - 1].steps + row["steps"], row["test"]))
        lines.append((method.search, method.name, means(found)))
    return [line for line in lines if line[2]]


def search_lines(task: Task) -> list[tuple[str, str, list]]:
    """The same for the networks that the searches themselves trained, with the steps up to the end of their round."""
    lines = []
    for method in task.by_kind(SEARCH):
        found = defaultdict(list)
        for run in method.runs:
            for row, cost in zip(run.rounds, SearchCosts(run).by_round, strict=False):
                found[rounded(row["density"])].append((cost.steps, row["test"]))
        lines.append((method.search, method.name, means(found)))
    return [line for line in lines if line[2]]


def means(found: dict[float, list]) -> list[tuple[float, float, float]]:
    """(steps, accuracy, density) from dense to sparse, means of the pairs at each density."""
    points = []
    for density in sorted(found, reverse=True):
        steps, accuracies = zip(*found[density], strict=True)
        points.append((statistics.fmean(steps), statistics.fmean(accuracies), density))
    return points


def dense_points(task: Task) -> list[tuple[float, float]]:
    """(steps, accuracy) of each method of the dense network, means over seeds."""
    return [
        (
            statistics.fmean(training_row(run)["steps"] for run in method.runs),
            statistics.fmean(training_row(run)["test"] for run in method.runs),
        )
        for method in task.by_kind(DENSE)
    ]
