"""Images of the examples that a round forgot most often, and of some on which two networks disagree."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from lottery.readers.registry import data_folder, read_recorded
from lottery.readers.source import Source
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.document import Column, Figure, Part, Table, file_stem
from lottery.reports.style import WIDTH, canvas, render
from lottery.results.ticket_runs import Run
from utils import InputError

COLUMNS = 8
LONGEST = 14  # letters in a line above an image
CELL_HEIGHT = 1.5  # of an image and its labels, in widths of an image
KINDS = {"most_forgotten": "forgotten most often", "disagreeing": "on which two networks disagree"}


def read_images(task: Task, methods: Sequence[Method], data: Path | None) -> Source:
    """The data set of the task, from `data` or from where the runs had it. InputError, for readers of the report, if no
    examples were recorded, or if the images are not there or others than those of the runs."""
    run = methods[0].runs[0]
    if not any(kind in row for method in methods for run in method.runs for row in run.rounds for kind in KINDS):
        raise InputError(f"{task.name}: no examples are shown, the runs did not record which were forgotten.")
    settings = run.settings
    folder = data_folder(settings["dataset"], data, run.summary.get("data"))
    try:
        source = read_recorded(settings, folder)
    except (InputError, OSError) as error:
        reason = f"{task.name}: no examples are shown, since {error}. --data says where the images are."
        raise InputError(reason) from None
    if settings.get("data checksum", source.checksum) != source.checksum:
        where = folder or settings["dataset"]
        raise InputError(f"{task.name}: no examples are shown, since {where} holds other images than the runs had.")
    return source


def gallery_parts(task: Task, method: Method, source: Source) -> list[Part]:
    """A gallery for each kind of example, from the run with the lowest seed, of the first and the last round that
    recorded any; and a table of all rounds."""
    run = min(method.runs, key=lambda run: (isinstance(run.seed, str), run.seed))
    position = task.by_kind(SEARCH).index(method) + 1
    parts: list[Part] = []
    for kind, words in KINDS.items():
        rounds = [row for row in run.rounds if row.get(kind)]
        chosen = rounds[:1] + rounds[-1:] if len(rounds) > 1 else rounds
        name = f"examples_{kind}_{file_stem(method.name)}_{task.stem}_{position}"
        where = f"{method.name}, {task.name}, seed {run.seed}"
        if chosen:
            parts.append(gallery(chosen, kind, source, name, f"Examples {words}: {where}. {explanation(kind)}"))
            parts.append(example_table(run, kind, source, name, f"Examples {words}, all rounds: {where}."))
    return parts


def explanation(kind: str) -> str:
    if kind == "most_forgotten":
        return "The true class, and how often it was forgotten; never: it was never right."
    return "The true class, and the two networks' answers: the denser one's, then the sparser one's."


def gallery(rows: Sequence[dict], kind: str, source: Source, name: str, caption: str) -> Figure:
    """The images under their labels, with a heading for each round.

    All are drawn in one pair of axes: cells are 1 wide and `CELL_HEIGHT` high, counted from the top.
    """
    lines = [-(-len(row[kind]) // COLUMNS) for row in rows]
    figure, (axes,) = canvas(height=WIDTH / (COLUMNS + 0.35) * CELL_HEIGHT * sum(lines))
    first = 0
    for row, count in zip(rows, lines, strict=True):
        axes.text(
            -0.15, CELL_HEIGHT * (first + count / 2), f"round {row['round']}", rotation=90, va="center", ha="center"
        )
        for i, entry in enumerate(row[kind]):
            draw_example(axes, entry, source, left=i % COLUMNS, top=CELL_HEIGHT * (first + i // COLUMNS))
        first += count
    axes.set(xlim=(-0.3, COLUMNS), ylim=(CELL_HEIGHT * first, 0), aspect="equal")
    axes.axis("off")
    return render(figure, name, caption)


def draw_example(axes: Axes, entry: dict, source: Source, left: float, top: float) -> None:
    """An image at the foot of its cell, and its labels above it."""
    image = source.train_images[entry["example"]]
    grey = image.shape[2] == 1
    foot = (left + 0.04, left + 0.96, top + CELL_HEIGHT - 0.04, top + CELL_HEIGHT - 0.96)
    shades = {"cmap": "gray", "vmin": 0, "vmax": 255} if grey else {}
    axes.imshow(image[..., 0] if grey else image, extent=foot, interpolation="nearest", **shades)
    true, answer = labels(entry, source)
    lines = [true, answer] if len(answer) <= LONGEST else [true, *answer.replace("→ ", "→\n").split("\n")]
    words = "\n".join(map(shorten, lines))
    axes.text(left + 0.5, top + CELL_HEIGHT - 1, words, ha="center", va="bottom", fontsize=7.5, linespacing=1.1)


def labels(entry: dict, source: Source) -> tuple[str, str]:
    """The true class, and how often the example was forgotten or what the two networks answer."""
    true = source.classes[int(source.train_labels[entry["example"]])]
    if "times" in entry:
        return true, "never" if entry["times"] is None else f"{entry['times']}×"
    return true, f"{source.classes[entry['before']]} → {source.classes[entry['after']]}"


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def example_table(run: Run, kind: str, source: Source, name: str, caption: str) -> Table:
    """Every example that was recorded, by its index in the training set."""
    columns = [Column("round", "d"), Column("example", "d"), Column("true class")]
    columns.append(Column("times forgotten" if kind == "most_forgotten" else "answers"))
    rows = [
        [row["round"], entry["example"], *labels(entry, source)] for row in run.rounds for entry in row.get(kind, [])
    ]
    return Table(name, caption, columns, rows, folded=True)
