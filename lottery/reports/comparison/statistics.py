"""What can be said of means over seeds: standard deviations, and intervals of paired differences."""

import math
import statistics
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from scipy.special import stdtrit

FEWEST = 5  # seeds, for a verdict: with fewer an interval says more of chance than of methods
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean of n differences, and the interval that holds the true one with 95 % confidence (None for n = 1)."""

    n: int
    mean: float
    low: float | None
    high: float | None


def spread(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (over n - 1); None for the latter of a single value."""
    values = list(values)
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired(a: Mapping[Hashable, float], b: Mapping[Hashable, float]) -> Interval | None:
    """a - b, over the seeds that both have; None if there are none.

    mean +- t * s / sqrt(n), t being Student's quantile with n - 1 degrees of freedom.
    """
    differences = [a[seed] - b[seed] for seed in a if seed in b]
    if not differences:
        return None
    mean, deviation = spread(differences)
    n = len(differences)
    if deviation is None:
        return Interval(n, mean, None, None)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)
    return Interval(n, mean, mean - half, mean + half)


def holds(difference: Interval | None, margin: float) -> bool | None:
    """Whether it is above -margin with confidence; None where there are too few seeds for a verdict."""
    if difference is None or difference.n < FEWEST:
        return None
    return difference.low > -margin


def mostly(times: int, of: int) -> bool | None:
    """Whether so many of these seeds are more than a fair coin would give: P(times or more) <= 5 %, the sign test.

    None where there are too few seeds for a verdict.
    """
    if of < FEWEST:
        return None
    return sum(math.comb(of, k) for k in range(times, of + 1)) / 2**of <= 1 - CONFIDENCE


def last_before_failure(verdicts: Iterable[tuple[float, bool | None]]) -> float | None:
    """Of (density, verdict) from dense to sparse the last density before the first that does not hold, or is not
    known; None if not even the first one holds."""
    last = None
    for density, verdict in verdicts:
        if not verdict:
            break
        last = density
    return last
