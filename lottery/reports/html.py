"""Render a report as one self-contained HTML file, with inlined figures and without scripts.

Figures are inlined as SVG, which is sharp at any size and half as large as PNG. Links to the files of figures and
tables lead into the folders beside the page.
"""

import base64
import re
import struct
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

STYLE = Path(__file__).with_name("page.css")
PNG_SCALE = 96 / 200  # pixels of a page in one of a PNG, whose resolution is 200 per inch
LABELS = {"png": "PNG", "svg": "SVG", "pdf": "PDF", "csv": "CSV", "tex": "LaTeX"}
MANY_COLUMNS = 12  # of a table, which is printed on pages of its own
SHORT_TEXT, LONG_TEXT = 18, 120  # letters in a cell, at most
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
{STYLE.read_text()}</style>
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
            return f"<p{_class(part)}>{escape(part.text)}</p>"
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


def _class(paragraph: Paragraph) -> str:
    """That of a warning, or of a line that leads to what follows it and is not parted from it."""
    if paragraph.warns:
        return ' class="warning"'
    return ' class="lead"' if paragraph.text.endswith(":") else ""


def _folded(folded: Folded) -> str:
    content = "\n".join(map(_part, folded.parts))
    return f"<details><summary>{escape(folded.title)}</summary>\n{content}\n</details>"


# --- figures ----------------------------------------------------------------------------------------------------------


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.svg).decode()
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(figure.title)}"{_size(figure.png)}>'
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
        rows = f"Its {len(table.rows):,} rows are in {_files('tables', table.name, ('csv',))}"
        return f'<p id="{anchor}">{caption} {rows}.</p>'
    files = _files("tables", table.name, ("csv", "tex"))
    name = f'id="{anchor}"' + (' class="wide"' if len(table.columns) > MANY_COLUMNS else "")
    title = f'<span id="{anchor}-title">{caption}</span>'
    if table.folded:
        return f"<details {name}><summary>{title}</summary>\n<p>{files}</p>\n{_scrolling(table)}\n</details>"
    return f"<figure {name}>\n<figcaption>{title} {files}</figcaption>\n{_scrolling(table)}\n</figure>"


def _scrolling(table: Table) -> str:
    """The table in a box that scrolls, with the keyboard too."""
    texts = table.texts()
    kinds = _kinds(table, texts)
    head = "".join(
        f'<th scope="col"{kind}>{escape(column.heading)}</th>'
        for kind, column in zip(kinds, table.columns, strict=True)
    )
    rows = "\n".join(_row(kinds, row) for row in texts)
    named = f'aria-labelledby="table-{table.name}-title"'
    return (
        f'<div class="scroll" role="region" tabindex="0" {named}><table {named}>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _kinds(table: Table, texts: list[list[str]]) -> list[str]:
    """For each column the class of its cells, as an attribute."""
    longest = [max(map(len, column)) for column in zip(*texts, strict=True)] or [0] * len(table.columns)
    return [
        ' class="number"' if right else _width_class(letters)
        for right, letters in zip(table.aligned_right(), longest, strict=True)
    ]


def _width_class(letters: int) -> str:
    """Columns of long texts wrap, but have a least width, so that tables of many columns do not squeeze them."""
    if letters <= SHORT_TEXT:
        return ""
    return ' class="text"' if letters <= LONG_TEXT else ' class="passage"'


def _row(kinds: list[str], texts: list[str]) -> str:
    """A row; its first cell is its heading."""
    first, *others = (f"{kind}>{_lines(text)}" for kind, text in zip(kinds, texts, strict=True))
    return f'<tr><th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in others) + "</tr>"


def _lines(text: str) -> str:
    """Its lines; long names and paths may be broken after these signs, and elsewhere if that is not enough."""
    return "<br>".join(re.sub("([/_])(?=.)", r"\1<wbr>", escape(line)) for line in text.splitlines())
