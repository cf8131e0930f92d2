"""Whether a ticket that a mapping gives fits its network."""

import re

import pytest

from lottery.elastic.mapping import origins, parse_mapping, stretch
from lottery.elastic.transfer import check_shapes
from models.units import family
from pruner import Ticket
from tests.helpers import network
from utils import InputError


def check_mapping(source, target, text):
    own = family(source), family(target)
    mapping, weights = parse_mapping(text, *own), network(source).state_dict()
    found = stretch(Ticket({}, weights), *own, mapping)
    check_shapes(found.weights, origins(weights, *own, mapping), network(target).state_dict())


@pytest.mark.parametrize(
    "source, target, text, said",
    [
        (
            "res14s",
            "res20s",
            "0:0;1:1,2|1:0,1,2|0:0;1:1,2",
            "layer2.0.conv1.weight of the target is 32 x 16 x 3 x 3 and cannot be a copy of layer2.1.conv1.weight, "
            "32 x 32 x 3 x 3",
        ),
        (
            "res14s_projection",
            "res20s_projection",
            "0:0;1:1,2|0:0,1;1:2|0:0;1:1,2",
            "layer2.0.downsample.0.weight would become layer2.1.downsample.0.weight, which the target does not have",
        ),
        (
            "res14s_projection",
            "res20s_projection",
            "0:0;1:1,2|1:0,1,2|0:0;1:1,2",
            "layer2.0.downsample.0.weight of the target has no source: the unit mapped to it has no such part",
        ),
        (
            "mlp2",
            "mlp3",
            "0:0;1:1;2:2,3",
            "fc3.weight of the target is 300 x 300 and cannot be a copy of fc3.weight, 100 x 300",
        ),
    ],
)
def test_units_that_do_not_fit_are_named(source, target, text, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        check_mapping(source, target, text)


def test_an_explicit_mapping_may_break_the_rules_where_shapes_allow():
    check_mapping("res14s", "res20s", "0:0,2;1:1|0:0;1:1,2|0:0;1:1,2")
