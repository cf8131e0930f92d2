"""Render a report as Markdown, with its figures in files beside it."""

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
    Table,
)


def markdown(report: Report) -> str:
    contents = "\n".join(f"* [{section.title}](#{section.anchor})" for section in report.sections)
    sections = (
        f'<a id="{section.anchor}"></a>\n\n## {section.title}\n\n' + "\n\n".join(map(_part, section.parts))
        for section in report.sections
    )
    footer = [_plain(report.footer)] if report.footer else []
    return "\n\n".join([f"# {report.title}", contents, *sections, *footer]) + "\n"


def _part(part: Part) -> str:
    match part:
        case Heading():
            return f"### {_plain(part.text)}"
        case Paragraph():
            return f"> **Note.** {_plain(part.text)}" if part.warns else _plain(part.text)
        case Listing():
            return "\n".join(f"* {_plain(item)}" for item in part.items)
        case Commands():
            return "\n".join(["```bash", *part.lines, "```"])
        case Figure():
            return f"![{part.name}](figures/{part.name}.png)\n\n*{_plain(part.caption)}*"
        case Beside():
            return "\n\n".join(map(_part, part.figures))
        case Table():
            return _table(part)
        case Folded():
            return _folded(part)


def _folded(folded: Folded) -> str:
    """An element that GitHub and most editors collapse; blank lines around its content make that Markdown."""
    content = "\n\n".join(map(_part, folded.parts))
    return f"<details><summary>{escape(folded.title)}</summary>\n\n{content}\n\n</details>"


def _table(table: Table) -> str:
    caption = f"{_plain(table.caption)} (`tables/{table.name}.csv`)"
    if not table.is_shown or table.folded:
        return f"{caption}: {len(table.rows):,} rows."
    line = "|".join("---:" if right else "---" for right in table.aligned_right())
    heading = "|".join(f" {_plain(column.heading)} " for column in table.columns)
    rows = ["|".join(f" {_plain(text)} " for text in row) for row in table.texts()]
    return "\n".join([caption, "", *(f"|{row}|" for row in [heading, line, *rows])])


def _plain(text: str) -> str:
    """The text with Markdown's special characters escaped."""
    for sign in "\\|*_<[`":
        text = text.replace(sign, f"\\{sign}")
    return "<br>".join(text.splitlines())
