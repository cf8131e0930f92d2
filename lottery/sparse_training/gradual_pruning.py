"""Gradual magnitude pruning: Zhu & Gupta, "To prune, or not to prune", 2017 (arXiv 1710.01878)."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule
from lottery.training.loop import finite
from lottery.training.step import Step
from pruner import count, drop, layer_counts, magnitude, size


class GradualPruning:
    """Prunes the smallest weights of all layers together along the cubic schedule, to round(`density` n) of n weights.

    Masks are nested, and counts never rise. `records` has an entry for each change: the steps before it, the weights
    kept from then on, in all and in each layer, and how many were dropped.
    """

    def __init__(self, schedule: UpdateSchedule, density: float, initial: float):
        self.schedule, self.density, self.initial = schedule, density, initial
        self.records: list[dict] = []

    @property
    def changed(self) -> int | None:
        """The steps before the newest change."""
        return self.records[-1]["step"] if self.records else None

    @property
    def settled(self) -> bool:
        return self.changed is not None and self.changed >= self.schedule.last

    def before_step_(self, step: Step, done: int, visits: Tensor) -> bool:
        """A change of the mask takes the place of no optimiser step."""
        if self.schedule.is_due(done, self.changed):
            self.prune_(step, done)
        return False

    def prune_(self, step: Step, done: int) -> None:
        if not finite(step.model):
            return  # what is not a number has no rank; such a training ends with its epoch, in an error of its own
        mask = step.mask
        kept = count(mask)
        number = max(0, kept - self.kept_after(done, size(mask)))
        mask = drop(mask, magnitude(step.parameters, mask), number)
        step.change_mask_(mask)
        layers = {name: layer["kept"] for name, layer in layer_counts(mask).items()}
        self.records.append({"step": done, "kept": kept - number, "dropped": number, "layers": layers})

    def kept_after(self, done: int, weights: int) -> int:
        """How many of so many prunable weights are kept after these steps."""
        return round(self.schedule.cubic(done, self.initial, self.density) * weights)

    def state(self) -> list[dict]:
        """What a resumed run needs: the records so far."""
        return list(self.records)

    def load_state(self, records: list[dict]) -> None:
        self.records = list(records)


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
