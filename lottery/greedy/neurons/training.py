"""Plain SGD for a two-layer network, and its outputs, loss and accuracies.

The batch of each iteration is a function of (seed, iteration) alone: examples are visited in epochs, each in an order
of its own. So a training can stop and resume at any iteration.

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

MAX_ACTIVATIONS = 2**24  # at once in a forward pass without gradients: 64 MiB of them


class Examples(NamedTuple):
    """What a network is trained or tested on, on its device."""

    inputs: Tensor  # (m, d)
    targets: Tensor  # (m, C)


class SgdRecipe(NamedTuple):
    """Plain SGD: no momentum, no weight decay, one learning rate, in mean-field units."""

    lr: float
    batch_size: int
    loss: Loss
    seed: int


def train_(
    network: MeanField, data: Examples, steps: range, recipe: SgdRecipe, tick: Callable[[], object] = lambda: None
) -> None:
    """Run these iterations, counted from 0; `tick` is called after each, to move the progress bar.

    All batches are drawn before the first step: from then on nothing waits for the device.
    """
    drawn = iteration_batches(steps, len(data.targets), recipe)
    optimizer = torch.optim.SGD(network.parameters(), recipe.lr * len(network), fused=True)
    indices = torch.cat([torch.empty(0, dtype=torch.int64), *drawn]).to(data.inputs.device)
    for batch in indices.split([len(batch) for batch in drawn]):
        optimizer.zero_grad()
        recipe.loss(network(data.inputs[batch]), data.targets[batch]).backward()
        optimizer.step()
        tick()


def iteration_batches(steps: range, examples: int, recipe: SgdRecipe) -> list[Tensor]:
    """The examples of each iteration, int64 (b,), on the CPU."""
    slices = batches(examples, recipe.batch_size)
    drawn: list[Tensor] = []
    for epoch, own in itertools.groupby(steps, lambda step: step // len(slices)):
        order = torch.from_numpy(generator(recipe.seed, epoch=epoch).permutation(examples))
        drawn += [order[slices[step % len(slices)]] for step in own]
    return drawn


@torch.no_grad()
def network_outputs(network: MeanField, inputs: Tensor) -> Tensor:
    """(m, d) -> (m, C), with at most `MAX_ACTIVATIONS` in memory at once."""
    return torch.cat([network(part) for part in inputs.split(max(1, MAX_ACTIVATIONS // len(network)))])


def output_metrics(train_outputs: Tensor, test_outputs: Tensor, train: Examples, test: Examples, loss: Loss) -> dict:
    """Loss on the training examples, in float64, and accuracies in percent on them and on the test set, of outputs
    (m, C)."""
    return {
        "loss": float(loss(train_outputs.double(), train.targets.double())),
        "train": accuracy(train_outputs, train.targets),
        "test": accuracy(test_outputs, test.targets),
    }


def network_metrics(network: MeanField, train: Examples, test: Examples, loss: Loss) -> dict:
    """`output_metrics` of a network."""
    train_outputs, test_outputs = (network_outputs(network, data.inputs) for data in (train, test))
    return output_metrics(train_outputs, test_outputs, train, test, loss)
