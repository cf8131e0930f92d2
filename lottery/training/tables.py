"""What a run prints: a row per epoch, lines per round, and a table of all rounds."""

from collections.abc import Mapping, Sequence

from lottery.terminal import Column, Verbatim, counted, table_lines
from lottery.training.costs import work_text

# Columns of the rows of epochs by their keys; those of `ALWAYS`, and of the others those that a training has.
EPOCH_COLUMNS = {
    "epoch": Column("epoch", width=7),
    "lr": Column("lr", ".4g", width=9),
    "loss": Column("loss", ".4f", width=7),
    "train": Column("train", ".2f", width=6),
    "validation": Column("validation", ".2f", width=6, short="val."),
    "test": Column("test", ".2f", width=6),
    "density": Column("density", ".4f", width=6, short="dens."),
    "grown": Column("grown", ",", width=6),
    "explored": Column("explored", ".4f", width=6, short="expl."),
    "distance": Column("distance", ".4f", width=6, short="dist."),
    "seconds": Column("s", ".1f", width=5),
}
ALWAYS = ("epoch", "lr", "loss", "train", "test", "seconds")


def epoch_cells(row: Mapping, last: int, distances: bool = False) -> dict[str, object]:
    """The cells of an epoch by the keys of EPOCH_COLUMNS: accuracies in percent. That of the test set is measured at
    each new best validation accuracy, or in every epoch if there is no validation set; `distances`: there is a column
    of mask distances, which not every epoch measures."""
    shown = {"validation": row["validation"] is not None, "distance": distances}
    shown |= {"density": "density" in row and "explored" not in row}  # where it is constant, that is no news
    shown |= {key: key in row for key in ("grown", "explored")}
    cells = {key: row.get(key) for key in EPOCH_COLUMNS if key in ALWAYS or shown[key]}
    return cells | {"epoch": f"{row['epoch']}/{last}"}


def round_lines(row: dict, whole: int) -> list[str]:
    """The log lines of a finished round: accuracy and cost, mask distances, and the PrAC set it leaves of the `whole`
    training split's examples."""
    taken, planned = row["epochs"], counted(row["epochs_planned"], "epoch")
    ended = f"stopped early after {taken} of {planned}" if row["stopped"] else f"ended after {planned}"
    validation = "" if row["validation"] is None else f"validation {row['validation']:.2f}, "
    lines = [
        f"round {row['round']} {ended}: {validation}test {row['test']:.2f} at epoch {row['best_epoch']}; "
        f"{work_text(row)}, {row['seconds']:.1f} s"
    ]
    lines += nonzero_lines(row)
    if row.get("distances"):
        distances = ", ".join(f"{value:.4f}" for value in row["distances"])
        apart = counted(row["interval"] or row["steps_per_epoch"], "step")
        lines.append(f"mask distances, {apart} apart: {distances}")
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


def nonzero_lines(row: dict) -> list[str]:
    """Of a mask of coefficients: how many of those it keeps, and how many of the weights they give are not zero."""
    layers = row.get("layers", {}).values()
    if not any("nonzero" in layer for layer in layers):
        return []
    kept, size, nonzero = (sum(layer[key] for layer in layers) for key in ("kept", "size", "nonzero"))
    return [f"{kept:,} of {size:,} coefficients kept, {nonzero:,} of the weights they give are not zero"]


ROUND_COLUMNS = (
    Column("round", "d", short="k"),
    Column("density", ".4f", short="dens."),
    Column("sparsity", ".4f", short="spars."),
    Column("of all", ".4f"),
    Column("examples", "d", short="set"),
    Column("validation", ".2f", short="val."),
    Column("test", ".2f"),
    Column("epochs"),
    Column("steps", "d"),
)
ROUND_KEYS = ("round", "density", "sparsity", "whole_density", "set", "validation", "test", "epochs", "steps")


def round_table(rounds: Sequence[dict], *without: str) -> list[str]:
    """One line per trained network, leaving out the columns of the keys `without`.

    Accuracies are in percent, at the best validation epoch, or the last epoch if there is no validation set.
    """
    columns = [column for column, key in zip(ROUND_COLUMNS, ROUND_KEYS, strict=True) if key not in without]
    keys = [key for key in ROUND_KEYS if key not in without]
    rows = [row | {"epochs": f"{row['epochs']}/{row['epochs_planned']}"} for row in rounds]
    return [
        *table_lines(columns, [[row[key] for key in keys] for row in rows]),
        "density, sparsity: of the prunable weights; of all: density of the whole network",
    ]


def retraining_lines(command: str | None) -> list[str]:
    """The command that trains a ticket, to paste; nothing if there is none."""
    return ["to train it on all the data:", Verbatim(f"  {command}")] if command else []


def measured_at(row: dict) -> str:
    """The epoch at which the test accuracy of a round's row was measured, in words."""
    return "the last epoch" if row["validation"] is None else "the best validation epoch"
