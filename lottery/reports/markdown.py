"""Render a report as Markdown, with its figures in files beside it. GitHub shows all that the HTML file shows."""

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
    made = [f"*{_plain(report.made)}*"] if report.made else []
    return "\n\n".join([f"# {_plain(report.title)}", *made, contents, *sections]) + "\n"


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
            return _figure(part)
        case Beside():
            return "\n\n".join(map(_part, part.figures))
        case Table():
            return _table(part)
        case Folded():
            return _folded(part.title, "\n\n".join(map(_part, part.parts)))


def _folded(title: str, content: str) -> str:
    """An element that GitHub and most editors collapse; blank lines around its content make that Markdown."""
    return f"<details><summary>{escape(title)}</summary>\n\n{content}\n\n</details>"


def _figure(figure: Figure) -> str:
    files = " ".join(f"[{kind.upper()}](figures/{figure.name}.{kind})" for kind in ("svg", "pdf"))
    return f"![{_plain(figure.title)}](figures/{figure.name}.png)\n\n*{_plain(figure.caption)}* {files}"


def _table(table: Table) -> str:
    """The table under its caption, which is the title of a folded one."""
    csv = f"[CSV](tables/{table.name}.csv)"
    if not table.is_shown:
        return f"{_plain(table.caption)} Its {len(table.rows):,} rows are in {csv}."
    files = f"{csv} [LaTeX](tables/{table.name}.tex)"
    if table.folded:
        return _folded(table.caption, f"{files}\n\n{_rows(table)}")
    return f"{_plain(table.caption)} {files}\n\n{_rows(table)}"


def _rows(table: Table) -> str:
    line = "|".join("---:" if right else "---" for right in table.aligned_right())
    heading = "|".join(f" {_plain(column.heading)} " for column in table.columns)
    rows = ["|".join(f" {_plain(text)} " for text in row) for row in table.texts()]
    return "\n".join(f"|{row}|" for row in [heading, line, *rows])


def _plain(text: str) -> str:
    """The text with Markdown's special characters escaped."""
    for sign in "\\|*_<[`":
        text = text.replace(sign, f"\\{sign}")
    return "<br>".join(text.splitlines())
