"""A run's records in plain files, for reports and other scripts: what its checkpoints say, without the tensors.

``metrics.jsonl`` has one JSON object per line for each saved epoch; ``summary.json`` has the settings, versions and
hardware, one row per finished round, and the costs.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lottery import ranks
from lottery.checkpointing.atomic_file import write_atomically, writing

TENSORBOARD_TAGS = {  # column of a line -> tag of the curve
    "train": "accuracy/train",
    "validation": "accuracy/validation",
    "test": "accuracy/test",
    "loss": "loss",
    "lr": "learning rate",
    "density": "mask/density",
    "distance": "mask/distance",
}
FURTHER_COLUMNS = ("grown", "explored")  # of trainings that have them: those whose mask grows weights
COLUMNS = ("epoch", "steps", "lr", "loss", "train", "validation", "test", "distance", "seconds")


class Metrics:
    """metrics.jsonl. Lines are appended; on resuming, the file is first brought in line with the checkpoint."""

    def __init__(self, path: Path, tensorboard: Path | None = None):
        self.path, self.tensorboard = path, TensorBoard(tensorboard) if tensorboard else None
        self.round: int | None = None
        self.written = 0  # lines of this round

    def resume(
        self,
        round: int,
        density: float,
        history: Sequence[dict],
        earlier: Sequence[dict] = (),
        read_history: Callable[[int], Sequence[dict] | None] = lambda round: None,
    ) -> None:
        """Bring the file in line with this round's checkpoint, whose epochs are `history`: a killed run may have
        written later epochs, or half a line.

        `earlier` are the summary rows of finished rounds. If a round has a different number of lines than epochs, its
        lines are rebuilt from `read_history(round)`, unless that returns None.
        """
        present, lines = read_metrics(self.path)[0], []
        for row in earlier:
            own = [line for line in present if line["round"] == row["round"]]
            known = None if len(own) == row["epochs"] else read_history(row["round"])
            lines += own if known is None else [metrics_line(row["round"], row["density"], each) for each in known]
        lines += [metrics_line(round, density, row) for row in history]
        write_lines(self.path, lines)
        self.round, self.written = round, len(history)
        if self.tensorboard:
            self.tensorboard.resume(lines)

    def add(self, round: int, density: float, history: Sequence[dict]) -> None:
        """Append the epochs of this round's `history` that are not yet in the file."""
        if round != self.round:
            self.round, self.written = round, 0
        lines = [metrics_line(round, density, row) for row in history[self.written :]]
        with writing(self.path), self.path.open("ab") as file:
            file.write(_text(lines))
        self.written = len(history)
        if self.tensorboard:
            with writing(self.tensorboard.folder):
                self.tensorboard.add(lines)


class TensorBoard:
    """The same numbers as TensorBoard curves over all optimiser steps of the run."""

    def __init__(self, folder: Path):
        self.folder, self.steps = folder, 0
        self.writer: Any = None  # torch's SummaryWriter, once it is needed

    def resume(self, lines: Sequence[dict]) -> None:
        """Continue after these lines; later points of a killed run are purged."""
        self.steps = sum(line["steps"] for line in lines)

    def add(self, lines: Sequence[dict]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:
            self.writer = SummaryWriter(self.folder, purge_step=self.steps + 1)
        for line in lines:
            self.steps += line["steps"]
            for name, tag in TENSORBOARD_TAGS.items():
                if line[name] is not None:
                    self.writer.add_scalar(tag, line[name], self.steps)
        self.writer.flush()


def metrics_line(round: int, density: float, row: dict) -> dict:
    """The line of one epoch: accuracies in percent; `test` and `distance` are null where not measured."""
    further = {name: row[name] for name in FURTHER_COLUMNS if name in row}
    return (
        {"round": round, "density": row.get("density", density)} | {name: row.get(name) for name in COLUMNS} | further
    )


def best_row_index(rows: Sequence[dict]) -> int:
    """Index of the epoch with the best validation accuracy (the first among equals), or of the last epoch if there is
    no validation set. Rows that say that the mask is not `final` yet count only while there are no others: a denser
    network is not comparable."""
    if rows[-1]["validation"] is None:
        return len(rows) - 1
    final = [place for place, row in enumerate(rows) if row.get("final", True)]
    return max(final or range(len(rows)), key=lambda place: rows[place]["validation"])


def _text(lines: Sequence[dict]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def read_metrics(path: Path, counts: Sequence[str] = ("round", "epoch")) -> tuple[list[dict], int]:
    """The valid lines of metrics.jsonl (none if there is no file), and the number of invalid ones, cut or altered.

    A valid line has an integer under each key in `counts`.
    """
    lines, broken = [], 0
    for text in path.read_bytes().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            lines.append(line | {name: int(line[name]) for name in counts})
        except (ValueError, TypeError, KeyError):
            broken += 1
    return lines, broken


def read_summary(path: Path) -> dict | None:
    """The content of a summary.json; None if it is missing or no valid JSON object. Callers check its keys."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_summary(path: Path, content: dict) -> None:
    """Write the summary if it changed."""
    _write(path, json.dumps(content, indent=1).encode() + b"\n")


def write_lines(path: Path, lines: Sequence[dict]) -> None:
    """Write a file of one JSON object per line if it changed."""
    _write(path, _text(lines))


def _write(path: Path, text: bytes) -> None:
    if ranks.is_first() and not (path.exists() and path.read_bytes() == text):
        write_atomically(path, lambda file: file.write(text))
