"""Which layers are asked for, with which budgets."""

import pytest

from lottery.channels.groups import find_groups
from lottery.greedy.channels.budgets import parse_layers, plan_layers
from tests.helpers import network
from utils import InputError


def test_budgets_by_name_pattern_share_and_number():
    found = find_groups(network("res14s"))
    asked = parse_layers("layer1.*=0.4,layer2.0.conv1,layer1.1.conv1=3,layer3.*=1.0")
    budgets = {name: layer.budget for name, layer in plan_layers(found, asked, "0.5", "res14s").items()}
    assert budgets == {"layer1.0.conv1": 6, "layer1.1.conv1": 3, "layer2.0.conv1": 16}
    everything = plan_layers(found, parse_layers(None), "0.01", "res14s")
    assert list(everything) == list(found.groups) and {layer.budget for layer in everything.values()} == {1}
    assert {layer.budget for layer in plan_layers(found, [], None, "res14s").values()} == {None}


def test_an_mlp_has_no_channels():
    with pytest.raises(InputError, match="--arch mlp2 has no convolution whose channels can be dropped"):
        plan_layers(find_groups(network("mlp2")), [], "0.5", "mlp2")
