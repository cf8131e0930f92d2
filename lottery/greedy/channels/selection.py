"""Greedy forward selection of the channels of one layer (Ye et al., ICML 2020).

A layer's channels are taken as the neurons of an average: with counts c_i, K picks in all, and D channels, channel i
enters the layers that read it multiplied by D c_i / K, which is 1 where all were picked once. From nothing, every step
picks the channel that most lowers the cross entropy of the whole network on a random mini-batch of training examples.
Layers are selected front to back, each from what the ones before it output; no weight is trained within a layer.

Shapes: D channels, n examples, b in a mini-batch.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lottery.channels.groups import ChannelGroup
from lottery.channels.slicing import broadcast_channels
from lottery.greedy.channels.config import SelectionConfig
from lottery.greedy.channels.cut import NetworkCut, SelectionExamples
from lottery.greedy.names import AVERAGE

BATCH_MARGIN = 0.95  # share of the accuracy goal that a mini-batch must reach before all examples are evaluated
MAX_PICKS_PER_CHANNEL = 2  # with repeats, picks per channel after which a selection ends in any case


class Goal(NamedTuple):
    """What ends a layer's selection: `budget` distinct channels, or the share `accuracy` of the examples right."""

    budget: int | None = None
    accuracy: float | None = None


class LayerSelection(NamedTuple):
    """The picks in their order, and the loss after each, on its mini-batch; `reached` is False if they ended before the
    goal."""

    picks: list[int]
    losses: list[float]
    reached: bool


def channel_weights(counts: Tensor, how: str) -> Tensor:
    """Counts of picks (..., D) -> factors (..., D): D c_i / K by AVERAGE, else 1 for every picked channel."""
    if how != AVERAGE:
        return (counts > 0).float()
    return counts * (counts.shape[-1] / counts.sum(-1, keepdim=True))


@torch.no_grad()
def select_greedily(
    cut: NetworkCut, examples: SelectionExamples, goal: Goal, config: SelectionConfig, random: np.random.Generator
) -> LayerSelection:
    """Pick channels one at a time, each the one that gives the lowest loss, the first among equals."""
    counts = torch.zeros(cut.channels)
    picks: list[int] = []
    losses: list[float] = []
    reached = False
    most = MAX_PICKS_PER_CHANNEL * cut.channels if config.repeats else cut.channels
    while not reached and len(picks) < most:
        batch = torch.from_numpy(random.permutation(len(examples))[: examples.batch])
        candidates = draw_candidates(counts, config, random)
        weights = channel_weights(counts + F.one_hot(candidates, cut.channels), config.channel_weights)
        loss, right = evaluate_candidates(cut, examples, batch.to(examples.labels.device), weights)
        place = int(loss.argmin())
        picks.append(int(candidates[place]))
        losses.append(float(loss[place]))
        counts[picks[-1]] += 1
        reached = goal_reached(goal, cut, examples, counts, config, float(right[place]))
    return LayerSelection(picks, losses, reached)


def draw_candidates(counts: Tensor, config: SelectionConfig, random: np.random.Generator) -> Tensor:
    """The channels to try at this step, int64, in rising order."""
    allowed = torch.arange(len(counts)) if config.repeats else (counts == 0).nonzero()[:, 0]
    if not config.candidates or config.candidates >= len(allowed):
        return allowed
    return allowed[torch.from_numpy(random.permutation(len(allowed))[: config.candidates]).sort().values]


def evaluate_candidates(
    cut: NetworkCut, examples: SelectionExamples, batch: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss (k,) and accuracy (k,) on a mini-batch with each of (k, D) channel weights; one transfer from the device."""
    values, labels = examples.values(batch), examples.labels[batch]
    found = []
    for each in weights.to(labels.device):
        logits = cut.logits(values, each)
        found.append(torch.stack([F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()]))
    return tuple(torch.stack(found).cpu().T)


def goal_reached(
    goal: Goal, cut: NetworkCut, examples: SelectionExamples, counts: Tensor, config: SelectionConfig, right: float
) -> bool:
    """Whether the goal is reached; `right` is the accuracy on the last mini-batch, as a share."""
    if goal.budget is not None:
        return int((counts > 0).sum()) >= goal.budget
    if right < BATCH_MARGIN * goal.accuracy:
        return False
    return accuracy(cut, examples, channel_weights(counts, config.channel_weights)) >= goal.accuracy


@torch.no_grad()
def accuracy(cut: NetworkCut, examples: SelectionExamples, weights: Tensor | None = None) -> float:
    """The share of all examples that the network with channel weights (D,), 1 if None, gets right."""
    device = examples.labels.device
    weights = (torch.ones(cut.channels) if weights is None else weights).to(device)
    right = torch.zeros((), device=device)
    for places in torch.arange(len(examples), device=device).split(examples.batch):
        right += (cut.logits(examples.values(places), weights).argmax(1) == examples.labels[places]).sum()
    return float(right) / len(examples)


@torch.no_grad()
def fold_weights_(model: nn.Module, group: ChannelGroup, weights: Tensor) -> None:
    """Multiply the group's channels by `weights`, (D,), in the weights of the layers that read them."""
    for reader in group.readers:
        slot, weight = group.reader_slot(model, reader), model.get_submodule(reader).weight
        weight.mul_(broadcast_channels(weights.to(weight.device), slot, weight.ndim))
