"""Accuracies by epoch: which runs and densities are shown, and their means."""

import pytest

from lottery.reports import style
from lottery.reports.chapters.accuracy_figures import method_style
from lottery.reports.chapters.training_curves import training_curve_parts
from lottery.reports.comparison.methods import TICKETS, group_by_task
from lottery.reports.comparison.training_curves import training_curves
from tests.helpers import IMP, PRAC, TRAIN, init_ticket, logged, made, retrained


def with_epochs(run, validation, test=None):
    """The run with a line of metrics for each of these validation accuracies."""
    run.epochs = [
        {"round": 0, "epoch": epoch, "validation": each, "test": test if epoch == len(validation) - 1 else None}
        for epoch, each in enumerate(validation)
    ]
    return run


def dense(validation):
    return with_epochs(made("d", TRAIN | {"init_dir": False, "mask_dir": False}, [90]), validation)


def one_task(runs):
    (task,), _ = logged(group_by_task, runs)
    return task


def test_means_are_over_the_epochs_that_all_seeds_have():
    runs = [
        with_epochs(retrained(IMP, 1, 90, seed, seed), values, 80 + seed)
        for seed, values in enumerate(([70, 80, 90], [74, 82]))
    ]
    (curve,) = training_curves(one_task(runs))
    assert (curve.density, curve.runs) == (0.5, 2)
    assert [point.epoch for point in curve.points] == [0, 1]
    assert [point.validation[0] for point in curve.points] == [72, 81]
    assert curve.points[0].validation[1] == pytest.approx(8**0.5)
    assert [point.test for point in curve.points] == [(None, None)] * 2, "one of them has no test accuracy there"


def test_three_densities_at_most_are_shown_with_the_dense_network():
    runs = [with_epochs(retrained(IMP, k, 90), [70, 80]) for k in range(1, 8)]
    curves = training_curves(one_task([*runs, dense([60, 70])]))
    assert [curve.density for curve in curves] == [1, 1 / 2, 1 / 16, 1 / 128]
    figure, table = training_curve_parts(one_task([*runs, dense([60, 70])]))
    assert len(table.rows) == 8 and table.rows[0] == ["dense network", 100, 1, 0, 60, None, None, None]
    assert figure.caption.startswith("Validation accuracy by epoch")


def test_without_validation_test_accuracies_are_shown_and_without_either_nothing():
    run = with_epochs(retrained(IMP, 1, 90), [None, None], 77)
    assert training_curve_parts(one_task([run]))[0].caption.startswith("Test accuracy by epoch")
    assert training_curve_parts(one_task([with_epochs(run, [None])])) == []
    assert training_curve_parts(one_task([retrained(IMP, 1, 90)])) == []
    assert training_curve_parts(one_task([dense([60, 70])])) == [], "nothing to compare it with"


def test_a_dense_network_that_alone_was_validated_stands_beside_no_ticket():
    runs = [with_epochs(retrained(IMP, 1, 90), [None, None], 77), dense([60, 70])]
    figure, table = training_curve_parts(one_task(runs))
    assert figure.caption.startswith("Test accuracy by epoch") and len(table.rows) == 4


def drawn_figure(monkeypatch, runs):
    """The figure of these runs before it is written."""
    drawn = []
    monkeypatch.setitem(style.FORMATS, "png", lambda figure, _: drawn.append(figure))
    training_curve_parts(one_task(runs))
    return drawn[0]


def test_the_legend_names_the_methods_of_all_panels_and_their_lines_differ(monkeypatch):
    """IMP's ticket was trained by two recipes, as was the dense network; SNIP's has a density of its own. A run that
    did not validate is in the table alone."""
    runs = [dense([60, 70]), with_epochs(retrained(IMP, 2, 90), [70, 80]), with_epochs(init_ticket(88.0), [60, 70])]
    runs += [dense([50, 60]), with_epochs(retrained(IMP, 2, 90), [60, 70])]
    for run in runs[-2:]:
        run.settings = run.settings | {"epochs": 9}
    runs[2].rounds[0]["density"] = 0.1
    runs += [with_epochs(retrained(PRAC, 2, 90), [None, None], 77)]
    figure = drawn_figure(monkeypatch, runs)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    pairs = [f"{name} (epochs {epochs})" for name in ("IMP", "dense network") for epochs in (4, 9)]
    assert sorted(names) == sorted([*pairs, "SNIP"])
    looks = {(line.get_color(), str(line._dash_pattern)) for line in figure.legends[0].get_lines()}
    assert len(looks) == 5


def test_tickets_trained_by_several_recipes_have_the_colour_of_their_search():
    runs = [retrained(IMP, 1, 90.0), retrained(IMP, 1, 91.0), retrained(PRAC, 1, 90.0)]
    runs[1].settings = runs[1].settings | {"epochs": 9}
    task = one_task(runs)
    one, other, prac = (method_style(task, method) for method in task.by_kind(TICKETS))
    assert one.color == other.color != prac.color
    assert one.marker != other.marker and one.linestyle != other.linestyle
