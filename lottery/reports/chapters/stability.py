"""The chapter on stability: the error barrier between two copies of a ticket that saw the examples in other orders
(Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020)."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lottery.analysis.stability import STABLE
from lottery.reports.comparison.stability_families import Family, Place, by_task
from lottery.reports.document import Column, Figure, Heading, Listing, Paragraph, Part, Table
from lottery.reports.style import canvas, density_axis, finish, legend_below, look, percent, thousands

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
    """For each task its figures, a sentence for each method, and the table; nothing without any run."""
    tasks = by_task(families)
    parts: list[Part] = [Paragraph(EXPLAINED)] if tasks else []
    for number, (task, related) in enumerate(tasks.items(), 1):
        parts += [Heading(task)] if len(tasks) > 1 else []
        parts += figures(related, number)
        parts += [Listing([sentence(family, step) for family in related for step in family.steps])]
        parts.append(table(related, number))
    return parts


def sentence(family: Family, step: int | None) -> str:
    """How many of a method's runs are stable at each density."""
    told = [
        f"{percent(place.density)} % of the weights, {stable_runs(place)} stable, mean barrier {place.barrier[0]:.2f}"
        for place in family.at(step)
    ]
    return f"{label(family, step)}: {'; '.join(told)}."


def stable_runs(place: Place) -> str:
    return f"{sum(run.summary['stable'] for run in place.runs)} of {len(place.runs)}"


def label(family: Family, step: int | None) -> str:
    return f"{family.name}, from {'an unknown step' if step is None else f'step {step:,}'}"


def table(families: Sequence[Family], number: int) -> Table:
    rows = [row(family, place) for family in families for place in family.places]
    return Table(f"stability-{number}", f"Stability to the order of examples, {families[0].task}.", COLUMNS, rows)


def row(family: Family, place: Place) -> list:
    return [
        family.name,
        place.step,
        100 * place.density,
        place.prunings,
        len(place.runs),
        *place.barrier,
        *place.of(lambda run: run.summary["barrier"]["train_error"]),
        *place.of(lambda run: run.ends),
        place.of(lambda run: run.summary["distance"])[0],
        place.of(lambda run: run.summary["angle"])[0],
        stable_runs(place),
    ]


# --- figures ----------------------------------------------------------------------------------------------------------


def figures(families: Sequence[Family], number: int) -> list[Figure]:
    """The barrier against density, and against the starting step where one kind of ticket has several."""
    task = families[0].task
    found = [by_density(families, f"stability-density-{number}", task)]
    lines = [line for family in families for line in rewound(family) if len(line) > 1]
    return [*found, by_step(families, f"stability-rewinding-{number}", task)] if lines else found


def by_density(families: Sequence[Family], name: str, task: str) -> Figure:
    lines = [(label(family, step), family.at(step)) for family in families for step in family.steps]
    figure, (axes,) = canvas(height=4.0 + 0.1 * len(lines))
    for number, (words, places) in enumerate(lines):
        draw(axes, number, words, [place.density for place in places], places)
    limit(axes)
    density_axis(axes, [place.density for _, places in lines for place in places])
    legend_below(figure, axes, columns=2)
    return finish(figure, name, f"Error barrier between two copies of a ticket against its density, {task}.")


def rewound(family: Family) -> list[list[Place]]:
    """Tickets of as many prunings, or else of one density, from the earliest known starting step to the last."""
    kinds: dict[tuple, list[Place]] = {}
    for place in family.places:
        if place.step is not None:
            kinds.setdefault((place.prunings, None if place.prunings is not None else place.density), []).append(place)
    return list(kinds.values())


def by_step(families: Sequence[Family], name: str, task: str) -> Figure:
    lines = [(family, places) for family in families for places in rewound(family)]
    figure, (axes,) = canvas(height=4.0 + 0.1 * len(lines))
    for number, (family, places) in enumerate(lines):
        words = f"{family.name}, {percent(places[0].density)} % of the weights"
        draw(axes, number, words, [place.step for place in places], places)
    limit(axes)
    axes.set_xlabel("optimiser step at which the tickets start")
    axes.xaxis.set_major_formatter(thousands)
    legend_below(figure, axes, columns=2)
    return finish(figure, name, f"Error barrier against the point to which tickets are rewound, {task}.")


def draw(axes: Axes, number: int, words: str, along: Sequence[float], places: Sequence[Place]) -> None:
    """Mean and standard deviation."""
    heights = [place.barrier for place in places]
    deviations = [deviation or 0 for _, deviation in heights] if any(deviation for _, deviation in heights) else None
    axes.errorbar(
        along,
        [mean for mean, _ in heights],
        yerr=deviations,
        **look(number)._asdict(),
        capsize=2.5,
        elinewidth=1,
        label=words,
    )


def limit(axes: Axes) -> None:
    """Below it a ticket counts as stable."""
    axes.axhline(STABLE, color="#888888", lw=1, ls=(0, (1, 1)), zorder=0, label=f"stable below {STABLE:g} points")
    axes.set_ylabel("error barrier, test (points)")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
