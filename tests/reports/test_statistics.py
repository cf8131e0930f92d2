"""Statistics over seeds, by hand."""

import math

import pytest

from lottery.reports.comparison.statistics import Interval, holds, last_before_failure, paired, spread


def test_an_interval_of_paired_differences_by_hand():
    """Differences 1 to 5: mean 3, s = sqrt(2.5), t(4) = 2.776445; seed 9 has no partner."""
    a = {seed: 90.0 + 2 * seed for seed in range(1, 6)} | {9: 0.0}
    b = {seed: 90.0 + seed for seed in range(1, 6)}
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert paired(a, b) == pytest.approx(Interval(5, 3.0, 3 - half, 3 + half))
    assert paired({1: 3.0}, {1: 1.0}) == Interval(1, 2.0, None, None)
    assert paired({1: 3.0}, {2: 1.0}) is None


def test_two_pairs_have_a_wide_interval():
    """t(1) = 12.7062: differences 0 and 1, s = 1 / sqrt 2, half 12.7062 / 2."""
    assert paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0}) == pytest.approx(Interval(2, 0.5, 0.5 - 6.3531, 0.5 + 6.3531))


def test_spread_is_over_n_minus_1():
    assert spread([1.0, 3.0]) == (2.0, math.sqrt(2))
    assert spread([1.0]) == (1.0, None)


def test_a_verdict_needs_five_seeds_and_the_lower_end():
    assert holds(Interval(5, 1.0, -0.4, 2.4), 0.5) is True
    assert holds(Interval(5, 1.0, -0.5, 2.5), 0.5) is False
    assert holds(Interval(4, 1.0, 0.9, 1.1), 0.5) is None
    assert holds(None, 0.5) is None


def test_a_marker_stands_before_the_first_failure():
    assert last_before_failure([(0.8, True), (0.64, True), (0.5, False), (0.4, True)]) == 0.64
    assert last_before_failure([(0.8, True), (0.64, None), (0.5, True)]) == 0.8
    assert last_before_failure([(0.8, False), (0.64, True)]) is None
