"""One run: train a network under a mask.

`fit` runs the epochs and yields after each. To rewind, take one of the snapshots an epoch hands out; to stop early,
break. Nothing in an epoch waits for the device: an epoch ends with one transfer, and the next one's chance is drawn
while the device still works.

Shapes: n examples trained on.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dataset import draw_epoch, visits
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step, copy_weights
from pruner import Weights
from utils import seed_generators, torch_seed


@dataclass(frozen=True)
class Epoch:
    """What an epoch leaves: its (0-based) number in the schedule and what it saw."""

    number: int
    steps: int
    lr: float  # of its last step
    loss: float  # mean over the examples
    examples: Tensor  # int64 (n,) those it trained on; of an epoch that was begun in the middle, those of its rest
    right: Tensor  # bool (n,) whether each was right when trained on
    snapshots: dict[int, Weights]  # steps since the schedule's start -> the weights after that many


def fit(
    step: Step,
    indices: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    round: int = 0,
    done: int = 0,
    snapshot_at: Container[int] = (),
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train on `indices`, (n,), to the end of recipe.epochs epochs and yield after each.

    It begins after the first `done` steps of the schedule, in the middle of an epoch if need be, with the learning rate
    and the examples whose turn it is. What chance decides is a function of (seed, round, epoch) alone, in a network
    with dropout, too, for whole epochs. `snapshot_at` holds the steps, counted from the start of epoch 0, after which
    the weights are copied; `tick` is called after each step, to show life.
    """
    plan = batches(len(indices), recipe.batch_size)

    def chance(number: int) -> Tensor:
        return visits(indices, draw_epoch(len(indices), step.data.padding, step.data.flips, (seed, round, number)))

    first, skipped = divmod(done, len(plan))
    coming = chance(first) if first < recipe.epochs else None
    for number in range(first, recipe.epochs):
        now, begin = coming, skipped if number == first else 0
        seed_generators(torch_seed(seed, round, number))
        step.begin_epoch_()
        snapshots = {}
        for place, batch in enumerate(plan[begin:], begin):
            step.lr.fill_(recipe.lr_at(number, place, len(plan)))
            step(now[:, batch])
            if (taken := number * len(plan) + place + 1) in snapshot_at:
                snapshots[taken] = copy_weights(step.model)
            tick()
        coming = chance(number + 1) if number + 1 < recipe.epochs else None
        lr = recipe.lr_at(number, len(plan) - 1, len(plan))
        seen = now[0, plan[begin].start :] if begin else indices
        loss = float(step.loss_sum) / len(seen)
        yield Epoch(number, len(plan) - begin, lr, loss, seen, step.right[seen], snapshots)


def finite(model: nn.Module) -> bool:
    """Whether every parameter is a number, with one transfer from the device for all of them."""
    largest = torch._foreach_norm(
        [parameter.detach() for parameter in model.parameters() if parameter.numel()], float("inf")
    )
    return bool(torch.stack(largest).isfinite().all())
