"""Progress of a run in the terminal: one bar over all its optimiser steps, and log lines above it."""

import sys

from tqdm import tqdm


class Progress:
    """A progress bar, shown only on a terminal, and a log that is printed in any case.

    A context manager that closes the bar.
    """

    def __init__(self, print_freq: int = 50):
        self.print_freq, self.done = print_freq, 0
        self.bar: tqdm | None = None

    def begin(self, done: int) -> None:
        """Start the bar at the steps that an earlier process has done; they do not count for the speed."""
        self.done = done

    def expect(self, total: int, what: str) -> None:
        """Label the bar and set its total, the steps of the whole job; an upper bound if rounds may stop early."""
        if self.bar is None:
            self.bar = tqdm(initial=self.done, unit="step", disable=None, dynamic_ncols=True, miniters=self.print_freq)
        self.bar.total = total
        self.bar.set_description(what)

    def expect_fewer(self, steps: int) -> None:
        """Lower the total by steps that were left out."""
        if self.bar is not None and self.bar.total is not None:
            self.bar.total -= steps

    def tick(self, times: int = 1) -> None:
        self.bar.update(times)

    def log(self, *lines: str) -> None:
        """Print lines above the bar."""
        for line in lines:
            tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()
