"""A report as plain data, rendered by html.py, markdown.py and latex.py: sections of paragraphs, figures, tables."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

Cell = str | int | float | bool | None
MOST_ROWS = 400  # of a table; longer ones are in their CSV files alone


class Column(NamedTuple):
    """A table's column: its heading, and the format of its numbers."""

    heading: str
    form: str = ""  # a format specification

    def text(self, cell: Cell) -> str:
        """A cell as a reader sees it; a dash for None."""
        if cell is None:
            return "–"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        return cell if isinstance(cell, str) else format(cell, self.form)


@dataclass(frozen=True)
class Heading:
    """A subtitle within a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str
    warns: bool = False  # set apart as a warning


@dataclass(frozen=True)
class Listing:
    """A bulleted list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Commands:
    """A block of shell commands."""

    lines: Sequence[str]


class Files(NamedTuple):
    """A figure's files by their format."""

    png: bytes
    svg: bytes
    pdf: bytes


@dataclass(frozen=True)
class Figure:
    """A figure in three formats; `name` is the stem of its files, which `drawn` returns once they are drawn."""

    name: str
    caption: str
    drawn: Callable[[], Files]

    @property
    def files(self) -> Files:
        return self.drawn()

    @property
    def title(self) -> str:
        """The caption up to its first colon or full stop: a short text in place of the picture."""
        return re.split(r"[:.](?=\s|$)", self.caption)[0]


@dataclass(frozen=True)
class Beside:
    """Figures side by side, where the page is wide enough."""

    figures: Sequence[Figure]


@dataclass(frozen=True)
class Table:
    """A table; `name` is the stem of the files that hold all rows. Folded tables are collapsed at first. A cell's text
    may have several lines."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False

    @property
    def is_shown(self) -> bool:
        return len(self.rows) <= MOST_ROWS

    def texts(self) -> list[list[str]]:
        return [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    def aligned_right(self) -> list[bool]:
        """For each column whether it holds numbers."""
        cells = zip(*self.rows, strict=True) if self.rows else [[] for _ in self.columns]
        return [not any(isinstance(cell, str) for cell in column) for column in cells]

    def csv(self) -> bytes:
        """All rows, with numbers in full precision and empty cells for None."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.heading for column in self.columns])
        writer.writerows(self.rows)
        return file.getvalue().encode(errors="backslashreplace")  # paths need not be UTF-8


@dataclass(frozen=True)
class Folded:
    """Parts under a title that are collapsed at first: what not every reader wants."""

    title: str
    parts: Sequence["Part"]


Part = Heading | Paragraph | Listing | Commands | Figure | Beside | Table | Folded


@dataclass
class Section:
    """A chapter."""

    title: str
    anchor: str  # id of its HTML element
    parts: list[Part] = field(default_factory=list)


@dataclass
class Report:
    title: str
    sections: list[Section]
    made: str = ""  # a sentence: when, and by which version

    def all(self, kind: type) -> list:
        """All parts of this type, in order, also within others."""
        parts = unfolded(part for section in self.sections for part in section.parts)
        return [part for part in parts if isinstance(part, kind)]


def file_stem(*names: str) -> str:
    """The names of a task or a method as part of the name of a file: "digits_res20s"."""
    return re.sub(r"\W+", "_", "_".join(names)).strip("_").lower()


AnyPart = TypeVar("AnyPart", bound=Part)


def with_names_of_their_own(parts: Iterable[AnyPart], taken: Counter[tuple[type, str]]) -> list[AnyPart]:
    """The parts; figures, and tables, whose name is `taken` have a number behind it, as methods may be whose names
    differ in signs that are in no name of a file. Adds their names to `taken`."""

    def named(part: Any) -> Any:
        if isinstance(part, Figure | Table):
            taken[type(part), part.name] += 1
            number = taken[type(part), part.name]
            return replace(part, name=f"{part.name}_{number}") if number > 1 else part
        if isinstance(part, Folded):
            return replace(part, parts=with_names_of_their_own(part.parts, taken))
        if isinstance(part, Beside):
            return replace(part, figures=with_names_of_their_own(part.figures, taken))
        return part

    return [named(part) for part in parts]


def unfolded(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, each followed by those within it."""
    for part in parts:
        yield part
        if isinstance(part, Folded):
            yield from unfolded(part.parts)
        if isinstance(part, Beside):
            yield from part.figures
