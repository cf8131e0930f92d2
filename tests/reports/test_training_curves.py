"""Accuracies by epoch: which runs and densities are shown, and their means."""

import pytest

from lottery.reports.chapters.training_curves import training_curve_parts
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.comparison.training_curves import training_curves
from tests.helpers import IMP, TRAIN, logged, made, retrained


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
