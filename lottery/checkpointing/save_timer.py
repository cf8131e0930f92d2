"""When a run writes its next checkpoint."""

import time
from collections.abc import Callable


class SaveTimer:
    """Decides after each epoch whether to save now.

    A killed run loses at most `interval` seconds of work or the epoch it was in, whichever is longer: a save is due if
    the unsaved work would exceed `interval` by the end of another epoch as long as the last. With an interval of 0 a
    save is due after every epoch.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.perf_counter):
        self.interval, self.clock = interval, clock
        self.saved = self.asked = clock()

    def due(self) -> bool:
        """Call once after each epoch."""
        now = self.clock()
        epoch, self.asked = now - self.asked, now
        return now - self.saved + epoch > self.interval

    def restart(self) -> None:
        """Call after each save."""
        self.saved = self.asked = self.clock()
