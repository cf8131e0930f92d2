"""Labels of figures: none is cut off, however long the names of methods are."""

import warnings

import pytest

from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.style import canvas, legend_below, wrapped
from tests.helpers import IMP, logged, retrained

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
    assert max(len(row[0]) for row in table.rows) > 100 and figure.png
