"""The training schedule: epochs, batches and learning rates. Numbers only, no network."""

import itertools
from dataclasses import dataclass, replace
from typing import Annotated

from lottery.checkpointing.run_settings import RecordedAs


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of SGD with momentum, and weight decay on every parameter.

    The learning rate rises linearly over the first `warmup` epochs and drops to a tenth at each of `milestones`.
    """

    epochs: int = 182
    milestones: Annotated[tuple[int, ...], RecordedAs("decreasing_lr")] = (91, 136)
    warmup: int = 0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 128

    def scaled(self, part: int, whole: int) -> "Recipe":
        """Epochs, milestones and warm-up scaled by part/whole and truncated (the PrAC paper, section 3).

        At least one epoch remains. Milestones stay at least 1 and strictly increasing, so that none acts before
        training begins and no two act at once.
        """
        milestones = [milestone * part // whole for milestone in self.milestones]
        rising = itertools.accumulate(milestones, lambda last, milestone: max(milestone, last + 1), initial=0)
        return replace(
            self,
            epochs=max(1, self.epochs * part // whole),
            milestones=tuple(rising)[1:],
            warmup=self.warmup * part // whole,
        )

    def lr_at(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate of (0-based) `step` of the `steps` in `epoch`: linear warm-up, then x0.1 per milestone."""
        warm = min(1.0, (epoch * steps + step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        return warm * self.lr * 0.1 ** sum(epoch >= milestone for milestone in self.milestones)


def batches(n: int, batch_size: int) -> list[slice]:
    """The batches of an epoch over n examples, as slices of positions.

    A last batch of a single example joins the one before it: batch norm has no statistics of a single 1x1 map.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, n])]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Optimiser steps of an epoch over n examples: the number of its `batches`."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))
