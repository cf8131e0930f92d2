"""What a method's controls let one say of it: statements that rest on paired differences over seeds.

A control is the same thing without one part (controls.py), so that a difference from it is what this part is worth. A
statement is supported at a sparsity where the 95 % interval of the differences, seed by seed, lies above zero, or above
minus a margin if it says "as good as"; not as long as fewer than `FEWEST` seeds are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lottery.reports.comparison.accuracy import Curve, Point, by_training, level
from lottery.reports.comparison.statistics import Interval, holds, paired
from lottery.tickets.controls import is_maskless

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
# What it shows that trained weights (rules.py), trained on, do better than rewound ones.
TRAINED_SERVE = "its trained weights serve better than rewound ones, trained for as many steps"
# What a ticket that trains as well as its starting weights without a mask shows.
AS_GOOD = "as good as its starting weights without a mask, trained alike"


# What it shows that PrAC does better than a control for its sets. Keys: values of --members, and steps_of.
SETS_SHOW = {
    "random": "which examples its sets hold matters, beyond how many there are of each class",
    "easy": "its sets serve better than examples that they leave out",
    "el2n": "its sets serve better than those of large early error (EL2N)",
    "cet": "its sets serve better than the most forgotten examples alone",
    "cep": "its sets serve better than examples on which networks disagree alone",
    "steps_of": "its sets serve better than all the data for as many steps",
}
# What it shows that such a control does as well as PrAC.
EXPLAINED = {
    "random": "as good as PrAC, so that the number of examples explains what its sets do",
    "steps_of": "as good as PrAC, so that shorter training explains what its sets do",
}


def statements(curves: Sequence[Curve], margin: float) -> list[Statement]:
    """For each control among the curves what its method may claim against it, if that method is there as well; and for
    each rule that trains on from trained weights what it may claim against weight rewinding."""
    found = []
    for curve in curves:
        method = curve.method
        if method.control_of:
            bases = [base for base in curves if base.method.search == method.control_of]
            words = SHOWS.get(method.control, f"it trains better than {method.name}")
            words, least = (AS_GOOD, margin) if is_maskless(method.control) else (words, 0.0)
            found += [against(base, curve, words, least) for base in bases]
            continue
        if method.set_control:
            found += about_sets(curve, [base for base in curves if base.method.leads(method)], margin)
        if method.further:
            found += [against(curve, other, TRAINED_SERVE) for other in curves if other.method.rewinds(method)]
    return [statement for statement in found if statement.differences]


def against(base: Curve, control: Curve, words: str, margin: float = 0.0) -> Statement:
    return Statement(base.method.name, control.method.name, words, differences(base, control), margin)


def about_sets(control: Curve, bases: Sequence[Curve], margin: float) -> list[Statement]:
    """Of the PrAC search that a control for its sets follows; nothing where several may be it."""
    if len(bases) != 1:
        return []
    (base,), kind = bases, control.method.set_control
    found = [against(base, control, SETS_SHOW.get(kind, f"its sets serve better than those of {control.method.name}"))]
    return found + ([against(control, base, EXPLAINED[kind], margin)] if kind in EXPLAINED else [])


def differences(curve: Curve, reference: Curve) -> Differences:
    """The first minus the second at each density that both have, over the seeds that both have; from a control without
    a mask, which has one density, at each of the first. Not of the dense round of a search, which is no ticket, and
    nothing where the two were trained by different recipes, or their seeds mean different things."""
    if not curve.method.same_recipe(reference.method) or by_training(curve.method) != by_training(reference.method):
        return []
    others: Mapping = {_place(curve, point): point for point in reference.points}
    if is_maskless(reference.method.control):
        others = {_place(curve, point): reference.points[0] for point in curve.points}
    found = (
        (point.density, paired(point.values, others[place].values))
        for point in curve.points
        if point.density < 1 and (place := _place(curve, point)) in others
    )
    return [(density, difference) for density, difference in found if difference]


def _place(curve: Curve, point: Point) -> tuple | float:
    """What a ticket and its control share: their density; carried tickets, where each seed has its own, what they were
    before."""
    return (point.prunings, point.density_found) if curve.method.is_carried else level(point.density)
