"""What a method's controls let one say of it: statements that rest on paired differences over seeds.

A control is the same thing without one part (controls.py), so that a difference from it is what this part is worth. A
statement is supported at a sparsity where the 95 % interval of the differences, seed by seed, lies above zero; not as
long as fewer than `FEWEST` seeds are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.accuracy import Curve, Point, level
from reports.statistics import Interval, holds, paired

Differences = list[tuple[float, Interval]]  # by density, from dense to sparse


@dataclass(frozen=True)
class Statement:
    """What is stated of a method, and the differences from its reference that support it or do not."""

    about: str
    reference: str
    words: str  # "its starting weights matter"
    differences: Differences
    margin: float = 0.0  # how many points below the reference still support it

    def supported(self, difference: Interval) -> bool | None:
        """None where there are too few seeds for a verdict."""
        return holds(difference, self.margin)

    @property
    def known(self) -> bool:
        """Whether there are seeds enough for a verdict anywhere."""
        return any(self.supported(difference) is not None for _, difference in self.differences)

    @property
    def where(self) -> list[float]:
        """The densities where it is supported."""
        return [density for density, difference in self.differences if self.supported(difference)]

    @property
    def contradicted(self) -> list[float]:
        """The densities where the opposite is: the interval lies below the margin."""
        return [
            density
            for density, difference in self.differences
            if self.supported(difference) is False and difference.high < -self.margin
        ]


# What it shows that a ticket trains better than its control. Keys: controls.CONTROLS.
SHOWS = {
    "reinit": "its starting weights matter",
    "random_mask": "which weights its mask keeps matters, beyond how many in each layer",
    "one_shot": "its search finds more than the size of the starting weights tells",
}


def statements(curves: Sequence[Curve]) -> list[Statement]:
    """One for each control among the curves whose method is there as well."""
    found = []
    for control in curves:
        method = control.method
        if method.control_of is None:
            continue
        words = SHOWS.get(method.settings.get("control"), f"it trains better than {method.name}")
        found += [
            Statement(base.method.name, method.name, words, differences(base, control))
            for base in curves
            if base.method.search == method.control_of and base.method.same_recipe(method)
        ]
    return [statement for statement in found if statement.differences]


def differences(curve: Curve, reference: Curve) -> Differences:
    """The first minus the second at each density that both have, over the seeds that both have."""
    others: Mapping = {_place(curve, point): point for point in reference.points}
    found = (
        (point.density, paired(point.values, others[place].values))
        for point in curve.points
        if (place := _place(curve, point)) in others
    )
    return [(density, difference) for density, difference in found if difference]


def _place(curve: Curve, point: Point) -> tuple | float:
    """What a ticket and its control share: their density; carried tickets, where each seed has its own, what they were
    before."""
    return (point.prunings, point.density_found) if curve.method.is_carried else level(point.density)
