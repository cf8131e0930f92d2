"""What can be computed from masks alone: layers that are about to vanish, and the overlap of two tickets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from lottery.results.ticket_runs import Run
from pruner import Mask

Item = TypeVar("Item")
LEAST_KEPT = 0.01  # fraction of a layer's weights


def vanishing_reason(layer: Mapping) -> str | None:
    """Why a layer (an entry of a row's `layers`) is about to vanish; None if it is not."""
    kept = f"{layer['kept']:,} of {layer['size']:,} weights"
    if layer["kept"] == 0:
        return "nothing of it is left: no signal passes it but through a shortcut"
    if layer["kept"] < LEAST_KEPT * layer["size"]:
        return f"{kept} are kept, fewer than {LEAST_KEPT:.0%}"
    if layer["kept"] < layer.get("filters", 0):
        return f"{kept} are kept, fewer than one for each of its {layer['filters']} filters"
    return None


def vanishing_layers(name: str, runs: Sequence[Run]) -> list[str]:
    """A sentence for each layer that is about to vanish in runs of the method with this name: in how many runs, in
    which round first, and why."""
    found: dict[str, list[tuple[int, str]]] = {}
    for run in runs:
        first: dict[str, tuple[int, str]] = {}
        for row in run.rounds:
            for layer, counts in row.get("layers", {}).items():
                if layer not in first and (reason := vanishing_reason(counts)):
                    first[layer] = row["round"], reason
        for layer, when in first.items():
            found.setdefault(layer, []).append(when)
    return [
        f"{name}: {layer} is about to vanish in {len(times)} of {len(runs)} runs, first in round {min(times)[0]}: "
        f"{min(times)[1]}."
        for layer, times in found.items()
    ]


class Overlap(NamedTuple):
    """The weights that both of two tickets keep, divided by those that either keeps; and the same by chance."""

    share: float
    chance: float


def overlap(a: Mask, b: Mask) -> Overlap:
    """The Jaccard index of two masks of one network, and its value by chance.

    By chance: for random masks that keep as many weights, a and b, of each layer of n weights. In expectation they
    share a * b / n, and either keeps a + b - a * b / n.
    """
    both = either = chance_both = chance_either = 0.0
    for name, layer in a.items():
        mine, theirs = int(layer.sum()), int(b[name].sum())
        shared = int((layer & b[name]).sum())
        expected = mine * theirs / layer.numel()
        both, either = both + shared, either + mine + theirs - shared
        chance_both, chance_either = chance_both + expected, chance_either + mine + theirs - expected
    return Overlap(both / either if either else 1.0, chance_both / chance_either if chance_either else 1.0)


def same_layers(a: Mask, b: Mask) -> bool:
    """Whether the masks have the same layers, of the same shapes."""
    return a.keys() == b.keys() and all(a[name].shape == b[name].shape for name in a)


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, such as rounds, evenly spaced, the last one among them."""
    step = -(-len(items) // most)
    return list(items[::-1][::step])[::-1] if items else []
