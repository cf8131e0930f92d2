"""The chapter on greedy selection of channels: accuracy and cost of the smaller networks, how much pre-training they
require (Wolfe et al., arXiv 2108.00259), and how they compare with equally many other channels."""

import itertools
from collections.abc import Iterable, Sequence

from lottery.greedy.names import GREEDY
from lottery.reports.chapters.channel_figures import accuracy_figure, goal_text, measured_stages, selections
from lottery.reports.chapters.greedy_tables import (
    iteration_list,
    mean,
    measured_table,
    points_text,
    required_texts,
    spread_or_none,
    sweep_warnings,
    swept_columns,
)
from lottery.reports.comparison.statistics import FEWEST, Interval, falls_below, holds, paired
from lottery.reports.comparison.sweeps import Cell, Sweep
from lottery.reports.document import Cell as Entry
from lottery.reports.document import Column, Listing, Paragraph, Part, Table
from lottery.results.channel_runs import TOLERANCE, network_name
from lottery.terminal import counted

MEASURED = ("train", "test")
BATCHES = ("1", "128")  # images at once
COSTS = {  # headings and formats
    "channels": ("channels", ",.6g"),
    "parameters": ("parameters", ",.0f"),
    "flops": ("MFLOPs", ",.2f"),
    **{size: (f"ms ({size})", ",.2f") for size in BATCHES},
}


def channel_parts(sweep: Sweep) -> list[Part]:
    """The question and the answer in words, required pre-training and a figure if there was any, and tables."""
    has_pretraining = sweep.cells[0].iterations() != [None]
    parts: list[Part] = [
        *sweep_warnings(sweep, "goals"),
        Paragraph(explanation(sweep, has_pretraining)),
        Listing([*cost_sentences(sweep), *difference_sentences(sweep)]),
    ]
    if has_pretraining:
        parts += [required_table(sweep), accuracy_figure(sweep, f"channels_test_{sweep.stem}")]
    parts += [accuracy_table(sweep), cost_table(sweep)]
    if len(selections(sweep)) > 1:
        parts.append(difference_table(sweep))
    return [
        *parts,
        layer_table(sweep),
        measured_table(f"channels_points_{sweep.stem}", sweep, networks(sweep), ("train", "validation", "test")),
    ]


def explanation(sweep: Sweep, has_pretraining: bool) -> str:
    settings = sweep.settings
    when = sweep.cells[0].iterations()
    where = f"At iterations {iteration_list(when)} of its pre-training" if has_pretraining else "Of given weights"
    epochs = settings["fine_tune_epochs"]
    tuned = f", and trained for {counted(epochs, 'epoch')} more (fine-tuned)" if epochs else ""
    text = (
        f"{where} channels of a network are selected layer by layer from nothing, each the one that lowers the loss "
        f"most; the others are dropped (selected){tuned}."
    )
    if has_pretraining:
        text += (
            f" Needed is the first of these iterations at which a small network is at most {points_text(sweep.delta)} "
            "below the dense network at the end of its pre-training; a later one may fall short again."
        )
    if len(selections(sweep)) > 1:
        text += (
            " Beside that stand as many channels of each layer at random, and those whose filters have the largest L1 "
            "norm (Li et al., ICLR 2017), as far as they were asked for, treated in the same way. Differences are of "
            f"pairs of seeds; fewer than {FEWEST} give values, no verdict, and each verdict is for itself alone."
        )
    return text


def networks(sweep: Sweep) -> dict[str, str]:
    """The names of all networks that were measured, by their key in a point."""
    found = {
        network_name(by, stage): f"{selection}, {words}"
        for by, selection in selections(sweep).items()
        for stage, words in measured_stages(sweep).items()
    }
    return {"dense": "dense"} | found


# --- greedy selection against baselines -------------------------------------------------------------------------------


def difference(cell: Cell, iteration: int | None, stage: str, by: str) -> Interval | None:
    """Test accuracy with greedily selected channels minus that with those of a baseline, over seeds that have both."""
    ours, others = (
        {seed: found["test"] for seed, found in cell.by_seed(network_name(selection, stage), iteration).items()}
        for selection in (GREEDY, by)
    )
    return paired(ours, others)


def difference_sentences(sweep: Sweep) -> list[str]:
    """At the last iteration, for each goal, stage and baseline."""
    names, stages = selections(sweep), measured_stages(sweep)
    found = []
    for cell, stage, by in itertools.product(sweep.cells, stages, list(names)[1:]):
        last = cell.iterations()[-1]
        if interval := difference(cell, last, stage, by):
            where = goal_text(cell) + ("" if last is None else f", iteration {last:,}")
            found.append(f"{where}, {stages[stage]}: greedy selection minus {names[by]} {difference_text(interval)}.")
    return found


def difference_text(found: Interval) -> str:
    text = f"{found.mean:+.2f} points of test accuracy over {counted(found.n, 'pair')} of seeds"
    if found.low is None:
        return f"{text}: no verdict"
    return f"{text} (95 % interval {found.low:+.2f} to {found.high:+.2f}): {difference_verdict(found)}"


def difference_verdict(found: Interval) -> str:
    is_better = holds(found, 0)
    if is_better is None:
        return "no verdict"
    if is_better:
        return "greedy selection is better"
    return "greedy selection is worse" if falls_below(found, 0) else "no difference is shown"


def difference_table(sweep: Sweep) -> Table:
    names, stages = selections(sweep), measured_stages(sweep)
    rows = [
        [*cell.swept, iteration, stages[stage], names[by], found.n, found.mean, found.low, found.high]
        for cell in sweep.cells
        for iteration, stage, by in itertools.product(cell.iterations(), stages, list(names)[1:])
        if (found := difference(cell, iteration, stage, by))
    ]
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("network"), Column("against")]
    columns += [Column("pairs", "d"), *(Column(name, "+.2f") for name in ("points", "low", "high"))]
    caption = (
        f"Test accuracy with greedily selected channels minus that with others, {sweep.name}: mean over pairs of seeds "
        "and its 95 % interval."
    )
    return Table(f"channels_differences_{sweep.stem}", caption, columns, rows, folded=len(rows) > 24)


# --- accuracies -------------------------------------------------------------------------------------------------------


def required_table(sweep: Sweep) -> Table:
    """By goal and kind of selection the first good enough iteration of every seed."""
    stages = measured_stages(sweep)
    pairs = list(itertools.product(stages, MEASURED))
    rows = [
        [*cell.swept, selection, len(cell.runs),
         *required_texts(cell, [(network_name(by, stage), measured) for stage, measured in pairs], sweep.delta)]
        for cell in sweep.cells
        for by, selection in selections(sweep).items()
    ]  # fmt: skip
    columns = [*swept_columns(sweep), Column("channels"), Column("seeds", "d")]
    columns += [Column(f"{stages[stage]}, {measured}") for stage, measured in pairs]
    caption = (
        f"Pre-training that is needed, {sweep.name}: the first iteration at most {points_text(sweep.delta)} below the "
        "dense network at its end, a number for each seed in their order, without runs that have selections to come."
    )
    return Table(f"channels_needed_{sweep.stem}", caption, columns, rows)


def accuracy_table(sweep: Sweep) -> Table:
    """Test accuracies by goal: of the dense network at the end, then by iteration and kind of selection."""
    stages = measured_stages(sweep)
    rows: list[list[Entry]] = []
    for cell in sweep.cells:
        if final := cell.final("dense"):
            rows.append(
                [
                    *cell.swept,
                    None,
                    "dense at the end",
                    len(final),
                    *accuracy_spread(final),
                    *[None] * (2 * len(stages)),
                ]
            )
        for iteration, (by, selection) in itertools.product(cell.iterations(), selections(sweep).items()):
            selected = cell.by_seed(network_name(by, "selected"), iteration)
            dense = cell.by_seed("dense", iteration)
            cells = [accuracy_spread(cell.measured(network_name(by, stage), iteration)) for stage in stages]
            if selected:
                paired_dense = accuracy_spread([dense[seed] for seed in selected])
                rows.append([*cell.swept, iteration, selection, len(selected), *paired_dense, *itertools.chain(*cells)])
    names = ("dense", *stages.values())
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("channels"), Column("seeds", "d")]
    columns += [column for name in names for column in (Column(f"{name} (%)", ".2f"), Column(f"{name}, std", ".2f"))]
    caption = f"Test accuracy, {sweep.name}; mean and standard deviation over seeds. Dense: the whole network then."
    return Table(f"channels_accuracy_{sweep.stem}", caption, columns, rows)


def accuracy_spread(seeds: Sequence[dict]) -> list[Entry]:
    """Mean and standard deviation of test accuracies; None if nothing was measured."""
    return [*spread_or_none([seed["test"] for seed in seeds] or [None])]


# --- size and cost ----------------------------------------------------------------------------------------------------


def costs(point: dict) -> dict[str, float | None]:
    """Before and after a greedy selection: channels, parameters, MFLOPs and milliseconds of a forward pass."""
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


def cost_table(sweep: Sweep) -> Table:
    """The costs by goal and iteration, means over seeds."""
    rows = [
        [*cell.swept, iteration, len(cell.points(iteration)), *cell_costs(cell, iteration).values()]
        for cell in sweep.cells
        for iteration in cell.iterations()
    ]
    columns = [*swept_columns(sweep), Column("iteration", "d"), Column("seeds", "d")]
    columns += [Column(f"{name}, {when}", form) for name, form in COSTS.values() for when in ("before", "after")]
    caption = (
        f"What selection leaves, {sweep.name}; means over seeds. Channels are those of the layers selected in; FLOPs "
        "of a forward pass of one image, milliseconds of one of so many images, on the machine of the run."
    )
    return Table(f"channels_costs_{sweep.stem}", caption, columns, rows, folded=len(rows) > 12)


def cost_sentences(sweep: Sweep) -> list[str]:
    """The fractions that are left at the last iteration, for each goal."""
    found = []
    for cell in sweep.cells:
        cost = cell_costs(cell, cell.iterations()[-1])
        left = {name: f"{100 * cost[f'{name} after'] / cost[f'{name} before']:.1f} %" for name in COSTS
                if cost[f"{name} before"]}  # fmt: skip
        sizes = (f"{left['channels']} of the channels, {left['parameters']} of the parameters and {left['flops']} of "
                 "the FLOPs are left")  # fmt: skip
        times = [f"{left[size]} of the time with {counted(int(size), 'image')}" for size in BATCHES if size in left]
        passes = f"; a forward pass takes {', '.join(times)}" if times else ""
        found.append(f"{goal_text(cell)}: {sizes}{passes}.")
    return found


def layer_table(sweep: Sweep) -> Table:
    """The channels that the last greedy selection keeps of each layer."""
    rows = [[*cell.swept, *row] for cell in sweep.cells for row in layer_rows(cell.points(cell.iterations()[-1]))]
    columns = [*swept_columns(sweep), Column("layer"), Column("seeds", "d"), Column("channels", "d")]
    columns += [Column("kept", ".4g"), Column("accuracy before (%)", ".2f"), Column("accuracy after (%)", ".2f")]
    caption = (
        f"Layers at the last iteration, front to back, {sweep.name}; means over seeds. Accuracies are on the examples "
        "selected by, before and after the selection in the layer."
    )
    fixed = all(cell.swept.goal != TOLERANCE for cell in sweep.cells)
    return Table(f"channels_layers_{sweep.stem}", caption, columns, rows, folded=fixed or len(rows) > 24)


def layer_rows(points: Sequence[dict]) -> Iterable[list[Entry]]:
    """For each layer its name, seeds, channels, kept channels, and accuracies before and after its selection."""
    for layers in zip(*(point["layers"] for point in points), strict=True):
        kept = mean(len(layer["kept_channels"]) for layer in layers)
        accuracies = [mean(layer[name] for layer in layers) for name in ("before", "after")]
        yield [layers[0]["layer"], len(layers), layers[0]["channels"], kept, *accuracies]
