"""State of one training run: its history, the best epoch, elapsed time.

Searches train one network after another, main_train.py trains one. After each epoch the caller adds what it observed
and saves, so that a killed run repeats at most the epochs since the last save.
"""

import math
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dataset import class_counts
from lottery.bases.basis import Basis
from lottery.checkpointing.metrics import best_row_index
from lottery.terminal import counted
from lottery.training.context import TrainingContext
from lottery.training.loop import Epoch, MaskUpdates, finite, fit
from lottery.training.recipe import Recipe, steps_per_epoch
from pruner import Ticket, Weights, count, density, empty_layers, layer_counts, whole_density
from utils import RunError, listed

STEP_FIELDS = ("step", "step_fallback", "folded")  # keys of `step_fields`


@dataclass
class TrainingRun:
    """One training: its ticket, examples and recipe, and a row for each epoch so far."""

    ticket: Ticket
    indices: Tensor  # (n,) the examples it trains on
    recipe: Recipe
    round: int | None = None  # None: the one network of main_train.py
    first_step: int = 0  # where in the schedule it began
    stopped: bool = False
    history: list[dict] = field(default_factory=list)  # a row per epoch
    seconds: float = 0.0  # all the time spent on it, overheads too
    clock: float = field(default_factory=time.perf_counter)

    @property
    def epoch(self) -> int:
        """The next one, in the schedule."""
        return self.first_epoch + len(self.history)

    @property
    def first_epoch(self) -> int:
        """The epoch it began in, perhaps in its middle."""
        return self.first_step // max(1, self.steps_per_epoch)  # an empty set, which ends a search, has no steps

    @property
    def steps_done(self) -> int:
        """Where in the schedule it stands, in steps of whole epochs, those before `first_step` included."""
        return self.epoch * self.steps_per_epoch if self.history else self.first_step

    @property
    def steps_left_out(self) -> int:
        """Optimiser steps fewer than its epochs have with all examples, because batches were selected."""
        return self.steps_done - self.first_step - self.steps

    @property
    def finished(self) -> bool:
        return self.stopped or self.epoch >= self.recipe.epochs

    @property
    def best(self) -> dict:
        """The row of the best validation epoch; of the last one if nothing validates."""
        return self.history[best_row_index(self.history)]

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.indices), self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps that it has taken."""
        return sum(row["steps"] for row in self.history)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps that it takes if it does not stop early."""
        return self.recipe.epochs * self.steps_per_epoch - self.first_step

    def describe(self) -> str:
        return "training" if self.round is None else f"round {self.round}"

    def position(self) -> str:
        """Which epoch of which training comes next, for the progress bar."""
        return f"{self.describe()}, epoch {self.epoch}/{self.recipe.epochs}"

    def add_elapsed(self) -> float:
        """Add the time since the last call to `seconds`; returns it."""
        now = time.perf_counter()
        passed, self.clock = now - self.clock, now
        self.seconds += passed
        return passed


def train_epochs(
    training: TrainingRun,
    context: TrainingContext,
    snapshot_at: Container[int] = (),
    whole_until: int = 0,
    updates: MaskUpdates | None = None,
) -> Iterator[tuple[Epoch, dict]]:
    """Train on from where the history ends; after each epoch yield it and its new row in the history. Epochs before
    `whole_until` leave no example out. With `updates` the mask changes while it trains; the training's ticket has the
    mask of the epoch's end, and so have the rows their density.

    The step must hold the training's weights, mask and momentum. The test set is looked at only when validation is the
    best so far, since that is where it is reported; if nothing validates, after every epoch.
    RunError if the loss or a weight is no longer a number.
    """
    epochs = fit(
        context.step,
        training.indices,
        training.recipe,
        seed=context.order_seed,
        round=training.round or 0,
        done=training.steps_done,
        whole_until=whole_until,
        updates=updates,
        snapshot_at=snapshot_at,
        tick=context.progress.tick,
    )
    for epoch in epochs:
        if not (math.isfinite(epoch.loss) and finite(context.model)):
            raise RunError(
                f"{training.describe()}, epoch {epoch.number}: the loss is {epoch.loss} and the weights are no longer "
                "finite numbers. What was found before is kept; a smaller --lr or a --warmup may help, in another "
                "--save_dir or with --overwrite"
            )
        if updates:
            training.ticket = training.ticket._replace(mask=context.step.mask)
        left_out = training.steps_left_out
        training.history.append(_row(epoch, training, context, updates))
        context.progress.expect_fewer(training.steps_left_out - left_out)
        if not training.finished:
            context.progress.describe(training.position())
        training.history[-1]["seconds"] = training.add_elapsed()
        yield epoch, training.history[-1]


def _row(epoch: Epoch, training: TrainingRun, context: TrainingContext, updates: MaskUpdates | None) -> dict:
    """The row of an epoch in the history."""
    validation = None
    if len(context.split.validation):
        validation = context.evaluator.accuracy(context.train, context.split.validation)
    about_mask = {"density": density(training.ticket.mask), "final": updates.settled} if updates else {}
    about_mask |= updates.epoch_row(epoch.number * training.steps_per_epoch) if updates else {}
    rows = [*training.history, {"validation": validation} | about_mask]
    best_so_far = best_row_index(rows) == len(rows) - 1
    return about_mask | {
        "epoch": epoch.number,
        "lr": epoch.lr,
        "loss": epoch.loss,
        "train": 100 * epoch.right.double().mean().item(),
        "validation": validation,
        "test": context.evaluator.accuracy(context.test) if best_so_far else None,
        "steps": epoch.steps,
        "examples": len(epoch.examples),
        **step_fields(context),
    }


def step_fields(context: TrainingContext) -> dict[str, str | bool | None]:
    """For the records: how steps ran ("graph", "compiled graph", "compiled" or "plain"), why a faster way failed, if it
    did, and whether batch norm was folded for evaluation."""
    fast_step = context.step.fast_step
    return {"step": fast_step.used, "step_fallback": fast_step.fallback, "folded": context.evaluator.folded}


# --- results --------------------------------------------------------------------------------------------------


def summary(
    training: TrainingRun, context: TrainingContext, forward_passes: int = 0, weights: Weights | None = None
) -> dict:
    """The network's row in summary.json, the table and the costs, with the extra forward passes it took. `weights` are
    those that it ended with, where the network may have others by now."""
    mask, best = training.ticket.mask, training.best
    return {
        "round": training.round or 0,
        "density": density(mask),
        "sparsity": 1 - density(mask),
        "whole_density": whole_density(mask, context.model.parameters()),
        "kept": count(mask),
        "layers": layers_under(training.ticket, context, weights),
        "set": len(training.indices),
        "class_counts": class_counts(context.train.labels, training.indices),
        "validation": best["validation"],
        "test": best["test"],
        "best_epoch": best["epoch"],
        "epochs": len(training.history),
        "epochs_planned": training.recipe.epochs - training.first_epoch,
        "stopped": training.stopped,
        "steps_per_epoch": training.steps_per_epoch,
        "steps": training.steps,
        "steps_planned": training.planned_steps,
        **({"steps_left_out": training.steps_left_out} if training.recipe.batch_selection else {}),
        # Rows of older runs do not say how many examples an epoch had, nor how its steps ran.
        "examples": sum(row.get("examples", len(training.indices)) for row in training.history),
        "forward_passes": forward_passes,
        "seconds": training.seconds,
        **{name: training.history[-1].get(name) for name in STEP_FIELDS},
    }


def layers_under(ticket: Ticket, context: TrainingContext, weights: Weights | None) -> dict[str, dict[str, int]]:
    """`layer_counts` of the mask; in another basis beside the coefficients kept how many weights are not zero."""
    layers = layer_counts(ticket.mask)
    if ticket.masks_coefficients:
        weights = context.step.parameters if weights is None else weights
        numbers = torch.stack([weights[name].count_nonzero() for name in layers]).tolist()
        layers = {name: layers[name] | {"nonzero": number} for name, number in zip(layers, numbers, strict=True)}
    return layers


def plan_lines(training: TrainingRun, context: TrainingContext) -> list[str]:
    """What is about to be trained and for how long, with warnings about empty layers and an unused schedule."""
    recipe, mask = training.recipe, training.ticket.mask
    begin = f", beginning after step {training.first_step}" if training.first_step else ""
    most = "at most " if recipe.batch_selection else ""
    kept, whole = density(mask), whole_density(mask, context.model.parameters())
    first, last = training.first_epoch, recipe.epochs - 1
    epochs, each = (f"epoch {last} alone", "") if first == last else (f"epochs {first} to {last}", " each")
    lines = [
        f"{training.describe()}: density {kept:.4f}, sparsity {1 - kept:.4f} of the prunable weights ({whole:.4f} and "
        f"{1 - whole:.4f} of the whole network), {counted(len(training.indices), 'example')}",
        *basis_lines(training.ticket),
        f"{epochs}, {most}{counted(training.steps_per_epoch, 'step')}{each}{begin}, {recipe.describe_lr()}",
    ]
    warnings = [f"layer {name} has no weights left" for name in empty_layers(mask)]
    if unused := recipe.unused_lr():
        warnings.append(unused)
    return lines + [f"warning: {training.describe()}: {warning}" for warning in warnings]


def basis_lines(ticket: Ticket) -> list[str]:
    """What the mask keeps, if that is not single weights, and what it takes to store the basis."""
    if ticket.basis is None or ticket.basis.config.is_plain:
        return []
    described, stored = ticket.basis.config.describe(), ticket.basis.stored_numbers
    if not ticket.masks_coefficients:
        return [f"sparse in {described}: {silence(ticket.basis)}"]
    more = f", and {stored:,} more numbers of the basis" if stored else ""
    return [f"sparse in {described}: {count(ticket.mask):,} coefficients{more}; the weights they give are dense"]


def silence(basis: Basis) -> str:
    """What pruned filters emit, in words."""
    if basis.emitting is None:
        return "with pruned ones go their biases and the batch norm behind them"
    layers = listed([name.removesuffix(".weight") for name in basis.emitting])
    others = f", but those of {layers} may: what lies behind can turn zeros into other numbers" if layers else ""
    return f"pruned ones emit nothing, biases and batch norm included{others}"


def short_warnings(training: TrainingRun) -> list[str]:
    """A warning for a training that is too short to say much."""
    few = f"it took only {counted(training.steps, 'optimiser step')}, too few to say much"
    return [few] if training.steps < 100 else []
