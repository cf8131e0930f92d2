"""Render a report as one self-contained HTML file, with inlined figures and without scripts."""

import base64
from html import escape

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

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: 1rem; white-space: nowrap; } a { color: #0a5a8f; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; height: auto; display: block; margin: auto; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem; } .beside figure { flex: 1 1 24rem; margin: .5rem 0; }
figcaption, caption { color: #444; font-size: .9rem; text-align: left; padding: .3rem 0; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #888; vertical-align: bottom; } th.number, td.number { text-align: right; }
td.number { white-space: nowrap; }
.warning { border-left: 4px solid #d55e00; padding-left: .8rem; }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto; font-size: .8rem; } summary { cursor: pointer; }
"""


def html(report: Report) -> str:
    links = "\n".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in report.sections)
    sections = "\n".join(_section(section) for section in report.sections)
    footer = f"<footer>{escape(report.footer)}</footer>\n" if report.footer else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(report.title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(report.title)}</h1>\n<nav>\n{links}\n</nav>\n"
        f"{sections}\n{footer}</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    return f'<section id="{section.anchor}">\n<h2>{escape(section.title)}</h2>\n{parts}\n</section>'


def _part(part: Part) -> str:
    match part:
        case Heading():
            return f"<h3>{escape(part.text)}</h3>"
        case Paragraph():
            return f"<p{' class=' + chr(34) + 'warning' + chr(34) if part.warns else ''}>{escape(part.text)}</p>"
        case Listing():
            return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in part.items) + "\n</ul>"
        case Commands():
            return f"<pre>{escape(chr(10).join(part.lines))}</pre>"
        case Figure():
            return _figure(part)
        case Beside():
            return '<div class="beside">\n' + "\n".join(map(_figure, part.figures)) + "\n</div>"
        case Table():
            return _table(part)
        case Folded():
            return _folded(part.title, "\n".join(map(_part, part.parts)))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.svg).decode()
    caption = escape(figure.caption)
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{caption}">'
    return f'<figure id="{figure.name}">\n{image}\n<figcaption>{caption}</figcaption>\n</figure>'


def _table(table: Table) -> str:
    file = f"<code>tables/{table.name}.csv</code>"
    if not table.is_shown:
        return f"<p>{escape(table.caption)} Its {len(table.rows):,} rows are in {file}.</p>"
    kinds = [' class="number"' if right else "" for right in table.aligned_right()]
    head = "".join(
        f"<th{kind}>{escape(column.heading)}</th>" for kind, column in zip(kinds, table.columns, strict=True)
    )
    rows = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_lines(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>"
        for row in table.texts()
    )
    caption = f"<caption>{escape(table.caption)} ({file})</caption>"
    whole = (
        f'<div class="table" id="table-{table.name}"><table>{caption}\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )
    return _folded(table.caption, whole) if table.folded else whole


def _lines(text: str) -> str:
    return "<br>".join(map(escape, text.splitlines()))
