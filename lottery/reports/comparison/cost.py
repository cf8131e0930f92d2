"""What finding tickets cost: optimiser steps, examples, and the arithmetic of a machine that skips zeros."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lottery.results.runs import FOREIGN, Run
from lottery.training.costs import Vanilla, saved, saved_by, saved_with_training
from lottery.training.recipe import steps_per_epoch

BACKWARD = 2  # the gradients of weights and of activations: each as much as a forward pass


def forward(flops: Mapping[str, float], row: Mapping) -> float | None:
    """FLOPs of one example's forward pass under the mask of this round: of each layer the share of its weights that is
    kept. None where the layers are not recorded."""
    if not flops or "layers" not in row:
        return None
    layers = row["layers"]
    return sum(
        count * layers[name]["kept"] / layers[name]["size"] if name in layers else count
        for name, count in flops.items()
    )


def training_flops(flops: Mapping[str, float], row: Mapping) -> float | None:
    """Forward and backward over all examples that the round trained on."""
    one = forward(flops, row)
    return None if one is None else (1 + BACKWARD) * one * row["examples"]


def looking_flops(run: Run, row: Mapping) -> float | None:
    """Forward alone: the extra passes that build sets, validation after each epoch, the test set at each new best.

    None where not all epochs of the round are recorded.
    """
    one, counts = forward(run.summary.get("flops", {}), row), run.summary.get("examples", {})
    epochs = [line for line in run.epochs if line["round"] == row["round"]]
    if one is None or len(epochs) < row["epochs"]:
        return None
    tested = sum(line.get("test") is not None for line in epochs)
    return one * (row["forward_passes"] + len(epochs) * counts["validation"] + tested * counts["test"])


@dataclass
class Spent:
    """What a search had spent when it knew its ticket after `prunings` prunings; None where that is not recorded."""

    prunings: int
    density: float
    steps: int
    examples: int
    forward_passes: int
    seconds: float
    training_flops: float | None
    looking_flops: float | None
    saved: float | None = None  # of vanilla IMP's steps, to find the ticket
    saved_with_training: float | None = None  # to find and to train it
    saved_by: dict | None = None


class Costs:
    """The books of one search."""

    def __init__(self, run: Run):
        self.run = run

    @cached_property
    def vanilla(self) -> Vanilla | None:
        """Its yardstick; of an older version's run it is told by round 0, if that trained on all the data."""
        settings, first = self.run.settings, self.run.rounds[0]
        if told := self.run.summary.get("vanilla"):
            return Vanilla(told["epochs"], told["steps_per_epoch"])
        if self.run.script == FOREIGN or settings.get("prac_set"):
            return None
        return Vanilla(settings["epochs"], steps_per_epoch(first["set"], settings["batch_size"]))

    @cached_property
    def spent(self) -> list[Spent]:
        """After each round; nothing for a run of the 2021 code."""
        rounds = self.run.rounds if self.run.script != FOREIGN else []
        return [self.after(rounds[: k + 1]) for k in range(len(rounds))]

    def after(self, rounds: Sequence[Mapping]) -> Spent:
        flops = self.run.summary.get("flops", {})
        found = Spent(
            prunings=len(rounds),
            density=self.next_density(len(rounds)),
            **{what: sum(row[what] for row in rounds) for what in ("steps", "examples", "forward_passes", "seconds")},
            training_flops=total([training_flops(flops, row) for row in rounds]),
            looking_flops=total([looking_flops(self.run, row) for row in rounds]),
        )
        if self.vanilla:
            found.saved = saved(rounds, self.vanilla)
            found.saved_with_training = saved_with_training(rounds, self.vanilla)
            found.saved_by = saved_by(rounds, self.vanilla)
        return found

    def next_density(self, k: int) -> float:
        """Of the ticket after k prunings: round k's, or after the last round what pruning leaves of it."""
        rounds = self.run.rounds
        if k < len(rounds):
            return rounds[k]["density"]
        last, kept = rounds[-1]["density"], rounds[-1]["kept"]
        return last * (kept - round(self.run.settings["rate"] * kept)) / kept


def total(parts: Sequence[float | None]) -> float | None:
    return None if None in parts else sum(parts)


def to_train(run: Run) -> Mapping:
    """What training a ticket cost: main_train.py's only row."""
    return run.rounds[0]
