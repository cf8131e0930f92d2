"""The architectures by their units: what a unit is, who is whose relative, and that nothing is left over."""

from itertools import permutations

import pytest
import torch
from torch import nn

from lottery.elastic import mapping as elastic
from lottery.elastic.mapping import origins, stretch, unit_mapping
from models import ARCHITECTURES
from models.build import build
from models.normalization import normalization
from models.units import Family, Stage, family
from pruner import Ticket
from tests.helpers import network
from utils import InputError


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_tensor_of_a_network_belongs_to_one_unit(arch):
    names, own = list(network(arch).state_dict()), family(arch)
    assert origins(names, own, own, unit_mapping(own, own, "append")) == {name: name for name in names}


def is_unit(arch, modules):
    """Whether these are one: a residual block, or a layer with weights and, with batch norm, that."""
    kinds = [type(module).__name__ for module in modules]
    if arch.startswith("res"):
        return kinds in (["BasicBlock"], ["ProjectionBlock"], ["Bottleneck"])
    return kinds in (["Linear"], ["Conv2d", "BatchNorm2d"] if "_bn" in arch else ["Conv2d"])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_units_are_residual_blocks_or_layers(arch):
    model, own = network(arch), family(arch)
    units = [[model.get_submodule(name) for name in unit] for stage in own.stages for unit in stage.units]
    assert all(is_unit(arch, modules) for modules in units)
    inside = {id(module) for unit in units for part in unit for module in part.modules()}
    outside = [name for name, module in model.named_modules() if id(module) not in inside and [*module.parameters()]]
    fixed = [name for name in outside if not isinstance(model.get_submodule(name), nn.Sequential | type(model))]
    assert fixed == [name for name in (*own.stem, *own.classifier) if name != "normalize"]


RELATIVES = [(a, b) for a, b in permutations(ARCHITECTURES, 2) if family(a).kind == family(b).kind]


def test_there_are_relatives_of_every_kind_but_bottlenecks():
    alone = set(ARCHITECTURES) - {arch for pair in RELATIVES for arch in pair}
    assert alone == {"res50"}


@pytest.mark.parametrize("order", elastic.ORDERS)
def test_between_relatives_every_tensor_has_an_origin_of_its_shape(order):
    shapes = {arch: {name: t.shape for name, t in network(arch).state_dict().items()} for arch in ARCHITECTURES}
    carried = 0
    for source, target in RELATIVES:
        try:
            found = unit_mapping(family(source), family(target), order)
        except InputError:
            assert {source, target} & {"lenet300", "vgg11", "vgg11_bn"}, "one unit a stage has nothing to replicate"
            continue
        there = origins(shapes[source], family(source), family(target), found)
        assert list(there) == list(shapes[target]), "every key, in the network's order"
        assert {here: shapes[source][name] for here, name in there.items()} == shapes[target]
        carried += 1
    assert carried == len(RELATIVES) - (3 + 2 * 3)  # lenet300 to mlp2, 3, 4; vgg11 to vgg13, 16, 19, with and without


def test_units_of_ones_own_network_are_not_known():
    with pytest.raises(InputError, match=r"units of tests.networks:tiny are not known, only those of res14s"):
        family("tests.networks:tiny")


def test_a_network_of_ones_own_becomes_a_family_by_a_description():
    """torchvision's ResNets as a user's own network has them, nothing but names."""

    def described(units):
        stages = tuple(
            Stage(tuple((f"network.layer{s}.{u}",) for u in range(count))) for s, count in enumerate(units, 1)
        )
        return Family("torchvision", ("normalize", "network.conv1", "network.bn1"), stages, ("network.fc",))

    with torch.device("meta"):
        normalize = normalization([0.5] * 3, [0.2] * 3, image_channels=3, network_channels=3)
        small, large = (
            build(f"torchvision.models:resnet{depth}", "imagenet", 10, 0, normalize).state_dict() for depth in (18, 34)
        )
    ticket = Ticket({}, dict(small))
    source, target = described((2, 2, 2, 2)), described((3, 4, 6, 3))
    found = stretch(ticket, source, target, unit_mapping(source, target, "append"))
    assert {name: value.shape for name, value in found.weights.items()} == {n: v.shape for n, v in large.items()}
