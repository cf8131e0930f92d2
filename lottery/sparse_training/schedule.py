"""When a mask changes during training, and how many weights it keeps then: numbers only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lottery.sparse_training.config import METHODS, Method, SparseTrainingConfig
from lottery.training.recipe import Recipe
from utils import InputError


@dataclass(frozen=True)
class UpdateSchedule:
    """Changes after `first` steps, every `every` steps from there, and after `last` steps for the last time."""

    first: int
    last: int
    every: int

    def is_due(self, done: int, changed: int | None = None) -> bool:
        """Whether the mask changes now, after so many steps, if it changed for the last time after `changed` steps.

        A change whose step is left out, as batch selection leaves out the last steps of an epoch, comes with the next
        step that is taken.
        """
        newest = self.newest(done)
        return newest is not None and (changed is None or changed < newest)

    def newest(self, done: int) -> int | None:
        """The last of `steps` that is not after `done`; None before the first."""
        if done < self.first:
            return None
        return self.last if done >= self.last else done - (done - self.first) % self.every

    def steps(self) -> list[int]:
        """All steps after which it changes."""
        return [*range(self.first, self.last, self.every), self.last]

    def number(self, done: int) -> int:
        """Which of `steps`, from 0, is the newest after so many steps."""
        return self.steps().index(self.newest(done))

    def before_last(self) -> "UpdateSchedule":
        """The same changes without that after `last` steps."""
        return replace(self, last=max(self.first, self.last - 1 - (self.last - 1 - self.first) % self.every))

    def cubic(self, done: int, initial: float, final: float) -> float:
        """The density after so many steps, between `initial` and `final`, as gradual pruning has it.

        s = s_f + (s_i - s_f) (1 - (t - t0) / (t1 - t0))^3 for sparsities, and so for densities (Zhu & Gupta, 2017).
        """
        if done >= self.last:
            return final
        left = 1 - (done - self.first) / (self.last - self.first)
        return final + (initial - final) * left**3

    def kept_after(self, done: int, initial: float, final: float, weights: int) -> int:
        """How many of so many prunable weights are kept after these steps, along `cubic`."""
        return round(self.cubic(done, initial, final) * weights)


def cosine(fraction: float, done: int, end: int) -> float:
    """The share of the kept weights that is dropped after so many steps: fraction / 2 (1 + cos(pi done / end)), as RigL
    has it (Evci et al., 2020)."""
    return fraction / 2 * (1 + math.cos(math.pi * done / end))


def update_schedule(config: SparseTrainingConfig, steps: int, rewinding: int = 0) -> UpdateSchedule:
    """The changes in a training of so many steps; InputError if there is no step for them.

    None comes before the step `rewinding`: weights that were dropped before it would be zero in the weights that the
    ticket is rewound to, which are to be those of a dense network.
    """
    if steps < 2:
        raise InputError(f"a mask that changes while it trains needs at least 2 optimiser steps, got {steps}")
    last = min(round(config.update_until * steps), last_certain_step(config.training.recipe, steps))
    method = METHODS[config.method]
    if rewinding > last:
        raise InputError(
            f"the rewinding point, step {rewinding}, lies after step {last}, where --update_until "
            f"{config.update_until} ends the changes of the mask: rewind earlier, or give a larger share"
        )
    first = min(max(round(config.update_from * steps), rewinding), last)
    if method.begins_sparse and first == last:
        raise InputError(
            f"--update_from {config.update_from} and --update_until {config.update_until} leave no step between them "
            f"of the {steps} that there are: the mask would never change, which is --method static"
        )
    return UpdateSchedule(first, last, config.update_every or steps_between(method, steps))


def steps_between(method: Method, steps: int) -> int:
    """Between two changes in a training of so many steps, where the user does not say."""
    return max(round(steps / method.updates), min(method.growing, round(steps / 10)), method.least)


def interval_before(config: SparseTrainingConfig, steps: int, changed: Sequence[int]) -> int | None:
    """The steps between two changes in a run that was begun before short trainings of growing weights had longer
    intervals, and before checkpoints recorded these: one that changed after these steps, and goes on as it was begun.
    None for any other."""
    method = METHODS[config.method]
    if config.update_every or not method.growing or len(changed) < 2:
        return None
    before = max(method.least, round(steps / method.updates))
    return before if changed[1] - changed[0] == before < steps_between(method, steps) else None


def last_certain_step(recipe: Recipe, steps: int) -> int:
    """The last of so many steps, from 0, that is taken for certain: if batches are selected in the last epoch, which
    then has fewer, its first one. In the first epoch nothing is left out."""
    before = recipe.epochs - 1
    leaves_out = recipe.batch_selection is not None and 0 < before / recipe.epochs < recipe.selection_until
    return before * steps // recipe.epochs if leaves_out else steps - 1
