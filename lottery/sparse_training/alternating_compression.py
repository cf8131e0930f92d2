"""AC/DC: Peste et al., "AC/DC: Alternating Compressed/DeCompressed Training of Deep Neural Networks", NeurIPS 2021."""

from torch import Tensor

from lottery.sparse_training.schedule import UpdateSchedule
from lottery.sparse_training.scheduled_updates import ScheduledUpdates
from lottery.training.step import Step
from pruner import Mask, count, drop, magnitude, size


class AlternatingCompression(ScheduledUpdates):
    """Compresses the network to round(`density` n) of n weights, the largest of all layers together, makes it as dense
    as `whole` again, and so on: every second change compresses, and the last one does.

    Weights that come back begin at 0, without momentum. A network is not made dense for less than half an interval
    before the last change. Where a change that compresses finds the network compressed, it stays so.
    """

    def __init__(self, schedule: UpdateSchedule, density: float, whole: Mask):
        super().__init__(schedule)
        self.kept, self.whole = round(density * size(whole)), whole

    def change_(self, step: Step, done: int, visits: Tensor) -> bool:
        """A change of the mask takes the place of no optimiser step."""
        mask = step.mask
        if self.compresses(done):
            mask = drop(mask, magnitude(step.parameters, mask), count(mask) - self.kept)
        else:
            mask = self.whole
        self.use_(step, mask, done)
        return False

    def compresses(self, done: int) -> bool:
        """Whether the change that is due after so many steps compresses, or leaves the network compressed."""
        too_late = self.schedule.last - done < self.schedule.every // 2
        return too_late or self.schedule.number(done) % 2 == 0
