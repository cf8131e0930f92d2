"""What a run prints: a line per epoch, lines per round, and a table of all rounds."""

from collections.abc import Sequence


def epoch_line(row: dict, last: int) -> str:
    """The log line of an epoch; test accuracy is shown where it was measured: at each new best validation accuracy, or
    in every epoch if there is no validation set."""
    validates = row["validation"] is not None
    parts = [
        f"epoch {row['epoch']:>3}/{last}",
        f"lr {row['lr']:.4g}",
        f"loss {row['loss']:.4f}",
        f"train {row['train']:.2f}",
        f"validation {row['validation']:.2f}" if validates else "",
        f"test {row['test']:.2f}{' (best)' if validates else ''}" if row["test"] is not None else "",
        f"density {row['density']:.4f}" if "density" in row else "",
        f"mask distance {row['distance']:.4f}" if row.get("distance") is not None else "",
        f"{row['seconds']:.1f} s",
    ]
    return "  " + "  ".join(part for part in parts if part)


def round_lines(row: dict, whole: int) -> list[str]:
    """The log lines of a finished round: accuracy and cost, mask distances, and the PrAC set it leaves of the `whole`
    training split's examples."""
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


COLUMNS = {  # heading: (key of a round's row, format)
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
    """One line per trained network, leaving out the columns headed `without`.

    Accuracies are in percent, at the best validation epoch, or the last epoch if there is no validation set.
    """
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
    """The epoch at which the test accuracy of a round's row was measured, in words."""
    return "the last epoch" if row["validation"] is None else "the best validation epoch"
