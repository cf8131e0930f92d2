"""The chapter on greedy selection of channels: what a smaller network comes to, how much pre-training it needs (Wolfe
et al., arXiv 2108.00259), and whether as many other channels would have done."""

import itertools
from collections.abc import Iterable, Sequence

from lottery.greedy.names import GREEDY
from lottery.reports.chapters.channel_figures import accuracy_figure, place_text, stages_of, ways_of
from lottery.reports.chapters.greedy_tables import (
    count,
    listed,
    mean,
    measured_table,
    needed_texts,
    place_columns,
    points_text,
    spread_or_none,
    warnings,
)
from lottery.reports.comparison.statistics import FEWEST, Interval, paired
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Cell as Entry
from lottery.reports.document import Column, Listing, Paragraph, Part, Table
from lottery.results.channel_runs import TOLERANCE, network_name

MEASURED = ("train", "test")
BATCHES = ("1", "128")  # images at once
COSTS = {  # headings and forms
    "channels": ("channels", ",.6g"),
    "parameters": ("parameters", ",.0f"),
    "flops": ("MFLOPs", ",.2f"),
    **{size: (f"ms ({size})", ",.2f") for size in BATCHES},
}


def channel_parts(sweep: Sweep, number: int) -> list[Part]:
    """What was asked and found; the figure, where there was a pre-training; and the tables."""
    along = sweep.cells[0].iterations() != [None]
    parts: list[Part] = [
        *warnings(sweep, "goals"),
        Paragraph(explained(sweep, along)),
        Listing([*cost_sentences(sweep), *difference_sentences(sweep)]),
    ]
    if along:
        parts += [needed_table(sweep, number), accuracy_figure(sweep, f"channels-test-{number}")]
    parts += [accuracy_table(sweep, number), cost_table(sweep, number)]
    if len(ways_of(sweep)) > 1:
        parts.append(difference_table(sweep, number))
    return [
        *parts,
        layer_table(sweep, number),
        measured_table(f"channels-points-{number}", sweep, networks(sweep), ("train", "validation", "test")),
    ]


def explained(sweep: Sweep, along: bool) -> str:
    settings = sweep.settings
    when = sweep.cells[0].iterations()
    where = f"At iterations {listed(when)} of its pre-training" if along else "Of given weights"
    epochs = settings["fine_tune_epochs"]
    tuned = f", and trained for {count(epochs, 'epoch')} more (fine-tuned)" if epochs else ""
    text = (
        f"{where} channels of a network are selected layer by layer from nothing, each the one that lowers the loss "
        f"most; the others are dropped (selected){tuned}."
    )
    if along:
        text += (
            f" Needed is the first of these iterations at which a small network is at most {points_text(sweep.delta)} "
            "below the dense network at the end of its pre-training; a later one may fall short again."
        )
    if len(ways_of(sweep)) > 1:
        text += (
            " Beside that stand as many channels of each layer at random, and those whose filters have the largest L1 "
            "norm (Li et al., ICLR 2017), as far as they were asked for, treated in the same way. Differences are of "
            f"pairs of seeds; fewer than {FEWEST} give values, no verdict, and each verdict is for itself alone."
        )
    return text


def networks(sweep: Sweep) -> dict[str, str]:
    """All that were measured, with their names."""
    ways, stages = ways_of(sweep), stages_of(sweep)
    found = {network_name(by, stage): f"{ways[by]}, {stages[stage]}" for by, stage in itertools.product(ways, stages)}
    return {"dense": "dense"} | found


# --- is greedy selection worth it -------------------------------------------------------------------------------------


def difference(cell: Cell, iteration: int | None, stage: str, by: str) -> Interval | None:
    """Test accuracy with greedily selected channels minus that with those of a baseline, over seeds that have both."""
    ours, others = (
        {seed: found["test"] for seed, found in cell.by_seed(network_name(way, stage), iteration).items()}
        for way in (GREEDY, by)
    )
    return paired(ours, others)


def difference_sentences(sweep: Sweep) -> list[str]:
    """At the last iteration, for each goal, stage and baseline."""
    ways, stages = ways_of(sweep), stages_of(sweep)
    found = []
    for cell, stage, by in itertools.product(sweep.cells, stages, list(ways)[1:]):
        last = cell.iterations()[-1]
        if interval := difference(cell, last, stage, by):
            where = place_text(cell) + ("" if last is None else f", iteration {last:,}")
            found.append(f"{where}, {stages[stage]}: greedy selection minus {ways[by]} {difference_text(interval)}.")
    return found


def difference_text(found: Interval) -> str:
    told = f"{found.mean:+.2f} points of test accuracy over {count(found.n, 'pair')} of seeds"
    if found.low is None:
        return f"{told}: no verdict"
    return f"{told} (95 % interval {found.low:+.2f} to {found.high:+.2f}): {difference_verdict(found)}"


def difference_verdict(found: Interval) -> str:
    if found.n < FEWEST:
        return "no verdict"
    if found.low > 0:
        return "greedy selection is better"
    return "greedy selection is worse" if found.high < 0 else "no difference is shown"


def difference_table(sweep: Sweep, number: int) -> Table:
    ways, stages = ways_of(sweep), stages_of(sweep)
    rows = [
        [*cell.place, iteration, stages[stage], ways[by], found.n, found.mean, found.low, found.high]
        for cell in sweep.cells
        for iteration, stage, by in itertools.product(cell.iterations(), stages, list(ways)[1:])
        if (found := difference(cell, iteration, stage, by))
    ]
    columns = [*place_columns(sweep), Column("iteration", "d"), Column("network"), Column("against")]
    columns += [Column("pairs", "d"), *(Column(name, "+.2f") for name in ("points", "low", "high"))]
    caption = (
        f"Test accuracy with greedily selected channels minus that with others, {sweep.name}: mean over pairs of seeds "
        "and its 95 % interval."
    )
    return Table(f"channels-differences-{number}", caption, columns, rows, folded=len(rows) > 24)


# --- accuracies -------------------------------------------------------------------------------------------------------


def needed_table(sweep: Sweep, number: int) -> Table:
    """By goal and way to select the first good iteration of every seed."""
    stages = stages_of(sweep)
    pairs = list(itertools.product(stages, MEASURED))
    rows = [
        [*cell.place, told, len(cell.runs),
         *needed_texts(cell, [(network_name(by, stage), measured) for stage, measured in pairs], sweep.delta)]
        for cell in sweep.cells
        for by, told in ways_of(sweep).items()
    ]  # fmt: skip
    columns = [*place_columns(sweep), Column("channels"), Column("seeds", "d")]
    columns += [Column(f"{stages[stage]}, {measured}") for stage, measured in pairs]
    caption = (
        f"Pre-training that is needed, {sweep.name}: the first iteration at most {points_text(sweep.delta)} below the "
        "dense network at its end, a number for each seed in their order, without runs that have selections to come."
    )
    return Table(f"channels-needed-{number}", caption, columns, rows)


def accuracy_table(sweep: Sweep, number: int) -> Table:
    """Test accuracies, a row for each goal, iteration and way to select, and before it the dense network at its end."""
    ways, stages = ways_of(sweep), stages_of(sweep)
    rows: list[list[Entry]] = []
    for cell in sweep.cells:
        if ends := cell.ends("dense"):
            rows.append([*cell.place, None, "dense at the end", len(ends), *tests(ends), *[None] * (2 * len(stages))])
        for iteration, (by, told) in itertools.product(cell.iterations(), ways.items()):
            selected = cell.by_seed(network_name(by, "selected"), iteration)
            dense = cell.by_seed("dense", iteration)
            cells = [tests(cell.measured(network_name(by, stage), iteration)) for stage in stages]
            if selected:
                paired_dense = tests([dense[seed] for seed in selected])
                rows.append([*cell.place, iteration, told, len(selected), *paired_dense, *itertools.chain(*cells)])
    names = ("dense", *stages.values())
    columns = [*place_columns(sweep), Column("iteration", "d"), Column("channels"), Column("seeds", "d")]
    columns += [column for name in names for column in (Column(f"{name} (%)", ".2f"), Column(f"{name}, std", ".2f"))]
    caption = f"Test accuracy, {sweep.name}; mean and standard deviation over seeds. Dense: the whole network then."
    return Table(f"channels-accuracy-{number}", caption, columns, rows)


def tests(seeds: Sequence[dict]) -> list[Entry]:
    """Mean and standard deviation of test accuracies; None where nothing was measured."""
    return [*spread_or_none([seed["test"] for seed in seeds] or [None])]


# --- what is left -----------------------------------------------------------------------------------------------------


def costs(point: dict) -> dict[str, float | None]:
    """Of a greedy selection: channels, parameters, FLOPs of a forward pass of one image, milliseconds of one."""
    layers, gains = point["layers"], point["gains"]
    found = {
        "channels before": sum(layer["channels"] for layer in layers),
        "channels after": sum(len(layer["kept_channels"]) for layer in layers),
    }
    for name, divisor in (("parameters", 1), ("flops", 1e6)):
        found |= {f"{name} {when}": gains[when][name] / divisor for when in ("before", "after")}
    for size in BATCHES:
        seconds = {when: gains[when].get("seconds", {}).get(size) for when in ("before", "after")}
        found |= {f"{size} {when}": None if each is None else 1e3 * each for when, each in seconds.items()}
    return found


def cell_costs(cell: Cell, iteration: int | None) -> dict[str, float | None]:
    """Means over seeds."""
    found = [costs(point) for point in cell.points(iteration)]
    return {name: mean(each[name] for each in found) for name in found[0]}


def cost_table(sweep: Sweep, number: int) -> Table:
    rows = [
        [*cell.place, iteration, len(cell.points(iteration)), *cell_costs(cell, iteration).values()]
        for cell in sweep.cells
        for iteration in cell.iterations()
    ]
    columns = [*place_columns(sweep), Column("iteration", "d"), Column("seeds", "d")]
    columns += [Column(f"{name}, {when}", form) for name, form in COSTS.values() for when in ("before", "after")]
    caption = (
        f"What selection leaves, {sweep.name}; means over seeds. Channels are those of the layers selected in; FLOPs "
        "of a forward pass of one image, milliseconds of one of so many images, on the machine of the run."
    )
    return Table(f"channels-costs-{number}", caption, columns, rows, folded=len(rows) > 12)


def cost_sentences(sweep: Sweep) -> list[str]:
    """What share is left at the last iteration, for each goal."""
    found = []
    for cell in sweep.cells:
        cost = cell_costs(cell, cell.iterations()[-1])
        left = {name: f"{100 * cost[f'{name} after'] / cost[f'{name} before']:.1f} %" for name in COSTS
                if cost[f"{name} before"]}  # fmt: skip
        sizes = (f"{left['channels']} of the channels, {left['parameters']} of the parameters and {left['flops']} of "
                 "the FLOPs are left")  # fmt: skip
        times = [f"{left[size]} of the time with {count(int(size), 'image')}" for size in BATCHES if size in left]
        passes = f"; a forward pass takes {', '.join(times)}" if times else ""
        found.append(f"{place_text(cell)}: {sizes}{passes}.")
    return found


def layer_table(sweep: Sweep, number: int) -> Table:
    """What the last greedy selection keeps of each layer."""
    rows = [[*cell.place, *row] for cell in sweep.cells for row in layer_rows(cell.points(cell.iterations()[-1]))]
    columns = [*place_columns(sweep), Column("layer"), Column("seeds", "d"), Column("channels", "d")]
    columns += [Column("kept", ".4g"), Column("accuracy before (%)", ".2f"), Column("accuracy after (%)", ".2f")]
    caption = (
        f"Layers at the last iteration, front to back, {sweep.name}; means over seeds. Accuracies are on the examples "
        "selected by, before and after the selection in the layer."
    )
    fixed = all(cell.place.goal != TOLERANCE for cell in sweep.cells)
    return Table(f"channels-layers-{number}", caption, columns, rows, folded=fixed or len(rows) > 24)


def layer_rows(points: Sequence[dict]) -> Iterable[list[Entry]]:
    """Of each layer its name, seeds, channels, those that are kept, and accuracies."""
    for layers in zip(*(point["layers"] for point in points), strict=True):
        kept = mean(len(layer["kept_channels"]) for layer in layers)
        accuracies = [mean(layer[name] for layer in layers) for name in ("before", "after")]
        yield [layers[0]["layer"], len(layers), layers[0]["channels"], kept, *accuracies]
