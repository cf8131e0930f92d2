"""The chapter on stability: the error barrier between two copies of a ticket trained on examples in different orders
(Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020)."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lottery.analysis.stability import STABLE
from lottery.reports.comparison.stability_families import Family, FamilyPoint, families_by_task
from lottery.reports.document import Column, Figure, Heading, Listing, Paragraph, Part, Table, file_stem
from lottery.reports.style import canvas, density_axis, legend_below, line_style, percent, render

EXPLAINED = (
    "Two copies of a ticket are trained from the same weights, on the examples in other orders. Error barrier: the "
    "highest error on the straight line between their weights minus the mean of its two ends, in points; batch norm's "
    f"statistics are estimated anew on the line. A ticket whose barrier of test error is below {STABLE:g} points "
    "counts as stable to the noise of SGD. Means and standard deviations over seeds."
)
COLUMNS = (
    Column("tickets"),
    Column("starts at step", ",d"),
    Column("remaining weights (%)", ".2f"),
    Column("prunings", "d"),
    Column("runs", "d"),
    Column("barrier, test", ".2f"),
    Column("barrier, test, std", ".2f"),
    Column("barrier, training", ".2f"),
    Column("barrier, training, std", ".2f"),
    Column("test error of the copies (%)", ".2f"),
    Column("test error of the copies, std", ".2f"),
    Column("L2 distance", ".3f"),
    Column("angle (degrees)", ".1f"),
    Column("stable runs"),
)


def stability_parts(families: Sequence[Family]) -> list[Part]:
    """For each task its figures, a sentence for each method, and the table; nothing if there are no runs."""
    tasks = families_by_task(families)
    parts: list[Part] = [Paragraph(EXPLAINED)] if tasks else []
    for task, related in tasks.items():
        parts += [Heading(task)] if len(tasks) > 1 else []
        parts += stability_figures(related)
        parts += [Listing([stability_sentence(family, step) for family in related for step in family.steps])]
        parts.append(stability_table(related))
    return parts


def stability_sentence(family: Family, step: int | None) -> str:
    """How many of a method's runs are stable at each density, and how good their copies are: between two networks that
    have learnt nothing there is no barrier either."""
    clauses = [
        f"{percent(point.density)} % of the weights, {stable_runs(point)} stable, mean barrier {point.barrier[0]:.2f}, "
        f"copies' error {point.error[0]:.2f} %"
        for point in family.points_at(step)
    ]
    return f"{label(family, step)}: {'; '.join(clauses)}."


def stable_runs(point: FamilyPoint) -> str:
    return f"{sum(run.summary['stable'] for run in point.runs)} of {len(point.runs)}"


def label(family: Family, step: int | None) -> str:
    return f"{family.name}, from {'an unknown step' if step is None else f'step {step:,}'}"


def stability_table(families: Sequence[Family]) -> Table:
    rows = [table_row(family, point) for family in families for point in family.points]
    return Table(
        f"stability_{file_stem(families[0].task)}",
        f"Stability to the order of examples, {families[0].task}.",
        COLUMNS,
        rows,
    )


def table_row(family: Family, point: FamilyPoint) -> list:
    return [
        family.name,
        point.step,
        100 * point.density,
        point.prunings,
        len(point.runs),
        *point.barrier,
        *point.mean_and_std(lambda run: run.summary["barrier"]["train_error"]),
        *point.error,
        point.mean_and_std(lambda run: run.summary["distance"])[0],
        point.mean_and_std(lambda run: run.summary["angle"])[0],
        stable_runs(point),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def stability_figures(families: Sequence[Family]) -> list[Figure]:
    """The barrier against density, and against the starting step if tickets of one kind have several."""
    task = families[0].task
    found = [density_figure(families, f"barrier_vs_weights_{file_stem(task)}", task)]
    lines = [line for family in families for line in rewinding_lines(family) if len(line) > 1]
    return [*found, rewinding_figure(families, f"barrier_vs_rewinding_{file_stem(task)}", task)] if lines else found


def density_figure(families: Sequence[Family], name: str, task: str) -> Figure:
    lines = [(label(family, step), family.points_at(step)) for family in families for step in family.steps]
    figure, (axes,) = canvas(height=4.0)
    for number, (words, points) in enumerate(lines):
        draw_barriers(axes, number, words, [point.density for point in points], points)
    barrier_axis(axes)
    density_axis(axes, [point.density for _, points in lines for point in points])
    legend_below(figure, axes, columns=2)
    return render(figure, name, f"Error barrier between two copies of a ticket against its density, {task}.")


def rewinding_lines(family: Family) -> list[list[FamilyPoint]]:
    """A line for each number of prunings, or each density where it is unknown, in order of the known starting steps."""
    lines: dict[tuple, list[FamilyPoint]] = {}
    for point in family.points:
        if point.step is not None:
            lines.setdefault((point.prunings, None if point.prunings is not None else point.density), []).append(point)
    return list(lines.values())


def rewinding_figure(families: Sequence[Family], name: str, task: str) -> Figure:
    lines = [(family, points) for family in families for points in rewinding_lines(family)]
    figure, (axes,) = canvas(height=4.0)
    for number, (family, points) in enumerate(lines):
        words = f"{family.name}, {percent(points[0].density)} % of the weights"
        draw_barriers(axes, number, words, [point.step for point in points], points)
    barrier_axis(axes)
    axes.set_xlabel("optimiser step at which the tickets start")
    legend_below(figure, axes, columns=2)
    return render(figure, name, f"Error barrier against the point to which tickets are rewound, {task}.")


def draw_barriers(axes: Axes, number: int, words: str, x: Sequence[float], points: Sequence[FamilyPoint]) -> None:
    """Means and standard deviations of the barriers at these x."""
    barriers = [point.barrier for point in points]
    deviations = [deviation or 0 for _, deviation in barriers] if any(deviation for _, deviation in barriers) else None
    axes.errorbar(
        x,
        [mean for mean, _ in barriers],
        yerr=deviations,
        **line_style(number)._asdict(),
        capsize=2.5,
        elinewidth=1,
        label=words,
    )


def barrier_axis(axes: Axes) -> None:
    """The barrier in points, with a line below which a ticket counts as stable."""
    axes.axhline(STABLE, color="#888888", lw=1, ls=(0, (1, 1)), zorder=0, label=f"stable below {STABLE:g} points")
    axes.set_ylabel("error barrier, test (points)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
