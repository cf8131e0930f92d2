"""A run in plain files, for reports and for people's own scripts: what its checkpoints say, without the tensors.

``metrics.jsonl`` has an object a line for each epoch that is saved; ``summary.json`` the settings, versions and
hardware, a row for each finished round, and what they cost.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from lottery.checkpointing.atomic_file import write_whole, writing

SHOWN = {  # in TensorBoard: column of a line -> name of the curve
    "train": "accuracy/train",
    "validation": "accuracy/validation",
    "test": "accuracy/test",
    "loss": "loss",
    "lr": "learning rate",
    "density": "mask/density",
    "distance": "mask/distance",
}
COLUMNS = ("epoch", "steps", "lr", "loss", "train", "validation", "test", "distance", "seconds")


class Metrics:
    """The file of epochs. It grows by a line; only when a run goes on is it brought to where the checkpoint stands."""

    def __init__(self, path: Path, events: Path | None = None):
        self.path, self.events = path, Events(events) if events else None
        self.round: int | None = None
        self.written = 0  # rows of this round

    def resume(
        self,
        round: int,
        density: float,
        history: Sequence[dict],
        earlier: Sequence[dict] = (),
        read_history: Callable[[int], Sequence[dict] | None] = lambda round: None,
    ) -> None:
        """Bring the file to where this round's checkpoint stands: a run that was killed may have written more than that
        knows, or half a line.

        `earlier` are the rows of finished rounds. Where a round has not as many lines as epochs, they are taken from
        `read_history` the round, if that is known.
        """
        found, lines = read_metrics(self.path)[0], []
        for row in earlier:
            own = [line for line in found if line["round"] == row["round"]]
            known = None if len(own) == row["epochs"] else read_history(row["round"])
            lines += own if known is None else [line_of(row["round"], row["density"], each) for each in known]
        lines += [line_of(round, density, row) for row in history]
        write_lines(self.path, lines)
        self.round, self.written = round, len(history)
        if self.events:
            self.events.resume(lines)

    def add(self, round: int, density: float, history: Sequence[dict]) -> None:
        """The rows of this round that are not yet in the file."""
        if round != self.round:
            self.round, self.written = round, 0
        lines = [line_of(round, density, row) for row in history[self.written :]]
        with writing(self.path), self.path.open("ab") as file:
            file.write(_text(lines))
        self.written = len(history)
        if self.events:
            with writing(self.events.folder):
                self.events.add(lines)


class Events:
    """The same for TensorBoard, over all optimiser steps of the run."""

    def __init__(self, folder: Path):
        self.folder, self.steps, self.writer = folder, 0, None

    def resume(self, lines: Sequence[dict]) -> None:
        """After these lines; what a killed run showed beyond them is taken back."""
        self.steps = sum(line["steps"] for line in lines)

    def add(self, lines: Sequence[dict]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:
            self.writer = SummaryWriter(self.folder, purge_step=self.steps + 1)
        for line in lines:
            self.steps += line["steps"]
            for name in SHOWN:
                if line[name] is not None:
                    self.writer.add_scalar(SHOWN[name], line[name], self.steps)
        self.writer.flush()


def line_of(round: int, density: float, row: dict) -> dict:
    """An epoch: accuracies in percent, `test` and `distance` null where none was measured."""
    return {"round": round, "density": density} | {name: row.get(name) for name in COLUMNS}


def best_place(rows: Sequence[dict]) -> int:
    """Of the epoch with the best validation accuracy, the first of equals; of the last one if nothing validates."""
    if rows[-1]["validation"] is None:
        return len(rows) - 1
    return max(range(len(rows)), key=lambda place: rows[place]["validation"])


def _text(lines: Sequence[dict]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def read_metrics(path: Path, counts: Sequence[str] = ("round", "epoch")) -> tuple[list[dict], int]:
    """The lines of a file of epochs, none if there is no file; and how many more are no such lines, cut or altered.

    `counts` are the whole numbers that each line has to have.
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
    """The content of a summary.json; None if there is none, or it is no whole JSON object. Callers check its keys."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_summary(path: Path, content: dict) -> None:
    """Write summary.json, unless it has this content already."""
    _write(path, json.dumps(content, indent=1).encode() + b"\n")


def write_lines(path: Path, lines: Sequence[dict]) -> None:
    """All of a file with an object a line, if it is not what stands there."""
    _write(path, _text(lines))


def _write(path: Path, text: bytes) -> None:
    if not path.exists() or path.read_bytes() != text:
        write_whole(path, lambda file: file.write(text))
