"""How many weights each layer keeps, where layers have quotas: distributions of a density over the layers.

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import floor, prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pruner import Mask, Scores

Shapes = Mapping[str, Sequence[int]]  # of the weights of each layer, by the layer's name
Counts = dict[str, int]  # weights of each layer, by the layer's name


class Distribution(NamedTuple):
    """How dense each layer is, relative to others."""

    name: str  # in reports
    help: str
    layer_share: Callable[[Sequence[int]], int]  # from the shape of a layer's weights to its share of the kept ones


DISTRIBUTIONS = {
    "uniform": Distribution("uniform by layer", "all of the same density", prod),
    "erk": Distribution(
        "ERK",
        "of a density proportional to (inputs + outputs + kernel height + width) / (inputs x outputs x "
        "height x width), at most 1 (Erdos-Renyi-Kernel; Evci et al., ICML 2020)",
        sum,
    ),
}


def layer_quotas(
    shapes: Shapes, capacities: Mapping[str, int], kept: int, layer_share: Callable[[Sequence[int]], int]
) -> Counts:
    """How many weights each layer keeps, `kept` in total.

    Quotas are proportional to `layer_share` of the layers' shapes. A layer whose quota would exceed its capacity keeps
    all of that, and the rest is divided among the others in the same proportion. The division is exact, in fractions;
    quotas are then rounded down, and the weights that are left over go to the layers with the largest remainders, the
    first among equals.
    """
    exact: dict[str, Fraction] = {}
    shares = {name: layer_share(shape) for name, shape in shapes.items()}
    while shares:
        unit = (kept - sum(exact.values())) / Fraction(sum(shares.values()))
        full = [name for name, share in shares.items() if unit * share >= capacities[name]]
        exact |= {name: Fraction(capacities[name]) for name in full} or {n: unit * share for n, share in shares.items()}
        shares = {name: share for name, share in shares.items() if name not in exact}
    whole = {name: floor(exact[name]) for name in shapes}
    by_remainder = sorted(shapes, key=lambda name: whole[name] - exact[name])  # stable: the first among equals
    return whole | {name: whole[name] + 1 for name in by_remainder[: kept - sum(whole.values())]}


def keep_highest_by_layer(mask: Mask, scores: Scores, kept: int, layer_share: Callable[[Sequence[int]], int]) -> Mask:
    """The mask that keeps the `kept` highest-scoring of the weights that `mask` keeps, ranked within each layer, as
    many as its quota says."""
    from pruner import drop_in_layers, layer_counts

    left = {name: layer["kept"] for name, layer in layer_counts(mask).items()}
    quotas = layer_quotas({name: layer.shape for name, layer in mask.items()}, left, kept, layer_share)
    return drop_in_layers(mask, scores, {name: left[name] - quotas[name] for name in mask})
