"""The training loop: train a network under a mask, epoch by epoch.

`fit` yields after each epoch. To rewind, use the snapshots in `Epoch`; to stop early, break. Nothing within an epoch
waits for the device: the epoch ends with one transfer, and the random draws of the next are made while the device
still computes.

Shapes: n examples trained on.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dataset import draw_epoch, visits
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step, copy_weights
from pruner import Weights
from utils import seed_generators, torch_seed


@dataclass(frozen=True)
class Epoch:
    """Result of one epoch."""

    number: int  # in the schedule, from 0
    steps: int
    lr: float  # of its last step
    loss: float  # mean over the examples, weighted if some were left out
    examples: Tensor  # int64 (n,) trained on in this epoch, or in the rest of one that was entered in the middle
    right: Tensor  # bool (n,) whether each was classified right when trained on
    snapshots: dict[int, Weights]  # steps since the start of the schedule -> weights after that step


class MaskUpdates(Protocol):
    """Changes of the mask while a network trains, at given steps of the schedule."""

    @property
    def settled(self) -> bool:
        """Whether the mask changes no more."""

    def epoch_row(self, begin: int) -> dict[str, int | float]:
        """What the row of the epoch that began after so many steps says of the changes within it."""

    def before_step_(self, step: Step, done: int, visits: Tensor) -> bool:
        """Called after `done` steps of the schedule, counted as of whole epochs, before the step on the batch `visits`,
        int64 (4, b). May change the mask (`Step.change_mask_`) and the weights; whether that takes the place of the
        optimiser step. Only a change of the mask may wait for the device."""


def fit(
    step: Step,
    indices: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    round: int = 0,
    done: int = 0,
    whole_until: int = 0,
    updates: MaskUpdates | None = None,
    snapshot_at: Container[int] = (),
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train on `indices`, (n,), up to epoch recipe.epochs and yield after each epoch.

    Training starts after the first `done` steps of the schedule, in the middle of an epoch if need be, with that
    epoch's learning rate and remaining examples. Every random draw, dropout in whole epochs included, is derived from
    (seed, round, epoch). The weights are copied after each step in `snapshot_at`, counted from the start of epoch 0.
    `tick` is called after each step.

    If the step selects batches, an epoch may have fewer steps; those before epoch `whole_until`, and one that is
    entered in the middle, leave nothing out. `done` and `snapshot_at` count the steps of whole epochs.
    """
    whole = batches(len(indices), recipe.batch_size)

    def epoch_visits(number: int) -> Tensor:
        return visits(indices, draw_epoch(len(indices), step.data.padding, step.data.flips, (seed, round, number)))

    def selected(visits: Tensor, number: int) -> Tensor:
        if step.selection is None or number < whole_until:
            return visits
        return step.selection.select_(visits, (seed, round, number), number / recipe.epochs)

    first, skipped = divmod(done, len(whole))
    coming = epoch_visits(first) if first < recipe.epochs else None
    for number in range(first, recipe.epochs):
        begin = skipped if number == first else 0
        now = coming if begin else selected(coming, number)
        left_out = now is not coming
        plan = batches(now.shape[1], recipe.batch_size) if left_out else whole
        epoch_seed = torch_seed(seed, round, number)
        seed_generators(epoch_seed)
        step.begin_epoch_()
        snapshots = {}
        arriving = step.data.training_batches(now, plan[begin:], (seed, round, number))
        for place, batch in enumerate(arriving, begin):
            step.lr.fill_(recipe.lr_at(number, place, len(plan)))
            step.position = epoch_seed, place
            done = number * len(whole) + place
            if updates is None or not updates.before_step_(step, done, batch):
                step(batch)
            if done + 1 in snapshot_at:
                snapshots[done + 1] = copy_weights(step.model)
            tick()
        coming = epoch_visits(number + 1) if number + 1 < recipe.epochs else None
        step.end_epoch_()
        lr = recipe.lr_at(number, len(plan) - 1, len(plan))
        seen = now[0, plan[begin].start :] if begin or left_out else indices
        stands_for = len(seen) if begin else len(indices)  # weights make up for the examples that are left out
        loss = float(step.loss_sum) / stands_for
        yield Epoch(number, len(plan) - begin, lr, loss, seen, step.right[seen], snapshots)


def finite(model: nn.Module) -> bool:
    """Whether all parameters are finite, with a single transfer from the device."""
    return all_finite([parameter.detach() for parameter in model.parameters()])


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers in these tensors are finite, with a single transfer from the device."""
    largest = torch._foreach_norm([tensor for tensor in tensors if tensor.numel()], float("inf"))
    return bool(torch.stack(largest).isfinite().all())
