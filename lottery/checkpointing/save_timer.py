"""How often a run is saved."""

import time
from collections.abc import Callable


class SaveTimer:
    """Says after each epoch whether to save now, so that a killed run loses at most `interval` seconds of work or the
    epoch it was in, whichever is more; with 0 after every epoch.

    A save is due when, by the end of another epoch as long as the last, more than `interval` would be at stake.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.perf_counter):
        self.interval, self.clock = interval, clock
        self.saved = self.asked = clock()

    def due(self) -> bool:
        """Asked once after each epoch."""
        now = self.clock()
        epoch, self.asked = now - self.asked, now
        return now - self.saved + epoch > self.interval

    def restart(self) -> None:
        """It has just been saved."""
        self.saved = self.asked = self.clock()
