"""The first screen of a report: what was compared, the accuracies and costs that matter most, and the verdicts."""

from collections.abc import Sequence
from operator import attrgetter

from lottery.reports.chapters.accuracy import NETWORKS, figure_of
from lottery.reports.chapters.accuracy_figures import dense_references, over_seeds, range_text, readable
from lottery.reports.chapters.effort import effort_of
from lottery.reports.chapters.verdict import verdict_parts
from lottery.reports.comparison.accuracy import (
    ROUNDING,
    Curve,
    Point,
    Seeds,
    accuracy_curves,
    accuracy_points,
    imp_reference,
    log_ratio,
    point_at,
)
from lottery.reports.comparison.effort import EffortLine, search_lines, steps_at, ticket_lines
from lottery.reports.comparison.masks import evenly_spaced
from lottery.reports.comparison.method_costs import (
    MethodCost,
    cost_at,
    percentage,
    saved_against,
    searched_seeds,
    ticket_costs,
)
from lottery.reports.comparison.methods import DENSE, SEARCH, TICKETS, Method, Task
from lottery.reports.comparison.stability_families import Family, families_by_task
from lottery.reports.comparison.statistics import Interval, spread
from lottery.reports.comparison.sweeps import Sweep
from lottery.reports.document import Beside, Cell, Column, Figure, Folded, Listing, Paragraph, Part, Table
from lottery.reports.style import COLUMN_WIDTH, percent
from lottery.results.runs import AnyRun
from lottery.terminal import counted

MOST_DENSITIES = 3  # of the headline table
MOST_ROWS = 8  # of the headline table with altered tickets; without them there may be more


def summary_parts(task: Task, margin: float) -> list[Part]:
    """What was compared, the headline table and figures, the verdicts; what their words mean is folded."""
    kind = TICKETS if any(sparse(curve) for curve in accuracy_curves(task, TICKETS, margin)) else SEARCH
    curves = [curve for curve in accuracy_curves(task, kind, margin) if sparse(curve)]
    parts: list[Part] = [Paragraph(compared(task))]
    parts += [headline_table(task, kind, curves)] if curves else [Paragraph(text) for text in dense_texts(task)]
    parts += key_parts(task)
    figures = headline_figures(task, kind, margin)
    parts += [Beside(figures)] if figures else []
    return [*parts, *verdict_parts(task, margin)]


def key_parts(task: Task) -> list[Part]:
    """What short names of methods stand for, if there are any."""
    key = {name: settings for method in task.methods for name, settings in method.key.items()}
    items = [f"{name}: {settings}" for name, settings in key.items()]
    return [Folded("What short names of methods stand for", [Listing(items)])] if items else []


def sparse(curve: Curve) -> bool:
    return any(point.density < 1 for point in curve.points)


def compared(task: Task) -> str:
    """One line: data and network, how many methods, seeds and runs."""
    runs = [run for method in task.methods for run in method.runs]
    searches = {method.search: method.is_altered for method in task.methods if method.kind != DENSE}
    altered = sum(searches.values())
    plain = len(searches) - altered
    texts = [task.name] + ([counted(plain, "method")] if plain else [])
    texts += [counted(altered, "control or altered ticket", "controls and altered tickets")] if altered else []
    texts += [] if searches else ["the dense network"]
    return f"{', '.join([*texts, *seeds_and_runs(runs)])}."


def also_compared(sweeps: Sequence[Sweep], families: Sequence[Family]) -> list[Part]:
    """A line for each sweep of greedy selection, and for what measured stability."""
    found: list[tuple[str, Sequence[AnyRun]]] = [(sweep.name, sweep.runs) for sweep in sweeps]
    for task, related in families_by_task(families).items():
        found.append((f"stability of {task}", [run for family in related for run in family.runs]))
    return [Paragraph(f"{', '.join([name, *seeds_and_runs(runs)])}.") for name, runs in found]


def seeds_and_runs(runs: Sequence[AnyRun]) -> list[str]:
    """Their seeds and number; the number alone of the 2021 code's runs, whose seeds are unknown."""
    seeds = sorted({run.seed for run in runs if isinstance(run.seed, int)})
    return [*([seeds_text(seeds)] if seeds else []), counted(len(runs), "run")]


def seeds_text(seeds: Sequence[int]) -> str:
    """ "seed 3", "seeds 0 to 4", "seeds 0, 2 and 5", of rising seeds."""
    *others, last = seeds
    if not others:
        return f"seed {last}"
    if len(others) > 1 and list(seeds) == list(range(seeds[0], last + 1)):
        return f"seeds {seeds[0]} to {last}"
    return f"seeds {', '.join(map(str, others))} and {last}"


# --- the table --------------------------------------------------------------------------------------------------------


def headline_table(task: Task, kind: str, curves: Sequence[Curve]) -> Table:
    """A row for each method: accuracy at some densities with the difference from IMP, steps to find the sparsest of
    these tickets, and to find and train it. Altered tickets are left out if there are too many rows, or if they have
    none of these densities, as elastic tickets may, whose densities follow from their copies."""
    plain = [curve for curve in curves if not curve.method.is_altered] or list(curves)
    densities = evenly_spaced(shared_densities(plain), MOST_DENSITIES)
    fitting = [curve for curve in curves if curve in plain or any(point_at(curve.points, each) for each in densities)]
    shown = plain if len(curves) > MOST_ROWS else fitting
    seeds = searched_seeds(curves, densities[-1])
    costs = ticket_costs(task, seeds)
    lines = ticket_lines(task) if kind == TICKETS else []
    columns = [Column("method"), Column("seeds", "d")]
    columns += [Column(f"test (%) at {percent(density)} % of the weights") for density in densities]
    last = percent(densities[-1])
    columns += [Column(f"steps to find the {last} %"), Column("to find and train it")]
    rows: list[list[Cell]] = []
    for curve in shown:
        points = [point_at(curve.points, density) for density in densities]
        row: list[Cell] = [curve.method.name, seeds_cell([len(point.values) for point in points if point])]
        row += map(accuracy_text, points)
        imp = spending_reference(curve, curves)
        row += [search_text(curve.method, imp, costs, densities[-1])]
        row += [training_text(curve.method, imp, lines, densities[-1])]
        rows.append(row)
    filled = [place for place in range(len(columns)) if any(row[place] is not None for row in rows)]
    columns, rows = [columns[place] for place in filled], [[row[place] for place in filled] for row in rows]
    return Table(f"summary_{task.stem}", headline_caption(kind, curves, shown, bool(costs)), columns, rows)


def seeds_cell(numbers: Sequence[int]) -> Cell:
    """How many seeds a method has at the densities shown: where some have not got as far, "2 to 5"."""
    return range_text(numbers) if len(set(numbers)) > 1 else max(numbers, default=None)


def headline_caption(kind: str, curves: Sequence[Curve], shown: Sequence[Curve], has_costs: bool) -> str:
    texts = [f"{NETWORKS[kind]}: {over_seeds(shown)}."]
    if any(point.against_imp for curve in shown for point in curve.points):
        saved = "; what is saved of IMP's steps" if has_costs else ""
        texts.append(f"Second lines: the difference from IMP with the same seed, with its 95 % interval{saved}.")
    texts += [f"{as_sentence(name)}: {dense_text(dense)}" for name, dense in dense_references(shown)]
    if len(shown) < len(curves):
        texts.append("Controls, rules and elastic tickets are in the chapters below.")
    return " ".join(texts)


def dense_text(dense: Seeds) -> str:
    return f"{mean_text(*spread(dense.values()))} ({counted(len(dense), 'seed')})."


def dense_texts(task: Task) -> list[str]:
    """The accuracy of each dense network by its name, for a task with nothing else."""
    return [
        f"{as_sentence(method.name)}: {dense_text(accuracy_points(method)[0].values)}" for method in task.by_kind(DENSE)
    ]


def as_sentence(name: str) -> str:
    """With a capital letter; the others stay, which `str.capitalize` makes small."""
    return name[:1].upper() + name[1:]


def shared_densities(curves: Sequence[Curve]) -> list[float]:
    """From dense to sparse the densities below 1 of more than half as many curves as the most frequent one."""
    every = sorted({point.density for curve in curves for point in curve.points if point.density < 1}, reverse=True)
    numbers = {density: sum(point_at(curve.points, density) is not None for curve in curves) for density in every}
    most = max(numbers.values())
    chosen: list[float] = []
    for density in every:
        is_new = not chosen or log_ratio(chosen[-1], density) > ROUNDING
        chosen += [density] if is_new and 2 * numbers[density] > most else []
    return chosen


def accuracy_text(point: Point | None) -> str | None:
    """Mean and standard deviation; on a second line the difference from IMP with its interval."""
    if point is None:
        return None
    text = mean_text(point.mean, point.deviation)
    return f"{text}\n{difference_text(point.against_imp)}" if point.against_imp else text


def mean_text(mean: float, deviation: float | None) -> str:
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def difference_text(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return f"{signed(difference.mean)} (1 pair)"
    return f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def spending_reference(curve: Curve, curves: Sequence[Curve]) -> Method | None:
    """The IMP that accuracies are compared with, as far as its steps are alike: with as many examples in a batch of the
    search."""
    imp = imp_reference(curve, curves)
    sizes = {each.method.search_settings.get("batch_size") for each in (imp or curve, curve)}
    return imp.method if imp and len(sizes) == 1 else None


def search_text(method: Method, imp: Method | None, costs: Sequence[MethodCost], density: float) -> str | None:
    """The steps to find this method's ticket of this density, and what that saves of IMP's."""
    mine, its = (cost_at(each.search, costs, density) if each else None for each in (method, imp))
    if mine is None:
        return None
    steps = f"{mine.mean(attrgetter('steps')):,.0f}"
    return f"{steps}{saved_text(saved_against(its, mine, attrgetter('steps')))}"


def training_text(method: Method, imp: Method | None, lines: Sequence[EffortLine], density: float) -> str | None:
    """The steps to find and to train the ticket, and what that saves of IMP's."""
    steps = {line.method: steps_at(line, density) for line in lines}
    mine, its = (steps.get(each) if each else None for each in (method, imp))
    return None if mine is None else f"{mine:,.0f}{saved_text(percentage(1 - mine / its) if its else None)}"


def saved_text(saved: float | None) -> str:
    """A second line: a share of IMP's steps in percent, in words; nothing if it is none or not known."""
    if saved is None or abs(saved) < 0.05:
        return ""
    return f"\n{saved:.1f} % saved" if saved > 0 else f"\n{-saved:.1f} % more"


# --- the figures ------------------------------------------------------------------------------------------------------


def headline_figures(task: Task, kind: str, margin: float) -> list[Figure]:
    """Accuracy against all steps that it took, and beside it against remaining weights."""
    lines = ticket_lines(task) if kind == TICKETS else search_lines(task)
    curves = accuracy_curves(task, kind, margin)
    figures = [effort_of(task, kind, readable(lines))] if lines else []
    return [*figures, figure_of(task, kind, curves, margin, COLUMN_WIDTH)] if curves else figures
