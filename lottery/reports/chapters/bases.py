"""The chapter on bases: how few coefficients hold the energy of the weights, of searches in several bases."""

from collections.abc import Sequence

from lottery.reports.comparison.energy import SHARES, Compaction, compactions
from lottery.reports.comparison.methods import SEARCH, Task
from lottery.reports.document import Cell, Column, Figure, Paragraph, Part, Table
from lottery.reports.style import canvas, legend_below, line_style, log_axis, render
from lottery.terminal import counted

COLUMNS = (
    Column("search"),
    Column("largest coefficients (%)", ".3g"),
    Column("energy, rewinding weights (%)", ".2f"),
    Column("energy, trained weights (%)", ".2f"),
)
IN_TABLE = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
EXPLAINED = (
    "share of the squared norm of all prunable weights that their largest coefficients hold, in the basis of each "
    "search, ranked over all layers: of the rewinding weights, and of the weights that the dense round leaves"
)


def basis_parts(task: Task) -> list[Part]:
    """A figure and a table for searches in two bases or more; notes on runs whose checkpoints cannot be read."""
    found = compactions(task.by_kind(SEARCH))
    parts: list[Part] = [Paragraph(problem, True) for each in found for problem in each.problems]
    readable = [each for each in found if each.energies]
    if len(readable) < 2:
        return parts
    return [*parts, energy_figure(task, readable), energy_table(task, readable)]


def energy_figure(task: Task, found: Sequence[Compaction]) -> Figure:
    """A panel each for the rewinding and the trained weights, a line for each basis."""
    figure, panels = canvas(columns=2, height=3.8, sharey=True)
    for axes, title, trained in zip(panels, ("rewinding weights", "trained weights"), (False, True), strict=True):
        for each in found:
            style = line_style(task.search_names.index(each.method.search))._asdict() | {"marker": None}
            shares = each.mean.trained if trained else each.mean.rewound
            axes.plot([100 * x for x in SHARES], [100 * y for y in shares], **style, label=each.method.name)
        axes.set_xscale("log")
        log_axis(axes.xaxis)
        axes.set(title=title, xlabel="largest coefficients (%)", ylim=(0, 102))
    panels[0].set_ylabel("energy that they hold (%)")
    legend_below(figure, panels[0])
    return render(figure, f"energy_{task.stem}", f"Energy compaction, {task.name}: {EXPLAINED}; {seeds_text(found)}.")


def energy_table(task: Task, found: Sequence[Compaction]) -> Table:
    rows: list[list[Cell]] = [
        [each.method.name, 100 * share, 100 * each.mean.rewound[place], 100 * each.mean.trained[place]]
        for each in found
        for place, share in enumerate(SHARES)
        if share in IN_TABLE
    ]
    return Table(f"energy_{task.stem}", f"Energy compaction, {task.name}: {EXPLAINED}.", COLUMNS, rows, folded=True)


def seeds_text(found: Sequence[Compaction]) -> str:
    numbers = sorted({len(each.energies) for each in found})
    return f"means over {counted(numbers[0], 'seed')}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")
