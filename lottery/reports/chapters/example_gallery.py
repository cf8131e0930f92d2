"""Pictures of the examples that a round forgot most often, and of some on which two networks disagree."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from lottery.readers.registry import Source, read_source
from lottery.reports.comparison.methods import SEARCH, Method, Task
from lottery.reports.document import Column, Figure, Part, Table
from lottery.reports.style import WIDTH, canvas, finish
from lottery.results.runs import Run
from utils import InputError, digest

ACROSS = 8
LONGEST = 14  # letters above a picture
HIGH = 1.5  # a picture and its labels, in widths of a picture
KINDS = {"most_forgotten": "forgotten most often", "disagreeing": "on which two networks disagree"}


def pictures_of(task: Task, methods: Sequence[Method], data: Path | None) -> tuple[Source | None, str]:
    """The data set of the task; or None, and a sentence that says why there are no pictures."""
    run = methods[0].runs[0]
    if not any(kind in row for method in methods for run in method.runs for row in run.rounds for kind in KINDS):
        return None, f"{task.name}: no examples are shown, the runs did not record which were forgotten."
    folder, settings = data or Path(run.summary.get("data", "data")), run.settings
    try:
        source = read_source(settings["dataset"], folder, settings.get("image_size"), download=False)
    except (InputError, OSError) as error:
        return None, f"{task.name}: no examples are shown, since {error}. --data says where the images are."
    arrays = (source.train_images, source.train_labels, source.test_images, source.test_labels)
    if settings.get("data checksum", digest(*arrays)) != digest(*arrays):
        return (
            None,
            f"{task.name}: no examples are shown, since {folder} holds other images than the runs had.",
        )
    return source, ""


def gallery_parts(task: Task, method: Method, number: int, source: Source) -> list[Part]:
    """A gallery for each kind, from the run with the lowest seed: of the first and the last round that have any."""
    run = min(method.runs, key=lambda run: (isinstance(run.seed, str), run.seed))
    place = task.of(SEARCH).index(method) + 1
    parts: list[Part] = []
    for kind, words in KINDS.items():
        rounds = [row for row in run.rounds if row.get(kind)]
        chosen = rounds[:1] + rounds[-1:] if len(rounds) > 1 else rounds
        name = f"gallery-{kind.replace('_', '-')}-{number}-{place}"
        where = f"{method.name}, {task.name}, seed {run.seed}"
        if chosen:
            parts.append(gallery(chosen, kind, source, name, f"Examples {words}: {where}. {explained(kind)}"))
            parts.append(listed(run, kind, source, name, f"Examples {words}, all rounds: {where}."))
    return parts


def explained(kind: str) -> str:
    if kind == "most_forgotten":
        return "The true class, and how often it was forgotten; never: it was never right."
    return "The true class, and the two networks' answers: the denser one's, then the sparser one's."


def gallery(rows: Sequence[dict], kind: str, source: Source, name: str, caption: str) -> Figure:
    """The images under their labels, a heading for each round. One pair of axes holds them all: a place is 1 wide and
    HIGH high, counted from the top."""
    lines = [-(-len(row[kind]) // ACROSS) for row in rows]
    figure, (axes,) = canvas(height=WIDTH / (ACROSS + 0.35) * HIGH * sum(lines))
    first = 0
    for row, count in zip(rows, lines, strict=True):
        axes.text(-0.15, HIGH * (first + count / 2), f"round {row['round']}", rotation=90, va="center", ha="center")
        for place, entry in enumerate(row[kind]):
            show(axes, entry, source, left=place % ACROSS, top=HIGH * (first + place // ACROSS))
        first += count
    axes.set(xlim=(-0.3, ACROSS), ylim=(HIGH * first, 0), aspect="equal")
    axes.axis("off")
    return finish(figure, name, caption)


def show(axes: Axes, entry: dict, source: Source, left: float, top: float) -> None:
    """An image at the foot of its place, and its labels above it."""
    image = source.train_images[entry["example"]]
    grey = image.shape[2] == 1
    foot = (left + 0.04, left + 0.96, top + HIGH - 0.04, top + HIGH - 0.96)
    shades = {"cmap": "gray", "vmin": 0, "vmax": 255} if grey else {}
    axes.imshow(image[..., 0] if grey else image, extent=foot, interpolation="nearest", **shades)
    true, said = labels(entry, source)
    lines = [true, said] if len(said) <= LONGEST else [true, *said.replace("→ ", "→\n").split("\n")]
    words = "\n".join(map(shorten, lines))
    axes.text(left + 0.5, top + HIGH - 1, words, ha="center", va="bottom", fontsize=7.5, linespacing=1.1)


def labels(entry: dict, source: Source) -> tuple[str, str]:
    """The true class; and how often it was forgotten, or what the two networks say."""
    true = source.classes[int(source.train_labels[entry["example"]])]
    if "times" in entry:
        return true, "never" if entry["times"] is None else f"{entry['times']}×"
    return true, f"{source.classes[entry['before']]} → {source.classes[entry['after']]}"


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def listed(run: Run, kind: str, source: Source, name: str, caption: str) -> Table:
    """Every example that was recorded, by its number in the training set."""
    columns = [Column("round", "d"), Column("example", "d"), Column("true class")]
    columns.append(Column("times forgotten" if kind == "most_forgotten" else "answers"))
    rows = [
        [row["round"], entry["example"], *labels(entry, source)] for row in run.rounds for entry in row.get(kind, [])
    ]
    return Table(name, caption, columns, rows, folded=True)
