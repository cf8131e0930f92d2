"""Select in one layer after another of a run's network, greedily or as a baseline does."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataset import random_subset, to_input
from lottery.channels.groups import ChannelGroup
from lottery.channels.slicing import channel_mask
from lottery.greedy.channels.baselines import Baseline, baseline_channels
from lottery.greedy.channels.budgets import PlannedLayer
from lottery.greedy.channels.config import ChannelSelectionConfig
from lottery.greedy.channels.cut import NetworkCut, SelectionExamples, cut_network
from lottery.greedy.channels.selection import (
    Goal,
    LayerSelection,
    accuracy,
    channel_weights,
    fold_weights_,
    select_greedily,
)
from lottery.greedy.channels.setup import ChannelSetup
from lottery.greedy.names import WHOLE
from lottery.training.context import TrainingContext
from lottery.training.loop import finite, fit
from lottery.training.precision import autocast, matmul_precision
from lottery.training.recipe import Recipe
from pruner import Mask
from utils import RandomStream, RunError, generator


def layer_tuning_round(k: int, number: int) -> int:
    """The number that stands for the training after layer `number` (from 0) of round k where random draws are keyed by
    (seed, round, epoch): k 2^16 + number + 1, which no other training has."""
    return k * 2**16 + number + 1


@dataclass(frozen=True)
class LayerSelector:
    """Selects in the context's network as it is. A row per finished layer, front to back, goes into the records."""

    config: ChannelSelectionConfig
    context: TrainingContext
    setup: ChannelSetup

    @property
    def groups(self) -> list[ChannelGroup]:
        return [layer.group for layer in self.setup.layers]

    def select_layer(self, k: int, number: int, initial: float, baseline: Baseline | None = None) -> dict:
        """Select in a layer in round k, greedily or as a `baseline` does, and fold the channels' weights into the
        network; returns the layer's row.

        `initial` is the accuracy, as a share, on the examples to select by before the first layer.
        """
        layer, start = self.setup.layers[number], time.perf_counter()
        with inference(self.context):
            cut, examples = self.cut(layer)
            before = accuracy(cut, examples)
            if baseline:
                random = generator(self.context.seed, k, number, purpose=RandomStream.RANDOM_CHANNELS)
                picks = baseline_channels(baseline, self.context.model, layer.group, random)
                found = LayerSelection(picks, [], reached=True)
            else:
                random = generator(self.context.seed, k, number, purpose=RandomStream.CHANNELS)
                goal = self.goal(number, before, initial)
                found = select_greedily(cut, examples, goal, self.config.selection, random)
            weights = selected_weights(found, layer, self.config.selection.channel_weights)
            after = accuracy(cut, examples, weights)
        fold_weights_(self.context.model, layer.group, weights)
        return layer_row(layer, found, weights, before, after) | {"seconds": time.perf_counter() - start}

    def goal(self, number: int, before: float, initial: float) -> Goal:
        """The layer's budget; without one, the accuracy that the tolerance demands: it is of the accuracy `before` this
        layer, or this and all earlier layers' part of it is of the `initial` one."""
        budget, tolerance = self.setup.layers[number].budget, self.config.budget.top1_tol
        if budget is not None:
            return Goal(budget=budget)
        if self.config.budget.tolerance_of == WHOLE:
            return Goal(accuracy=(1 - tolerance * (number + 1) / len(self.setup.layers)) * initial)
        return Goal(accuracy=(1 - tolerance) * before)

    def cut(self, layer: PlannedLayer) -> tuple[NetworkCut, SelectionExamples]:
        """The network cut at a layer, and the examples to select by in front of the cut."""
        config, data, chosen = self.config.selection, self.context.train, self.setup.examples
        self.context.model.eval()
        cut = cut_network(self.setup.traced, layer.group)

        def front(images: Tensor) -> tuple:
            return cut.front(to_input(images))

        images, labels = data.at(chosen), data.labels[chosen]
        return cut, SelectionExamples(front, images, labels, config.select_batch, config.memory_bytes)

    def tune_layer(self, k: int, number: int, recipe: Recipe) -> None:
        """Train for --layer_tuning of an epoch after a layer, under the mask that is in the step."""
        context, key = self.context, layer_tuning_round(k, number)
        size = max(2, round(self.config.selection.layer_tuning * len(context.training_indices)))
        indices = random_subset(
            context.training_indices, size, generator(context.seed, key, purpose=RandomStream.CHANNELS)
        )
        for _ in fit(context.step, indices, replace(recipe, epochs=1, milestones=()), seed=context.seed, round=key):
            pass
        if not finite(context.model):
            raise RunError(
                f"round {k}, training after layer {number}: the weights are no longer finite numbers. What was found "
                "before is kept; a smaller --fine_tune_lr may help, in another --save_dir or with --overwrite"
            )

    def correct_share(self) -> float:
        """The share of the examples to select by that the network classifies correctly."""
        return self.context.evaluator.accuracy(self.context.train, self.setup.examples) / 100

    def kept_channels(self, rows: Sequence[dict]) -> dict[str, Tensor]:
        """The channels kept according to the rows of layers; all channels of layers without a row."""
        kept = {group.producer: torch.ones(group.channels, dtype=torch.bool) for group in self.groups}
        for row in rows:
            kept[row["layer"]] = torch.zeros(row["channels"], dtype=torch.bool)
            kept[row["layer"]][row["kept_channels"]] = True
        return kept

    def mask(self, rows: Sequence[dict]) -> Mask:
        """The mask of the kept channels, within the mask of given weights."""
        mask = self.context.dense() | channel_mask(self.context.model, self.groups, self.kept_channels(rows))
        for name, layer in (self.setup.given.mask if self.setup.given else {}).items():
            layer = layer.to(self.context.device)
            mask[name] = mask[name] & layer if name in mask else layer
        return mask


@contextmanager
def inference(context: TrainingContext) -> Iterator[None]:
    """For forward passes of a selection: the run's precision, without gradients."""
    device, precision = context.device, context.step.precision
    with torch.no_grad(), matmul_precision(device, precision), autocast(device, precision):
        yield


def selected_weights(found: LayerSelection, layer: PlannedLayer, how: str) -> Tensor:
    """The factors (D,) of the layer's channels: as selected, or all 1 if no fewer channels meet the tolerance."""
    if not found.reached and layer.budget is None:
        return torch.ones(layer.group.channels)
    counts = torch.bincount(torch.tensor(found.picks), minlength=layer.group.channels)
    return channel_weights(counts.float(), how)


def layer_row(layer: PlannedLayer, found: LayerSelection, weights: Tensor, before: float, after: float) -> dict:
    """The row of a layer in the records; accuracies in percent, on the examples to select by."""
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
