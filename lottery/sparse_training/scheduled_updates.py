"""What the ways to change a mask during training have in common: a schedule, and records of what they did."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule
from lottery.terminal import counted
from lottery.training.loop import finite
from lottery.training.step import Step
from pruner import Mask, count, layer_counts


class ScheduledUpdates:
    """Changes of the mask at the steps of a schedule; a subclass says in `change_` what a change is.

    `records` has an entry for each change: the steps before it, the weights kept from then on, in all and in each
    layer, how many were dropped and, if the method grows weights, how many are kept that were not.
    """

    grows = True

    def __init__(self, schedule: UpdateSchedule):
        self.schedule = schedule
        self.records: list[dict] = []

    @property
    def changed(self) -> int | None:
        """The steps before the newest change."""
        return self.records[-1]["step"] if self.records else None

    @property
    def settled(self) -> bool:
        return self.changed is not None and self.changed >= self.schedule.last

    def before_step_(self, step: Step, done: int, visits: Tensor) -> bool:
        """What is not a number has no rank: nothing changes then. Such a training ends with its epoch, in an error of
        its own."""
        if not self.schedule.is_due(done, self.changed) or not finite(step.model):
            return False
        return self.change_(step, done, visits)

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        """Change the mask; whether that took the place of the optimiser step."""
        raise NotImplementedError

    def use_(self, step: Step, mask: Mask, done: int, **more: object) -> None:
        """Train on under this mask, and record it."""
        record = update_record(step.mask, mask, done)
        step.change_mask_(mask)
        self.records.append({key: value for key, value in record.items() if key != "grown" or self.grows} | more)

    def epoch_row(self, begin: int) -> dict[str, int | float]:
        return {"grown": sum(record["grown"] for record in self.records if record["step"] >= begin)}

    def dense_gradient_examples(self, trained_on: int) -> int:
        """Of how many examples, of all that were `trained_on`, the gradient was computed for dropped weights, too."""
        return 0

    def begin_(self, step: Step) -> None:
        """Prepare the step, which holds the ticket that the training begins with, or goes on with."""

    def state(self) -> dict:
        """What a resumed run needs beside the records, by the keys of a checkpoint."""
        return {}

    def load_(self, step: Step, saved: Mapping) -> None:
        """Go on from such a state."""

    def describe(self, steps: int) -> str:
        """The plan of a training of so many steps, for the log."""
        schedule = self.schedule
        times, first, last = len(schedule.steps()), schedule.first, schedule.last
        return f"the mask changes {counted(times, 'time')}, after steps {first:,} to {last:,} of {steps:,}"


class FixedMask(ScheduledUpdates):
    """A mask that never changes."""

    def __init__(self) -> None:
        self.records = []

    @property
    def settled(self) -> bool:
        return True

    def before_step_(self, step: Step, done: int, visits: Tensor) -> bool:
        return False

    def epoch_row(self, begin: int) -> dict[str, int | float]:
        return {}

    def describe(self, steps: int) -> str:
        return "the mask never changes"


def update_record(before: Mask, after: Mask, done: int) -> dict:
    """The record of a change after so many steps: what is kept from then on, how much was dropped and has grown."""
    layers = {name: layer["kept"] for name, layer in layer_counts(after).items()}
    gone = count({name: layer & ~after[name] for name, layer in before.items()})
    kept = sum(layers.values())
    return {"step": done, "kept": kept, "dropped": gone, "grown": kept - (count(before) - gone), "layers": layers}


# --- over a whole training --------------------------------------------------------------------------------------------


def mean_kept(records: list[dict], initial: Mapping[str, int], taken: Sequence[range]) -> dict[str, float]:
    """By layer, how many weights were kept on average over the steps of a training that began with `initial`: what its
    zero-aware FLOPs are counted by.

    `taken` are the steps of each epoch, counted as in `records`, as of whole epochs: batch selection leaves out the
    last ones of an epoch.
    """
    begins = [0, *(record["step"] for record in records)]
    kept = [initial, *(record["layers"] for record in records)]
    periods = [range(begin, end) for begin, end in zip(begins, [*begins[1:], taken[-1].stop], strict=True)]
    lengths = [sum(common(period, steps) for steps in taken) for period in periods]
    return {
        name: sum(length * layers[name] for length, layers in zip(lengths, kept, strict=True)) / sum(lengths)
        for name in initial
    }


def common(a: range, b: range) -> int:
    """How many numbers lie in both."""
    return len(range(max(a.start, b.start), min(a.stop, b.stop)))
