"""Tables and text as HTML, Markdown and LaTeX."""

import re
import struct
from collections import Counter

from lottery.reports.document import (
    MOST_ROWS,
    Beside,
    Column,
    Figure,
    Files,
    Folded,
    Paragraph,
    Report,
    Section,
    Table,
    with_names_of_their_own,
)
from lottery.reports.html import html
from lottery.reports.latex import latex
from lottery.reports.markdown import markdown


def test_html_is_escaped_and_numbers_are_written():
    table = Table("t", "a < b", [Column("x & y", ".2f"), Column("ok")], [[1.005, True], [None, False]])
    text = html(Report("<r>", [Section("S", "s", [Paragraph("1 < 2", warns=True), table])]))
    assert "&lt;r&gt;" in text and "1 &lt; 2" in text and "x &amp; y" in text and "a &lt; b" in text
    assert '<th scope="row" class="number">–</th><td class="number">no</td>' in text


def test_a_long_table_is_in_its_file_alone():
    table = Table("t", "Long.", [Column("x", "d")], [[12345]] * (MOST_ROWS + 1))
    text = html(Report("r", [Section("S", "s", [table])]))
    assert "12345" not in text and f"{MOST_ROWS + 1:,} rows are in" in text and 'href="tables/t.csv"' in text
    assert table.csv().count(b"12345") == MOST_ROWS + 1


def test_a_table_as_latex():
    """The rules of booktabs, special characters escaped, a cell of two lines on two rows."""
    columns = (Column("method"), Column("test (%)", ".2f"))
    rows = [["IMP_a & b", 97.5], ["PrAC\n97.10 ± 0.20", None], ["[1]", -0.125], ["*", 1]]
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
        r"{*} & 1.00 \\",
        r"\bottomrule",
    ]
    assert r"\begin{tabular}{lr}" in lines


def test_parts_within_folded_ones_are_found_and_rendered():
    figure = Figure("accuracy", "Accuracy.", lambda: Files(b"png", b"<svg/>", b"pdf"))
    table = Table("numbers", "Numbers.", (Column("n"),), [[1]])
    report = Report("title", [Section("One", "one", [Beside([figure]), Folded("More", [Paragraph("text"), table])])])
    assert report.all(Figure) == [figure] and report.all(Table) == [table]
    assert "<details><summary>More</summary>" in html(report) and "figures/accuracy.png" in markdown(report)
    assert re.search(r"<summary>More</summary>\n\ntext\n\n.*\|.*\n\n</details>", markdown(report), re.DOTALL)


def test_folded_tables_are_whole_in_both_and_titled_by_their_captions():
    table = Table("t", "Every <run>.", [Column("run"), Column("n", "d")], [["a|b", 1], ["c", None]], folded=True)
    report = Report("r", [Section("S", "s", [table])], made="Made today.")
    page, text = html(report), markdown(report)
    assert '<details id="table-t"><summary><span id="table-t-title">Every &lt;run&gt;.</span></summary>' in page
    assert page.count("Every &lt;run&gt;") == 1 and "Made today." in page
    assert (
        "<details><summary>Every &lt;run&gt;.</summary>\n\n[CSV](tables/t.csv) [LaTeX](tables/t.tex)\n\n| run | n |"
        in text
    )
    assert "| a\\|b | 1 |\n| c | – |\n\n</details>" in text and "*Made today.*" in text


def test_a_figure_has_a_short_text_and_its_size():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1400, 800)
    figure = Figure(
        "f", "Distance by epoch: a line for each 1.5 rounds. More.", lambda: Files(header, b"<svg/>", b"pdf")
    )
    page = html(Report("r", [Section("S", "s", [figure])]))
    assert 'alt="Distance by epoch" width="672" height="384"' in page
    assert re.findall(r'href="figures/f\.(\w+)"', page) == ["png", "svg", "pdf"]
    assert "![Distance by epoch](figures/f.png)" in markdown(Report("r", [Section("S", "s", [figure])]))


def test_columns_of_long_texts_are_told_from_short_ones_and_numbers():
    columns = [Column("run"), Column("path"), Column("text"), Column("the number of examples", "d")]
    page = html(Report("r", [Section("S", "s", [Table("t", "T.", columns, [["a_b", "x/" * 30, "word " * 50, 7]])])]))
    kinds = re.findall(r'<th scope="col"(?: class="(.+?)")?>', page)
    assert kinds == ["", "text", "passage", "number long"]
    assert ">a_b<" in page and "x/<wbr>x/" in page and '<td class="number">7</td>' in page


def test_figures_and_tables_of_one_name_have_files_of_their_own():
    figure, table = Figure("a", "", lambda: Files(b"", b"", b"")), Table("a", "", (), ())
    taken = Counter()
    first = with_names_of_their_own([figure, table, Folded("more", [table, Beside([figure])])], taken)
    second = with_names_of_their_own([table, Paragraph("a")], taken)
    report = Report("", [Section("", "", first), Section("", "", second)])
    assert [part.name for part in report.all(Figure)] == ["a", "a_2"]
    assert [part.name for part in report.all(Table)] == ["a", "a_2", "a_3"]
