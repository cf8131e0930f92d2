"""How many weights are kept after each iteration, and how many of them in each layer."""

from fractions import Fraction

import pytest

import pruner
from lottery.pruning_at_init.criteria import RANKINGS, kept_by_iteration
from lottery.tickets.layer_quotas import layer_quotas
from tests.helpers import network


def test_the_schedule_is_exponential_and_exact():
    assert kept_by_iteration(1000, 10, 2) == [100, 10]
    assert kept_by_iteration(1000, 1, 3) == [100, 10, 1]
    assert kept_by_iteration(1000, 333, 1) == [333]


# --- quotas -----------------------------------------------------------------------------------------------------------

SHAPES = {"a": (4, 2, 3, 3), "b": (10, 4), "c": (8, 4, 3, 3)}
CAPACITIES = {"a": 72, "b": 40, "c": 288}


def test_erk_by_hand():
    """a: 12/72, b: 14/40, c: 18/288 times e; 44 e = 100 weights, e = 25/11: 27.3, 31.8 and 40.9, none above its size.

    The remainders .27, .82 and .91 leave 98, so b and c get one more.
    """
    assert layer_quotas(SHAPES, CAPACITIES, 100, RANKINGS["erk"].layer_share) == {"a": 27, "b": 32, "c": 41}


def test_erk_layers_that_would_exceed_one_stay_dense_and_the_rest_is_solved_again():
    """e = 200/44: b would have 63.6 of 40. The others: 30 e = 160, 64 and 96. For 300, e = 260/30 gives a 104 of 72."""
    assert layer_quotas(SHAPES, CAPACITIES, 200, RANKINGS["erk"].layer_share) == {"a": 64, "b": 40, "c": 96}
    assert layer_quotas(SHAPES, CAPACITIES, 300, RANKINGS["erk"].layer_share) == {"a": 72, "b": 40, "c": 188}


def test_uniform_is_the_same_density_everywhere():
    assert layer_quotas(SHAPES, CAPACITIES, 100, RANKINGS["uniform"].layer_share) == {"a": 18, "b": 10, "c": 72}


@pytest.mark.parametrize("ranking", ["uniform", "erk"])
def test_quotas_are_exact_for_every_number(ranking):
    room = {"a": 50, "b": 40, "c": 111}
    for kept in range(sum(room.values()) + 1):
        found = layer_quotas(SHAPES, room, kept, RANKINGS[ranking].layer_share)
        assert sum(found.values()) == kept and all(0 <= found[name] <= room[name] for name in room)


def test_erk_agrees_with_densities_computed_as_published(tiny):
    """RigL's own iteration on a ResNet-20: dense layers set aside one after the other, then one factor for the rest."""
    mask = pruner.dense(network("res20s"))
    shapes = {name: tuple(layer.shape) for name, layer in mask.items()}
    sizes = {name: layer.numel() for name, layer in mask.items()}
    kept, raw = round(0.3 * sum(sizes.values())), {name: Fraction(sum(s), sizes[name]) for name, s in shapes.items()}
    dense = set()
    while True:
        free = [name for name in shapes if name not in dense]
        e = Fraction(kept - sum(sizes[name] for name in dense)) / sum(raw[name] * sizes[name] for name in free)
        if max(e * raw[name] for name in free) <= 1:
            break
        dense.add(max(free, key=raw.get))
    assert dense and len(dense) < len(shapes)
    for name, number in layer_quotas(shapes, sizes, kept, RANKINGS["erk"].layer_share).items():
        assert abs(number - (sizes[name] if name in dense else e * raw[name] * sizes[name])) < 1
