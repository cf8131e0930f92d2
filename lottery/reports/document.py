"""A report as plain data: sections of paragraphs, figures, tables and commands, for HTML and Markdown alike."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Cell = str | int | float | bool | None
LONGEST = 400  # rows; a longer table is in its CSV file alone


class Column(NamedTuple):
    """A table's column: its heading, and how its numbers are written."""

    heading: str
    form: str = ""

    def text(self, cell: Cell) -> str:
        """What a reader sees; a dash for what is not known."""
        if cell is None:
            return "–"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        return cell if isinstance(cell, str) else format(cell, self.form)


@dataclass(frozen=True)
class Heading:
    """The title of what follows within a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str
    warns: bool = False


@dataclass(frozen=True)
class Listing:
    """Sentences under one another."""

    items: Sequence[str]


@dataclass(frozen=True)
class Commands:
    lines: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A picture, as the bytes of two files called `name`."""

    name: str
    caption: str
    png: bytes
    svg: bytes


@dataclass(frozen=True)
class Table:
    """Numbers under headings; `folded` if they are for looking up. The CSV file called `name` has them in full."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False

    @property
    def shown(self) -> bool:
        return len(self.rows) <= LONGEST

    def texts(self) -> list[list[str]]:
        return [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    def aligned_right(self) -> list[bool]:
        """By column: whether it holds numbers."""
        cells = zip(*self.rows, strict=True) if self.rows else [[] for _ in self.columns]
        return [not any(isinstance(cell, str) for cell in column) for column in cells]

    def csv(self) -> bytes:
        """All rows, numbers in full precision, empty where not known."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.heading for column in self.columns])
        writer.writerows(self.rows)
        return file.getvalue().encode()


Part = Heading | Paragraph | Listing | Commands | Figure | Table


@dataclass
class Section:
    """A chapter; `anchor` is its place in the page."""

    title: str
    anchor: str
    parts: list[Part] = field(default_factory=list)


@dataclass
class Report:
    title: str
    sections: list[Section]

    def all(self, kind: type) -> list:
        return [part for section in self.sections for part in section.parts if isinstance(part, kind)]
