"""The chapter on PrAC sets: their sizes and classes by round, and how much of a set stays in the next one."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from lottery.reports.chapters.example_gallery import gallery_parts, read_images
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.comparison.set_controls import has_classes_of_prac
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Cell, Column, Figure, Paragraph, Part, Table, file_stem
from lottery.reports.style import (
    COLOURS,
    LINES,
    MARKERS,
    canvas,
    label_cells,
    legend_below,
    line_style,
    render,
    round_axis,
    shortened,
)
from lottery.results.ticket_runs import Run
from utils import InputError

SIZES = {"next_set": "|P|", "cet": "|CET|", "cep": "|CEP|", "cet_and_cep": "|CET and CEP|"}
PANELS = 2  # side by side
COLUMNS = (
    Column("method"),
    Column("after round", "d"),
    Column("seeds", "d"),
    *(Column(words, ",.1f") for words in ("trained on", "|CET|", "|CEP|", "|CET and CEP|", "|P|")),
    Column("std of |P|", ",.1f"),
    Column("of the training split (%)", ".2f"),
    Column("of P in the set before (%)", ".2f"),
)


def prac_set_parts(task: Task, data: Path | None) -> list[Part]:
    """Figures, tables and galleries of every search that made sets; `data` is where the images are, if not where the
    runs had them."""
    methods = [method for method in task.by_kind(SEARCH) if round_rows(method.runs, 0, "next_set")]
    methods.sort(key=lambda method: not round_rows(method.runs, 0, "cet"))  # controls, with other members, last
    if not methods:
        return []
    table = Table(
        f"set_sizes_{task.stem}",
        f"PrAC sets of {task.name}: what each round left for the next; means over seeds.",
        COLUMNS,
        [row for method in methods for row in table_rows(method)],
    )
    parts: list[Part] = [sizes_figure(task, methods), table]
    parts += kept_parts(task, methods)
    try:
        images = read_images(task, methods, data)
    except InputError as reason:
        parts += [part for method in methods for part in class_parts(task, method)]
        return [*parts, Paragraph(str(reason), warns=True)]
    parts += [part for method in methods for part in class_parts(task, method, images.classes)]
    return parts + [part for method in methods for part in gallery_parts(task, method, images)]


def finished_rounds(runs: Sequence[Run]) -> range:
    """The rounds that at least one of the runs has finished."""
    return range(max(len(run.rounds) for run in runs))


def round_rows(runs: Sequence[Run], k: int, key: str) -> list[dict]:
    """The row of round k of every run that has finished it and recorded `key`."""
    return [run.rounds[k] for run in runs if k < len(run.rounds) and key in run.rounds[k]]


def round_mean(runs: Sequence[Run], k: int, key: str) -> float | None:
    values = [row[key] for row in round_rows(runs, k, key)]
    return statistics.fmean(values) if values else None


def training_examples(runs: Sequence[Run]) -> int:
    """The size of the training split."""
    return runs[0].summary.get("examples", {}).get("train") or runs[0].rounds[0]["set"]


def table_rows(method: Method) -> list[list]:
    rows = []
    for k in finished_rounds(method.runs):
        found = round_rows(method.runs, k, "next_set")
        if not found:
            continue
        mean = {key: round_mean(method.runs, k, key) for key in ("set", "cet", "cep", "cet_and_cep", "next_set")}
        deviation = spread(row["next_set"] for row in found)[1]
        share = 100 * mean["next_set"] / training_examples(method.runs)
        rows.append([method.name, k, len(found), *mean.values(), deviation, share, kept_share(method.runs, k)])
    return rows


def kept_share(runs: Sequence[Run], k: int) -> float | None:
    """The percentage of the set that round k leaves that is in the set it trained on; mean over seeds."""
    rows = [row for row in round_rows(runs, k, "next_in_set") if row.get("next_set")]
    return statistics.fmean(100 * row["next_in_set"] / row["next_set"] for row in rows) if rows else None


# --- sizes ------------------------------------------------------------------------------------------------------------


def sizes_figure(task: Task, methods: Sequence[Method]) -> Figure:
    """A panel for each method: the sizes of CET, CEP and their union by round, with standard deviations over seeds."""
    rows = -(-len(methods) // PANELS)
    columns = min(PANELS, len(methods))
    figure, every = canvas(rows, columns, height=0.9 + 2.5 * rows, sharey=True)
    for axes, method in zip(every, methods, strict=False):
        size_panel(axes, method)
    for axes in every[len(methods) :]:
        axes.set_visible(False)
    for axes in every[::columns]:
        axes.set_ylabel("examples")
    legend_below(figure, every[0], columns=5)
    caption = (
        f"What each round left for the next, {task.name}: forgotten examples (CET), examples on which two networks "
        "disagree (CEP), those that are both, and the set P of all of them; mean and standard deviation over seeds."
    )
    return render(figure, f"set_sizes_{task.stem}", caption)


def size_panel(axes, method: Method) -> None:
    rounds = [k for k in finished_rounds(method.runs) if round_rows(method.runs, k, "next_set")]
    for which, (key, label) in enumerate(SIZES.items()):
        if not round_rows(method.runs, 0, key):
            continue  # the sets of a control have no such part
        spreads = [spread(row[key] for row in round_rows(method.runs, k, key)) for k in rounds]
        axes.errorbar(
            rounds,
            [mean for mean, _ in spreads],
            yerr=[deviation or 0 for _, deviation in spreads] if len(method.runs) > 1 else None,
            color=COLOURS[which],
            marker=MARKERS[which],
            linestyle=LINES[which],
            capsize=2,
            elinewidth=1,
            label=label,
        )
    axes.axhline(training_examples(method.runs), color="#888888", lw=1, ls=(0, (1, 1)), label="all that train")
    axes.set_title(method.name)
    axes.set_ylim(bottom=0)
    round_axis(axes, rounds, "after round")


def kept_parts(task: Task, methods: Sequence[Method]) -> list[Part]:
    """The figure of how much of each set is in the one before; nothing for runs that did not record it."""
    if not any(kept_share(method.runs, k) is not None for method in methods for k in finished_rounds(method.runs)):
        return []
    figure, (axes,) = canvas(height=3.4)
    last = 1
    for method in methods:
        points = [(k, kept_share(method.runs, k)) for k in finished_rounds(method.runs)]
        points = [(k, share) for k, share in points if share is not None]
        style = line_style(task.search_names.index(method.search))
        axes.plot([k for k, _ in points], [share for _, share in points], **style._asdict(), label=method.name)
        last = max([last, *(k for k, _ in points)])
    axes.set_ylim(0, 104)
    axes.set_ylabel("of P in the set before (%)")
    round_axis(axes, range(last + 1), "after round")
    legend_below(figure, axes)
    caption = (
        f"How much of the set that a round leaves is in the set it trained on, {task.name}; the rest came back because "
        "two networks disagree on it, or was drawn. Round 0 trains on all examples. Means over seeds."
    )
    return [render(figure, f"set_kept_{task.stem}", caption)]


# --- classes ----------------------------------------------------------------------------------------------------------

MOST_CLASSES = 40  # with their names in a heat map


def class_parts(task: Task, method: Method, names: Sequence[str] | None = None) -> list[Part]:
    """How many examples of each class are in each round's set; drawn if the classes are few enough to be named, and
    not for controls that have as many of each class as the sets of PrAC.

    Without their `names` classes are numbered.
    """
    counts = class_counts(method.runs)
    if len(counts) < 2:
        return []
    names = names or tuple(map(str, range(len(counts[0]))))
    tag = f"set_classes_{file_stem(method.name)}_{task.stem}"
    columns = [Column("class"), *(Column(f"round {k}", ",.1f") for k in range(len(counts)))]
    rows: list[list[Cell]] = [[names[c], *(count[c] for count in counts)] for c in range(len(counts[0]))]
    caption = f"Examples of each class in each round's set, {method.name}; means over seeds."
    table = Table(tag, caption, columns, rows, folded=True)
    is_drawn = len(names) <= MOST_CLASSES and not has_classes_of_prac(method.settings)
    return [*([class_figure(task, method, counts, names, tag)] if is_drawn else []), table]


def class_counts(runs: Sequence[Run]) -> list[list[float]]:
    """Mean counts over seeds by round and class, up to the first round that did not record them."""
    counts = []
    for k in finished_rounds(runs):
        rows = round_rows(runs, k, "class_counts")
        if not rows:
            break
        counts.append([statistics.fmean(column) for column in zip(*(row["class_counts"] for row in rows), strict=True)])
    return counts


def class_figure(task: Task, method: Method, counts: list, names: Sequence[str], name: str) -> Figure:
    """A heat map of how many times as frequent each class is in a set as in the training split."""
    shares = [[count / sum(of_round) for count in of_round] for of_round in counts]
    ratio = [[of_round[c] / shares[0][c] if shares[0][c] else 0 for of_round in shares] for c in range(len(names))]
    figure, (axes,) = canvas(height=1.3 + 0.21 * len(names))
    largest = max(2.0, *(value for row in ratio for value in row))
    image = axes.imshow(ratio, aspect="auto", cmap="Greys", vmin=0, vmax=largest)
    if len(counts) <= 16:
        label_cells(image, "{:.2f}".format)
    axes.set_yticks(range(len(names)), map(shortened, names))
    axes.set_ylabel("class")
    axes.grid(False)
    round_axis(axes, range(len(counts)), "round")
    figure.colorbar(image, ax=axes, label="times as frequent as in all", pad=0.02)
    caption = (
        f"Classes in the sets that rounds train on, {method.name}, {task.name}: share of a class in the set, "
        "divided by its share of all examples that train; means over seeds."
    )
    return render(figure, name, caption)
