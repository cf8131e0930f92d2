"""The chapter on PrAC sets: how large they are round by round, what is in them, how much of one stays in the next."""

import statistics
from collections.abc import Sequence

from lottery.reports.chapters.example_gallery import gallery_parts, pictures_of
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Column, Figure, Paragraph, Part, Table
from lottery.reports.style import COLOURS, LINES, MARKERS, canvas, finish, legend_below, look, round_axis, thousands
from lottery.results.runs import Run

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


def sets_parts(task: Task, number: int, data: str | None) -> list[Part]:
    """Figures, tables and galleries of every search that made sets; nothing where there is none."""
    methods = [method for method in task.of(SEARCH) if rows_of(method.runs, 0, "next_set")]
    methods.sort(key=lambda method: not rows_of(method.runs, 0, "cet"))  # controls, which have other members, last
    if not methods:
        return []
    table = Table(
        f"sets-{number}",
        f"PrAC sets of {task.name}: what each round left for the next; means over seeds.",
        COLUMNS,
        [row for method in methods for row in table_rows(method)],
    )
    parts: list[Part] = [sizes_figure(task, methods, number), table]
    parts += kept_parts(task, methods, number)
    classes, sentence = pictures_of(task, methods, data)
    parts += [part for method in methods for part in class_parts(task, method, number, classes)]
    if sentence:
        parts.append(Paragraph(sentence, warns=True))
    if classes:
        parts += [part for method in methods for part in gallery_parts(task, method, number, classes)]
    return parts


def rounds_of(runs: Sequence[Run]) -> range:
    """The rounds that at least one of the runs has finished."""
    return range(max(len(run.rounds) for run in runs))


def rows_of(runs: Sequence[Run], k: int, key: str = "round") -> list[dict]:
    """Round k of every run that has finished it and knows `key`."""
    return [run.rounds[k] for run in runs if k < len(run.rounds) and key in run.rounds[k]]


def mean_of(runs: Sequence[Run], k: int, key: str) -> float | None:
    values = [row[key] for row in rows_of(runs, k, key)]
    return statistics.fmean(values) if values else None


def whole_of(runs: Sequence[Run]) -> int:
    """How many examples train in all."""
    return runs[0].summary.get("examples", {}).get("train") or runs[0].rounds[0]["set"]


def table_rows(method: Method) -> list[list]:
    rows = []
    for k in rounds_of(method.runs):
        found = rows_of(method.runs, k, "next_set")
        if not found:
            continue
        mean = {key: mean_of(method.runs, k, key) for key in ("set", "cet", "cep", "cet_and_cep", "next_set")}
        deviation = spread(row["next_set"] for row in found)[1]
        share = 100 * mean["next_set"] / whole_of(method.runs)
        rows.append([method.name, k, len(found), *mean.values(), deviation, share, kept_share(method.runs, k)])
    return rows


def kept_share(runs: Sequence[Run], k: int) -> float | None:
    """Of the set that round k leaves, the percentage that is in the set it trained on; mean over seeds."""
    rows = [row for row in rows_of(runs, k, "next_in_set") if row.get("next_set")]
    return statistics.fmean(100 * row["next_in_set"] / row["next_set"] for row in rows) if rows else None


# --- sizes ------------------------------------------------------------------------------------------------------------


def sizes_figure(task: Task, methods: Sequence[Method], number: int) -> Figure:
    """A panel for each method: the sizes of CET, CEP and their union by round, with the spread over seeds."""
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
    return finish(figure, f"sets-{number}", caption)


def size_panel(axes, method: Method) -> None:
    rounds = [k for k in rounds_of(method.runs) if rows_of(method.runs, k, "next_set")]
    for which, (key, label) in enumerate(SIZES.items()):
        if not rows_of(method.runs, 0, key):
            continue  # the sets of a control have no such part
        spreads = [spread(row[key] for row in rows_of(method.runs, k, key)) for k in rounds]
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
    axes.axhline(whole_of(method.runs), color="#888888", lw=1, ls=(0, (1, 1)), label="all that train")
    axes.set_title(method.name)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(thousands)
    round_axis(axes, rounds, "after round")


def kept_parts(task: Task, methods: Sequence[Method], number: int) -> list[Part]:
    """How much of each set is in the one before; nothing for runs that did not record it."""
    if not any(kept_share(method.runs, k) is not None for method in methods for k in rounds_of(method.runs)):
        return []
    figure, (axes,) = canvas(height=3.4)
    last = 1
    for method in methods:
        points = [(k, kept_share(method.runs, k)) for k in rounds_of(method.runs)]
        points = [(k, share) for k, share in points if share is not None]
        style = look(task.searches.index(method.search))
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
    return [finish(figure, f"sets-kept-{number}", caption)]


# --- classes ----------------------------------------------------------------------------------------------------------

MOST_CLASSES = 40  # that a heat map shows with their names


def class_parts(task: Task, method: Method, number: int, pictures) -> list[Part]:
    """How often each class is in each round's set; drawn where the classes are few enough to be named."""
    counts = class_counts(method.runs)
    if len(counts) < 2:
        return []
    names = pictures.classes if pictures else tuple(map(str, range(len(counts[0]))))
    tag = f"classes-{number}-{task.of(SEARCH).index(method) + 1}"
    columns = [Column("class"), *(Column(f"round {k}", ",.1f") for k in range(len(counts)))]
    rows = [[names[c], *(count[c] for count in counts)] for c in range(len(counts[0]))]
    caption = f"Examples of each class in each round's set, {method.name}; means over seeds."
    table = Table(tag, caption, columns, rows, folded=True)
    return [*([class_figure(task, method, counts, names, tag)] if len(names) <= MOST_CLASSES else []), table]


def class_counts(runs: Sequence[Run]) -> list[list[float]]:
    """By round and class: the mean over seeds; as many rounds as record them."""
    counts = []
    for k in rounds_of(runs):
        rows = rows_of(runs, k, "class_counts")
        if not rows:
            break
        counts.append([statistics.fmean(column) for column in zip(*(row["class_counts"] for row in rows), strict=True)])
    return counts


def class_figure(task: Task, method: Method, counts: list, names: Sequence[str], name: str) -> Figure:
    """Heat map: how many times as frequent a class is in the set as among all examples that train."""
    shares = [[count / sum(of_round) for count in of_round] for of_round in counts]
    ratio = [[of_round[c] / shares[0][c] if shares[0][c] else 0 for of_round in shares] for c in range(len(names))]
    figure, (axes,) = canvas(height=1.3 + 0.21 * len(names))
    largest = max(2.0, *(value for row in ratio for value in row))
    image = axes.imshow(ratio, aspect="auto", cmap="Greys", vmin=0, vmax=largest)
    if len(counts) <= 16:
        for c, row in enumerate(ratio):
            for k, value in enumerate(row):
                colour = "white" if value > 0.55 * largest else "black"
                axes.text(k, c, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("class")
    axes.grid(False)
    round_axis(axes, range(len(counts)), "round")
    figure.colorbar(image, ax=axes, label="times as frequent as in all", pad=0.02)
    caption = (
        f"Classes in the sets that rounds train on, {method.name}, {task.name}: share of a class in the set, "
        "divided by its share of all examples that train; means over seeds."
    )
    return finish(figure, name, caption)
