"""The paper's mappings, and what a stretch or a squeeze makes of a ticket.

Papers' strings: Chen et al., NeurIPS 2021, and the notation of their code.
"""

import subprocess
import sys
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pruner
from lottery.elastic.mapping import (
    ORDERS,
    format_mapping,
    parse_mapping,
    replicated,
    stage_counts,
    stretch,
    unit_mapping,
)
from models.units import Family, Stage, family
from pruner import Ticket
from tests.helpers import ROOT, network
from utils import InputError


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
    for part, other in ((a.mask, b.mask), (a.weights, b.weights)):
        assert list(part) == list(other)
        for name, value in part.items():
            assert value.dtype == other[name].dtype and torch.equal(value, other[name]), name


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
        found = unit_mapping(source, target, order)
        assert format_mapping(found) == text
        assert parse_mapping(text, source, target) == found


def test_linear_layers_have_the_authors_mapping():
    """Their commands map 3 linear layers to 5 as "0:0,2;2:4,6", every second number being a ReLU; all may replicate."""
    found = unit_mapping(family("vgg13_bn_3fc"), family("vgg13_bn_5fc"), "interpolate")
    assert found[:5] == ((0, 1),) * 5 and found[5] == (0, 0, 1, 1)
    assert unit_mapping(family("vgg13_bn_2fc"), family("vgg13_bn_3fc"), "append")[5] == (0, 0)


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
        unit_mapping(family("vgg11"), family("vgg13"), "append")


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
        unit_mapping(family(source), family(target), "append")
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
def test_a_malformed_block_mapping_is_refused(text, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_mapping(text, family("res20s"), family("res32s"))
    assert "\n" not in str(caught.value)


def test_spaces_and_one_mapping_for_each_stage_are_read():
    source, target = family("res20s"), family("res32s")
    each = parse_mapping("0:0; 1:1,2; 2:3,4 | 0:0;1:1,3;2:2,4 | 0:0;2:1,2,3,4", source, target)
    assert each == ((0, 1, 1, 2, 2), (0, 1, 2, 1, 2), (0, 2, 2, 2, 2))
    assert format_mapping(each) == "0:0;1:1,2;2:3,4|0:0;1:1,3;2:2,4|0:0;2:1,2,3,4"


# --- copying the ticket -----------------------------------------------------------------------------------------------


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
    for part, other in ((again.mask, ticket.mask), (again.weights, ticket.weights)):
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


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "source, target", [("res20s", "res56s"), ("res14s_projection", "res32s_projection"), ("mlp2", "mlp4")]
)
def test_a_networks_ticket_comes_back_to_the_bit(source, target, order):
    ticket, small, large = random_ticket(source), family(source), family(target)
    there = unit_mapping(small, large, order)
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
    squeezed = stretch(ticket, large, small, unit_mapping(large, small, "append"))
    assert squeezed.weights.keys() == network("res20s").state_dict().keys()
    assert all(torch.equal(value, ticket.weights[name]) for name, value in squeezed.weights.items())


def test_what_belongs_to_a_unit_travels_together():
    ticket, source, target = (
        random_ticket("res14s_projection"),
        family("res14s_projection"),
        family("res20s_projection"),
    )
    found = stretch(ticket, source, target, unit_mapping(source, target, "append"))
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
    found = stretch(ticket, source, target, unit_mapping(source, target, "append"))
    storages = [value.data_ptr() for each in (ticket, found) for part in each[:2] for value in part.values()]
    assert len(set(storages)) == len(storages)


def test_a_mask_of_the_classifier_comes_along():
    ticket, source, target = random_ticket("res14s"), family("res14s"), family("res20s")
    ticket.mask["fc.weight"] = torch.rand(10, 64) < 0.1
    found = stretch(ticket, source, target, unit_mapping(source, target, "append"))
    assert torch.equal(found.mask["fc.weight"], ticket.mask["fc.weight"])
    assert stage_counts(found.mask, target)[-1][:2] == ("classifier", 640)


def test_counts_add_up_and_follow_the_copies():
    ticket, source, target = random_ticket("res20s"), family("res20s"), family("res32s")
    found = stretch(ticket, source, target, unit_mapping(source, target, "append"))
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
        stretch(ticket, source, target, unit_mapping(source, target, "append"))


def test_mappings_are_made_without_torch():
    code = "import sys; from models.units import family as f; from lottery.elastic.mapping import unit_mapping"
    code += "; unit_mapping(f('mlp2'), f('mlp3'), 'append')"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], cwd=ROOT, check=True)
