"""How a network is trained: optimiser, epochs, batches and learning rates. Numbers only, no network."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Annotated

from lottery.checkpointing.run_settings import RecordedAs
from utils import InputError

SCHEDULES = ("step", "linear", "cosine")
DEFAULT_LR = {"sgd": 0.1, "adam": 0.001}  # optimiser -> the learning rate of --lr where none is given

BATCH_SELECTIONS = ("infobatch",)
SELECTION_RATE, SELECTION_UNTIL = 0.5, 0.875  # the InfoBatch paper's r and delta


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training: its optimiser, its loss, and the learning rate of each step.

    The learning rate rises linearly over the first `warmup` epochs. From then on it falls by the `schedule`: "step" is
    times `gamma` at each of `milestones`; "linear" and "cosine" go down to 0, which they reach when the last step is
    done, and have no milestones.

    `optimizer` "sgd" is SGD with `momentum`, which `nesterov` applies ahead of the step; "adam" is Adam (Kingma & Ba,
    ICLR 2015) with `momentum` as its beta1 and 0.999 as its beta2. `weight_decay` is added to the gradient of every
    parameter. `label_smoothing` a of K classes trains towards (1 - a) one_hot + a / K (Szegedy et al., CVPR 2016).
    InputError for batches of a single example, of which batch norm has no statistics.
    """

    epochs: int = 182
    milestones: Annotated[tuple[int, ...], RecordedAs("decreasing_lr")] = (91, 136)
    warmup: int = 0
    lr: float = DEFAULT_LR["sgd"]  # that of Adam is to be given with it
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 128
    schedule: str = "step"  # one of SCHEDULES
    gamma: float = 0.1
    nesterov: bool = False
    optimizer: str = "sgd"  # a key of DEFAULT_LR
    label_smoothing: float = 0.0
    batch_selection: str | None = None  # infobatch: leave out examples of low loss (batch_selection.py), of which
    selection_rate: float = SELECTION_RATE  # this share, in epochs up to
    selection_until: float = SELECTION_UNTIL  # this fraction of all

    def __post_init__(self):
        if self.batch_size < 2:
            raise InputError(f"batch_size must be at least 2, got {self.batch_size}")
        if self.schedule != "step":  # equal trainings are equal recipes, and record the same
            object.__setattr__(self, "milestones", ())

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
        """The learning rate of (0-based) `step` of the `steps` in `epoch`: linear warm-up, then the schedule."""
        warm = min(1.0, (epoch * steps + step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        if self.schedule == "step":
            return warm * self.lr * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        past = self.share_of_decay(epoch + step / steps)
        return warm * self.lr * (1 - past if self.schedule == "linear" else (1 + math.cos(math.pi * past)) / 2)

    def share_of_decay(self, time: float) -> float:
        """The share of the epochs after the warm-up that is over after so many epochs and fractions of one."""
        return max(0.0, time - self.warmup) / max(1, self.epochs - self.warmup)

    def describe_lr(self) -> str:
        """How the learning rate falls, for the log."""
        if self.schedule != "step":
            how = "linearly" if self.schedule == "linear" else "along a cosine"
            return f"learning rate falls {how} from epoch {self.warmup} on, to 0 after the last step"
        factor = "" if self.gamma == 0.1 else f" to {self.gamma:g} of itself"
        if not self.milestones:
            return "learning rate never drops"
        return f"learning rate drops{factor} at {', '.join(map(str, self.milestones))}"

    def unused_lr(self) -> str | None:
        """What of the schedule is never reached, for the log; None where all of it is."""
        if self.schedule != "step":
            never = "the learning rate never falls: the warm-up takes all epochs"
            return never if self.warmup >= self.epochs else None
        beyond = ", ".join(str(milestone) for milestone in self.milestones if milestone >= self.epochs)
        return f"the learning rate never drops at {beyond}: the last epoch is {self.epochs - 1}" if beyond else None


def batches(n: int, batch_size: int) -> list[slice]:
    """The batches of an epoch over n examples, as slices of positions.

    A last batch of a single example joins the one before it: batch norm has no statistics of a single 1x1 map, and a
    network that squeezes its maps makes a vector of the logits of a single image.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, n])]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Optimiser steps of an epoch over n examples: the number of its `batches`."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))
