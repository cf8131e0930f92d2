"""An update recorded as a CUDA graph, which replays what was recorded, at the same addresses."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

Update = Callable[[Tensor], None]


class CapturedGraph:
    """An update recorded as a CUDA graph for batches of one size.

    Graphs that share a `pool` share memory: they run one after another, and nothing in it outlives a replay. With None
    the graph gets a new pool.
    """

    def __init__(
        self, update: Update, visits: Tensor, pool: tuple[int, int] | None, drop_gradients: Callable[[], None]
    ):
        self.visits = visits.clone()
        stream = torch.cuda.current_stream()
        warm_up(partial(update, self.visits), stream)
        drop_gradients()  # the recording allocates its own
        self.graph = torch.cuda.CUDAGraph()
        try:
            # In torch's default mode a thread of the image loader that pins memory meanwhile would end both.
            with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
                update(self.visits)
        finally:
            torch.cuda.set_stream(stream)  # a failed recording leaves torch on the capturing stream
        self.pool = self.graph.pool()

    def __call__(self, visits: Tensor) -> None:
        self.visits.copy_(visits)
        self.graph.replay()


def warm_up(run: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Run what is to be recorded three times, beside `stream`: libraries initialise on first use, which cannot be
    recorded.

    In the last run, waiting for the device raises; within a recording it would leave CUDA unusable. After an error
    `stream` waits, too, for what has been launched, since that changes tensors which are restored next.
    """
    beside = torch.cuda.Stream()
    beside.wait_stream(stream)
    try:
        with torch.cuda.stream(beside):
            run()
            run()
            with errors_on_waiting():
                run()
    finally:
        stream.wait_stream(beside)


@contextmanager
def errors_on_waiting() -> Iterator[None]:
    """Within, waiting for the device raises, as far as torch detects it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's note that it does not detect every wait
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
