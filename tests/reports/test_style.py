"""Figures: labels that fit however long the names of methods are, numbers on axes, text on heat maps."""

import itertools
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.ticker import FixedLocator

from lottery.reports import style
from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.chapters.overlap import matrix_parts
from lottery.reports.comparison.masks import Overlap
from lottery.reports.comparison.methods import Task, group_by_task
from lottery.reports.comparison.overlap_pairs import FoundTicket, Pair
from lottery.reports.style import canvas, label_cells, legend_below, log_axis, scaled, shortened, text_colour, wrapped
from tests.helpers import IMP, logged, made, retrained

LONG = "IMP (decreasing_lr 2,3, warmup 1, lr 0.1, schedule step, optimizer sgd, label_smoothing 0.0)"


def test_a_label_is_wrapped_where_it_is_too_long():
    assert wrapped("learning-rate rewinding", 23) == "learning-rate rewinding"
    assert wrapped("learning-rate rewinding", 22) == "learning-rate\nrewinding"


@pytest.mark.parametrize("names", [["IMP", "PrAC"], [LONG, f"{LONG[:-1]}, gamma 0.2, nesterov True) (5 seeds)"]])
def test_a_legend_lies_within_its_figure(names):
    figure, (axes,) = canvas()
    for name in names:
        axes.plot([0, 1], label=name)
    legend_below(figure, axes)
    figure.draw_without_rendering()
    box, (legend,) = figure.bbox, figure.legends
    around = legend.get_window_extent()
    assert box.x0 <= around.x0 and around.x1 <= box.x1
    assert " ".join(text.get_text().replace("\n", " ") for text in legend.get_texts()) == " ".join(names)


def test_rows_of_altered_tickets_have_room_for_long_names():
    """matplotlib warns where labels leave no room for the axes."""
    sgd = {"warmup": 1, "lr": 0.1, "schedule": "step", "optimizer": "sgd", "label_smoothing": 0.0}
    adam = {"warmup": 0, "lr": 0.001, "schedule": "cosine", "optimizer": "adam", "label_smoothing": 0.1}
    runs = [retrained(IMP | recipe, 1, 90.0) for recipe in (sgd, sgd, adam, adam)]
    for run, recipe, rule in zip(runs, (sgd, sgd, adam, adam), (None, "lr_rewinding") * 2, strict=True):
        run.settings = run.settings | recipe | {"rule": rule}
    tasks, _ = logged(group_by_task, runs)
    for method in tasks[0].methods:
        method.name += f", {LONG}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, figure, table = altered_ticket_parts(tasks, 0.5)
    assert max(len(row[0]) for row in table.rows) > 100 and figure.files.png


# --- numbers on axes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale, ticks, labels",
    [
        ("linear", [91.2, 91.25, 91.3], ["91.20", "91.25", "91.30"]),
        ("linear", [0, 2000, 8000], ["0", "2,000", "8,000"]),
        ("linear", [0, 500, 2500, 20_000], ["0", "500", "2.5k", "20k"]),
        ("linear", [0, 5e5, 4e6], ["0", "500,000", "4M"]),
        ("linear", [0, 2e9, 1.2e10], ["0", "2 × 10⁹", "12 × 10⁹"]),
        ("linear", [-1.5e13, 0, 1.5e13], ["-15 × 10¹²", "0", "15 × 10¹²"]),
        ("linear", [1e6, 1e6 + 0.5, 1e6 + 1], ["1,000,000", "1,000,000.5", "1,000,001"]),
        ("log", [100, 1000, 20_000], ["100", "1k", "20k"]),
        ("log", [0.01, 0.2, 1], ["0.01", "0.2", "1"]),
    ],
)
def test_numbers_on_an_axis_are_whole_without_an_offset(scale, ticks, labels):
    figure, (axes,) = canvas()
    if scale == "log":
        axes.set_yscale("log")
        log_axis(axes.yaxis)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.set_ylim(ticks[0], ticks[-1])
    figure.draw_without_rendering()
    assert [label.get_text() for label in axes.get_yticklabels()] == labels
    assert axes.yaxis.get_offset_text().get_text() == ""


# --- heat maps --------------------------------------------------------------------------------------------------------


def contrast(one, other):
    """The contrast ratio of two RGB colours by WCAG 2."""

    def luminance(colour):
        linear = np.where(
            np.array(colour) <= 0.04045, np.array(colour) / 12.92, ((np.array(colour) + 0.055) / 1.055) ** 2.4
        )
        return linear @ (0.2126, 0.7152, 0.0722) + 0.05

    a, b = luminance(one), luminance(other)
    return max(a, b) / min(a, b)


@pytest.mark.parametrize("name", ["cividis", "Greys"])
def test_numbers_are_readable_on_every_shade(name):
    """Black or white reaches a contrast of 4.5, what WCAG asks for, on any colour."""
    for shade in matplotlib.colormaps[name](np.linspace(0, 1, 101)):
        chosen = 1.0 if text_colour(shade) == "white" else 0.0
        assert contrast(shade[:3], [chosen] * 3) >= max(4.5, contrast(shade[:3], [1 - chosen] * 3))


def test_cells_without_a_number_stay_empty():
    _, (axes,) = canvas()
    label_cells(axes.imshow([[0.0, float("nan")], [50.0, 100.0]], cmap="Greys", vmin=0, vmax=100), "{:.0f}".format)
    found = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert found == {(0, 0): ("0", "black"), (0, 1): ("50", "black"), (1, 1): ("100", "white")}


def test_a_long_name_keeps_its_ends():
    assert shortened("seed_0/IMP", 10) == "seed_0/IMP"
    assert shortened("seed_0/IMP_in_as_many_steps_ticket_8", 13) == "seed_0…cket_8"


def test_a_matrix_of_runs_with_long_names_is_large_enough(monkeypatch):
    runs = [made("runs", IMP, [90, 80], seed) for seed in range(4)]
    for run in runs:
        run.name = f"a_study_with_a_long_name/{run.seed}/iterative_magnitude_pruning_with_all_its_settings_in_the_name"
    tickets = [FoundTicket(run, 1, 0.5) for run in runs]
    pairs = [Pair(0.5, a, b, Overlap(0.5, 0.4)) for a, b in itertools.combinations(tickets, 2)]
    drawn = []
    monkeypatch.setitem(
        style.FORMATS, "png", lambda figure, file: (figure.draw_without_rendering(), drawn.append(figure))
    )
    matrix_parts(Task("t", []), pairs)
    box = drawn[0].axes[0].get_position()
    assert box.width > 0.45 and box.height > 0.6


@pytest.mark.parametrize("count", [2, 12])
def test_a_figure_grows_by_its_legend(count):
    """The axes of one with twelve lines in its legend are as high as those of one with two."""
    figure, (axes,) = canvas(height=3.8)
    for number in range(count):
        axes.plot([0, 1], label=f"{LONG} {number}")
    legend_below(figure, axes)
    figure.draw_without_rendering()
    assert 2.3 < axes.get_window_extent().height / figure.dpi < 3.2


def test_small_numbers_beside_powers_are_in_the_same_power():
    assert [scaled(value, 2e9) for value in (0, 5e8, 1e9)] == ["0", "0.5 × 10⁹", "1 × 10⁹"]
    assert [scaled(value, 25_000) for value in (500, 2_500, 25_000)] == ["500", "2.5k", "25k"]
