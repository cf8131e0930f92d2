"""Elastic tickets: the paper's mappings, what is carried over, and the script.

Papers' strings: Chen et al., NeurIPS 2021, and the notation of their code.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import elastic
import pruner
from carry import carry, check_shapes, images_of
from checkpoint import masked_state, read, write
from elastic import format_mapping, mapping, origins, parse_mapping, replicated, stage_counts, stretch
from models import ARCHITECTURES, build_model
from models.build import build
from models.families import MLPS
from models.normalization import normalization
from models.units import Family, Stage, family
from pruner import Ticket
from step import copy_weights
from utils import InputError


def network(arch, device="meta", inputs=64, classes=10):
    """On the meta device: names and shapes without values."""
    channels = 1 if arch in MLPS else 3
    with torch.device(device):
        normalize = normalization(
            [0.5] * channels, [0.2] * channels, image_channels=channels, network_channels=channels
        )
        return build(arch, "imagenet", classes, inputs, normalize)


def random_ticket(arch, seed=0):
    """Every tensor of the network with values of its own, batch norm statistics and counters included."""
    random = torch.Generator().manual_seed(seed)
    model = network(arch, "cpu")

    def values(tensor):
        return torch.randint(0, 2**20, tensor.shape, generator=random).to(tensor.dtype)

    weights = {name: values(tensor) for name, tensor in model.state_dict().items()}
    mask = {name: torch.rand(weights[name].shape, generator=random) < 0.3 for name in pruner.prunable(model)}
    return Ticket(mask, weights)


def assert_equal(a, b):
    for part, other in zip(a, b, strict=True):
        assert list(part) == list(other)
        for name, value in part.items():
            assert value.dtype == other[name].dtype and torch.equal(value, other[name]), name


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_tensor_of_a_network_belongs_to_one_unit(arch):
    names, own = list(network(arch).state_dict()), family(arch)
    assert origins(names, own, own, mapping(own, own, "append")) == {name: name for name in names}


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
            found = mapping(family(source), family(target), order)
        except InputError:
            assert {source, target} & {"lenet300", "vgg11", "vgg11_bn"}, "one unit a stage has nothing to replicate"
            continue
        there = origins(shapes[source], family(source), family(target), found)
        assert list(there) == list(shapes[target]), "every key, in the network's order"
        assert {here: shapes[source][name] for here, name in there.items()} == shapes[target]
        carried += 1
    assert carried == len(RELATIVES) - (3 + 2 * 3)  # lenet300 to mlp2, 3, 4; vgg11 to vgg13, 16, 19, with and without


def test_units_of_ones_own_network_are_not_known():
    with pytest.raises(InputError, match=r"units of networks:tiny are not known, only those of res14s"):
        family("networks:tiny")


# --- the paper's mappings ---------------------------------------------------------------------------------------------

CIFAR = [  # source, target, append, interpolate
    ("res14s", "res20s", "0:0;1:1,2", "0:0;1:1,2"),
    ("res20s", "res32s", "0:0;1:1,3;2:2,4", "0:0;1:1,2;2:3,4"),
    ("res20s", "res44s", "0:0;1:1,3,5;2:2,4,6", "0:0;1:1,2,3;2:4,5,6"),
    ("res20s", "res56s", "0:0;1:1,3,5,7;2:2,4,6,8", "0:0;1:1,2,3,4;2:5,6,7,8"),
    ("res32s", "res44s", "0:0;1:1,5;2:2,6;3:3;4:4", "0:0;1:1,2;2:3,4;3:5;4:6"),
    ("res32s", "res56s", "0:0;1:1,5;2:2,6;3:3,7;4:4,8", "0:0;1:1,2;2:3,4;3:5,6;4:7,8"),
    ("res44s", "res56s", "0:0;1:1,7;2:2,8;3:3;4:4;5:5;6:6", "0:0;1:1,2;2:3,4;3:5;4:6;5:7;6:8"),
    ("res32s", "res20s", "0:0;1:1;2:2", "0:0;1:1;2:2"),
    ("res56s", "res32s", "0:0;1:1;2:2;3:3;4:4", "0:0;1:1;2:2;3:3;4:4"),
]
VGG_STAGES = "0:0;1:1|0:0;1:1|"
OTHERS = [
    ("res18", "res26", *["0:0;1:1|0:0;1:1,2|0:0;1:1,2,3|0:0;1:1,2"] * 2),
    (
        "res26",
        "res34",
        "0:0;1:1,2|0:0;1:1,3;2:2|0:0;1:1,4;2:2,5;3:3|0:0;1:1;2:2",
        "0:0;1:1,2|0:0;1:1,2;2:3|0:0;1:1,2;2:3,4;3:5|0:0;1:1;2:2",
    ),
    ("res18", "res34", *["0:0;1:1,2|0:0;1:1,2,3|0:0;1:1,2,3,4,5|0:0;1:1,2"] * 2),
    ("res34", "res26", *["0:0;1:1|0:0;1:1;2:2|0:0;1:1;2:2;3:3|0:0;1:1;2:2"] * 2),
    ("res34", "res18", *["0:0;1:1"] * 2),
    ("res26", "res18", *["0:0;1:1"] * 2),
    ("vgg13_bn", "vgg16_bn", *[VGG_STAGES + "|".join(["0:0;1:1,2"] * 3)] * 2),
    ("vgg16", "vgg19", VGG_STAGES + "|".join(["0:0;1:1,3;2:2"] * 3), VGG_STAGES + "|".join(["0:0;1:1,2;2:3"] * 3)),
    ("mlp2", "mlp3", *["0:0;1:1,2;2:3"] * 2),
    ("mlp4", "mlp2", *["0:0;1:1;4:2"] * 2),
    ("mlp2", "lenet300", *["0:0;2:1"] * 2),
]


@pytest.mark.parametrize("source, target, append, interpolate", CIFAR + OTHERS)
def test_the_rules_give_the_papers_mappings(source, target, append, interpolate):
    source, target = family(source), family(target)
    for order, text in ("append", append), ("interpolate", interpolate):
        found = mapping(source, target, order)
        assert format_mapping(found) == text
        assert parse_mapping(text, source, target) == found


def test_linear_layers_have_the_authors_mapping():
    """Their commands map 3 linear layers to 5 as "0:0,2;2:4,6", every second number being a ReLU; all may replicate."""
    found = mapping(family("vgg13_bn_3fc"), family("vgg13_bn_5fc"), "interpolate")
    assert found[:5] == ((0, 1),) * 5 and found[5] == (0, 0, 1, 1)
    assert mapping(family("vgg13_bn_2fc"), family("vgg13_bn_3fc"), "append")[5] == (0, 0)


@given(st.integers(1, 12), st.integers(0, 30))
def test_as_many_distinct_units_as_possible_and_earlier_ones_first(source, target):
    appended, interpolated = replicated(source, target, "append"), replicated(source, target, "interpolate")
    times = Counter(appended)
    assert times == Counter(interpolated) and len(appended) == target
    copies = [times[unit] for unit in range(source)]
    assert copies == sorted(copies, reverse=True) and copies[0] - copies[-1] <= 1
    assert len(times) == min(source, target)
    assert all(unit == appended[place - source] for place, unit in enumerate(appended) if place >= source)
    assert interpolated == sorted(interpolated)


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="append, interpolate, got 'reverse'"):
        replicated(2, 3, "reverse")


def test_a_stage_with_nothing_to_replicate_is_named():
    with pytest.raises(InputError, match="stage 1 cannot be stretched from 1 to 2 units"):
        mapping(family("vgg11"), family("vgg13"), "append")


@pytest.mark.parametrize(
    "source, target, said",
    [
        ("res20s", "res18", "from the CIFAR ResNets to the ResNets of basic blocks"),
        ("res20s", "res20s_projection", "to the CIFAR ResNets with projection shortcuts"),
        ("res34", "res50", "to the ResNets of bottleneck blocks"),
        ("vgg13", "vgg13_bn", "from the VGGs to the VGGs with batch norm"),
        ("vgg13_bn", "vgg13_bn_2fc", "to the VGGs with batch norm and several linear layers"),
        ("vgg13_bn", "mlp2", "from the VGGs with batch norm to the MLPs"),
    ],
)
def test_a_ticket_stays_in_its_family(source, target, said):
    with pytest.raises(InputError, match=f"{said}$"):
        mapping(family(source), family(target), "append")
    with pytest.raises(InputError, match=f"{said}$"):
        parse_mapping("0:0", family(source), family(target))


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "source:targets.*got ''"),
        ("1", "source:targets.*got '1'"),
        ("0:0;1:", "source:targets"),
        ("0:0;1:1,", "source:targets"),
        ("0:0,1:1", "source:targets"),
        ("0:0;1:-1", "source:targets"),
        ("0:0;1:1|", "source:targets"),
        ("0:0;1:1,3;2:2,4|0:0", "has 2 stages, these networks have 3"),
        ("0:0;1:1,3;3:2,4", "stage 1 of the source has the units 0 to 2, the block mapping names 3"),
        ("0:0;1:1,3;2:2,5", "stage 1 of the target has the units 0 to 4, the block mapping names 5"),
        ("0:0;1:1,3;2:2,3", r"unit 3 of stage 1 of the target \(layer1\.3\) is mapped to twice"),
        ("0:0;1:1,3;2:2", r"no source unit is mapped to unit 4 of stage 1 of the target \(layer1\.4\)"),
        ("1:1,3;2:2,4", r"no source unit is mapped to unit 0 of stage 1 of the target \(layer1\.0\)"),
        ("|".join(["0:0;1:1,3;2:2,4"] * 2 + ["0:0;1:1,3;2:2"]), r"unit 4 of stage 3 of the target \(layer3\.4\)"),
    ],
)
def test_a_block_mapping_that_is_none_is_told(text, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_mapping(text, family("res20s"), family("res32s"))
    assert "\n" not in str(caught.value)


def test_spaces_and_one_mapping_for_each_stage_are_read():
    source, target = family("res20s"), family("res32s")
    each = parse_mapping("0:0; 1:1,2; 2:3,4 | 0:0;1:1,3;2:2,4 | 0:0;2:1,2,3,4", source, target)
    assert each == ((0, 1, 1, 2, 2), (0, 1, 2, 1, 2), (0, 2, 2, 2, 2))
    assert format_mapping(each) == "0:0;1:1,2;2:3,4|0:0;1:1,3;2:2,4|0:0;2:1,2,3,4"


# --- carrying ---------------------------------------------------------------------------------------------------------


def chain(units, names="unit"):
    """A family of one's own, described: so many units in each stage."""
    stages = [Stage(tuple((f"{names}{s}.{u}",) for u in range(count))) for s, count in enumerate(units)]
    return Family("chains", ("stem",), tuple(stages), ("head",))


@st.composite
def stretches(draw):
    """A source and a target, no stage of which is shallower, and a mapping that uses every source unit."""
    sources = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    found = []
    for units in sources:
        more = draw(st.lists(st.integers(0, units - 1), max_size=6))
        found.append(tuple(draw(st.permutations([*range(units), *more]))))
    return sources, tuple(found)


def chain_ticket(own):
    modules = [*own.stem, *(name for stage in own.stages for unit in stage.units for name in unit), *own.classifier]
    weights = {f"{name}.{part}": torch.randn(3, 2) for name in modules for part in ("weight", "running_mean")}
    weights |= {f"{name}.num_batches_tracked": torch.tensor(number) for number, name in enumerate(modules)}
    return Ticket({name: torch.rand(3, 2) < 0.5 for name in weights if name.endswith(".weight")}, weights)


@given(stretches())
def test_stretched_and_squeezed_back_a_ticket_is_the_same(case):
    units, there = case
    source, target = chain(units), chain(map(len, there), names="copy")
    back = tuple(tuple(stage.index(unit) for unit in range(count)) for stage, count in zip(there, units, strict=True))
    ticket = chain_ticket(source)
    stretched = stretch(ticket, source, target, there)
    assert parse_mapping(format_mapping(there), source, target) == there
    again = stretch(stretched, target, source, back)
    assert again.weights.keys() == ticket.weights.keys() and again.mask.keys() == ticket.mask.keys()
    for part, other in zip(again, ticket, strict=True):
        assert all(torch.equal(value, other[name]) for name, value in part.items())
    copies = Counter((stage, unit) for stage, sources in enumerate(there) for unit in sources)
    for number, (kept, size) in enumerate(stage_totals(stretched, target)):
        assert kept == sum(
            times * int(ticket.mask[f"unit{stage}.{unit}.weight"].sum())
            for (stage, unit), times in copies.items()
            if stage == number
        )
        assert size == 6 * len(there[number])


def stage_totals(ticket, own):
    counts = {count.part: count for count in stage_counts(ticket.mask, own)}
    return [
        (counts[f"stage {number}"].kept, counts[f"stage {number}"].size) for number in range(1, len(own.stages) + 1)
    ]


@pytest.mark.parametrize("order", elastic.ORDERS)
@pytest.mark.parametrize(
    "source, target", [("res20s", "res56s"), ("res14s_projection", "res32s_projection"), ("mlp2", "mlp4")]
)
def test_a_networks_ticket_comes_back_to_the_bit(source, target, order):
    ticket, small, large = random_ticket(source), family(source), family(target)
    there = mapping(small, large, order)
    stretched = stretch(ticket, small, large, there)
    own = network(target)
    assert [(name, value.shape, value.dtype) for name, value in stretched.weights.items()] == [
        (name, value.shape, value.dtype) for name, value in own.state_dict().items()
    ]
    assert list(stretched.mask) == pruner.prunable(own)
    assert_equal(stretch(stretched, large, small, inverse(there, small)), ticket)


def inverse(there, source):
    return tuple(
        tuple(sources.index(unit) for unit in range(len(stage.units)))
        for sources, stage in zip(there, source.stages, strict=True)
    )


def test_a_squeeze_keeps_the_early_blocks():
    ticket, large, small = random_ticket("res32s"), family("res32s"), family("res20s")
    squeezed = stretch(ticket, large, small, mapping(large, small, "append"))
    assert squeezed.weights.keys() == network("res20s").state_dict().keys()
    assert all(torch.equal(value, ticket.weights[name]) for name, value in squeezed.weights.items())


def test_what_belongs_to_a_unit_travels_together():
    ticket, source, target = (
        random_ticket("res14s_projection"),
        family("res14s_projection"),
        family("res20s_projection"),
    )
    found = stretch(ticket, source, target, mapping(source, target, "append"))
    parts = ["conv1.weight", "conv2.weight"]
    parts += [
        f"bn{k}.{part}"
        for k in (1, 2)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    for here, there in ("layer2.1", "layer2.1"), ("layer2.2", "layer2.1"), ("layer3.0", "layer3.0"):
        more = ["downsample.0.weight", "downsample.1.running_var"] if here == "layer3.0" else []
        for part in parts + more:
            assert torch.equal(found.weights[f"{here}.{part}"], ticket.weights[f"{there}.{part}"])
            if part in ("conv1.weight", "conv2.weight", "downsample.0.weight"):
                assert torch.equal(found.mask[f"{here}.{part}"], ticket.mask[f"{there}.{part}"])
    assert torch.equal(found.weights["fc.weight"], ticket.weights["fc.weight"])


def test_nothing_is_shared():
    ticket, source, target = random_ticket("res14s"), family("res14s"), family("res20s")
    found = stretch(ticket, source, target, mapping(source, target, "append"))
    storages = [value.data_ptr() for part in (*ticket, *found) for value in part.values()]
    assert len(set(storages)) == len(storages)


def test_a_mask_of_the_classifier_comes_along():
    ticket, source, target = random_ticket("res14s"), family("res14s"), family("res20s")
    ticket.mask["fc.weight"] = torch.rand(10, 64) < 0.1
    found = stretch(ticket, source, target, mapping(source, target, "append"))
    assert torch.equal(found.mask["fc.weight"], ticket.mask["fc.weight"])
    assert stage_counts(found.mask, target)[-1][:2] == ("classifier", 640)


def test_counts_add_up_and_follow_the_copies():
    ticket, source, target = random_ticket("res20s"), family("res20s"), family("res32s")
    found = stretch(ticket, source, target, mapping(source, target, "append"))
    before, after = (
        {count.part: count for count in stage_counts(*each)} for each in ((ticket.mask, source), (found.mask, target))
    )
    assert list(before) == list(after) == ["stem", "stage 1", "stage 2", "stage 3"]
    assert sum(count.kept for count in after.values()) == pruner.count(found.mask)
    assert sum(count.size for count in after.values()) == pruner.size(found.mask)
    assert before["stem"] == after["stem"] and before["stem"].size == 432
    first = sum(int(ticket.mask[f"layer2.0.conv{k}.weight"].sum()) for k in (1, 2))
    assert after["stage 2"].kept - first == 2 * (before["stage 2"].kept - first)
    assert after["stage 2"].density == after["stage 2"].kept / (9 * (16 * 32 + 9 * 32 * 32))


def test_a_target_unit_without_a_source_is_named():
    ticket, source, target = random_ticket("res14s"), family("res14s"), family("res20s")
    with pytest.raises(InputError, match=r"no source unit is mapped to unit 2 of stage 2 of the target \(layer2\.2\)"):
        stretch(ticket, source, target, ((0, 1, 1), (0, 1), (0, 1, 1)))
    with pytest.raises(InputError, match="has 2 stages, these networks have 3"):
        stretch(ticket, source, target, ((0, 1, 1), (0, 1, 1)))


def test_a_tensor_of_no_unit_is_named():
    ticket, source, target = random_ticket("res14s"), family("res14s"), family("res20s")
    ticket.weights["scale.weight"] = torch.ones(1)
    with pytest.raises(
        InputError, match=r"scale\.weight must belong to one unit of the CIFAR ResNets, it belongs to 0"
    ):
        stretch(ticket, source, target, mapping(source, target, "append"))


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
    found = stretch(ticket, source, target, mapping(source, target, "append"))
    assert {name: value.shape for name, value in found.weights.items()} == {n: v.shape for n, v in large.items()}


def test_mappings_are_made_without_torch():
    code = "import sys, elastic, models.units as u; elastic.mapping(*map(u.family, ('mlp2', 'mlp3')), 'append')"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], cwd=ROOT, check=True)


# --- the shapes of a mapping of one's own -----------------------------------------------------------------------------


def given_mapping(source, target, text):
    own = family(source), family(target)
    return check_shapes(
        carry(Ticket({}, network(source).state_dict()), *own, parse_mapping(text, *own)), network(target).state_dict()
    )


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
        given_mapping(source, target, text)


def test_a_mapping_of_ones_own_may_break_the_rules_where_shapes_allow():
    given_mapping("res14s", "res20s", "0:0,2;1:1|0:0;1:1,2|0:0;1:1,2")


# --- the script -------------------------------------------------------------------------------------------------------

QUICK = "--dataset digits --epochs 1 --decreasing_lr 1 --batch_size 64".split()


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """A search for tickets in each of two small networks: where their files are."""
    import main_imp

    folder = tmp_path_factory.mktemp("searches")
    for arch in "res14s", "mlp2":
        search = ["--pruning_times", "2", "--prune_type", "rewind_lt", "--rewind_epoch", "0", "--gpu", "-1"]
        assert main_imp.main([*QUICK, "--arch", arch, *search, "--save_dir", str(folder / arch)]) == 0
    return folder


def words(file, source, target, folder):
    return [
        "--source_arch",
        source,
        "--target_arch",
        target,
        "--init_dir",
        file,
        "--mask_dir",
        file,
        "--save_dir",
        folder,
    ]


@pytest.mark.parametrize("source, target, more", [
    ("res14s", "res20s", []),
    ("mlp2", "mlp4", ["--order", "interpolate"]),
    ("mlp2", "mlp3", ["--block_mapping", "0:0;1:1,2;2:3"]),
    ("mlp2", "lenet300", []),
])  # fmt: skip
def test_an_elastic_ticket_is_a_ticket(searches, call, capsys, tmp_path, source, target, more):
    file, elastic_file = searches / source / "2checkpoint.pth.tar", tmp_path / "elastic" / "checkpoint.pth.tar"
    status, out, err = call("main_elastic", *words(file, source, target, tmp_path / "elastic"), *more)
    assert status == 0 and not err
    model = build_model(target, classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    kept, of = (part.replace(",", "") for part in re.search(r"^all .* (\S+) +(\S+) +\S+$", out, re.M).groups())
    assert int(of) == pruner.size(pruner.dense(model))
    sparsity = re.search(rf"(\S+) % in {target}; the ticket is in {elastic_file}\n$", out)[1]
    assert sparsity == f"{100 * (1 - int(kept) / int(of)):.2f}"

    import verify

    assert verify.main([str(elastic_file)]) == 0
    told = capsys.readouterr().out
    for law in "checksum", "finite weights", "dropped weights", "starting weights", "no example validates":
        assert re.search(rf"{law} +holds", told), law

    ticket = ["--init_dir", elastic_file, "--mask_dir", elastic_file]
    status, out, err = call("main_train", *QUICK, "--arch", target, *ticket, "--save_dir", tmp_path / "run")
    assert status == 0, err
    assert f"density {int(kept) / int(of):.4f}" in out
    trained, carried = read(tmp_path / "run" / "checkpoint.pth.tar"), read(elastic_file)
    masks = [name for name in carried["state_dict"] if name.endswith("_mask")]
    assert len(masks) == len(pruner.dense(model))
    assert all(torch.equal(trained["state_dict"][name], carried["state_dict"][name]) for name in masks)
    assert all(torch.equal(value, carried["init_weight"][name]) for name, value in trained["init_weight"].items())


def test_the_file_holds_the_stretched_ticket_and_what_is_known_of_the_search(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp3", tmp_path))[0] == 0
    there, here = read(file), read(tmp_path / "checkpoint.pth.tar")
    own = there["init_weight"], here["init_weight"]
    assert torch.equal(own[1]["fc3.weight"], own[0]["fc2.weight"]) and torch.equal(
        own[1]["fc2.bias"], own[0]["fc2.bias"]
    )
    for name, copy in ("fc1", "fc1"), ("fc2", "fc2"), ("fc2", "fc3"), ("fc3", "fc4"):
        for part in "orig", "mask":
            assert torch.equal(
                here["state_dict"][f"{copy}.weight_{part}"], there["state_dict"][f"{name}.weight_{part}"]
            )
    assert not torch.equal(here["state_dict"]["fc2.weight_orig"], own[1]["fc2.weight"]), "weights under the mask"
    assert torch.equal(here["sequence"].sort().values, there["sequence"].sort().values)
    assert torch.equal(here["validation"], there["validation"])
    settings, search = here["settings"], there["settings"]
    assert (settings["arch"], settings["source_arch"], settings["block_mapping"]) == ("mlp3", "mlp2", "0:0;1:1,2;2:3")
    assert all(settings[name] == search[name] for name in ("dataset", "seed", "data checksum", "split checksum"))
    assert here["source"] == {"file": str(file), "prunings": 2, "settings": search}


def test_weights_and_mask_may_come_from_two_files(searches, call, tmp_path):
    rewound, mask = searches / "mlp2" / "epoch_1_rewind_weight.pt", searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(mask, "mlp2", "mlp3", tmp_path / "one"))[0] == 0
    assert call("main_elastic", *words(mask, "mlp2", "mlp3", tmp_path / "two"), "--init_dir", rewound)[0] == 0
    one, two = (read(tmp_path / name / "checkpoint.pth.tar") for name in ("one", "two"))
    for part in "init_weight", "state_dict":
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())


def test_examples_of_both_files_count(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    for name, seen in ("init", [5, 9, 3]), ("mask", [9, 700]):
        write(tmp_path / name, read(file) | {"sequence": torch.tensor(seen, dtype=torch.int32)})
    command = words(tmp_path / "mask", "mlp2", "mlp3", tmp_path / "out")
    assert call("main_elastic", *command, "--init_dir", tmp_path / "init")[0] == 0
    assert read(tmp_path / "out" / "checkpoint.pth.tar")["sequence"].tolist() == [3, 5, 9, 700]


def test_a_split_that_mixes_up_the_tickets_examples_is_refused(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp3", tmp_path / "elastic"))[0] == 0
    np.save(tmp_path / "split.npy", read(file)["sequence"].numpy()[:500])
    carried = tmp_path / "elastic" / "checkpoint.pth.tar"
    more = [
        "--arch",
        "mlp3",
        "--init_dir",
        carried,
        "--split_file",
        tmp_path / "split.npy",
        "--save_dir",
        tmp_path / "run",
    ]
    status, _, err = call("main_train", *QUICK, *more)
    assert status == 2 and "found with 50 examples that validate here" in err


def test_a_ticket_of_the_2021_code_is_carried_too(reference_checkpoint, call, tmp_path):
    file = reference_checkpoint("imp")
    status, out, err = call("main_elastic", *words(file, "res20s", "res14s", tmp_path / "elastic"))
    assert status == 0 and "carries no checksum" in out, err
    theirs, carried = read(file), read(tmp_path / "elastic" / "checkpoint.pth.tar")
    assert all(torch.equal(value, theirs["init_weight"][name]) for name, value in carried["init_weight"].items())
    assert carried["source"] == {"file": str(file), "prunings": theirs["state"], "settings": None}


def test_an_elastic_ticket_can_be_carried_on(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp4", tmp_path / "up"))[0] == 0
    stretched = tmp_path / "up" / "checkpoint.pth.tar"
    assert call("main_elastic", *words(stretched, "mlp4", "mlp2", tmp_path / "down"))[0] == 0
    there, back = read(file), read(tmp_path / "down" / "checkpoint.pth.tar")
    for part in "init_weight", "state_dict":
        assert there[part].keys() == back[part].keys()
        assert all(torch.equal(value, back[part][name]) for name, value in there[part].items())
    assert back["source"]["source"]["file"] == str(file)


def test_the_same_command_again_changes_nothing_and_another_one_is_refused(searches, call, tmp_path):
    command = words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp4", tmp_path)
    first = call("main_elastic", *command)
    written, place = (tmp_path / "checkpoint.pth.tar").read_bytes(), (tmp_path / "checkpoint.pth.tar").stat().st_ino
    assert call("main_elastic", *command) == first and first[0] == 0
    assert (tmp_path / "checkpoint.pth.tar").stat().st_ino == place, "not even written again"
    status, _, err = call("main_elastic", *command, "--target_arch", "mlp3")
    assert status == 2 and "arch was mlp4, is mlp3" in err and len(err.splitlines()) == 1
    assert (tmp_path / "checkpoint.pth.tar").read_bytes() == written
    assert call("main_elastic", *command, "--target_arch", "mlp3", "--overwrite")[0] == 0
    assert read(tmp_path / "checkpoint.pth.tar")["settings"]["arch"] == "mlp3"


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_another_scripts_directory_is_left_alone(searches, call, tmp_path, more):
    search = Path(shutil.copytree(searches / "mlp2", tmp_path / "search"))
    before = {file.name: file.read_bytes() for file in search.iterdir()}
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    status, _, err = call("main_elastic", *words(file, "mlp2", "mlp3", search), *more)
    assert status == 2 and "main_imp.py" in err
    assert {file.name: file.read_bytes() for file in search.iterdir()} == before


def test_a_training_does_not_begin_where_a_ticket_lies(searches, call, tmp_path):
    assert call("main_elastic", *words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp3", tmp_path))[0] == 0
    carried = tmp_path / "checkpoint.pth.tar"
    status, _, err = call("main_train", *QUICK, "--arch", "mlp3", "--mask_dir", carried, "--save_dir", tmp_path)
    assert status == 2 and "script was main_elastic.py, is main_train.py" in err


@pytest.mark.parametrize(
    "more, said",
    [
        (["--source_arch", "res14"], "arch must be one of res14s, .*got 'res14'"),
        (["--target_arch", "networks:tiny"], "units of networks:tiny are not known"),
        (["--target_arch", "res20s"], "cannot go from the MLPs to the CIFAR ResNets"),
        (["--source_arch", "lenet300"], "stage 1 cannot be stretched from 2 to 4 units"),
        (["--source_arch", "mlp4"], r"2checkpoint\.pth\.tar belongs to another network than --source_arch.* no fc6"),
        (["--source_arch", "mlp3", "--target_arch", "mlp4"], "belongs to another network than --source_arch"),
        (["--stem", "cifar"], "stem cifar applies to res18"),
        (["--order", "reverse"], "append.*interpolate"),
        (["--order", "append", "--block_mapping", "0:0;1:1,2;2:3"], "leave --order away"),
        (["--block_mapping", ""], "got ''"),
        (["--block_mapping", "0:0;1:1;2:3"], r"unit 2 of stage 1 of the target \(fc3\)"),
        (["--block_mapping", "0:0;1:1;2:2,3"], r"fc3\.weight of the target is 300 x 300 and cannot be a copy of fc3"),
        (["--init_dir", "nowhere"], "--init_dir nowhere does not exist"),
        (["--mask_dir", "."], "--mask_dir . is a directory"),
        (["--mask_dir", "dense"], "holds no mask: the dense network is no ticket"),
        (["--init_dir", "text"], "is no checkpoint"),
        (["--init_dir", "early"], "written before the rewinding point"),
        (["--init_dir", "scalars"], "belongs to another network than --source_arch: it has no fc4.weight"),
        (["--init_dir", "two_channels"], "no normalisation of grey or of colour images: its mean and std are 2, 1$"),
        (["--no_such_flag"], "no_such_flag"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_leaves_nothing(searches, call, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    dense = build_model("mlp2", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    write(Path("dense"), {"state_dict": copy_weights(dense), "init_weight": copy_weights(dense)})
    write(Path("early"), {"init_weight": None})
    write(Path("scalars"), {"init_weight": {"fc4.weight": torch.tensor(1.0)}})
    two = {"normalize.mean": torch.zeros(2), "normalize.std": torch.ones(1)}
    write(Path("two_channels"), {"init_weight": copy_weights(dense) | two})
    Path("text").write_text("hello")
    command = words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp3", "out")
    status, out, err = call("main_elastic", *command, *more)
    assert status == 2 and not out
    assert err.startswith("main_elastic.py: error: ") and len(err.splitlines()) == 1, err
    assert re.search(said, err), err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arch, stem, classes, channels, size",
    [("mlp2", "imagenet", 7, 1, 28), ("mlp3", "imagenet", 5, 3, 32), ("res14s", "imagenet", 7, 3, 32),
     ("res18", "cifar", 3, 3, 32), ("vgg13_bn_3fc", "imagenet", 6, 3, 32)],
)  # fmt: skip
def test_a_ticket_tells_its_classes_and_images(arch, stem, classes, channels, size):
    mean, std = [0.25, 0.5, 0.75][:channels], [0.5, 0.25, 0.125][:channels]
    told = {"classes": classes, "channels": channels, "image_size": size, "mean": mean, "std": std}
    model = build_model(arch, stem=stem, **told)
    assert images_of(model.state_dict(), family(arch), Path("ticket")) == told


def test_a_mask_of_the_classifier_reaches_the_file(call, tmp_path):
    model = build_model("mlp2", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    weights = copy_weights(model)
    mask = {name: value.abs() > value.abs().median() for name, value in weights.items() if name.endswith("weight")}
    write(tmp_path / "ticket", {"state_dict": masked_state(weights, mask), "init_weight": weights})
    status, out, _ = call("main_elastic", *words(tmp_path / "ticket", "mlp2", "mlp3", tmp_path / "out"))
    assert status == 0 and re.search("^classifier +500 +1,000 +0.5000 +500 +1,000 +0.5000$", out, re.M)
    assert torch.equal(
        read(tmp_path / "out" / "checkpoint.pth.tar")["state_dict"]["fc5.weight_mask"], mask["fc4.weight"]
    )
