"""Statements about methods that their controls support or do not, from paired differences over seeds.

A control (lottery/tickets/controls.py) lacks one part of a method, so that the difference from it measures what this
part is worth. A statement is supported at a sparsity where the 95 % interval of the paired differences lies above zero,
or above minus a margin if it says "as good as". There is no verdict from fewer than `FEWEST` pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lottery.bases.config import SINGLE
from lottery.reports.comparison.accuracy import Curve, Point, has_own_densities, has_training_seeds, of_what, point_at
from lottery.reports.comparison.methods import Method
from lottery.reports.comparison.set_controls import SET_CONTROLS
from lottery.reports.comparison.statistics import Interval, falls_below, holds, paired
from lottery.search.pruning_plan import prunes_alike
from lottery.tickets.controls import is_maskless

Differences = list[tuple[float, Interval]]  # by density, from dense to sparse


@dataclass(frozen=True)
class Statement:
    """A claim about a method, and the differences from its reference that support it or do not."""

    about: str  # the method, as `accuracy.of_what` names it
    reference: str  # name of the method it is compared with
    words: str  # "its starting weights matter"
    differences: Differences
    margin: float = 0.0  # how many points below the reference still support it

    def supported(self, difference: Interval) -> bool | None:
        """Whether this difference supports the claim; None if there are too few seeds for a verdict."""
        return holds(difference, self.margin)

    @property
    def known(self) -> bool:
        """Whether there are enough seeds for a verdict at any density."""
        return any(self.supported(difference) is not None for _, difference in self.differences)

    @property
    def where(self) -> list[float]:
        """The densities at which it is supported."""
        return [density for density, difference in self.differences if self.supported(difference)]

    @property
    def contradicted(self) -> list[float]:
        """The densities at which the opposite is supported: the interval lies below minus the margin."""
        return [density for density, difference in self.differences if falls_below(difference, self.margin)]


# The claim that a ticket supports by training better than its control, by key of `controls.CONTROLS`.
CONTROL_CLAIMS = {
    "reinit": "its starting weights matter",
    "random_mask": "which weights its mask keeps matters, beyond how many in each layer",
    "one_shot": "its search finds more than the size of the starting weights tells",
}
# The claim of trained weights that were trained further, if they do better than rewound ones.
TRAINED_WEIGHTS_CLAIM = "its trained weights serve better than rewound ones, trained for as many steps"
# The claim of a ticket against its starting weights without a mask.
MASKLESS_CLAIM = "as good as its starting weights without a mask, trained alike"


def statements(curves: Sequence[Curve], margin: float) -> list[Statement]:
    """The claims of methods against their controls, of PrAC searches against controls for their sets, and of rules that
    continue from trained weights against weight rewinding, as far as both curves are there."""
    found = []
    for curve in curves:
        method = curve.method
        if method.base:
            bases = [base for base in curves if base.method.search == method.base]
            words = CONTROL_CLAIMS.get(method.control, f"it trains better than {method.name}")
            words, allowed = (MASKLESS_CLAIM, margin) if is_maskless(method.control) else (words, 0.0)
            found += [statement(base, curve, words, allowed) for base in bases]
            continue
        if method.set_control:
            found += set_statements(curve, [base for base in curves if base.method.is_followed_by(method)], margin)
        if method.continuing_rule:
            rewound = [other for other in curves if other.method.is_rewinding_of(method)]
            found += [statement(curve, other, TRAINED_WEIGHTS_CLAIM) for other in rewound]
    return [statement for statement in found if statement.differences]


def statement(curve: Curve, reference: Curve, words: str, margin: float = 0.0) -> Statement:
    return Statement(of_what(curve.method), reference.method.name, words, paired_differences(curve, reference), margin)


def set_statements(control: Curve, bases: Sequence[Curve], margin: float) -> list[Statement]:
    """The claims of the PrAC search that a control for its sets follows, and of this control; none if it may follow
    several."""
    if len(bases) != 1:
        return []
    (base,), known = bases, SET_CONTROLS.get(control.method.set_control)
    if known is None:  # of another version
        return [statement(base, control, f"its sets serve better than those of {control.method.name}")]
    of_control = [statement(control, base, known.control_claim, margin)] if known.control_claim else []
    return [statement(base, control, known.claim), *of_control]


def paired_differences(curve: Curve, reference: Curve) -> Differences:
    """The first minus the second at each density below 1 that both have, over the seeds that both have.

    A reference without a mask has one density, which is compared with each density of the curve. Where each seed has a
    density of its own, what two searches by one plan have pruned alike is compared. Empty if the two have different
    training settings, or if their seeds mean different things.
    """
    same_seeds = has_training_seeds(curve.method) == has_training_seeds(reference.method)
    if not curve.method.same_recipe(reference.method) or not same_seeds:
        return []
    by_stage = pruned_alike(curve.method, reference.method)
    found = (
        (point.density, paired(point.values, other.values))
        for point in curve.points
        if point.density < 1 and (other := counterpart(point, reference, by_stage))
    )
    return [(density, difference) for density, difference in found if difference]


def pruned_alike(a: Method, b: Method) -> bool:
    """Whether each seed has a density of its own in both, and how far they were pruned still says what belongs
    together: their searches pruned as many of the same blocks in each round."""
    mine, its = a.search_settings, b.search_settings
    same_blocks = mine.get("block", SINGLE) == its.get("block", SINGLE) and a.is_elastic == b.is_elastic
    return has_own_densities(a) and has_own_densities(b) and same_blocks and prunes_alike(mine, its)


def counterpart(point: Point, reference: Curve, by_stage: bool) -> Point | None:
    """The reference's point to compare with this one."""
    if is_maskless(reference.method.control):
        return reference.points[0]
    if by_stage:
        return next((other for other in reference.points if other.stage == point.stage), None)
    return point_at(reference.points, point.density)
