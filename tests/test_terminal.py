"""What fits a terminal: wrapped sentences, tables that become narrower, both complete."""

import io

import pytest

from lottery.terminal import (
    NARROWEST,
    Column,
    Verbatim,
    counted,
    fitting_table,
    print_lines,
    table_lines,
    terminal_width,
    wrapped,
)

SENTENCE = "  round 3 ended after all 182 epochs: validation 91.20, test 90.85 at epoch 170; 5 optimiser steps, 3 s"


class Terminal(io.StringIO):
    """A stream that is a terminal, of as many columns as COLUMNS says."""

    def isatty(self):
        return True


@pytest.mark.parametrize("columns, width", [("80", 80), ("200", 200), ("20", NARROWEST), ("", 80), ("x", 80)])
def test_the_width_is_that_of_the_terminal_within_reason(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width(Terminal()) == width
    assert terminal_width(io.StringIO()) is None


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_sentences_are_wrapped_at_words_on_a_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = wrapped(SENTENCE, Terminal()).splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(line.strip() for line in lines) == SENTENCE.strip()
    assert lines[0].startswith("  r") and all(line.startswith("    ") for line in lines[1:])


def test_lines_of_one_text_are_wrapped_each(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = f"2 of 3 runs failed\n{SENTENCE}\n\n  a/c: exit status 1"
    assert wrapped(text, Terminal()) == f"2 of 3 runs failed\n{wrapped(SENTENCE, Terminal())}\n\n  a/c: exit status 1"


def test_wide_letters_take_two_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = " ".join(["数据集"] * 20)
    lines = wrapped(text, Terminal()).splitlines()
    assert all(sum(1 if letter == " " else 2 for letter in line) <= 60 for line in lines)
    assert " ".join(line.strip() for line in lines) == text


def test_a_stream_that_cannot_tell_is_no_terminal():
    assert terminal_width(object()) is None


def test_sentences_in_a_file_commands_and_paths_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert wrapped(SENTENCE, io.StringIO()) == SENTENCE
    assert wrapped(Verbatim(SENTENCE), Terminal()) == SENTENCE
    path = "a-long/" * 12
    assert path in wrapped(f"the ticket is in {path}", Terminal())


def test_print_lines_wraps_each_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    print_lines("short", SENTENCE, stream=stream)
    assert stream.getvalue() == f"short\n{wrapped(SENTENCE, stream)}\n"


@pytest.mark.parametrize("number, text", [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1000, "1,000 steps")])
def test_a_noun_goes_with_its_number(number, text):
    assert counted(number, "step") == text


def test_a_noun_may_have_a_plural_of_its_own():
    assert [counted(number, "pass", "passes") for number in (1, 2)] == ["1 pass", "2 passes"]


COLUMNS = [Column("round", "d"), Column("density", ".4f", short="dens."), Column("run", "<")]
ROWS = [(0, 1.0, "a"), (11, 0.12345, "b/c"), (2, None, "")]


@pytest.mark.parametrize(
    "width, lines",
    [
        (19, ["round  density  run", "    0   1.0000  a", "   11   0.1235  b/c", "    2        -"]),
        (18, ["round density run", "    0  1.0000 a", "   11  0.1235 b/c", "    2       -"]),
        (16, ["round  dens. run", "    0 1.0000 a", "   11 0.1235 b/c", "    2      -"]),
        (1, ["round  dens. run", "    0 1.0000 a", "   11 0.1235 b/c", "    2      -"]),
    ],
)
def test_a_table_becomes_narrower_and_keeps_its_numbers(width, lines):
    assert table_lines(COLUMNS, ROWS, width) == lines


def test_a_group_stands_above_its_columns():
    columns = [Column("part"), *(Column(name, "d", group=group) for group in ("from", "to") for name in ("kept", "of"))]
    assert table_lines(columns, [("all", 12345, 3, 4, 5)], 80) == [
        "           from        to",
        "part   kept  of  kept  of",
        " all  12345   3     4   5",
    ]


def test_a_table_without_rows_has_its_headings():
    assert table_lines(COLUMNS, [], 80) == ["round  density  run"]


def test_a_table_that_grows_keeps_the_widths_it_began_with():
    table = fitting_table([Column("epoch", width=7), Column("loss", ".4f", width=7)], 80)
    assert [*table.headings(), table.row("0/182", 2.30259)] == ["  epoch     loss", "  0/182   2.3026"]
