"""Training a two-layer network by plain SGD, and what it gives.

The step at each iteration is a function of (seed, iteration) alone: the examples are gone through in epochs, each in an
order of its own. So a training can be left and gone on with at any iteration.

Shapes: m examples of d inputs and C outputs, N neurons.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lottery.greedy.neurons.task import Loss, accuracy
from lottery.training.recipe import batches
from models.mean_field import MeanField
from utils import generator

HIDDEN = 2**24  # activations at once when a network is only looked at: 64 MiB of them


class Examples(NamedTuple):
    """What a network is trained on or tested by, on its device."""

    inputs: Tensor  # (m, d)
    targets: Tensor  # (m, C)


class Plain(NamedTuple):
    """Plain SGD: no momentum, no weight decay, one learning rate, in mean-field units."""

    lr: float
    batch_size: int
    loss: Loss
    seed: int


def train_(
    network: MeanField, data: Examples, steps: range, recipe: Plain, tick: Callable[[], object] = lambda: None
) -> None:
    """Do these iterations, counted from 0; `tick` is called after each, to show life.

    All batches are chosen before the first step: from then on nothing waits for the device.
    """
    chosen = batches_at(steps, len(data.targets), recipe)
    optimizer = torch.optim.SGD(network.parameters(), recipe.lr * len(network), fused=True)
    everything = torch.cat([torch.empty(0, dtype=torch.int64), *chosen]).to(data.inputs.device)
    for batch in everything.split([len(batch) for batch in chosen]):
        optimizer.zero_grad()
        recipe.loss(network(data.inputs[batch]), data.targets[batch]).backward()
        optimizer.step()
        tick()


def batches_at(steps: range, examples: int, recipe: Plain) -> list[Tensor]:
    """Each iteration's examples, int64 (b,), on the CPU."""
    plan = batches(examples, recipe.batch_size)
    found: list[Tensor] = []
    for epoch, own in itertools.groupby(steps, lambda step: step // len(plan)):
        order = torch.from_numpy(generator(recipe.seed, epoch=epoch).permutation(examples))
        found += [order[plan[step % len(plan)]] for step in own]
    return found


@torch.no_grad()
def outputs_of(network: MeanField, inputs: Tensor) -> Tensor:
    """(m, d) -> (m, C), with few of the activations in memory at once."""
    return torch.cat([network(part) for part in inputs.split(max(1, HIDDEN // len(network)))])


def measures(train_outputs: Tensor, test_outputs: Tensor, train: Examples, test: Examples, loss: Loss) -> dict:
    """Of outputs (m, C): loss on the examples trained on, in float64, and accuracy on these and on the test set."""
    return {
        "loss": float(loss(train_outputs.double(), train.targets.double())),
        "train": accuracy(train_outputs, train.targets),
        "test": accuracy(test_outputs, test.targets),
    }


def measure(network: MeanField, train: Examples, test: Examples, loss: Loss) -> dict:
    """The same of a network."""
    return measures(outputs_of(network, train.inputs), outputs_of(network, test.inputs), train, test, loss)
