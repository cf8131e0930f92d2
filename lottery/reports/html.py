"""Render a report as one self-contained HTML file, with inlined figures and without scripts.

Figures are inlined as SVG, which is sharp at any size and half as large as PNG. Links to the files of figures and
tables lead into the folders beside the page.
"""

import base64
import re
import struct
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lottery.reports.document import (
    Beside,
    Commands,
    Figure,
    Folded,
    Heading,
    Listing,
    Paragraph,
    Part,
    Report,
    Section,
    Table,
)
from lottery.reports.style import DPI

STYLE = Path(__file__).with_name("page.css")
PNG_SCALE = 96 / DPI  # pixels of a page in one of a PNG
LABELS = {"png": "PNG", "svg": "SVG", "pdf": "PDF", "csv": "CSV", "tex": "LaTeX"}
MANY_COLUMNS, MOST_COLUMNS = 12, 17  # of a table; with more it is printed small, with more on pages on their side
SHORT_TEXT, LONG_TEXT = 18, 120  # letters in a cell
WHERE = "Links to files lead into the folders figures and tables beside this page; all else is in the page itself."


def html(report: Report) -> str:
    title = escape(report.title)
    links = "\n".join(
        f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>' for section in report.sections
    )
    sections = "\n".join(_section(section) for section in report.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="made">{escape(report.made)} <span class="where">{WHERE}</span></p>
</header>
<nav aria-label="Contents">
<ul>
{links}
</ul>
</nav>
<main>
{sections}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    return f'<section id="{section.anchor}">\n<h2>{escape(section.title)}</h2>\n{parts}\n</section>'


def _part(part: Part) -> str:
    match part:
        case Heading():
            return f"<h3>{escape(part.text)}</h3>"
        case Paragraph():
            return _paragraph(part)
        case Listing():
            return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in part.items) + "\n</ul>"
        case Commands():
            return f'<pre tabindex="0">{escape(chr(10).join(part.lines))}</pre>'
        case Figure():
            return _figure(part)
        case Beside():
            return '<div class="beside">\n' + "\n".join(map(_figure, part.figures)) + "\n</div>"
        case Table():
            return _table(part)
        case Folded():
            return _folded(part)


def _paragraph(paragraph: Paragraph) -> str:
    """Set apart if it warns, and not parted from what it leads to by the end of a printed page."""
    leads = paragraph.text.endswith(":")
    kind = _class("warning" if paragraph.warns else "", "lead" if leads else "")
    return f"<p{kind}>{escape(paragraph.text)}</p>"


def _folded(folded: Folded) -> str:
    content = "\n".join(map(_part, folded.parts))
    return f"<details><summary>{escape(folded.title)}</summary>\n{content}\n</details>"


# --- figures ----------------------------------------------------------------------------------------------------------


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.files.svg).decode()
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(figure.title)}"{_size(figure.files.png)}>'
    caption = f"{escape(figure.caption)} {_files('figures', figure.name, ('png', 'svg', 'pdf'))}"
    return f'<figure id="{figure.name}">\n{image}\n<figcaption>{caption}</figcaption>\n</figure>'


def _size(png: bytes) -> str:
    """Width and height as attributes, so that the page keeps its place while images are decoded; "" if it is no PNG."""
    if png[12:16] != b"IHDR":
        return ""
    width, height = (round(PNG_SCALE * pixels) for pixels in struct.unpack(">II", png[16:24]))
    return f' width="{width}" height="{height}" decoding="async"'


def _files(folder: str, name: str, kinds: tuple[str, ...]) -> str:
    """Links to the files that hold a figure or a table."""
    links = " ".join(f'<a href="{folder}/{name}.{kind}">{LABELS[kind]}</a>' for kind in kinds)
    return f'<span class="files">{links}</span>'


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(table: Table) -> str:
    """The table under its caption, which is the title of a folded one."""
    anchor, caption = f"table-{table.name}", escape(table.caption)
    if not table.is_shown:
        file = f"tables/{table.name}.csv"
        return f'<p id="{anchor}">{caption} Its {len(table.rows):,} rows are in <a href="{file}">{file}</a>.</p>'
    files = _files("tables", table.name, ("csv", "tex"))
    size = "wide" * (len(table.columns) > MANY_COLUMNS), "widest" * (len(table.columns) > MOST_COLUMNS)
    name = f'id="{anchor}"{_class(*size)}'
    title = f'<span id="{anchor}-title">{caption}</span>'
    if table.folded:
        return f"<details {name}><summary>{title}</summary>\n<p>{files}</p>\n{_scrolling(table)}\n</details>"
    return f"<figure {name}>\n<figcaption>{title} {files}</figcaption>\n{_scrolling(table)}\n</figure>"


def _scrolling(table: Table) -> str:
    """The table in a box that scrolls, with the keyboard too."""
    texts = table.texts()
    kinds = _kinds(table, texts)
    head = "".join(_heading(column.heading, kind) for column, kind in zip(table.columns, kinds, strict=True))
    rows = "\n".join(_row(kinds, row) for row in texts)
    named = f'aria-labelledby="table-{table.name}-title"'
    return (
        f'<div class="scroll" role="region" tabindex="0" {named}><table {named}>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _kinds(table: Table, texts: list[list[str]]) -> list[str]:
    """For each column the class of its cells: "number", "text" or "passage", "lines" if they have several short lines,
    or "" for short texts. Long ones wrap, but have a least width, so that many columns do not squeeze them."""
    columns = list(zip(*texts, strict=True)) or [() for _ in table.columns]
    return [
        "number" if right else _text_kind(column) for right, column in zip(table.aligned_right(), columns, strict=True)
    ]


def _text_kind(texts: Sequence[str]) -> str:
    longest = max((len(line) for text in texts for line in text.splitlines()), default=0)
    if longest <= 2 * SHORT_TEXT and any("\n" in text for text in texts):
        return "lines"
    return ("", "text", "passage")[(longest > SHORT_TEXT) + (longest > LONG_TEXT)]


def _heading(text: str, kind: str) -> str:
    return f'<th scope="col"{_class(kind, "long" if len(text) > SHORT_TEXT else "")}>{escape(text)}</th>'


def _row(kinds: list[str], texts: list[str]) -> str:
    """A row; its first cell is its heading."""
    first, *others = (f"{_class(kind)}>{_lines(text)}" for kind, text in zip(kinds, texts, strict=True))
    return f'<tr><th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in others) + "</tr>"


def _lines(text: str) -> str:
    """Its lines; names and paths in long ones may be broken after these signs, and elsewhere if that is not enough."""
    return "<br>".join(
        re.sub("([/_])(?=.)", r"\1<wbr>", escape(line)) if len(line) > SHORT_TEXT else escape(line)
        for line in text.splitlines()
    )


def _class(*names: str) -> str:
    """The attribute for those of the names that are not empty."""
    given = " ".join(filter(None, names))
    return f' class="{given}"' if given else ""
