"""DPF: Lin et al., "Dynamic Model Pruning with Feedback", ICLR 2020."""

from collections.abc import Mapping

from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule
from lottery.sparse_training.scheduled_updates import ScheduledUpdates
from lottery.training.loop import all_finite
from lottery.training.step import Step
from pruner import Mask, count, drop, magnitude, size


class PruningWithFeedback(ScheduledUpdates):
    """Keeps the largest of all weights that are trained on, dropped ones too (`DroppedWeights`), along the cubic
    schedule of gradual pruning: a dropped weight that has grown larger than a kept one comes back with its value.

    `whole` are the weights that may be kept.
    """

    def __init__(self, schedule: UpdateSchedule, density: float, whole: Mask):
        super().__init__(schedule)
        self.density, self.whole = density, whole

    def begin_(self, step: Step) -> None:
        step.train_dropped_()
        self.dropped = step.dropped

    def state(self) -> dict:
        return {"dropped_weights": {name: value.clone() for name, value in self.dropped.values.items()}}

    def load_(self, step: Step, saved: Mapping) -> None:
        step.dropped.load_(saved["dropped_weights"])

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        """A change of the mask takes the place of no optimiser step."""
        dense = step.dropped.dense()
        if all_finite(list(dense.values())):
            weights, before = size(self.whole), count(self.whole)
            kept = self.schedule.kept_after(done, before / weights, self.density, weights)
            mask = drop(self.whole, magnitude(dense, self.whole), before - kept)
            self.use_(step, mask, done)
        return False

    def dense_gradient_examples(self, trained_on: int) -> int:
        return trained_on
