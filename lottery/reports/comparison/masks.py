"""What masks tell without their weights: which layers are about to vanish, and how much two tickets have in common."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lottery.results.runs import Run
from pruner import Mask

LEAST = 0.01  # of a layer's weights


def vanishing(layer: Mapping) -> str | None:
    """Why a layer of a round's row is about to vanish; None if it is not."""
    kept = f"{layer['kept']:,} of {layer['size']:,} weights"
    if layer["kept"] == 0:
        return "nothing of it is left: no signal passes it but through a shortcut"
    if layer["kept"] < LEAST * layer["size"]:
        return f"{kept} are kept, fewer than {LEAST:.0%}"
    if layer["kept"] < layer.get("filters", 0):
        return f"{kept} are kept, fewer than one for each of its {layer['filters']} filters"
    return None


def warnings(name: str, runs: Sequence[Run]) -> list[str]:
    """A sentence for each layer that is about to vanish in runs of this method: in how many, in which round first,
    and by which rule."""
    found: dict[str, list[tuple[int, str]]] = {}
    for run in runs:
        first: dict[str, tuple[int, str]] = {}
        for row in run.rounds:
            for layer, counts in row.get("layers", {}).items():
                if layer not in first and (reason := vanishing(counts)):
                    first[layer] = row["round"], reason
        for layer, when in first.items():
            found.setdefault(layer, []).append(when)
    return [
        f"{name}: {layer} is about to vanish in {len(times)} of {len(runs)} runs, first in round {min(times)[0]}: "
        f"{min(times)[1]}."
        for layer, times in found.items()
    ]


class Overlap(NamedTuple):
    """Weights that two tickets keep in both, divided by those in either; and what chance would give."""

    share: float
    chance: float


def overlap(a: Mask, b: Mask) -> Overlap:
    """How much two masks of one network have in common.

    Chance: two masks drawn at random that keep of each layer of n weights as many, a and b, as these do. They share
    a * b / n of them, in expectation, and keep a + b less those in either.
    """
    both = either = chance_both = chance_either = 0.0
    for name, layer in a.items():
        mine, theirs = int(layer.sum()), int(b[name].sum())
        shared = int((layer & b[name]).sum())
        expected = mine * theirs / layer.numel()
        both, either = both + shared, either + mine + theirs - shared
        chance_both, chance_either = chance_both + expected, chance_either + mine + theirs - expected
    return Overlap(both / either if either else 1.0, chance_both / chance_either if chance_either else 1.0)


def comparable(a: Mask, b: Mask) -> bool:
    """Whether they are masks of the same layers."""
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)


def evenly(rounds: Sequence[int], most: int) -> list[int]:
    """At most so many of the rounds, the last one among them."""
    step = -(-len(rounds) // most)
    return list(rounds[::-1][::step])[::-1] if rounds else []
