"""Progress of a run in the terminal: one bar over all its optimiser steps, and log lines above it."""

import sys
from collections.abc import Callable, Mapping

from tqdm import tqdm

from lottery import ranks
from lottery.terminal import Column, fitting_table, terminal_width, wrapped

HEADINGS_EVERY = 20  # rows of a table: fewer than a terminal has lines, so that headings are always in view
FULL_BAR = 80  # columns that the whole bar needs; below, it leaves out what takes most of them
SHORT_BAR = "{desc}{percentage:3.0f}%|{bar}| {remaining} left, {rate_fmt}"
WAITING_FULL_BAR = 105  # columns that the whole bar needs where it may say that it is waited for data
WAITING_BAR = "{desc}{percentage:3.0f}%|{bar}| {remaining} left{postfix}"  # in fewer of them
WAITING = 0.05  # share of the time from which it says so


class Progress:
    """A progress bar, shown only on a terminal, and a log that is printed in any case.

    A context manager that closes the bar.
    """

    def __init__(self, print_freq: int = 50):
        self.print_freq, self.done = print_freq, 0
        self.bar: tqdm | None = None
        self.columns: list[Column] = []  # of the rows logged last
        self.rows = 0  # logged below the newest headings
        self.waiting: Callable[[], float] | None = None  # the share of the time that images are waited for

    def begin(self, done: int) -> None:
        """Start the bar at the steps that an earlier process has done; they do not count for the speed."""
        self.done = done

    def expect(self, total: int, what: str, unit: str = "step") -> None:
        """Label the bar and set its total, the steps of the whole job; an upper bound if rounds may stop early."""
        if self.bar is None:
            shown = {"disable": None if ranks.is_first() else True, "dynamic_ncols": True}
            self.bar = tqdm(initial=self.done, unit=f" {unit}", miniters=self.print_freq, **shown)
        self.bar.total = total
        self.describe(what)

    def describe(self, what: str) -> None:
        """Label the bar, which fits the terminal as wide as that is now."""
        if self.bar is not None and not self.bar.disable:
            width = terminal_width(sys.stderr)
            full, short = (WAITING_FULL_BAR, WAITING_BAR) if self.waiting else (FULL_BAR, SHORT_BAR)
            self.bar.bar_format = None if width is None or width >= full else short
            self.bar.set_description(what)

    def expect_fewer(self, steps: int) -> None:
        """Lower the total by steps that were left out."""
        if self.bar is not None and self.bar.total is not None:
            self.bar.total -= steps

    def tick(self, times: int = 1) -> None:
        if self.waiting:
            share = self.waiting()
            words = f"waiting for data {100 * share:.0f} %" if share >= WAITING else ""
            self.bar.set_postfix_str(words, refresh=False)
        self.bar.update(times)

    def log(self, *lines: str) -> None:
        """Print lines above the bar."""
        self.columns = []
        self._write(*lines)

    def log_row(self, columns: Mapping[str, Column], cells: Mapping[str, object]) -> None:
        """Print a row of a table that grows: its cells by the keys of their columns. Headings come first, and again
        where other lines or HEADINGS_EVERY rows came between."""
        shown = [columns[key] for key in cells]
        table = fitting_table(shown)
        if shown != self.columns or self.rows == HEADINGS_EVERY:
            self.columns, self.rows = shown, 0
            self._write(*table.headings())
        self.rows += 1
        self._write(table.row(*cells.values()))

    def _write(self, *lines: str) -> None:
        for line in lines:
            tqdm.write(wrapped(line, sys.stdout), file=sys.stdout)
        sys.stdout.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()
