"""The second chapter: what finding a ticket took, and what accuracy all of it, training the ticket included, bought."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lottery.reports.chapters.accuracy_figures import effort_figure
from lottery.reports.comparison.accuracy import level
from lottery.reports.comparison.cost import Costs, Spent, to_train
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.document import Column, Figure, Paragraph, Part, Table
from lottery.reports.style import canvas, density_axis, finish, legend_below, look, thousands
from lottery.results.runs import FOREIGN

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
    Column("saved: find and train (%)", ".2f"),
    Column("FLOPs saved (%)", ".2f"),
)
EXPLAINED = (
    "Steps, examples, extra forward passes and seconds are those of all rounds before the ticket is known. "
    "Saved: of vanilla IMP's optimiser steps, k full trainings for k prunings, and one more each to find and train; "
    "FLOPs saved: of the training FLOPs that the IMP runs given here took to the same ticket. FLOPs are zero-aware, "
    "what a machine would do that skips every dropped weight: forward FLOPs of each layer times its density, three "
    "times for forward and backward. Other FLOPs: extra passes, validation and test, forward alone. On today's "
    "hardware dropped weights take as long as kept ones: seconds are what was measured."
)


@dataclass
class Bill:
    """What a method's runs had spent on average for the ticket after so many prunings."""

    method: Method
    spent: list[Spent]

    def mean(self, of: Callable[[Spent], float | None]) -> float | None:
        values = [of(each) for each in self.spent]
        return None if None in values else statistics.fmean(values)


def cost_parts(task: Task, number: int) -> list[Part]:
    """Figures and tables; nothing for runs that do not tell their cost."""
    bills = [bill for method in task.of(SEARCH) for bill in bills_of(method)]
    if not bills:
        return []
    rows = [row_of(bill, bills) for bill in bills]
    shared = last_shared(bills)
    newest = [row for row in rows if row[1] == shared]
    short = Table(
        f"cost-{number}", f"Finding the ticket after {shared} prunings, {task.name}; means over seeds.", COLUMNS, newest
    )
    whole = Table(f"cost-by-round-{number}", f"The same after every round, {task.name}.", COLUMNS, rows, folded=True)
    figures = [cost_figure(task, bills, number), *effort_parts(task, number)]
    return [*unknown_flops(bills), *figures, Paragraph(EXPLAINED), short, whole]


def bills_of(method: Method) -> list[Bill]:
    """By number of prunings; only what all of its seeds have reached, or means would be of different seeds."""
    books = [Costs(run).spent for run in method.runs if run.script != FOREIGN]
    return [Bill(method, list(spent)) for spent in zip(*books, strict=False)] if books else []


def last_shared(bills: Sequence[Bill]) -> int:
    """The most prunings that every method has reached."""
    most: dict[int, int] = defaultdict(int)
    for bill in bills:
        most[id(bill.method)] = max(most[id(bill.method)], bill.spent[0].prunings)
    return min(most.values())


def row_of(bill: Bill, bills: Iterable[Bill]) -> list:
    first = bill.spent[0]
    flops, imp = bill.mean(lambda spent: spent.training_flops), imp_flops(bill, bills)
    return [
        bill.method.name,
        first.prunings,
        100 * level(first.density),
        len(bill.spent),
        *(bill.mean(lambda spent, what=what: getattr(spent, what)) for what in ("steps", "examples", "forward_passes")),
        flops,
        bill.mean(lambda spent: spent.looking_flops),
        bill.mean(lambda spent: spent.seconds),
        in_percent(bill.mean(lambda spent: spent.saved)),
        *(in_percent(bill.mean(lambda spent, part=part: (spent.saved_by or {}).get(part))) for part in PARTS),
        in_percent(bill.mean(lambda spent: spent.saved_with_training)),
        in_percent(1 - flops / imp) if flops and imp else None,
    ]


PARTS = ("data", "schedule", "early stop")


def in_percent(part: float | None) -> float | None:
    return None if part is None else 100 * part


def imp_flops(bill: Bill, bills: Iterable[Bill]) -> float | None:
    """Training FLOPs of IMP, with the same recipe, to its ticket after as many prunings."""
    for other in bills:
        same = other.spent[0].prunings == bill.spent[0].prunings and other.method.same_recipe(bill.method)
        if same and other.method.is_imp and other.method is not bill.method:
            return other.mean(lambda spent: spent.training_flops)
    return None


def unknown_flops(bills: Sequence[Bill]) -> list[Paragraph]:
    names = dict.fromkeys(bill.method.name for bill in bills if bill.mean(lambda spent: spent.training_flops) is None)
    words = f"Not all runs of {', '.join(names)} recorded their FLOPs, which are left out for them."
    return [Paragraph(words, warns=True)] if names else []


# --- figures ----------------------------------------------------------------------------------------------------------


def cost_figure(task: Task, bills: Sequence[Bill], number: int) -> Figure:
    """Steps and, where known, training FLOPs to find each ticket."""
    panels = {"optimiser steps to find": lambda spent: spent.steps}
    if any(bill.mean(lambda spent: spent.training_flops) is not None for bill in bills):
        panels["training FLOPs to find"] = lambda spent: spent.training_flops
    figure, every = canvas(1, len(panels), height=3.6)
    for axes, (label, of) in zip(every, panels.items(), strict=True):
        for method in task.of(SEARCH):
            mine = [bill for bill in bills if bill.method is method and bill.mean(of) is not None]
            style = look(task.searches.index(method.search))
            points = [(bill.spent[0].density, bill.mean(of)) for bill in mine]
            axes.plot([p[0] for p in points], [p[1] for p in points], **style._asdict(), label=method.name)
        density_axis(axes, [1.0, *(bill.spent[0].density for bill in bills)], labels=11 // len(panels))
        axes.set_ylim(bottom=0)
        if label == "optimiser steps to find":
            axes.yaxis.set_major_formatter(thousands)
        axes.set_ylabel(label)
    legend_below(figure, every[0])
    caption = f"What was spent before a ticket with so many weights was known, {task.name}; means over seeds."
    return finish(figure, f"cost-{number}", caption)


def effort_parts(task: Task, number: int) -> list[Part]:
    """Accuracy against all steps: of retrained tickets, where there are any, else of the searches' own networks."""
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
    """For each method of retrained tickets whose searches are among the runs: (steps, accuracy, density), means."""
    books = {
        (method.search, run.seed): Costs(run).spent
        for method in task.of(SEARCH)
        for run in method.runs
        if run.script != FOREIGN
    }
    lines = []
    for method in task.of(TICKETS):
        found = defaultdict(list)
        for run in method.runs:
            settings, k = (run.ticket or {}).get("settings") or {}, (run.ticket or {}).get("prunings")
            spent = books.get((method.search, settings.get("seed")), [])
            if k and len(spent) >= k:
                row = to_train(run)
                found[level(row["density"])].append((spent[k - 1].steps + row["steps"], row["test"]))
        lines.append((method.search, method.name, means(found)))
    return [line for line in lines if line[2]]


def search_lines(task: Task) -> list[tuple[str, str, list]]:
    lines = []
    for method in task.of(SEARCH):
        found = defaultdict(list)
        for run in method.runs:
            for row, spent in zip(run.rounds, Costs(run).spent, strict=False):
                found[level(row["density"])].append((spent.steps, row["test"]))
        lines.append((method.search, method.name, means(found)))
    return [line for line in lines if line[2]]


def means(found: dict[float, list]) -> list[tuple[float, float, float]]:
    return [
        (*(statistics.fmean(column) for column in zip(*found[density], strict=True)), density)
        for density in sorted(found, reverse=True)
    ]


def dense_points(task: Task) -> list[tuple[float, float]]:
    """(steps, accuracy) of main_train.py without a ticket, by recipe."""
    return [
        (
            statistics.fmean(to_train(run)["steps"] for run in method.runs),
            statistics.fmean(to_train(run)["test"] for run in method.runs),
        )
        for method in task.of(DENSE)
    ]
