"""Draw figures in other processes while the report goes on: drawing is most of a report's time.

Figures are neither small nor made to be sent, so that a process is forked from this one for every few of them, as many
at a time as there are cores. Where processes cannot be forked safely (macOS, Windows), figures are drawn at once.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection

from lottery.reports.document import Files

CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
TOGETHER = 4  # figures of one process: to fork one takes a fifth as long as to draw a figure

Draw = Callable[[], Files]


@contextlib.contextmanager
def in_processes() -> Iterator[None]:
    """Within it figures are drawn by other processes, if there are several cores."""
    global _queue
    _queue = _Queue() if CORES > 1 else None
    try:
        yield
        if _queue:
            _queue.start()
    finally:
        _queue = None


def drawn(draw: Draw) -> Draw:
    """Has a figure drawn. What is returned waits for the files, and raises what drawing them raised."""
    if _queue:
        return _queue.add(draw)
    files = draw()
    return lambda: files


class _Batch:
    """Figures that one process draws."""

    def __init__(self) -> None:
        self.draws: list[Draw] = []
        self.found: Sequence[Files | Exception] | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_draw_and_send, args=(self.draws, sender), daemon=True)
        self.process.start()
        sender.close()

    def wait(self) -> Sequence[Files | Exception]:
        if self.found is None:
            try:
                self.found = self.receiver.recv()
            except EOFError:  # the process was killed, as for want of memory
                self.found = [_result(draw) for draw in self.draws]
            self.process.join()
            self.receiver.close()
        return self.found

    def files(self, number: int) -> Files:
        found = self.wait()[number]
        if isinstance(found, Exception):
            raise found
        return found


class _Queue:
    """Batches: the one that is being filled, and those that are drawn now, the oldest first."""

    def __init__(self) -> None:
        self.filling = _Batch()
        self.running: deque[_Batch] = deque()

    def add(self, draw: Draw) -> Draw:
        batch = self.filling
        batch.draws.append(draw)
        if len(batch.draws) == TOGETHER:
            self.start()
        return partial(batch.files, len(batch.draws) - 1)

    def start(self) -> None:
        """Starts to draw the batch that is being filled, as soon as a core is free."""
        if not self.filling.draws:
            return
        if len(self.running) >= CORES:
            self.running.popleft().wait()
        self.filling.start()
        self.running.append(self.filling)
        self.filling = _Batch()


_queue: _Queue | None = None  # None where figures are drawn at once


def _draw_and_send(draws: Sequence[Draw], sender: Connection) -> None:
    gc.disable()  # to look for garbage is to copy all pages that are shared with the first process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the report, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sender.send([_result(draw) for draw in draws])


def _result(draw: Draw) -> Files | Exception:
    try:
        return draw()
    except Exception as error:
        return error
