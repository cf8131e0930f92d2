"""What a person sees while a run goes on: one bar over the whole job, a line per epoch, a table, a plot."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lottery.checkpointing.atomic_file import write_atomically


class Progress:
    """A bar over all optimiser steps of the job, and lines above it. Quiet where there is no terminal to redraw.

    A context manager: the bar is closed at its end, whatever ends it.
    """

    def __init__(self, print_freq: int = 50):
        self.print_freq, self.done, self.bar = print_freq, 0, None

    def begin(self, done: int) -> None:
        """Steps that an earlier process has done: they count, but not for the speed."""
        self.done = done

    def expect(self, total: int, what: str) -> None:
        """The steps of the whole job as far as known; an upper bound where rounds may stop early."""
        if self.bar is None:
            self.bar = tqdm(initial=self.done, unit="step", disable=None, dynamic_ncols=True, miniters=self.print_freq)
        self.bar.total = total
        self.bar.set_description(what)

    def tick(self, times: int = 1) -> None:
        self.bar.update(times)

    def log(self, *lines: str) -> None:
        for line in lines:
            tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()


def epoch_line(row: dict, last: int) -> str:
    """One epoch in one line; test accuracy stands where validation was the best so far, or if nothing validates."""
    validates = row["validation"] is not None
    parts = [
        f"epoch {row['epoch']:>3}/{last}",
        f"lr {row['lr']:.4g}",
        f"loss {row['loss']:.4f}",
        f"train {row['train']:.2f}",
        f"validation {row['validation']:.2f}" if validates else "",
        f"test {row['test']:.2f}{' (best)' if validates else ''}" if row["test"] is not None else "",
        f"mask distance {row['distance']:.4f}" if row.get("distance") is not None else "",
        f"{row['seconds']:.1f} s",
    ]
    return "  " + "  ".join(part for part in parts if part)


def round_lines(row: dict, whole: int) -> list[str]:
    """What a round came to: how it ended, the mask distances it saw, the PrAC set it leaves of `whole` examples."""
    ended = f"stopped early after {row['epochs']} of" if row["stopped"] else "ended after all"
    validation = "" if row["validation"] is None else f"validation {row['validation']:.2f}, "
    lines = [
        f"round {row['round']} {ended} {row['epochs_planned']} epochs: "
        f"{validation}test {row['test']:.2f} at epoch {row['best_epoch']}; "
        f"{row['steps']:,} optimiser steps, {row['examples']:,} examples, {row['forward_passes']:,} extra forward "
        f"passes, {row['seconds']:.1f} s"
    ]
    if row.get("distances"):
        distances = ", ".join(f"{value:.4f}" for value in row["distances"])
        lines.append(f"mask distances, {row['interval'] or row['steps_per_epoch']} steps apart: {distances}")
    if "cet" in row:
        lines.append(
            f"|CET| {row['cet']}, |CEP| {row['cep']}, |CET and CEP| {row['cet_and_cep']}, |P| {row['next_set']} "
            f"of {whole} examples"
        )
    if "as_members" in row:
        lines.append(
            f"the next set has {row['next_set']} of {whole} examples: {row['as_members']} as --members says, "
            f"{row['filled']} drawn at random to fill it, {row['cut']} more left out; {row['in_run_set']} are in the "
            "set of the run that is followed"
        )
    return lines


COLUMNS = {  # heading: (key of a round's row, how it is written)
    "round": ("round", "d"),
    "density": ("density", ".4f"),
    "sparsity": ("sparsity", ".4f"),
    "of all": ("whole_density", ".4f"),
    "examples": ("set", "d"),
    "validation": ("validation", ".2f"),
    "test": ("test", ".2f"),
    "epochs": ("epochs", "d"),
    "planned": ("epochs_planned", "d"),
    "steps": ("steps", "d"),
}


def round_table(rounds: Sequence[dict], *without: str) -> list[str]:
    """One line per network trained; accuracies in percent, the test's at the best validation epoch, or the last one."""
    columns = {heading: column for heading, column in COLUMNS.items() if heading not in without}
    lines = ["  ".join(f"{heading:>{_width(heading)}}" for heading in columns)]
    for row in rounds:
        cells = (f"{_cell(row[key], form):>{_width(heading)}}" for heading, (key, form) in columns.items())
        lines.append("  ".join(cells))
    return [*lines, "density, sparsity: of the prunable weights; of all: density of the whole network"]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _width(heading: str) -> int:
    return max(len(heading), 7)


def measured_at(row: dict) -> str:
    """The epoch whose test accuracy a round's row has, in words."""
    return "the last epoch" if row["validation"] is None else "the best validation epoch"


def draw_curves(history: Sequence[dict], path: Path, title: str) -> None:
    """Training, validation and test accuracy by epoch, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = [row["epoch"] for row in history]
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.plot(epochs, [row["train"] for row in history], ".-", color="#888888", label="train (augmented)")
    validates = history[-1]["validation"] is not None
    if validates:
        axes.plot(epochs, [row["validation"] for row in history], ".-", color="#0072B2", label="validation")
    tested = [row for row in history if row["test"] is not None]
    axes.plot(
        [row["epoch"] for row in tested],
        [row["test"] for row in tested],
        "o",
        ms=4,
        color="#D55E00",
        label="test, at each new best validation" if validates else "test",
    )
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")  # said, or a slow machine is warned that it may take long
    write_atomically(path, partial(figure.savefig, dpi=120, format="png"))
    plt.close(figure)
