"""One network's training with its books: accuracies, the best epoch, what it cost, and what it needs to go on.

Searches train one after another, `main_train.py` trains one. After each epoch the caller adds what it observes and
saves; so a killed run repeats at most the epoch it was in.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from checkpoint import FORMAT, masked_state, read, split_state, write
from feedback import draw_curves, epoch_line
from pruner import Ticket, Weights, count, dense, density, empty_layers, whole_density
from rundir import RunDirectory
from training import Epoch, Recipe, accuracy, copy_weights, fit, load_weights_, predict, steps_per_epoch
from utils import RunError
from workbench import Workbench, environment


@dataclass
class Trial:
    """A training: its ticket, examples and recipe, and its books so far."""

    ticket: Ticket
    indices: Tensor  # (n,) the examples it trains on
    recipe: Recipe
    round: int | None = None  # None: the one network of main_train.py
    epoch: int = 0  # the next one, in the schedule
    first_epoch: int = 0  # where in the schedule it began
    stopped: bool = False
    history: list[dict] = field(default_factory=list)  # a row per epoch

    @property
    def over(self) -> bool:
        return self.stopped or self.epoch >= self.recipe.epochs

    @property
    def best(self) -> dict:
        """The row of the best validation epoch, the first of equals."""
        return max(self.history, key=lambda row: row["validation"])

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.indices), self.recipe.batch_size)

    @property
    def steps(self) -> int:
        return len(self.history) * self.steps_per_epoch

    @property
    def planned_steps(self) -> int:
        """Steps if it does not stop early."""
        return (self.recipe.epochs - self.first_epoch) * self.steps_per_epoch

    def describe(self) -> str:
        return "the training" if self.round is None else f"round {self.round}"


def watch(
    trial: Trial, bench: Workbench, snapshot_at: Callable[[int], bool] = lambda steps: False
) -> Iterator[tuple[Epoch, dict]]:
    """Train on from where the books end; after each epoch yield it and its new row in the history.

    The step must hold the trial's weights, mask and momentum. The test set is looked at only when validation is the
    best so far, since that is where it is reported. RunError if the loss is no longer a number.
    """
    clock = time.perf_counter()
    epochs = fit(
        bench.step,
        trial.indices,
        trial.recipe,
        seed=bench.seed,
        round=trial.round or 0,
        start=trial.epoch,
        snapshot_at=snapshot_at,
        tick=bench.feedback.tick,
    )
    for epoch in epochs:
        if not math.isfinite(epoch.loss):
            raise RunError(
                f"{trial.describe()}, epoch {epoch.number}: the loss is {epoch.loss}; a smaller --lr or a --warmup may "
                "help. The run stands at the epoch before"
            )
        row = _row(epoch, trial, bench)
        row["seconds"] = time.perf_counter() - clock
        trial.history.append(row)
        trial.epoch = epoch.number + 1
        yield epoch, row
        clock = time.perf_counter()


def _row(epoch: Epoch, trial: Trial, bench: Workbench) -> dict:
    """An epoch's entry in the history."""
    validation = accuracy(bench.model, bench.train, bench.split.validation)
    best_so_far = not trial.history or validation > trial.best["validation"]
    return {
        "epoch": epoch.number,
        "lr": epoch.lr,
        "loss": epoch.loss,
        "train": 100 * epoch.right.double().mean().item(),
        "validation": validation,
        "test": accuracy(bench.model, bench.test) if best_so_far else None,
        "steps": epoch.steps,
    }


def start(trial: Trial, bench: Workbench) -> None:
    """Load the trial's ticket into the step."""
    bench.step.load_(trial.ticket)


# --- on disk ----------------------------------------------------------------------------------------------------------


def content(trial: Trial, bench: Workbench, settings: dict, init_weight: Weights | None) -> dict:
    """The keys every checkpoint has."""
    return {
        "state": trial.round,
        "epoch": trial.epoch,
        "state_dict": masked_state(copy_weights(bench.model), trial.ticket.mask),
        "init_weight": init_weight,
        "best_sa": trial.best["validation"] if trial.history else 0.0,
        "result": {
            "train": [row["train"] for row in trial.history],
            "ta": [row["validation"] for row in trial.history],
            "test_ta": [row["test"] for row in trial.history],
        },
        "sequence": trial.indices.to(torch.int32),
        "history": trial.history,
        "first_epoch": trial.first_epoch,
        "stopped": trial.stopped,
        "settings": settings,
        "environment": environment(bench.device),
        "format": FORMAT,
    }


def save(trial: Trial, bench: Workbench, directory: RunDirectory, state: dict) -> None:
    """After an epoch: the best network if this is it, then the checkpoint, which is the commit point.

    A finished training needs no momentum any more.
    """
    if trial.history and trial.best is trial.history[-1]:
        write(directory.best(trial.round), state)
    momentum = None if trial.over else bench.step.momentum()
    write(directory.checkpoint(trial.round), state | {"momentum": momentum})


def restore(saved: dict, recipe: Recipe, bench: Workbench) -> Trial:
    """The trial as it was saved, its weights, mask and momentum loaded into the step."""
    weights, mask = split_state(saved["state_dict"])
    ticket = Ticket(mask or dense(bench.model), weights)
    bench.step.load_(ticket)
    if saved.get("momentum") is not None:
        bench.step.load_momentum_(saved["momentum"])
    return Trial(
        ticket=Ticket(bench.step.mask, weights),
        indices=saved["sequence"].long().to(bench.device),
        recipe=recipe,
        round=saved["state"],
        epoch=saved["epoch"],
        first_epoch=saved["first_epoch"],
        stopped=saved["stopped"],
        history=saved["history"],
    )


def changes(saved: dict, bench: Workbench) -> list[str]:
    """What has changed since the run was saved that bit-equality depends on; empty if nothing has."""
    now = environment(bench.device)
    different = [
        f"{name} was {old}, is {now.get(name)}" for name, old in saved["environment"].items() if now.get(name) != old
    ]
    return [f"note: no longer bit-exact with an unbroken run, since {'; '.join(different)}"] if different else []


def best_weights(file: Path) -> Weights:
    """The weights at the best validation epoch, zero where dropped."""
    return split_state(read(file)["state_dict"])[0]


# --- what it came to --------------------------------------------------------------------------------------------------


def summary(trial: Trial, bench: Workbench) -> dict:
    """The row of this network in the final table and in the ledger."""
    mask, best = trial.ticket.mask, trial.best
    return {
        "round": trial.round or 0,
        "density": density(mask),
        "sparsity": 1 - density(mask),
        "whole_density": whole_density(mask, bench.model.parameters()),
        "kept": count(mask),
        "set": len(trial.indices),
        "validation": best["validation"],
        "test": best["test"],
        "best_epoch": best["epoch"],
        "epochs": len(trial.history),
        "epochs_planned": trial.recipe.epochs - trial.first_epoch,
        "stopped": trial.stopped,
        "steps_per_epoch": trial.steps_per_epoch,
        "steps": trial.steps,
        "examples": len(trial.history) * len(trial.indices),
        "forward_passes": 0,
        "seconds": sum(row["seconds"] for row in trial.history),
    }


def show_epoch(trial: Trial, row: dict, bench: Workbench) -> None:
    bench.feedback.say(epoch_line(row, trial.recipe.epochs))


def plan_line(trial: Trial) -> str:
    """What is about to be trained, and how long."""
    kept = density(trial.ticket.mask)
    return (
        f"{trial.describe()}: density {kept:.4f}, sparsity {1 - kept:.4f}, {len(trial.indices)} examples, "
        f"epochs {trial.first_epoch} to {trial.recipe.epochs - 1}, {trial.steps_per_epoch} steps each, "
        f"learning rate drops at {', '.join(map(str, trial.recipe.milestones)) or 'no epoch'}"
    )


def draw(trial: Trial, directory: RunDirectory) -> None:
    """The curves of a finished training."""
    sparsity = 100 * (1 - density(trial.ticket.mask))
    draw_curves(trial.history, directory.curves(trial.round), f"{trial.describe()}, {sparsity:.2f} % sparse")


def warnings(trial: Trial) -> list[str]:
    """What the user should know before trusting this training."""
    lines = [f"layer {name} has no weights left" for name in empty_layers(trial.ticket.mask)]
    if trial.steps < 100:
        lines.append(f"only {trial.steps} optimiser steps were taken, too few to say much")
    beyond = [str(milestone) for milestone in trial.recipe.milestones if milestone >= trial.recipe.epochs]
    if beyond:
        lines.append(f"the learning rate never drops at {', '.join(beyond)}: training has {trial.recipe.epochs} epochs")
    return lines


def predictions(bench: Workbench, weights: Weights) -> Tensor:
    """Classes that a network with these weights gives all examples that train, (n0,); the step's weights are lost."""
    load_weights_(bench.model, weights)
    return predict(bench.model, bench.train, bench.whole)
