"""Render a table of a report as LaTeX, in the rules of the package booktabs."""

import itertools

from lottery.reports.document import Table

SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "−": "$-$", "×": r"$\times$", "–": "--", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"[": "{[}", "*": "{*}"},  # after \\ they would be its length, and its star
}


def latex(table: Table) -> str:
    """A table environment with the caption, and `tab:NAME` as its label."""
    columns = "".join("r" if right else "l" for right in table.aligned_right())
    rows = [physical for row in table.texts() for physical in _physical_rows(row)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row([column.heading for column in table.columns]),
            r"\midrule",
            *map(_row, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """The text with the characters escaped that LaTeX reads as commands or that its older engines lack."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _row(texts: list[str]) -> str:
    return " & ".join(escaped(_with_minus(text)) for text in texts) + r" \\"


def _with_minus(text: str) -> str:
    """A negative number with a minus sign in place of the hyphen."""
    return "−" + text[1:] if text[:1] == "-" and text[1:2].isdigit() else text


def _physical_rows(row: list[str]) -> list[list[str]]:
    """A row whose cells have several lines as so many rows of a tabular."""
    return [list(lines) for lines in itertools.zip_longest(*(text.splitlines() for text in row), fillvalue="")]
