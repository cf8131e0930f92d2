"""Tables and text as HTML."""

from lottery.reports.document import MOST_ROWS, Column, Paragraph, Report, Section, Table
from lottery.reports.html import html


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
