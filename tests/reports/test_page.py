"""report.html in a browser: in windows wide and narrow, light and dark, and on paper, with names longer than these."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from lottery.reports.build import Comparison, compose_report
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.config import ReportConfig
from lottery.reports.document import (
    Beside,
    Column,
    Commands,
    Figure,
    Files,
    Folded,
    Heading,
    Listing,
    Paragraph,
    Section,
    Table,
)
from lottery.reports.html import html
from tests.chromium import NAMES, browser, find_chromium
from tests.helpers import IMP, PRAC, logged, retrained, seeds

SOLID = "x" * 150  # a name that can be broken nowhere
LONG = "runs/" + "a_directory_whose_name_says_every_setting_" * 4
SETTINGS = {"arch": "tests.networks:a_network_with_a_long_name", "optimizer": "adam", "label_smoothing": 0.1}
WINDOWS = [(1280, 900), (900, 900), (400, 800)]
PORTRAIT, LANDSCAPE = 687, 1017  # CSS pixels between the margins of A4
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="288pt"><rect width="504" height="288"/></svg>'

# What sticks out of the window, or out of its own box, and cannot be scrolled to; by its tag, class and first letters.
STICKING_OUT = """(ignored => {
  const width = document.documentElement.clientWidth, scrolls = /auto|scroll/
  const named = e => `${e.tagName} ${e.className || e.id}: ${e.textContent.trim().slice(0, 40)}`
  const isWithin = e => (e = e.parentElement) && (scrolls.test(getComputedStyle(e).overflowX) || isWithin(e))
  const shown = [...document.body.querySelectorAll('*')].filter(e => e.getClientRects().length)
  const found = shown.filter(e => {
    const box = e.getBoundingClientRect(), out = box.right > width + 1 || box.left < -1
    const style = getComputedStyle(e), cut = style.display != 'inline' && !scrolls.test(style.overflowX)
    return (out && !isWithin(e)) || (cut && e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
  }).filter(e => !ignored || !e.closest(ignored)).map(named)
  return document.scrollingElement.scrollWidth > innerWidth && !ignored ? ['the page', ...found] : found
})"""

# Texts whose contrast with what is behind them, as WCAG 2 counts it, is below 4.5.
PALE = """(() => {
  const numbers = colour => colour.match(/[0-9.]+/g).map(Number)
  const linear = c => c <= 10.31475 ? c / 3294.6 : ((c / 255 + .055) / 1.055) ** 2.4
  const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b)
  const ground = e => {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(e).backgroundColor)
    return alpha ? [r, g, b] : e.parentElement ? ground(e.parentElement) : [255, 255, 255]
  }
  const hasText = e => [...e.childNodes].some(node => node.nodeType == 3 && node.data.trim())
  return [...document.body.querySelectorAll('*')].filter(hasText).map(e => {
    const [dark, light] = [numbers(getComputedStyle(e).color), ground(e)].map(luminance).sort((a, b) => a - b)
    return [(light + .05) / (dark + .05), e.tagName + ' ' + e.className]
  }).filter(([contrast]) => contrast < 4.5)
})()"""
OPEN_ALL = "document.querySelectorAll('details').forEach(e => e.open = true)"


class Box(NamedTuple):
    """Where an element is in the window."""

    left: float
    top: float
    right: float
    bottom: float


def box(tab, selector: str) -> Box:
    return Box(
        *tab.evaluate(
            f"(({{left, top, right, bottom}}) => [left, top, right, bottom])"
            f"(document.querySelector('{selector}').getBoundingClientRect())"
        )
    )


def made_up_sections() -> list[Section]:
    """A chapter with parts of every kind, each with names longer than the window."""
    first, second, hidden = (
        Figure(name, f"{LONG}: {SOLID}.", lambda: Files(b"", SVG, b"")) for name in ("first", "second", "hidden")
    )
    columns = [Column("run"), Column(f"path {SOLID}"), *(Column(f"number of {i}", ".2f") for i in range(11))]
    rows = [[f"{LONG}_{i}", f"/{LONG}/{SOLID}\n{SOLID}", *[1234.5] * 11] for i in range(60)]
    table = Table("wide", f"A table of {SOLID}.", columns, rows)
    folded = Table("folded", f"More of {LONG}.", columns, rows, folded=True)
    narrow = Table("narrow", "Two numbers.", [Column("n", "d"), Column("m", "d")], [[1, 2], [3, 4]])
    inner = [hidden, Table("inner", "Within.", columns[:2], [["a", "b"]])]
    parts = [Heading(SOLID), Paragraph(LONG, warns=True), Paragraph(f"{SOLID}:"), Listing([SOLID, LONG])]
    parts += [Commands([f"python main_imp.py --save_dir {LONG} --data /{SOLID}"] * 40), Beside([first, second])]
    return [Section(SOLID, "made-up", [*parts, table, narrow, folded, Folded(f"Folded {SOLID}", inner)])]


def long_named_report():
    """The chapters on two methods of several seeds, with long names, and one of parts of every kind."""
    accuracies = [[91, 90, 89], [92, 91, 88], [90, 89, 88]]
    runs = [*seeds(IMP | SETTINGS, accuracies), *seeds(PRAC | SETTINGS, accuracies)]
    runs += [retrained(method | SETTINGS, 1, 90 + seed, seed, seed) for method in (IMP, PRAC) for seed in (0, 1, 2)]
    for i, run in enumerate(runs):
        run.name, run.path = f"{LONG}{SOLID}_{i}", Path("runs")
        run.summary = run.summary | {"command": f"python main_imp.py --save_dir {run.name}"}
        run.settings = run.settings | SETTINGS
    tasks, _ = logged(group_by_task, runs)
    report = compose_report(Comparison(tasks, [], []), [f"{LONG}/{SOLID} is left out."], ReportConfig([]))
    report.sections += made_up_sections()
    return report


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html(long_named_report()))
    return file


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is in PATH")
    with browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def opened(tab, page):
    """The page as a reader gets it, in a wide window."""
    tab.show(1280, 900)
    tab.open(page)
    return tab


def test_nothing_is_cut_off(opened):
    for width, height in WINDOWS:
        opened.show(width, height)
        assert opened.evaluate(f"{STICKING_OUT}()") == [], f"folded, at {width} pixels"
    opened.evaluate(OPEN_ALL)
    for width, height in WINDOWS:
        opened.show(width, height)
        assert opened.evaluate(f"{STICKING_OUT}()") == [], f"at {width} pixels"
    assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_every_text_can_be_read_light_and_dark(opened):
    opened.evaluate(OPEN_ALL)
    grounds = []
    for scheme in ("light", "dark"):
        opened.show(400, 800, scheme)
        assert opened.evaluate(PALE) == [], scheme
        grounds.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == "rgb(255, 255, 255)" != grounds[1]
    assert opened.evaluate("getComputedStyle(document.images[0]).backgroundColor") == "rgb(255, 255, 255)"


def test_contents_stay_in_sight(opened):
    """At the left of the text in a wide window, above it in a narrow one."""
    opened.evaluate("document.getElementById('made-up').scrollIntoView()")
    contents, text = box(opened, "nav"), box(opened, "main")
    assert contents.right < text.left and contents.top >= 0 and text.top < 0
    opened.show(400, 800)
    opened.evaluate("document.getElementById('made-up').scrollIntoView()")
    contents = box(opened, "nav")
    assert contents.top == 0 and contents.right <= 400 and contents.bottom <= box(opened, "#made-up h2").top


def test_figures_stand_beside_each_other_where_there_is_room(opened):
    for width, are_beside in ((1280, True), (900, True), (400, False)):
        opened.show(width, 900)
        first, second = box(opened, "#first"), box(opened, "#second")
        assert (first.top == second.top and first.right < second.left) == are_beside, width
        assert (first.bottom <= second.top) != are_beside, width


def test_tables_scroll_under_their_heads_and_beside_their_first_columns(opened):
    for width, height in WINDOWS:
        opened.show(width, height)
        area = "#table-wide .scroll"
        opened.evaluate(f"e = document.querySelector('{area}'), e.scrollTo(0, 0), e.scrollIntoView()")
        before = box(opened, f"{area} tbody tr:nth-child(20) th"), box(opened, f"{area} thead th:nth-child(5)")
        opened.evaluate(f"document.querySelector('{area}').scrollTo(300, 100)")
        row, column = box(opened, f"{area} tbody tr:nth-child(20) th"), box(opened, f"{area} thead th:nth-child(5)")
        assert (row.left, row.top) == pytest.approx((before[0].left, before[0].top - 100), abs=1)
        assert (column.left, column.top) == pytest.approx((before[1].left - 300, before[1].top), abs=1)
        assert row.right < box(opened, area).right - 100, "there is room for other columns"


def test_a_link_to_what_is_folded_leads_to_it(tab, page):
    for anchor in ("table-folded", "hidden", "table-inner"):
        tab.show(400, 800)
        tab.open(page, "#" + anchor)
        tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = box(tab, f"#{anchor}")
        assert found.bottom > found.top and 0 <= found.top < 800, anchor


def test_paper(tab, page):
    """All columns are on the paper; tables of many columns lie on their side; what is folded is not printed."""
    tab.open(page)
    short = tab.pdf()
    tab.evaluate(OPEN_ALL)
    for width, ignored in ((PORTRAIT, "'.widest, .widest *'"), (LANDSCAPE, "")):
        tab.show(width, 900, media="print")
        assert tab.evaluate(f"{STICKING_OUT}({ignored})") == [], width
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    short, long = (re.findall(rb"/MediaBox \[0 0 (\S+) (\S+)\]", printed) for printed in (short, tab.pdf()))
    assert {tuple(round(float(side)) for side in size) for size in long} == {(595, 842), (842, 595)}
    assert 0 < len(short) < len(long)
