"""Selecting the channels of one network, layer after layer: by the flags of a run, on what it trains with."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataset import random_subset, to_input
from lottery.greedy.channels.baselines import Baseline, chosen
from lottery.greedy.channels.budgets import Layer
from lottery.greedy.channels.groups import Group
from lottery.greedy.channels.selection import (
    Cut,
    Examples,
    Goal,
    Rule,
    Selected,
    accuracy,
    channel_weights,
    cut,
    fold_,
    select,
)
from lottery.greedy.channels.setup import Setting
from lottery.greedy.channels.slicing import channel_mask
from lottery.greedy.names import WHOLE
from lottery.training.context import TrainingContext
from lottery.training.loop import finite, fit
from lottery.training.precision import autocast, matmul_precision
from lottery.training.recipe import Recipe
from pruner import Mask
from utils import RandomStream, RunError, generator

MEBIBYTE = 2**20
LAYER_BITS = 16  # of a training between two layers the number of the layer, in the number of its round


@dataclass(frozen=True)
class Selector:
    """Selects in the bench's network as it is. `rows` tell of the layers that have been selected in, front to back."""

    args: argparse.Namespace
    context: TrainingContext
    setting: Setting

    @property
    def groups(self) -> list[Group]:
        return [layer.group for layer in self.setting.layers.values()]

    def select_layer(self, k: int, number: int, right: float, baseline: Baseline | None = None) -> dict:
        """Select in the layer of this number, in round k, greedily or as a `baseline` does, and fold what its channels
        weigh into the network; its row.

        `right` is the share of the examples to select by that the network got right before its first layer.
        """
        layer, clock = list(self.setting.layers.values())[number], time.perf_counter()
        with arithmetic(self.context):
            parts, examples = self.cut(layer)
            before = accuracy(parts, examples)
            if baseline:
                random = generator(self.args.seed, k, number, purpose=RandomStream.RANDOM_CHANNELS)
                found = Selected(chosen(baseline, self.context.model, layer.group, random), [], reached=True)
            else:
                random = generator(self.args.seed, k, number, purpose=RandomStream.CHANNELS)
                found = select(parts, examples, self.goal(number, layer, before, right), self.rule, random)
            weights = weights_of(found, layer, self.args.channel_weights)
            after = accuracy(parts, examples, weights)
        fold_(self.context.model, layer.group, weights)
        return row_of(layer, found, weights, before, after) | {"seconds": time.perf_counter() - clock}

    @property
    def rule(self) -> Rule:
        return Rule(self.args.repeats, self.args.candidates, self.args.channel_weights)

    def goal(self, number: int, layer: Layer, now: float, first: float) -> Goal:
        """When the selection in a layer is over. The tolerance is of the accuracy that the network has `now`, or the
        layer's part of that of the one it had at `first`, before any layer."""
        if layer.budget is not None:
            return Goal(budget=layer.budget)
        if self.args.tolerance_of == WHOLE:
            return Goal(accuracy=(1 - self.args.top1_tol * (number + 1) / len(self.setting.layers)) * first)
        return Goal(accuracy=(1 - self.args.top1_tol) * now)

    def cut(self, layer: Layer) -> tuple[Cut, Examples]:
        """The network cut at a layer, and what lies before the cut for the examples to select by."""
        args, data, chosen = self.args, self.context.train, self.setting.examples
        self.context.model.eval()
        parts = cut(self.setting.network, layer.group)

        def front(images: Tensor) -> tuple:
            return parts.front(to_input(images))

        return parts, Examples(
            front, data.images[chosen], data.labels[chosen], args.select_batch, args.memory * MEBIBYTE
        )

    def tune(self, k: int, number: int, recipe: Recipe) -> None:
        """Train what is left, between two layers, on --layer_tuning of an epoch, under the mask that is in the step."""
        context = self.context
        size = max(2, round(self.args.layer_tuning * len(context.whole)))
        place = (k << LAYER_BITS) + number + 1
        indices = random_subset(context.whole, size, generator(self.args.seed, place, purpose=RandomStream.CHANNELS))
        for _ in fit(context.step, indices, replace(recipe, epochs=1, milestones=()), seed=context.seed, round=place):
            pass
        if not finite(context.model):
            raise RunError(
                f"round {k}, tuning after layer {number}: the weights are no longer finite numbers. What was found "
                "before is kept; a smaller --fine_tune_lr may help, in another --save_dir or with --overwrite"
            )

    def right(self) -> float:
        """The share of the examples to select by that the network gets right."""
        return self.context.evaluator.accuracy(self.context.train, self.setting.examples) / 100

    def kept(self, rows: Sequence[dict]) -> dict[str, Tensor]:
        """Which channels are kept: of layers without a row all of them."""
        found = {group.producer: torch.ones(group.channels, dtype=torch.bool) for group in self.groups}
        for row in rows:
            found[row["layer"]] = torch.zeros(row["channels"], dtype=torch.bool)
            found[row["layer"]][row["kept_channels"]] = True
        return found

    def mask(self, rows: Sequence[dict]) -> Mask:
        """Of the channels, and of what given weights were trained under."""
        mask = self.context.dense() | channel_mask(self.context.model, self.groups, self.kept(rows))
        for name, layer in (self.setting.given.mask if self.setting.given else {}).items():
            layer = layer.to(self.context.device)
            mask[name] = mask[name] & layer if name in mask else layer
        return mask


@contextmanager
def arithmetic(context: TrainingContext) -> Iterator[None]:
    """Around forward passes of a selection: the run's precision, and no gradients."""
    device, precision = context.device, context.step.precision
    with torch.no_grad(), matmul_precision(device, precision), autocast(device, precision):
        yield


def weights_of(found: Selected, layer: Layer, how: str) -> Tensor:
    """(D,) what the layer's channels are multiplied with: as selected, or 1 where nothing less than all of them is
    within the tolerance."""
    if not found.reached and layer.budget is None:
        return torch.ones(layer.group.channels)
    counts = torch.bincount(torch.tensor(found.picks), minlength=layer.group.channels)
    return channel_weights(counts.float(), how)


def row_of(layer: Layer, found: Selected, weights: Tensor, before: float, after: float) -> dict:
    """What a selection in one layer came to; accuracies in percent of the examples selected by."""
    return {
        "layer": layer.group.producer,
        "channels": layer.group.channels,
        "kept_channels": weights.nonzero()[:, 0].tolist(),
        "picks": found.picks,
        "losses": found.losses,
        "reached": found.reached,
        "before": 100 * before,
        "after": 100 * after,
    }
