"""What decides which weights a network keeps before it is trained: the criteria by name, and where each one ranks.

A criterion gives every weight a score (`saliency.py`); the lowest are dropped, over all layers at once or by a quota
for each layer. A further criterion is one entry in `CRITERIA` and one function of the same name in `saliency.SCORES`.
Importing this module does not import torch.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import floor, prod
from typing import NamedTuple

Shapes = Mapping[str, Sequence[int]]  # of the weights of each layer, by the layer's name
Counts = dict[str, int]  # weights of each layer, by the layer's name


class Criterion(NamedTuple):
    """Its name in a report; what it is; whether its scores depend on examples; how many iterations it was published
    with, each with scores of what the one before has left (None: its scores do not depend on what is left); whether
    its scores tell the better weights from the worse, so that there is something to invert; and, if scores below 0 mean
    nothing, for which networks it has none."""

    name: str
    help: str
    looks_at_examples: bool
    iterations: int | None
    tells: bool = True
    at_least_0: str = ""


CRITERIA = {
    "random": Criterion("random mask", "every weight as likely as any other", False, None, tells=False),
    "magnitude": Criterion("one-shot magnitude", "|w|", False, None),
    "snip": Criterion("SNIP", "|w dL/dw| of the loss L on examples (Lee et al., ICLR 2019)", True, 1),
    "grasp": Criterion(
        "GraSP",
        "how much less the gradient would flow without the weight, on examples (Wang et al., ICLR 2020)",
        True,
        1,
    ),
    "synflow": Criterion(
        "SynFlow",
        "the synaptic flow through the weight, without examples (Tanaka et al., NeurIPS 2020)",
        False,
        100,
        at_least_0="whose layers pass more on if they get more, as attention, softmax, group and layer norm do not",
    ),
}


def kept_by_iteration(weights: int, kept: int, iterations: int) -> list[int]:
    """How many of so many `weights` are left after each iteration: after iteration i of n, density ** (i / n) of them,
    and exactly `kept` at the end (the exponential schedule of SynFlow)."""
    return [round(weights * (kept / weights) ** (i / iterations)) for i in range(1, iterations)] + [kept]


# --- where a criterion ranks ------------------------------------------------------------------------------------------


class Ranking(NamedTuple):
    """Its name in a report, behind that of the criterion; what it is; and how much of the weights a layer with weights
    of this shape gets, relative to the others. None: the layers get what the scores give them."""

    name: str
    help: str
    claim: Callable[[Sequence[int]], int] | None


RANKINGS = {
    "global": Ranking("", "over all layers at once", None),
    "uniform": Ranking("uniform by layer", "in each layer, all of the same density", prod),
    "erk": Ranking(
        "ERK",
        "in each layer, of a density proportional to (inputs + outputs + kernel height + width) / (inputs x outputs x "
        "height x width), at most 1 (Erdos-Renyi-Kernel; Evci et al., ICML 2020)",
        sum,
    ),
}


def quotas(shapes: Shapes, room: Mapping[str, int], kept: int, claim: Callable[[Sequence[int]], int]) -> Counts:
    """How many weights each layer keeps, `kept` of them altogether.

    A layer gets a share of them in proportion to its `claim`, but no more than there is `room` in it; what is too much
    for some is shared out among the others in the same proportion. That is computed exactly; whole numbers are those
    below, and one more for the layers with the largest remainders, of equals the first.
    """
    exact: dict[str, Fraction] = {}
    claims = {name: claim(shape) for name, shape in shapes.items()}
    while claims:
        share = (kept - sum(exact.values())) / Fraction(sum(claims.values()))
        full = [name for name, wanted in claims.items() if share * wanted >= room[name]]
        exact |= {name: Fraction(room[name]) for name in full} or {n: share * wanted for n, wanted in claims.items()}
        claims = {name: wanted for name, wanted in claims.items() if name not in exact}
    whole = {name: floor(exact[name]) for name in shapes}
    by_remainder = sorted(shapes, key=lambda name: whole[name] - exact[name])  # stable: of equals the first
    return whole | {name: whole[name] + 1 for name in by_remainder[: kept - sum(whole.values())]}
