"""Sparse networks whose masks move: each layer drops some of its weights and grows as many.

SET, sparse evolutionary training, grows them at random (Mocanu et al., "Scalable training of artificial neural networks
with adaptive sparse connectivity inspired by network science", Nature Communications 2018). RigL grows those whose
gradient is largest (Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020). Both drop the share
alpha_t of each layer's weights, alpha_t falling along a cosine, and keep the count of every layer.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule, cosine
from lottery.sparse_training.scheduled_updates import ScheduledUpdates
from lottery.tickets.layer_quotas import keep_highest_by_layer
from lottery.training.loop import all_finite
from lottery.training.step import Step
from pruner import Mask, Scores, count, drop_in_layers, layer_counts, magnitude, random_scores, size
from utils import RandomStream, generator


class DropAndGrow(ScheduledUpdates):
    """Changes of a mask that keep the count of every layer; a subclass says in `growth` which weights grow.

    `explored` is the union of all masks; its share of the prunable weights, in the records, is R_s, the in-time
    over-parametrisation rate of Liu et al., "Do We Actually Need Dense Over-Parameterization?", ICML 2021. `schedule`
    ends at step `end`, where alpha_t is 0; nothing changes from there on.

    What is dropped may grow at once: it then goes on with its value and momentum, as in the RigL authors' code.
    """

    def __init__(self, schedule: UpdateSchedule, fraction: float, drop: str, seed: int):
        super().__init__(schedule.before_last())
        self.end, self.fraction, self.drop, self.seed = schedule.last, fraction, drop, seed
        self.explored: Mask = {}

    def begin_(self, step: Step) -> None:
        self.explored = step.mask

    def state(self) -> dict:
        return {"explored": self.explored}

    def load_(self, step: Step, saved: Mapping) -> None:
        self.explored = {name: saved["explored"][name].to(layer.device) for name, layer in step.mask.items()}

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        """Whether the growth needs a gradient, which then takes the place of the optimiser step."""
        raise NotImplementedError

    def move_(self, step: Step, done: int, growth: Scores, **more: object) -> None:
        """Drop weights by their values, and grow as many in each layer, those of the highest `growth`."""
        mask = step.mask
        left = DROP[self.drop](mask, step.parameters, cosine(self.fraction, self.schedule.newest(done), self.end))
        grown = grow(left, growth, {name: layer["kept"] for name, layer in layer_counts(mask).items()})
        self.explored = {name: layer | grown[name] for name, layer in self.explored.items()}
        self.use_(step, grown, done, explored=count(self.explored) / size(self.explored), **more)

    def epoch_row(self, begin: int) -> dict[str, int | float]:
        explored = self.records[-1]["explored"] if self.records else count(self.explored) / size(self.explored)
        return super().epoch_row(begin) | {"explored": explored}


class RandomGrowth(DropAndGrow):
    """SET: any of the weights that are not kept grows, with equal chance. An optimiser step follows as ever."""

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        random = generator(self.seed, epoch=done, purpose=RandomStream.GROWN_WEIGHTS)
        self.move_(step, done, random_scores(step.mask, random))
        return False


class GradientGrowth(DropAndGrow):
    """RigL: those grow whose gradient on the batch of this step is largest. No weight takes a step on that batch."""

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        step.differentiate(visits, step.model)
        gradients = {name: magnitude_of_gradient(step.parameters[name]) for name in step.mask}
        if all_finite(list(gradients.values())):
            self.move_(step, done, gradients, examples=visits.shape[1])
        else:  # no rank: the weights take the step, and the training ends with its epoch
            step.optimize_()
        step.optimizer.zero_grad()
        return True

    def describe(self, steps: int) -> str:
        return f"{super().describe(steps)}, in place of an optimiser step each"

    def dense_gradient_examples(self, trained_on: int) -> int:
        return sum(record["examples"] for record in self.records)


def magnitude_of_gradient(parameter: Tensor) -> Tensor:
    """|gradient|; 0 for a parameter that had no part in the loss."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().abs()


# --- masks ------------------------------------------------------------------------------------------------------------


def drop_smallest(mask: Mask, weights: Mapping[str, Tensor], fraction: float) -> Mask:
    """The mask without this fraction of each layer's weights, rounded down, those of smallest |w|."""
    numbers = {name: int(fraction * layer["kept"]) for name, layer in layer_counts(mask).items()}
    return drop_in_layers(mask, magnitude(weights, mask), numbers)


def drop_by_sign(mask: Mask, weights: Mapping[str, Tensor], fraction: float) -> Mask:
    """The mask without this fraction of the positive and of the negative weights of each layer, each rounded down,
    those nearest to 0. A weight of 0 counts as positive."""
    positive = {name: layer & (weights[name] >= 0) for name, layer in mask.items()}
    negative = {name: layer & ~positive[name] for name, layer in mask.items()}
    left, others = (drop_smallest(part, weights, fraction) for part in (positive, negative))
    return {name: layer | others[name] for name, layer in left.items()}


DROP = {"magnitude": drop_smallest, "sign": drop_by_sign}


def grow(left: Mask, scores: Scores, kept: Mapping[str, int]) -> Mask:
    """The mask that keeps all that is `left`, and the highest-scoring of all other weights, up to `kept` in each layer.
    Of equal scores the last in row-major order grow."""
    other = {name: ~layer for name, layer in left.items()}
    numbers = {name: other[name].numel() - kept[name] for name in left}  # stay dropped
    grown = drop_in_layers(other, scores, numbers)
    return {name: layer | grown[name] for name, layer in left.items()}


def random_mask(mask: Mask, kept: int, distribution, seed: int) -> Mask:
    """`kept` of the weights of `mask` at random, so many in each layer as the distribution says: those of
    `main_init.py --criterion random` with the same seed and --ranking."""
    scores = random_scores(mask, generator(seed, purpose=RandomStream.RANDOM_SCORES))
    return keep_highest_by_layer(mask, scores, kept, distribution.layer_share)
