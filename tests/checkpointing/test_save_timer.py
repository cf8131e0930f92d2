"""When a run is saved: what is at stake at any moment is bounded."""

import random

from lottery.checkpointing.save_timer import SaveTimer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def most_at_stake(interval, epochs):
    """Seconds since the last save, at the worst moment of a run with epochs of these lengths."""
    clock, worst = Clock(), 0.0
    save_timer, saved = SaveTimer(interval, clock), 0.0
    for seconds in epochs:
        clock.now += seconds
        worst = max(worst, clock.now - saved)
        if save_timer.due():
            saved = clock.now
            save_timer.restart()
    return worst


def test_with_0_it_saves_after_every_epoch():
    assert most_at_stake(0, [1.0, 5.0, 0.1, 3.0]) == 5.0


def test_no_more_than_the_interval_or_one_epoch_is_lost():
    """Epochs of one length, and of lengths that vary little."""
    for seconds in (0.1, 1, 7, 29, 31, 59, 61, 500):
        assert most_at_stake(60, [seconds] * 100) <= max(60, seconds) + 1e-6
    epochs = [random.Random(0).uniform(9, 11) for _ in range(100)]
    assert most_at_stake(60, epochs) <= 60 + 2


def test_short_epochs_are_saved_seldom():
    clock = Clock()
    save_timer, saves = SaveTimer(60, clock), 0
    for _ in range(6000):
        clock.now += 0.1
        if save_timer.due():
            saves += 1
            save_timer.restart()
    assert 10 <= saves <= 11
