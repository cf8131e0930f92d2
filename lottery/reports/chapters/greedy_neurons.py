"""The chapter on greedy selection of neurons: how much pre-training a subnetwork requires, and how tight the bounds are
(Wolfe et al., arXiv 2108.00259)."""

import itertools
from collections.abc import Sequence

import numpy as np

from lottery.reports.chapters.greedy_figures import (
    MEASURED,
    NETWORKS,
    accuracy_figure,
    iterations_with_curves,
    loss_curves,
    loss_figure,
    sweep_widths,
)
from lottery.reports.chapters.greedy_tables import (
    iteration_list,
    iterations_text,
    mean,
    measured_table,
    or_infinity,
    points_text,
    required_texts,
    spread_columns,
    spreads,
    sweep_warnings,
    swept_columns,
)
from lottery.reports.comparison.statistics import FEWEST, sign_test
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Cell as Entry
from lottery.reports.document import Column, Listing, Paragraph, Part, Table
from lottery.terminal import counted

FOUND = {network: name for network, name in NETWORKS.items() if network != "dense"}
BASELINES = {"random": "random multiset", "largest": "neurons of the largest output"}
SCRATCH = "as small, from scratch"
MEASURES = ("train", "test", "loss")


def neuron_parts(sweep: Sweep) -> list[Part]:
    """The question and the answer in words, figures, and tables of all that is drawn in them."""
    losses = loss_figure(sweep, f"neurons_losses_{sweep.stem}")
    return [
        *sweep_warnings(sweep, "widths and sizes"),
        Paragraph(explanation(sweep)),
        Listing([*growth_sentences(sweep), vacuous_sentence(sweep)]),
        required_table(sweep),
        *(accuracy_figure(sweep, measured, f"neurons_{measured}_{sweep.stem}") for measured in reversed(MEASURED)),
        final_table(sweep),
        *([losses] if losses else []),
        bound_table(sweep),
        point_table(sweep),
        loss_table(sweep),
    ]


def explanation(sweep: Sweep) -> str:
    settings = sweep.settings
    tuned = f", and trained for {settings['fine_tune']:,} more (fine-tuned)" if settings["fine_tune"] else ""
    iterations, neurons = iteration_list(settings["prune_at"]), settings["neurons"]
    return (
        f"At iterations {iterations} of its pre-training {neurons:,} neurons are picked "
        f"from the dense network, each the one that lowers the loss most, repeats allowed (selected){tuned}. Needed is "
        f"the first of these iterations at which such a network is at most {points_text(sweep.delta)} below the dense "
        "network at the end of its pre-training on the same sub-data-set; a later one may fall short again. The dense "
        "network of the same iteration would not do: before it is trained any selection is better. The one at the end "
        "depends on the size of the sub-data-set, too, and what lies between these iterations is not known. Fewer than "
        f"{FEWEST} pairs of seeds give values, no verdict; more are put to the sign test (95 %), each sentence alone."
    )


# --- the paper's question ---------------------------------------------------------------------------------------------


def growth_sentences(sweep: Sweep) -> list[str]:
    """Whether the largest sub-data-set requires more pre-training than the smallest, by width, network and measure."""
    found = []
    for width, network, measured in itertools.product(sweep_widths(sweep), FOUND, MEASURED):
        cells = [cell for cell in sweep.cells if cell.swept.width == width]
        cells = [cell for cell in cells if cell.required_pretraining(network, measured, sweep.delta)]
        if len(cells) > 1:
            found.append(growth_sentence(cells[0], cells[-1], network, measured, sweep.delta))
    return found or ["Whether more examples need more pre-training takes two sizes of the sub-data-set at one width."]


def growth_sentence(small: Cell, large: Cell, network: str, measured: str, delta: float) -> str:
    """The iterations that both require, in how many pairs of seeds the larger one's is later, and a verdict."""
    firsts = [cell.required_pretraining(network, measured, delta) for cell in (small, large)]
    pairs = [tuple(or_infinity(first[seed]) for first in firsts) for seed in firsts[0] if seed in firsts[1]]
    later, earlier = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    required = (
        f"{iterations_text(first.values())} ({cell.swept.examples:,} examples)"
        for first, cell in zip(firsts, (small, large), strict=True)
    )
    return (
        f"Width {small.swept.width:,}, {FOUND[network]}, on {MEASURED[measured]}: needed {'; '.join(required)}. "
        f"With more examples later in {later}, earlier in {earlier} of {counted(len(pairs), 'pair')} of seeds: "
        f"{growth_verdict(later, earlier, len(pairs))}."
    )


def growth_verdict(later: int, earlier: int, pairs: int) -> str:
    if pairs < FEWEST:
        return f"no verdict from {counted(pairs, 'pair')}"
    if sign_test(later, pairs):
        return "it grows with the sub-data-set"
    return "it falls as the sub-data-set grows" if sign_test(earlier, pairs) else "not shown to grow or fall"


def vacuous_sentence(sweep: Sweep) -> str:
    """In how many selections the bound after the last pick is vacuous."""
    known = [point for run in sweep.runs for point in run.points if "vacuous" in point]
    if not known:
        return "There is no bound: it is of the squared loss only."
    vacuous = sum(point["vacuous"] for point in known)
    return (
        f"The bound on the loss after {sweep.settings['neurons']:,} picks is above that of the zero function, and so "
        f"vacuous, in {vacuous} of {counted(len(known), 'selection')} ({100 * vacuous / len(known):.0f} %)."
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def required_table(sweep: Sweep) -> Table:
    """By width and size the first good enough iteration of every seed."""
    pairs = list(itertools.product(FOUND, MEASURED))
    columns = [*swept_columns(sweep), Column("seeds", "d")]
    columns += [*(Column(f"{FOUND[network]}, {measured}") for network, measured in pairs), Column("bound vacuous")]
    rows = [
        [
            *cell.swept,
            len(cell.runs),
            *required_texts(cell, pairs, sweep.delta),
            vacuous_share(cell),
        ]
        for cell in sweep.cells
    ]
    caption = (
        f"Pre-training that is needed, {sweep.name}: the first iteration at most {points_text(sweep.delta)} below the "
        "dense network at its end, a number for each seed in their order; bound vacuous: of how many selections."
    )
    return Table(f"neurons_needed_{sweep.stem}", caption, columns, rows)


def vacuous_share(cell: Cell) -> str | None:
    """In how many selections the bound after the last pick is vacuous; None without a bound."""
    known = [point["vacuous"] for run in cell.runs for point in run.points if "vacuous" in point]
    return f"{sum(known)} of {len(known)}" if known else None


def final_table(sweep: Sweep) -> Table:
    """The dense network at the end of its pre-training, the last selection, and the network trained from scratch."""
    rows = []
    for cell in sweep.cells:
        last = cell.iterations()[-1]
        networks = {
            f"dense, {sweep.settings['iterations']:,} iterations": cell.final("dense"),
            **{f"{name}, iteration {last:,}": cell.measured(network, last) for network, name in FOUND.items()},
            SCRATCH: cell.final("scratch"),
        }
        rows += [[*cell.swept, name, *spreads(seeds, MEASURES)] for name, seeds in networks.items() if seeds]
    caption = (
        f"Final losses and accuracies, {sweep.name}; mean and standard deviation over seeds, loss and train on the "
        "sub-data-set. From scratch: as many neurons as are picked, trained for the pre-training and the fine-tuning."
    )
    columns = [*swept_columns(sweep), Column("network"), *spread_columns(MEASURES)]
    return Table(f"neurons_accuracy_{sweep.stem}", caption, columns, rows)


def point_table(sweep: Sweep) -> Table:
    """Every network at every iteration."""
    return measured_table(f"neurons_points_{sweep.stem}", sweep, NETWORKS | BASELINES, MEASURES)


def bound_table(sweep: Sweep) -> Table:
    """At every iteration the bound and its parts, losses to compare it with, and when it is vacuous."""
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("seeds", "d"), Column("distinct neurons", ".1f")]
    columns += [Column(f"loss: {name}", ".4f") for name in ("selected", "dense", "random", "largest", "zero function")]
    columns += [Column("variance", ".4g"), Column("bound", ".4f"), Column("vacuous"), Column("not vacuous from pick")]
    rows = []
    for cell in sweep.cells:
        for iteration in cell.iterations():
            points = cell.points(iteration)
            networks = ("selected", "dense", "random", "largest", "zero")
            rows.append(
                [
                    *cell.swept,
                    iteration,
                    len(points),
                    mean(point["selected"].get("distinct") for point in points),
                    *(mean(point[network]["loss"] for point in points) for network in networks),
                    mean(point.get("variance") for point in points),
                    mean(point.get("bound") for point in points),
                    *bound_texts(points),
                ]
            )
    caption = (
        f"The bound after the last pick and what it has to be compared with, {sweep.name}; means over seeds. Vacuous: "
        "above the loss of the zero function, in how many seeds; not vacuous from pick: of each seed."
    )
    return Table(f"neurons_bounds_{sweep.stem}", caption, columns, rows, folded=len(rows) > 24)


def bound_texts(points: Sequence[dict]) -> list[str | None]:
    """In how many seeds the last bound is vacuous, and from which pick on it is not; None without a bound."""
    known = [point for point in points if "vacuous" in point]
    if not known:
        return [None, None]
    vacuous = sum(point["vacuous"] for point in known)
    return [f"{vacuous} of {len(known)}", iterations_text(point["informative from"] for point in known)]


def loss_table(sweep: Sweep) -> Table:
    """The losses and bounds after every pick."""
    names = list(dict.fromkeys(name for run in sweep.runs for point in run.points for name in point.get("curves", {})))
    rows: list[list[Entry]] = []
    for cell in sweep.cells:
        for iteration in iterations_with_curves(cell):
            found = loss_curves(cell, iteration)
            means = [np.mean([curves[name] for curves in found], 0) for name in names]
            rows += [
                [*cell.swept, iteration, k, len(found), *(None if value is None else float(value) for value in values)]
                for k, values in enumerate(itertools.zip_longest(*means), 1)  # there may be fewer neurons than picks
            ]
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("picks", "d"), Column("seeds", "d")]
    columns += [Column(name, ".5g") for name in names]
    caption = f"Losses and bounds after every pick, {sweep.name}; means over seeds."
    return Table(f"neurons_losses_{sweep.stem}", caption, columns, rows, folded=True)
