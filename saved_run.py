"""What a run keeps on disk and how it comes back: the one owner of a checkpoint's keys.

The order of writing after an epoch: the best network, if this epoch is it, then the checkpoint, which is the commit
point. A run killed between the two repeats the epoch and writes the same again.
"""

from pathlib import Path

import torch

from checkpoint import FORMAT, masked_state, read, split_state, write
from environment import changes
from pruner import Ticket, Weights, dense
from recipe import Recipe
from rundir import Opening, RunDirectory
from trial import Trial
from utils import InputError, RunError
from workbench import Workbench


def save(
    trial: Trial,
    bench: Workbench,
    directory: RunDirectory,
    settings: dict,
    init_weight: Weights | None,
    **more: object,
) -> None:
    """Write the trial as it stands, with `more` that its script needs to go on.

    A finished training needs no momentum any more.
    """
    state = content(trial, bench, settings, init_weight) | more
    if trial.history and trial.best is trial.history[-1]:
        write(directory.best(trial.round), state)
    momentum = None if trial.over else bench.step.momentum()
    write(directory.checkpoint(trial.round), state | {"momentum": momentum})


def content(trial: Trial, bench: Workbench, settings: dict, init_weight: Weights | None) -> dict:
    """The keys every checkpoint has; those up to `sequence` are the 2021 code's.

    The weights are the network's own, not a copy: to be written before it trains on.
    """
    return {
        "state": trial.round,
        "epoch": trial.epoch,
        "state_dict": masked_state(bench.model.state_dict(), trial.ticket.mask),
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
        "seconds": trial.seconds,
        "settings": settings,
        "environment": bench.environment,
        "format": FORMAT,
    }


def restore(opening: Opening, recipe: Recipe, bench: Workbench) -> Trial:
    """The trial as it was saved, its weights, mask and momentum in the step; says from where it goes on."""
    saved = opening.saved
    weights, mask = split_state(saved["state_dict"])
    mask = {name: layer.to(bench.device) for name, layer in mask.items()} or dense(bench.model)
    bench.step.load_(Ticket(mask, weights))
    if saved.get("momentum") is not None:
        bench.step.load_momentum_(saved["momentum"])
    trial = Trial(
        ticket=Ticket(mask, saved["init_weight"] or {}),
        indices=saved["sequence"].long().to(bench.device),
        recipe=recipe,
        round=saved["state"],
        epoch=saved["epoch"],
        first_epoch=saved["first_epoch"],
        stopped=saved["stopped"],
        history=saved["history"],
        seconds=saved["seconds"],
    )
    say = bench.feedback.say
    say(f"going on from {opening.source}: {trial.describe()}, {len(trial.history)} epochs done")
    say(*changes(saved["environment"], bench.environment))
    return trial


def best_weights(file: Path) -> Weights:
    """The weights at the best validation epoch, zero where dropped; RunError if the file is gone or damaged."""
    try:
        return split_state(read(file)["state_dict"])[0]
    except InputError as error:
        raise RunError(f"the end of a round needs its best network: {error}") from None
