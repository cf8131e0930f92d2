"""Stopping a run from outside: the first SIGINT or SIGTERM ends it at once, but never in the middle of a write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the run to end; `status` is the exit status to report, 128 + its number."""

    def __init__(self, number: int):
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.status = 128 + number


class _State:
    """State of the whole process, since a signal can arrive at any point of it."""

    shields = 0
    waiting: int | None = None  # a signal that arrived within `shielded`


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, the first signal raises Interrupted; further ones are ignored while the run saves its state.

    Does nothing in threads other than the main one, which signals do not reach.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in SIGNALS}
    try:
        yield
    finally:
        _State.waiting = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Within, a signal is held back until the end, so that files that belong together are all written."""
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
    if _State.waiting is not None and not _State.shields:
        _raise_waiting()


def _end(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    _State.waiting = number
    if not _State.shields:
        _raise_waiting()


def _raise_waiting() -> None:
    number, _State.waiting = _State.waiting, None
    raise Interrupted(number)
