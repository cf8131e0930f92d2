"""Gradual magnitude pruning: Zhu & Gupta, "To prune, or not to prune", 2017 (arXiv 1710.01878)."""

from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule
from lottery.sparse_training.scheduled_updates import ScheduledUpdates
from lottery.training.step import Step
from pruner import count, drop, magnitude, size


class GradualPruning(ScheduledUpdates):
    """Prunes the smallest weights of all layers together along the cubic schedule, to round(`density` n) of n weights.

    Masks are nested, and counts never rise.
    """

    grows = False

    def __init__(self, schedule: UpdateSchedule, density: float, initial: float):
        super().__init__(schedule)
        self.density, self.initial = density, initial

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        """A change of the mask takes the place of no optimiser step."""
        self.prune_(step, done)
        return False

    def prune_(self, step: Step, done: int) -> None:
        mask = step.mask
        number = max(0, count(mask) - self.schedule.kept_after(done, self.initial, self.density, size(mask)))
        self.use_(step, drop(mask, magnitude(step.parameters, mask), number), done)

    def epoch_row(self, begin: int) -> dict[str, int | float]:
        return {}
