"""What a run keeps on disk and how it comes back: the one owner of a checkpoint's keys.

The order of writing: the best network, if there is a new one, then the checkpoint, which is the commit point. A run
killed between the two repeats the epochs since the checkpoint before and writes the same again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dataset import to_input
from lottery import ranks
from lottery.bases.basis import Basis, basis_in
from lottery.checkpointing.checkpoint import FORMAT, masked_in, on_cpu, read, split_ticket, write
from lottery.checkpointing.metrics import Metrics, write_summary
from lottery.checkpointing.resume import ResumePoint
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.run_settings import RunConfig
from lottery.checkpointing.save_timer import SaveTimer
from lottery.checkpointing.signals import shielded
from lottery.terminal import counted
from lottery.training.context import TrainingContext
from lottery.training.costs import Vanilla, costs
from lottery.training.environment import environment_changes
from lottery.training.recipe import Recipe, steps_per_epoch
from lottery.training.training_run import TrainingRun
from models.network_state import tensors
from pruner import Mask, Ticket, Weights, density
from utils import InputError, RunError


@dataclass(frozen=True)
class CheckpointState:
    """A training as it stood after an epoch: what goes into its checkpoint.

    A value that is a function is called when it is written, so that what is costly is done only then.
    """

    round: int | None
    mask: Mask
    values: dict
    basis: Basis | None = None  # of the mask

    @property
    def density(self) -> float:
        return density(self.mask)

    def without(self, *names: str) -> "CheckpointState":
        values = {name: value for name, value in self.values.items() if name not in names}
        return replace(self, values=values)

    def frozen(self) -> "CheckpointState":
        """The same with copies of what training on would change."""
        changing = {name: copied(self.values[name]) for name in CHANGING if name in self.values}
        return replace(self, values=self.values | changing)

    def on_host(self) -> "CheckpointState":
        """The same in the memory of the host, so that writing it asks nothing of a device."""
        values = {name: value() if callable(value) else value for name, value in self.values.items()}
        return replace(self, mask=on_cpu(self.mask), values=on_cpu(values))

    def content(self) -> dict:
        """The checkpoint, as it is written. `state`, `epoch`, `state_dict`, `init_weight`, `sequence`, `result` and
        `best_sa` are keys of the 2021 code; docs/runs.md lists all."""
        values = {name: value() if callable(value) else value for name, value in self.values.items()}
        rows = values["history"]
        result = {"train": "train", "ta": "validation", "test_ta": "test"}
        return values | {
            "state_dict": masked_in(values["state_dict"], self.mask, self.basis),
            **({"basis": self.basis.record()} if self.basis else {}),
            "result": {name: [row[key] for row in rows] for name, key in result.items()},
            "best_sa": max((row["validation"] or 0.0 for row in rows), default=0.0),
        }


TO_GO_ON = ("momentum", "losses", "explored", "dropped_weights")  # the values that only a resumed training needs
CHANGING = ("state_dict", "momentum", "losses", "policy")  # the values that training writes into


def copied(value):
    """Copies of the tensors in a dict or list."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


class Checkpointer:
    """Saves and resumes a run: the newest epoch and the best one, at once in memory and on disk when it is time.

    A training's beginning and its end are written at once, epochs in between at most once every `save_interval`
    seconds. `flush` writes what is only in memory, for the end of a run, however it comes. `about` is what the records
    say of the run beside its settings.
    """

    def __init__(self, context: TrainingContext, run: RunConfig, settings: dict, about: dict):
        self.context, self.directory, self.settings, self.about = context, RunDirectory(run.save_dir), settings, about
        self.save_timer = SaveTimer(run.save_interval)
        self.metrics = Metrics(self.directory.metrics, self.directory.tensorboard if run.tensorboard else None)
        self.newest: CheckpointState | None = None  # not on disk yet
        self.best: CheckpointState | None = None

    def save(self, training: TrainingRun, init_weight: Weights | None, init_step: int | None, **more: object) -> None:
        """Keep the training as it stands, the weights that its ticket starts from and the optimiser steps to them, if
        they are known, and `more` that its script needs to go on. The first rank does."""
        if not ranks.is_first():
            return
        due = not training.history or training.finished or self.save_timer.due()
        now = self.state(training, init_weight, init_step, more)
        now = now if due else now.frozen()
        if ranks.count() > 1:  # when others have been ended, the device waits for them, and copies nothing any more
            now = now.on_host()
        if training.history and training.best is training.history[-1]:
            self.best = now.without(*TO_GO_ON)
        self.newest = now
        if due:
            self.flush()

    def flush(self) -> None:
        """Write the best network, then the checkpoint, if they are not on disk; a signal waits for both."""
        with shielded():
            if self.best:
                write(self.directory.best(self.best.round), self.best.content())
                self.best = None
            if self.newest:
                write(self.directory.checkpoint(self.newest.round), self.newest.content())
                self.metrics.add(self.newest.round or 0, self.newest.density, self.newest.values["history"])
                self.newest = None
        self.save_timer.restart()

    def state(
        self, training: TrainingRun, init_weight: Weights | None, init_step: int | None, more: dict
    ) -> CheckpointState:
        """The training as it stands; weights and momentum are not copied. A finished training needs no momentum."""
        values = {
            "state": training.round,
            "epoch": training.epoch,
            "state_dict": tensors(self.context.model),
            "init_weight": init_weight,
            "init_step": init_step,
            "sequence": training.indices.to(torch.int32),
            "validation": self.context.split.validation.to(torch.int32),
            "history": list(training.history),
            "first_step": training.first_step,
            "stopped": training.stopped,
            "seconds": training.seconds,
            "settings": self.settings,
            "environment": self.context.environment,
            "format": FORMAT,
            "momentum": None if training.finished else self.context.step.momentum(),
        }
        if (selection := self.context.step.selection) and not training.finished:
            values["losses"] = selection.losses
        return CheckpointState(training.round, training.ticket.mask, values | more, training.ticket.basis)

    def resume(
        self, resume_point: ResumePoint, recipe: Recipe, rounds: Sequence[dict] = (), dense: Mask | None = None
    ) -> TrainingRun:
        """The training as it was saved, its weights, mask and momentum in the step; the records are brought to where it
        stands, after these finished `rounds`. `dense` is the mask where the file holds none, by default that of the
        network. Logs from where it goes on."""
        training = restore_training(resume_point, recipe, self.context, dense or self.context.dense())
        if ranks.is_first():
            kept = density(training.ticket.mask)
            self.metrics.resume(training.round or 0, kept, training.history, rounds, read_history=self.read_history)
        return training

    def read_history(self, round: int) -> list[dict] | None:
        """The history of a finished round, from its checkpoint; None if that is gone or damaged."""
        try:
            return read(self.directory.checkpoint(round))["history"]
        except (InputError, KeyError):
            return None

    def summarize(self, rounds: Sequence[dict], vanilla: Vanilla, *, round: int, finished: bool) -> None:
        """Write summary.json: settings, environment, and the finished `rounds` with their costs."""
        write_summary(
            self.directory.summary,
            {
                **self.about,
                "settings": self.settings,
                "environment": self.context.environment,
                "examples": self.context.counts,
                "classes": list(self.context.classes),
                "flops": self.flops if rounds else {},
                "vanilla": {"epochs": vanilla.epochs, "steps_per_epoch": vanilla.steps_per_epoch},
                "round": round,
                "finished": finished,
                "rounds": list(rounds),
                "costs": costs(rounds, vanilla, self.flops if rounds else {}),
            },
        )

    @cached_property
    def flops(self) -> dict[str, float]:
        """FLOPs of a forward pass of one example, by weight. Imported late, so that a run begins sooner."""
        from lottery.training.flops import forward_flops

        return forward_flops(self.context.model, to_input(self.context.train.at(slice(1))))


def restore_training(resume_point: ResumePoint, recipe: Recipe, context: TrainingContext, dense: Mask) -> TrainingRun:
    """The training as it was saved, its weights, mask and momentum in the step; logs from where it goes on.

    Its mask has the layers in the order of `dense`, since what is drawn for one layer after another follows that order;
    a file has them in the order of the network's parameters.
    """
    saved = resume_point.saved
    (weights, mask), basis = split_ticket(saved["state_dict"]), basis_in(saved)
    mask = {name: layer.to(context.device) for name, layer in mask.items()}
    mask = {name: mask[name] for name in dense if name in mask} | mask or dense
    context.step.load_(Ticket(mask, weights, basis=basis), masked=True)
    if saved.get("momentum") is not None:
        context.step.load_momentum_(saved["momentum"])
    if context.step.selection and saved.get("losses") is not None:
        context.step.selection.losses.copy_(saved["losses"])
    training = TrainingRun(
        ticket=Ticket(mask, saved["init_weight"] or {}, saved.get("init_step"), basis),
        indices=saved["sequence"].long().to(context.device),
        recipe=recipe,
        round=saved["state"],
        first_step=first_step_in(saved, recipe),
        stopped=saved["stopped"],
        history=saved["history"],
        seconds=saved["seconds"],
    )
    log = context.progress.log
    log(f"going on from {resume_point.source}: {training.describe()}, {counted(len(training.history), 'epoch')} done")
    log(*environment_changes(saved["environment"], context.environment))
    return training


def first_step_in(saved: dict, recipe: Recipe) -> int:
    """Where in its schedule the training began; older runs, which began with whole epochs, say so in epochs."""
    if "first_step" in saved:
        return saved["first_step"]
    return saved["first_epoch"] * steps_per_epoch(len(saved["sequence"]), recipe.batch_size)


def best_weights(file: Path) -> Weights:
    """The weights at the best epoch, under their mask; RunError if the file is gone or damaged."""
    try:
        return split_ticket(ranks.from_first(lambda: read(file))["state_dict"])[0]
    except InputError as error:
        raise RunError(f"the end of a round needs its best network: {error}") from None
