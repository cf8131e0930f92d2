"""The end of a run from outside: the first SIGINT or SIGTERM stops it at once, but not in the middle of a write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the run to end; `status` is the exit status that says so."""

    def __init__(self, number: int):
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.status = 128 + number


class _State:
    """Of the process: a signal can come at any point of it."""

    shields = 0
    waiting: int | None = None  # a signal that came behind a shield


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, the first signal raises Interrupted, and further ones are ignored: what is known is being saved.

    In a thread other than the main one, which no signal reaches, nothing happens.
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
    """Within, a signal waits for the end: for work that has to be whole."""
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
