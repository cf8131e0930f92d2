"""Text that fits where it is read: sentences wrapped at the width of a terminal, tables that become narrower.

In a file or a pipe a sentence stays one line, so that grep finds it, and a table fits PAGE columns. On a terminal both
follow its width, COLUMNS if that is set, down to NARROWEST. Nothing is cut off: a word that is longer than a line, such
as a path, runs over.
"""

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TextIO
from unicodedata import east_asian_width

PAGE, NARROWEST = 80, 60  # columns
FILL = "\0"  # stands for the second column of a wide letter, such as a Chinese one, while lines are counted


class Verbatim(str):
    """A line that is never wrapped: a row of a table, a command to paste."""


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that the stream writes to; None if it is none."""
    is_terminal = getattr(stream, "isatty", None)  # what a program puts in the place of stdout may lack it
    if is_terminal is None or not is_terminal():
        return None
    given = os.environ.get("COLUMNS", "")
    columns = int(given) if given.isdecimal() else 0
    if not columns:
        with suppress(OSError, ValueError):  # a stream without a file, a terminal that does not tell
            columns = os.get_terminal_size(stream.fileno()).columns
    return max(NARROWEST, columns or PAGE)


def wrapped(text: str, stream: TextIO) -> str:
    """The text as the stream should get it: on a terminal each of its lines broken at words, further lines indented."""
    width = terminal_width(stream)
    if width is None or isinstance(text, Verbatim):
        return text
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    columns = "".join(letter + FILL * (east_asian_width(letter) in ("W", "F")) for letter in line)
    if len(columns) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    found = textwrap.fill(columns, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return found.replace(FILL, "")


def print_lines(*lines: str, stream: TextIO | None = None) -> None:
    """Print to stdout, or to a stream, each line wrapped."""
    stream = stream or sys.stdout
    print(*(wrapped(line, stream) for line in lines), sep="\n", file=stream)


def counted(number: int, one: str, more: str = "") -> str:
    """A number and its noun: "1 step", "2 steps", "1,000 steps"; `more` is the plural, if it has no plain s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


# --- tables -----------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of a table: its heading, the format of its cells, and how wide they are at least."""

    heading: str
    form: str = ""  # "<" aligns it to the left
    width: int = 0
    short: str | None = None  # the heading where there is little room
    group: str = ""  # a heading above those of neighbouring columns of the same group


class Table(NamedTuple):
    """Columns as they are printed: with full or short headings, two spaces between them or one."""

    columns: Sequence[Column]
    gap: str

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns) + len(self.gap) * (len(self.columns) - 1)

    def headings(self) -> list[str]:
        """The line of headings, below one of groups if there are any."""
        headings = self._line(column.heading for column in self.columns)
        return [headings] if not any(column.group for column in self.columns) else [self._groups(), headings]

    def row(self, *values: Any) -> str:
        """A line of cells; "-" for None."""
        return self._line(cell(value, column) for value, column in zip(values, self.columns, strict=True))

    def _line(self, cells: Iterable[str]) -> Verbatim:
        aligned = (
            f"{text:<{column.width}}" if column.form.startswith("<") else f"{text:>{column.width}}"
            for text, column in zip(cells, self.columns, strict=True)
        )
        return Verbatim(self.gap.join(aligned).rstrip())

    def _groups(self) -> Verbatim:
        """Each group's name ends above its last column."""
        line, following = "", [*(column.group for column in self.columns[1:]), None]
        end = -len(self.gap)
        for column, after in zip(self.columns, following, strict=True):
            end += len(self.gap) + column.width
            if column.group and column.group != after:
                line += f"{column.group:>{max(0, end - len(line))}}"
        return Verbatim(line)


def fitting_table(columns: Sequence[Column], width: int | None = None) -> Table:
    """The roomiest table of these columns that fits, else the narrowest; by default where stdout leads."""
    width = width or terminal_width(sys.stdout) or PAGE
    short = [column._replace(heading=column.short or column.heading) for column in columns]
    tables = [Table([_as_wide_as_its_heading(column) for column in headed], gap)
              for headed in (columns, short) for gap in ("  ", " ")]  # fmt: skip
    return next((table for table in tables if table.width <= width), tables[-1])


def _as_wide_as_its_heading(column: Column) -> Column:
    return column._replace(width=max(column.width, len(column.heading)))


def cell(value: Any, column: Column) -> str:
    """A value as a column shows it; "-" for None."""
    return "-" if value is None else format(value, column.form.removeprefix("<"))


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[Any]], width: int | None = None) -> list[str]:
    """A whole table, its columns as wide as their cells."""
    known = [
        column._replace(width=max([column.width, *(len(cell(row[place], column)) for row in rows)]))
        for place, column in enumerate(columns)
    ]
    table = fitting_table(known, width)
    return [*table.headings(), *(table.row(*row) for row in rows)]
