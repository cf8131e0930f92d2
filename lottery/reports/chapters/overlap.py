"""The chapter on what tickets have in common: the masks of two runs after as many prunings."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence

from lottery.checkpointing.run_directory import RunDirectory
from lottery.reports.comparison.accuracy import level
from lottery.reports.comparison.masks import Overlap, comparable, evenly, overlap
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.document import Column, Figure, Paragraph, Part, Table
from lottery.reports.style import Look, canvas, density_axis, finish, legend_below, look
from lottery.results.runs import Run
from utils import InputError

MOST_ROUNDS = 5  # masks are read from checkpoints, which takes time
MOST_IN_MATRIX = 16
COLUMNS = (
    Column("prunings", "d"),
    Column("remaining (%)", ".2f"),
    Column("ticket"),
    Column("other ticket"),
    Column("in common (%)", ".2f"),
    Column("by chance (%)", ".2f"),
)
EXPLAINED = (
    "weights kept in both tickets, in percent of those kept in either; by chance: what two random masks with as many "
    "weights in each layer would have in common"
)


def overlap_parts(task: Task, number: int) -> list[Part]:
    """A curve for each pair of methods, a matrix of runs for the last ticket that all have, and the table."""
    owner = {id(run): method for method in task.of(SEARCH) for run in method.runs}
    runs = [run for method in task.of(SEARCH) for run in method.runs if sparse_rounds(run)]
    found, problems = [], {}
    for k in evenly(shared_rounds(runs), MOST_ROUNDS):
        found += [(k, *pair) for pair in pairs_at(k, runs, problems)]
    parts: list[Part] = [Paragraph(f"{', '.join(names)}: {problem}", True) for problem, names in problems.items()]
    if not found:
        return parts
    rows = [[k, 100 * density, a.name, b.name, 100 * o.share, 100 * o.chance] for k, density, a, b, o in found]
    caption = f"Tickets in pairs, {task.name}: {EXPLAINED}."
    curves = curves_of(found, owner)
    parts += [curves_figure(task, curves, number)] if curves else []
    parts += matrix_parts(task, [row for row in found if row[0] == found[-1][0]], runs, number)
    return [*parts, Table(f"overlap-{number}", caption, COLUMNS, rows, folded=len(rows) > 12)]


def sparse_rounds(run: Run) -> set[int]:
    """The numbers of prunings after which it trained the ticket."""
    return {row["round"] for row in run.rounds if row["density"] < 1}


def shared_rounds(runs: Sequence[Run]) -> list[int]:
    """The numbers of prunings that all of them have."""
    return sorted(set.intersection(*map(sparse_rounds, runs))) if len(runs) > 1 else []


def pairs_at(k: int, runs: Sequence[Run], problems: dict[str, dict]) -> list[tuple[float, Run, Run, Overlap]]:
    """Each pair of tickets after k prunings that can be read and belong to the same layers; enters in `problems` which
    runs have none, by what is wrong."""
    masks = {}
    for run in runs:
        if not RunDirectory(run.path).checkpoint(k).exists():
            problem = "not all checkpoints are there; the tickets that are missing are compared with none."
            problems.setdefault(problem, {})[run.name] = k
            continue
        try:
            masks[id(run)] = run.mask(k)
        except InputError as error:
            problems.setdefault(f"{error}; its ticket is compared with none.", {})[run.name] = k
    there = [run for run in runs if masks.get(id(run))]
    return [
        (density_of(a, k), a, b, overlap(masks[id(a)], masks[id(b)]))
        for a, b in itertools.combinations(there, 2)
        if comparable(masks[id(a)], masks[id(b)])
    ]


def density_of(run: Run, k: int) -> float:
    return level(next(row["density"] for row in run.rounds if row["round"] == k))


def curves_of(found: Sequence[tuple], owner: dict[int, Method]) -> dict[str, list]:
    """(density, in common, by chance) by kind of pair: of one method with different seeds, and of two methods with the
    same one, if IMP is one of them or not there at all. IMP's name is the first."""
    sums: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    imp = any(method.is_imp for method in owner.values())
    for _, density, a, b, each in found:
        mine, theirs = owner[id(a)], owner[id(b)]
        if mine is theirs:
            sums[f"{mine.name}: two seeds"][density].append(each)
        elif a.seed == b.seed and (mine.is_imp or not imp):
            sums[f"{mine.name} and {theirs.name}: one seed"][density].append(each)
    return {
        label: [(density, *map(statistics.fmean, zip(*pairs, strict=True))) for density, pairs in by_density.items()]
        for label, by_density in sums.items()
    }


def curves_figure(task: Task, curves: dict[str, list], number: int) -> Figure:
    """In common and by chance against remaining weights; two tickets of chance start from what is left of all."""
    figure, (axes,) = canvas(height=3.8 + 0.12 * len(curves))
    for place, (label, points) in enumerate(curves.items()):
        style: Look = look(place)
        densities = [density for density, _, _ in points]
        axes.plot(densities, [100 * share for _, share, _ in points], **style._asdict(), label=label)
        axes.plot(densities, [100 * chance for _, _, chance in points], color=style.color, lw=1, ls=":", alpha=0.8)
    axes.plot([], [], color="#444444", lw=1, ls=":", label="by chance, each in its colour")
    density_axis(axes, [1.0, *(density for points in curves.values() for density, _, _ in points)])
    axes.set_ylim(0, 102)
    axes.set_ylabel("in common (%)")
    legend_below(figure, axes, columns=2)
    caption = f"What two tickets have in common, {task.name}: {EXPLAINED}. Means over pairs."
    return finish(figure, f"overlap-{number}", caption)


def matrix_parts(task: Task, found: Sequence[tuple], runs: Sequence[Run], number: int) -> list[Part]:
    """The last of these tickets, every run against every other; left out where there are too many to be read."""
    if not 2 < len(runs) <= MOST_IN_MATRIX:
        return []
    shares = {(a.name, b.name): each.share for _, _, a, b, each in found}
    shares |= {(b, a): share for (a, b), share in shares.items()}
    names = [run.name for run in runs]
    values = [[100 * shares.get((a, b), float("nan")) for b in names] for a in names]
    figure, (axes,) = canvas(height=1.6 + 0.33 * len(names))
    image = axes.imshow(values, cmap="Greys", vmin=0, vmax=100, aspect="auto")
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value == value:  # a run with itself is no number
                colour = "white" if value > 55 else "black"
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="in common (%)", pad=0.02)
    caption = f"Tickets after {found[0][0]} prunings, every run against every other, {task.name}: {EXPLAINED}."
    return [finish(figure, f"overlap-matrix-{number}", caption)]
