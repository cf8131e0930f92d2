"""Every method against one that is named (`report.py --against`): paired differences over seeds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lottery.reports.comparison.accuracy import Curve
from lottery.reports.comparison.grouping import TRAINING_SETTINGS, differing
from lottery.reports.comparison.methods import DENSE, Task
from lottery.reports.comparison.statistics import Interval, falls_below, holds
from lottery.reports.comparison.verdict import Differences, paired_differences
from utils import InputError, did_you_mean, listed

BETTER, AS_GOOD, WORSE, NOT_SHOWN = "better", "as good", "worse", "not shown"


class Against(NamedTuple):
    """A method beside the one that is named: their differences by density, or the settings that forbid to compare."""

    method: str
    differences: Differences
    trained_otherwise: Sequence[str] = ()


def standing(difference: Interval, margin: float) -> str | None:
    """What the 95 % interval of (method - other) says; None if there are too few seeds for a verdict."""
    if holds(difference, margin) is None:
        return None
    if holds(difference, 0):
        return BETTER
    if holds(difference, margin):
        return AS_GOOD
    return WORSE if falls_below(difference, 0) else NOT_SHOWN


def against(curves: Sequence[Curve], name: str) -> list[Against]:
    """Each other method beside the one of this name, of the searches' own networks or of retrained tickets; nothing if
    there is none of this name. Left out is what shares neither a density nor a seed with it."""
    found = []
    for reference in (curve for curve in curves if curve.method.name == name):
        for curve in (other for other in curves if other is not reference):
            unlike = differing(curve.method.settings, reference.method.settings, TRAINING_SETTINGS)
            differences = paired_differences(curve, reference)
            if unlike or differences:
                found.append(Against(curve.method.name, differences, unlike))
    return found


def check_names(names: Iterable[str], tasks: Sequence[Task]) -> None:
    """InputError for a name that no method has."""
    known = dict.fromkeys(method.name for task in tasks for method in task.methods if method.kind != DENSE)
    for name in names:
        if name not in known:
            there = listed([repr(other) for other in known], shown=len(known)) or "none"
            raise InputError(
                f"--against {name!r} is no method of these runs, which are {there}{did_you_mean(name, known)}"
            )
