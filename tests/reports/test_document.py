"""Tables and text as HTML, Markdown and LaTeX."""

import re

from lottery.reports.document import MOST_ROWS, Beside, Column, Figure, Folded, Paragraph, Report, Section, Table
from lottery.reports.html import html
from lottery.reports.latex import latex
from lottery.reports.markdown import markdown


def test_html_is_escaped_and_numbers_are_written():
    table = Table("t", "a < b", [Column("x & y", ".2f"), Column("ok")], [[1.005, True], [None, False]])
    text = html(Report("<r>", [Section("S", "s", [Paragraph("1 < 2", warns=True), table])]))
    assert "&lt;r&gt;" in text and "1 &lt; 2" in text and "x &amp; y" in text and "a &lt; b" in text
    assert '<td class="number">–</td><td class="number">no</td>' in text


def test_a_long_table_is_in_its_file_alone():
    table = Table("t", "Long.", [Column("x", "d")], [[12345]] * (MOST_ROWS + 1))
    text = html(Report("r", [Section("S", "s", [table])]))
    assert "12345" not in text and f"{MOST_ROWS + 1:,} rows are in <code>tables/t.csv" in text
    assert table.csv().count(b"12345") == MOST_ROWS + 1


def test_a_table_as_latex():
    """The rules of booktabs, special characters escaped, a cell of two lines on two rows."""
    columns = (Column("method"), Column("test (%)", ".2f"))
    rows = [["IMP_a & b", 97.5], ["PrAC\n97.10 ± 0.20", None], ["[1]", -0.125]]
    lines = latex(Table("headline", "50 % of $x$", columns, rows)).splitlines()
    assert r"\caption{50 \% of \$x\$}" in lines and r"\label{tab:headline}" in lines
    assert lines[lines.index(r"\toprule") : lines.index(r"\end{tabular}")] == [
        r"\toprule",
        r"method & test (\%) \\",
        r"\midrule",
        r"IMP\_a \& b & 97.50 \\",
        r"PrAC & -- \\",
        r"97.10 $\pm$ 0.20 &  \\",
        r"{[}1] & $-$0.12 \\",
        r"\bottomrule",
    ]
    assert r"\begin{tabular}{lr}" in lines


def test_parts_within_folded_ones_are_found_and_rendered():
    figure = Figure("accuracy", "Accuracy.", b"png", b"<svg/>", b"pdf")
    table = Table("numbers", "Numbers.", (Column("n"),), [[1]])
    report = Report("title", [Section("One", "one", [Beside([figure]), Folded("More", [Paragraph("text"), table])])])
    assert report.all(Figure) == [figure] and report.all(Table) == [table]
    assert "<details><summary>More</summary>" in html(report) and "figures/accuracy.png" in markdown(report)
    assert re.search(r"<summary>More</summary>\n\ntext\n\n.*\|.*\n\n</details>", markdown(report), re.DOTALL)
