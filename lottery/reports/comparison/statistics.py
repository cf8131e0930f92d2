"""Statistics over seeds: standard deviations, confidence intervals of paired differences, and a sign test."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy.special import stdtrit

FEWEST = 5  # seeds for a verdict: with fewer, an interval says more about chance than about methods
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean of n values, such as differences, and the interval that holds the true one with 95 % confidence (None for
    n = 1)."""

    n: int
    mean: float
    low: float | None
    high: float | None


def spread(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (over n - 1), which is None for a single value."""
    values = list(values)
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired(a: Mapping[Any, float], b: Mapping[Any, float]) -> Interval | None:
    """The mean of a - b over the seeds that both have, with its interval; None if there are none."""
    return interval([a[seed] - b[seed] for seed in a if seed in b])


def interval(values: Sequence[float]) -> Interval | None:
    """The mean of the values with its interval, mean +- t * s / sqrt(n), with t Student's quantile at n - 1 degrees of
    freedom; None if there are none."""
    if not values:
        return None
    mean, deviation = spread(values)
    n = len(values)
    if deviation is None:
        return Interval(n, mean, None, None)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)
    return Interval(n, mean, mean - half, mean + half)


def holds(difference: Interval | None, margin: float) -> bool | None:
    """Whether the interval lies above -margin; None if there are too few seeds for a verdict."""
    if difference is None or difference.n < FEWEST:
        return None
    return difference.low > -margin


def falls_below(difference: Interval | None, margin: float) -> bool:
    """Whether it is shown that the difference lies below -margin."""
    return holds(difference, margin) is not None and difference.high < -margin


def sign_test(times: int, n: int) -> bool | None:
    """Whether a fair coin shows heads so often or more in n throws with a probability of at most 5 %; None if n is too
    small for a verdict."""
    if n < FEWEST:
        return None
    return sum(math.comb(n, k) for k in range(times, n + 1)) / 2**n <= 1 - CONFIDENCE


def last_before_failure(verdicts: Iterable[tuple[float, bool | None]]) -> float | None:
    """Of (density, verdict) pairs from dense to sparse the last density before the first verdict that is not True; None
    if the first one is not."""
    last = None
    for density, verdict in verdicts:
        if not verdict:
            break
        last = density
    return last
