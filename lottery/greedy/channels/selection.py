"""Greedy forward selection of channels, layer by layer (Ye et al., ICML 2020).

The channels of a layer are taken as the neurons of an average: with counts c_i, K picks in all, and D channels, the
layers that read them get channel i times D c_i / K, which is 1 where all were picked once. From nothing, every step
picks the channel that lowers the cross entropy of the whole network most, on a random mini-batch of training examples.
Layers are selected front to back, each from what the ones before it give, and no weight is trained within a layer.

For a candidate only that part of the network is run that comes after the layer's channels: what lies before is the same
for all and is computed once. Shapes: D channels, n examples, b in a mini-batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from lottery.greedy.channels.groups import Group
from lottery.greedy.channels.slicing import along
from lottery.greedy.names import AVERAGE

NEAR = 0.95  # the share of the wanted accuracy that a mini-batch must reach before all examples are looked at
MOST_PICKS = 2  # with repeats a selection ends at so many picks per channel, whatever else it waits for


# --- the network in two parts -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """A traced network cut where a group's channels are read."""

    front: fx.GraphModule  # images (b, C, H, W) -> what `rest` needs of it, the channels first
    rest: fx.GraphModule  # these -> logits
    weighted: int  # how many of these are the group's channels, (b, D, h, w) or (b, D x span)
    channels: int

    def logits(self, values: tuple, weights: Tensor) -> Tensor:
        """What the network gives with its channels times `weights`, (D,)."""
        first = [value * self.along(value, weights) for value in values[: self.weighted]]
        return self.rest(*first, *values[self.weighted :]).float()

    def along(self, value: Tensor, weights: Tensor) -> Tensor:
        span = value.shape[1] // self.channels
        shape = (1, -1) + (1,) * (value.ndim - 2)
        return weights.to(value.dtype).repeat_interleave(span).view(shape)


def cut(network: fx.GraphModule, group: Group) -> Cut:
    """Cut the trace of a network at a group of its channels. Both parts have the network's own parameters."""
    nodes = list(network.graph.nodes)
    of_images = following(nodes, lambda node: node.op == "placeholder")  # what is no parameter, nor made of these alone
    late = following(nodes, lambda node: node.op == "call_module" and node.target in group.readers)
    needed = [node for node in nodes if node in of_images - late and not late.isdisjoint(node.users)]
    read = [node for node in needed if any(user.target in group.readers for user in node.users)]
    crossing = read + [node for node in needed if node not in read]
    front = part(network, [], [node for node in nodes if node not in late], crossing)
    rest = part(network, crossing, [node for node in nodes if node in late or node not in of_images], nodes[-1].args[0])
    return Cut(front, rest, len(read), group.channels)


def following(nodes: list[fx.Node], first: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """The nodes that are `first`, and all that depend on them."""
    found: set[fx.Node] = set()
    for node in nodes:
        if first(node) or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def part(network: fx.GraphModule, given: list[fx.Node], nodes: list[fx.Node], result) -> fx.GraphModule:
    """Some operations of a network, from `given` values to a `result`."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in given}
    for node in nodes:
        if node.op != "output":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in result) if isinstance(result, list) else copies[result])
    found = fx.GraphModule(network, graph)
    found.graph.eliminate_dead_code()
    found.recompile()
    return found


class Examples:
    """What lies before a cut, for the examples to select by: kept if it fits into `memory` bytes, else computed again
    for every mini-batch."""

    def __init__(self, front: Callable[[Tensor], tuple], images: Tensor, labels: Tensor, batch: int, memory: int):
        self.front, self.images, self.labels, self.batch = front, images, labels, batch
        first = front(images[:batch])
        tensors = all(isinstance(value, Tensor) for value in first)  # not the number of images
        size = sum(value.nbytes for value in first) / len(images[:batch]) * len(images) if tensors else float("inf")
        self.kept = None
        if size <= memory:
            parts = [front(part) for part in images.split(batch)]
            self.kept = tuple(torch.cat(values) for values in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, places: Tensor) -> tuple:
        """Those of the examples at `places`, (b,)."""
        if self.kept is None:
            return self.front(self.images[places])
        return tuple(value[places] for value in self.kept)


# --- selection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How to select."""

    repeats: bool = False  # whether a channel may be picked more than once
    candidates: int = 0  # so many, drawn at random, are tried in each step; 0: all
    weights: str = AVERAGE  # of the channels, one of `greedy.CHANNEL_WEIGHTS`


class Goal(NamedTuple):
    """When a layer's selection is over: with `budget` different channels, or when the network with what is selected
    gets the share `accuracy` of the examples right."""

    budget: int | None = None
    accuracy: float | None = None


class Selected(NamedTuple):
    """What was picked of a layer, in its order, and after each pick the loss on its mini-batch; `reached` is False
    where the picks ended before the goal."""

    picks: list[int]
    losses: list[float]
    reached: bool


def channel_weights(counts: Tensor, how: str) -> Tensor:
    """(..., D) times each was picked -> (..., D) its factor: D c_i / K, or 1 for each that was picked at all."""
    if how != AVERAGE:
        return (counts > 0).float()
    return counts * (counts.shape[-1] / counts.sum(-1, keepdim=True))


@torch.no_grad()
def select(cut: Cut, examples: Examples, goal: Goal, rule: Rule, random: np.random.Generator) -> Selected:
    """Pick channels, one after another, each the one that gives the lowest loss; of equals the first."""
    counts = torch.zeros(cut.channels)
    picks, losses, reached = [], [], False
    most = MOST_PICKS * cut.channels if rule.repeats else cut.channels
    while not reached and len(picks) < most:
        batch = torch.from_numpy(random.permutation(len(examples))[: examples.batch])
        candidates = candidates_of(counts, rule, random)
        weights = channel_weights(counts + F.one_hot(candidates, cut.channels), rule.weights)
        loss, right = try_each(cut, examples, batch.to(examples.labels.device), weights)
        place = int(loss.argmin())
        picks.append(int(candidates[place]))
        losses.append(float(loss[place]))
        counts[picks[-1]] += 1
        reached = is_reached(goal, cut, examples, counts, rule, float(right[place]))
    return Selected(picks, losses, reached)


def candidates_of(counts: Tensor, rule: Rule, random: np.random.Generator) -> Tensor:
    """The channels to try, in rising order, int64."""
    allowed = torch.arange(len(counts)) if rule.repeats else (counts == 0).nonzero()[:, 0]
    if not rule.candidates or rule.candidates >= len(allowed):
        return allowed
    return allowed[torch.from_numpy(random.permutation(len(allowed))[: rule.candidates]).sort().values]


def try_each(cut: Cut, examples: Examples, batch: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """(k,) loss and (k,) share of right answers on a mini-batch with each of (k, D) channel weights; one transfer."""
    values, labels = examples.values(batch), examples.labels[batch]
    found = []
    for each in weights.to(labels.device):
        logits = cut.logits(values, each)
        found.append(torch.stack([F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()]))
    return tuple(torch.stack(found).cpu().T)


def is_reached(goal: Goal, cut: Cut, examples: Examples, counts: Tensor, rule: Rule, right: float) -> bool:
    """Whether the goal is reached; `right` is the share of right answers on the last mini-batch."""
    if goal.budget is not None:
        return int((counts > 0).sum()) >= goal.budget
    if right < NEAR * goal.accuracy:
        return False
    return accuracy(cut, examples, channel_weights(counts, rule.weights)) >= goal.accuracy


@torch.no_grad()
def accuracy(cut: Cut, examples: Examples, weights: Tensor | None = None) -> float:
    """The share of all the examples that the network with these (D,) channel weights, 1 if None, gets right."""
    device = examples.labels.device
    weights = (torch.ones(cut.channels) if weights is None else weights).to(device)
    right = torch.zeros((), device=device)
    for places in torch.arange(len(examples), device=device).split(examples.batch):
        right += (cut.logits(examples.values(places), weights).argmax(1) == examples.labels[places]).sum()
    return float(right) / len(examples)


@torch.no_grad()
def fold_(model: nn.Module, group: Group, weights: Tensor) -> None:
    """Multiply the group's channels by (D,) `weights` in the layers that read them: nothing is left to multiply."""
    for reader in group.readers:
        slot, weight = group.reading(model, reader), model.get_submodule(reader).weight
        weight.mul_(along(weights.to(weight.device), slot, weight.ndim))
