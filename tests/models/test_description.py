"""Families of one's own: what a description finds in a network, what it refuses, and main_elastic.py --family."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import masked_state, read, write
from lottery.elastic.mapping import origins, unit_mapping
from lottery.elastic.networks import image_spec
from lottery.training.step import copy_weights
from models import build_model
from models.description import Description, read_description
from models.units import owners
from pruner import Ticket
from tests.helpers import ROOT, network, pruned_ticket
from utils import InputError

RESNETS = """
kind = "ResNets of basic blocks"
stem = ["network.conv1", "network.bn1"]
classifier = ["network.fc"]
[[stages]]
units = "network.layer1.*"
[[stages]]
units = "network.layer2.*"
[[stages]]
units = "network.layer3.*"
[[stages]]
units = "network.layer4.*"
"""
CONVNEXTS = """
kind = "ConvNeXts"
stem = ["network.stem"]
classifier = ["network.head"]
[[stages]]
units = "network.stages.0.blocks.*"
first = 0
[[stages]]
fixed = ["network.stages.1.downsample"]
units = "network.stages.1.blocks.*"
first = 0
"""
VITS = """
kind = "vision transformers"
stem = ["network.cls_token", "network.pos_embed", "network.patch_embed"]
classifier = ["network.norm", "network.head"]
[[stages]]
units = "network.blocks.*"
first = 0
"""
TORCHVISIONS_VITS = """
kind = "vision transformers"
stem = ["network.class_token", "network.conv_proj", "network.encoder.pos_embedding"]
classifier = ["network.encoder.ln", "network.heads"]
[[stages]]
units = "network.encoder.layers.encoder_layer_*"
first = 0
"""
TORCHVISIONS_CONVNEXTS = """
kind = "ConvNeXts"
stem = ["network.features.0"]
classifier = ["network.classifier"]
stages = [
    { units = "network.features.1.*", first = 0 },
    { units = "network.features.3.*", first = 0, fixed = ["network.features.2"] },
    { units = "network.features.5.*", first = 0, fixed = ["network.features.4"] },
    { units = "network.features.7.*", first = 0, fixed = ["network.features.6"] },
]
"""
ALTERNATING = """
kind = "convolutions and norms in two lists"
classifier = ["network.fc"]
[[stages]]
units = ["network.convs.*", "network.norms.*"]
"""


def mobilenet(first, last):
    """A member's table: the numbers its stages begin at, and that of the convolution after them."""
    bounds = zip(first, [*first[1:], last], strict=True)
    stages = [{"units": [f"network.features.{n}" for n in range(*bound)]} for bound in bounds]
    inside = ", ".join(f"{{ units = {stage['units']} }}" for stage in stages)
    return f'classifier = ["network.features.{last}", "network.classifier"]\nstages = [{inside}]\n'


MOBILENETS = f"""
kind = "MobileNets"
stem = ["network.features.0"]
[members."tests.networks:mobilenet_shallow"]
{mobilenet([1, 2, 4], 6)}
[members."tests.networks:mobilenet_deep"]
{mobilenet([1, 2, 6], 9)}
"""


def vgg(units):
    """Of torchvision's with batch norm; after each unit there is a ReLU, after each stage a max-pool."""
    stages, number = [], 0
    for count in units:
        names = [[f"network.features.{number + 3 * k}", f"network.features.{number + 3 * k + 1}"] for k in range(count)]
        stages.append(f"{{ units = {names} }}")
        number += 3 * count + 1
    return f"stages = [{', '.join(stages)}]\n"


VGGS = f"""
kind = "VGGs"
classifier = ["network.classifier.0", "network.classifier.3", "network.classifier.6"]
[members."torchvision.models:vgg13_bn"]
{vgg([2, 2, 2, 2, 2])}
[members."torchvision.models:vgg16_bn"]
{vgg([2, 2, 3, 3, 3])}
"""


def described(text):
    return Description("family.toml", tomllib.loads(text))


# --- what a description finds -----------------------------------------------------------------------------------------

NETWORKS = [
    (RESNETS, "torchvision.models:resnet18", "torchvision.models:resnet34", [2, 2, 2, 2], [3, 4, 6, 3]),
    (RESNETS, "torchvision.models:resnet50", "torchvision.models:resnet101", [3, 4, 6, 3], [3, 4, 23, 3]),
    (TORCHVISIONS_CONVNEXTS, "torchvision.models:convnext_tiny", "torchvision.models:convnext_small",
     [3, 3, 9, 3], [3, 3, 27, 3]),
    (TORCHVISIONS_VITS, "torchvision.models:vit_b_16", "torchvision.models:vit_b_16", [12], [12]),
    (VGGS, "torchvision.models:vgg13_bn", "torchvision.models:vgg16_bn", [2, 2, 2, 2, 2], [2, 2, 3, 3, 3]),
    (CONVNEXTS, "tests.networks:convnext_shallow", "tests.networks:convnext_deep", [1, 2], [3, 3]),
    (VITS, "tests.networks:vit_shallow", "tests.networks:vit_deep", [2], [5]),
    (ALTERNATING, "tests.networks:alternating_shallow", "tests.networks:alternating_deep", [2], [12]),
    (MOBILENETS, "tests.networks:mobilenet_shallow", "tests.networks:mobilenet_deep", [1, 2, 2], [1, 4, 3]),
]  # fmt: skip
IDS = [source.partition(":")[2] for _, source, *_ in NETWORKS]


@pytest.mark.parametrize("text, source, target, shallow, deep", NETWORKS, ids=IDS)
def test_a_description_finds_the_units_of_a_network(text, source, target, shallow, deep):
    """Every tensor of the deep one has an origin of its shape in the shallow one."""
    own = described(text)
    there, here = (network(arch).state_dict() for arch in (source, target))
    small, large = own.member(source, there), own.member(target, here)
    assert [len(stage.units) for stage in small.stages] == shallow
    assert [len(stage.units) for stage in large.stages] == deep
    assert all(len(owners(name, large.modules)) == 1 for name in here)
    found = origins(there, small, large, unit_mapping(small, large, "append"))
    assert {name: there[origin].shape for name, origin in found.items()} == {n: v.shape for n, v in here.items()}


def test_a_unit_is_a_whole_name():
    """Layer 1 has nothing of layer 10's, however the names begin."""
    names = [f"network.{part}.{k}.weight" for part in ("convs", "norms") for k in range(12)] + ["network.fc.weight"]
    own = described('stem = ["network.convs.12b"]' + ALTERNATING).member("n", [*names, "network.convs.12b.weight"])
    assert len(own.stages[0].units) == 12 and own.stages[0].units[1] == ("network.convs.1", "network.norms.1")
    assert owners("network.convs.10.weight", own.modules) == ["network.convs.10"]
    assert own.stem == ("normalize", "network.convs.12b")


def test_parts_that_are_left_away():
    stage = (
        described(VITS.replace("first = 0", "")).member("n", network("tests.networks:vit_deep").state_dict()).stages[0]
    )
    assert (stage.first, stage.last, stage.fixed, stage.normal) == (1, 0, (), 4)


def test_a_description_is_read_without_torch(folder):
    file = folder / "family.toml"
    file.write_text(VITS)
    code = "import sys; from pathlib import Path; from models.description import read_description"
    code = f"{code}; read_description(Path({str(file)!r})); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- what a description cannot be -------------------------------------------------------------------------------------

ONE = 'kind = "k"\nclassifier = ["fc"]\n'
A, B = ('[members.a]\nstages = [{ units = "a.*" }]\n', '[members.b]\nstages = [{ units = "b.*" }]\n')


@pytest.mark.parametrize(
    "text, said",
    [
        ("kind = ", "is no TOML file"),
        ("", "needs kind"),
        ('kind = ["k"]', "needs kind"),
        ('kind = "k"\nclassifier = []', "family.toml has no classifier"),
        (ONE, "family.toml has no stages"),
        (ONE + "stages = 3", "stages must be tables, .*got 3"),
        (ONE + "stages = [3]", "stage 1 must be a table of units, fixed, first, last, got 3"),
        (ONE + "colour = 1", "family.toml has colour: only kind, stem, classifier, stages, members are known"),
        (ONE + '[[stages]]\nunits = "a.*"\nlaste = 1', "stage 1 has laste: only units, fixed, first, last are known"),
        (ONE + '[[stages]]\nunits = "a.*"\n[[stages]]\nfirst = 1', "stage 2 has no units"),
        (ONE + '[[stages]]\nunits = "a.*"\nfirst = -1', "first must be a whole number from 0 up, got -1"),
        (ONE + '[[stages]]\nunits = "a.*"\nlast = true', "last must be a whole number from 0 up, got True"),
        (ONE + '[[stages]]\nunits = "a.*"\nfixed = "b"', "stage 1: fixed must be a list of names, got 'b'"),
        (ONE + '[[stages]]\nunits = "a.1"', r"units must be a name with \* or a list, got 'a.1'"),
        (ONE + "[[stages]]\nunits = 5", r"units must be a name with \* or a list, got 5"),
        (ONE + '[[stages]]\nunits = "a.*.*"', r"one number, one \*, got 'a.\*.\*'"),
        (
            ONE + '[[stages]]\nunits = ["a.*", "b"]',
            r"unit in a list without \* must be a list of names, got \['a.\*'\]",
        ),
        (ONE + "[[stages]]\nunits = [[]]", "a unit in its list has no modules"),
        (ONE + "[[stages]]\nunits = [[1]]", r"must be a list of names, got \[1\]"),
        (ONE.replace("[", "[[").replace("]", "]]") + '[[stages]]\nunits = "a.*"', "classifier must be a list of names"),
        (ONE + 'stem = ["a.*"]\n[[stages]]\nunits = "a.*"', r"stem must be a list of names, got \['a.\*'\]"),
        (ONE + "members = 1", "members must be tables"),
        (ONE + A + 'kind = "a"', "family.toml, member a has kind: only stem, classifier, stages are known"),
        (ONE + A + "[members.b]", "family.toml, member b has no stages"),
        ('kind = "k"\n' + A, "family.toml, member a has no classifier"),
        (ONE + A + B.replace("}]", '}, { units = "c.*" }]'), "member b has 2 stages, .*member a has 1"),
        (ONE + A + B.replace("}]", ", first = 0 }]"), "member b: stage 1 has another first than in .*member a"),
    ],
)
def test_a_file_that_describes_no_family_is_told(folder, text, said):
    Path("family.toml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_description(Path("family.toml"))
    assert str(caught.value).startswith("family.toml") and "\n" not in str(caught.value)


def names(*modules):
    return [f"{module}.weight" for module in modules]


@pytest.mark.parametrize(
    "units, found, said",
    [
        ('"b.*"', [], r"b.\* finds nothing in stage 1 of net"),
        ('"b*"', ["b.0", "b.1"], r"b\* finds nothing in stage 1 of net"),
        ('"b.*"', ["b.1", "b.2"], r"in stage 1 of net, b.\* finds number 2 but not 0"),
        ('"b.*"', ["b.0", "b.2", "b.3"], r"in stage 1 of net, b.\* finds number 3 but not 1"),
        ('"b.*"', ["b.0", "b.01"], "b.01.weight of net belongs to no part"),
        ('["b.*", "c.*"]', ["b.0", "c.0", "b.1"], r"c.\* finds 1 units and b.\* finds 2"),
        ('"b.*"', ["b.0", "c"], "c.weight of net belongs to no part: to no stem, stage or classifier"),
        ('[["b.0"], ["b.1"]]', ["b.0"], "net has no parameter or buffer in b.1"),
        ('[["b.0"], ["b"]]', ["b.0"], "b.0.weight of net belongs to two parts: b.0 and b"),
        ('[["b.0"], ["b.0"]]', ["b.0"], "b.0.weight of net belongs to two parts: b.0 and b.0"),
        ('"b.*"\nfixed = ["b.0.c"]', ["b.0", "b.0.c"], "b.0.c.weight of net belongs to two parts: b.0.c and b.0"),
        ('"b.*"\nfixed = ["d"]', ["b.0"], "net has no parameter or buffer in d"),
        ('"b.*"\nlast = 1', ["b.0"], "stage 1 of net has 1 units, fewer than first = 1 and last = 1"),
    ],
)
def test_a_network_that_does_not_fit_is_told(units, found, said):
    own = described(f"{ONE}[[stages]]\nunits = {units}")
    with pytest.raises(InputError, match=said) as caught:
        own.member("net", names(*found, "fc"))
    assert str(caught.value).startswith("family.toml: ") and "\n" not in str(caught.value)


def test_a_network_without_a_table_of_its_own_is_told():
    with pytest.raises(InputError, match=r"family.toml describes a, b, not c"):
        described(ONE + A + B).member("c", names("fc"))
    with pytest.raises(InputError, match=r"family.toml describes a, b, not c"):
        described(ONE + A + B).classifier("c")
    shared = ONE + 'stages = [{ units = "c.*" }]\n' + A
    assert described(shared).member("c", names("c.0", "fc")).stages[0].units == (("c.0",),)
    assert described(shared).member("a", names("a.0", "fc")).stages[0].units == (("a.0",),)


# --- the script -------------------------------------------------------------------------------------------------------

QUICK = "--dataset digits --epochs 1 --decreasing_lr 1 --batch_size 64".split()
SMALL = {
    "convnext": (CONVNEXTS, "tests.networks:convnext_shallow", "tests.networks:convnext_deep"),
    "vit": (VITS, "tests.networks:vit_shallow", "tests.networks:vit_deep"),
    "alternating": (ALTERNATING, "tests.networks:alternating_shallow", "tests.networks:alternating_deep"),
    "mobilenet": (MOBILENETS, "tests.networks:mobilenet_shallow", "tests.networks:mobilenet_deep"),
}
RESNET = (RESNETS, "torchvision.models:resnet18", "torchvision.models:resnet34")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_ticket(arch):
    """A ticket of a network of one's own whose mask is of every convolution and linear layer, the classifier's, too."""
    model = build_model(arch, classes=10, channels=1, image_size=None, mean=[0.5], std=[0.25])
    random = torch.Generator().manual_seed(1)
    weights = copy_weights(model)
    for value in weights.values():
        if value.is_floating_point():
            value.mul_(0.5 + torch.rand(value.shape, generator=random))
    layers = [name for name, value in model.named_parameters() if value.ndim in (2, 4)]
    return Ticket({name: torch.rand(weights[name].shape, generator=random) < 0.6 for name in layers}, weights)


def write_ticket(ticket):
    write(Path("ticket"), {"state_dict": masked_state(ticket.weights, ticket.mask), "init_weight": ticket.weights})


def carried(call, text, source, target, ticket, to, *more):
    Path("family.toml").write_text(text)
    words = ["--family", "family.toml", "--source_arch", source, "--target_arch", target]
    return call("main_elastic", *words, "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", to, *more)


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


@pytest.mark.parametrize("text, source, target", [RESNET, *SMALL.values()], ids=["resnet", *SMALL])
def test_stretched_and_squeezed_back_a_ticket_is_the_same_to_the_bit(call, folder, text, source, target):
    ticket = own_ticket(source)
    write_ticket(ticket)
    status, out, err = carried(call, text, source, target, "ticket", "up")
    assert status == 0, err
    assert int(re.search(r"^all .* ([\d,]+) +\S+$", out, re.M)[1].replace(",", "")) > pruner.size(ticket.mask)
    status, _, err = carried(call, text, target, source, "up/checkpoint.pth.tar", "down")
    assert status == 0, err
    back = read(Path("down/checkpoint.pth.tar"))
    assert_same(back["init_weight"], ticket.weights)
    under_mask = {name: value * ticket.mask.get(name, True) for name, value in ticket.weights.items()}
    assert_same(back["state_dict"], masked_state(under_mask, ticket.mask))


@pytest.mark.parametrize("text, source, target", SMALL.values(), ids=SMALL)
def test_what_is_carried_can_be_trained(call, folder, text, source, target):
    write_ticket(own_ticket(source))
    assert carried(call, text, source, target, "ticket", "up")[0] == 0
    up = "up/checkpoint.pth.tar"
    words = ["--arch", target, "--init_dir", up, "--mask_dir", up, "--save_dir", "run"]
    status, _, err = call("main_train", *QUICK, *words)
    assert status == 0, err
    there, here = read(Path(up)), read(Path("run/checkpoint.pth.tar"))
    for part, suffix in ("init_weight", ""), ("state_dict", "_mask"):
        expected, found = (
            {name: value for name, value in content[part].items() if name.endswith(suffix) and "normalize" not in name}
            for content in (there, here)
        )
        assert found
        assert_same(found, expected)


SHIPPED = """
kind = "MLPs whose first two layers are fixed"
classifier = ["fc5"]
stages = [{ units = ["fc1", "fc2", "fc3", "fc4"], first = 2, last = 1 }]
[members.mlp2]
classifier = ["fc4"]
stages = [{ units = ["fc1", "fc2", "fc3"], first = 2, last = 1 }]
"""


def test_of_shipped_networks_the_file_counts(call, folder):
    """By its own units mlp2 has a normal layer that mlp3 could replicate; by the file it has none."""
    model = build_model("mlp3", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    write_ticket(pruned_ticket(model))
    status, out, err = carried(call, SHIPPED, "mlp3", "mlp2", "ticket", "down")
    assert status == 0 and "mlp3 to mlp2, append: 0:0;1:1;3:2" in out, err
    status, _, err = carried(call, SHIPPED, "mlp2", "mlp3", "down/checkpoint.pth.tar", "up")
    assert status == 2 and "stage 1 cannot be stretched from 3 to 4 units" in err
    status, _, err = carried(call, SHIPPED.replace("first = 2", "first = 1"), "mlp3", "mlp2", "ticket", "down")
    assert status == 2 and "family checksum was" in err


@pytest.mark.parametrize(
    "more, said",
    [
        (["--family", "nowhere.toml"], "--family nowhere.toml does not exist"),
        (["--family", "ticket"], "ticket is no TOML file"),
        (["--target_arch", "tests.networks:vit_deep"], r"family.toml: network.convs.\* finds nothing in stage 1"),
        (["--target_arch", "tests.networks:nothing"], "module tests.networks has no function nothing"),
        (["--family", "vits.toml"], "ticket belongs to another network .* it has no network.head"),
        (["--block_mapping", "0:0;1:1"], "no source unit is mapped to unit 2 of stage 1"),
        (["--stem", "cifar"], "stem cifar applies to"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_leaves_nothing(call, folder, more, said):
    write_ticket(own_ticket("tests.networks:alternating_shallow"))
    Path("vits.toml").write_text(VITS)
    arches = "tests.networks:alternating_shallow", "tests.networks:alternating_deep"
    status, out, err = carried(call, ALTERNATING, *arches, "ticket", "out", *more)
    assert status == 2 and not out and len(err.splitlines()) == 1, err
    assert re.search(said, err), err
    assert not Path("out").exists()


def test_copies_of_units_with_other_modules_are_refused(call, folder):
    """A unit's place may hold more than others': a mapping of one's own cannot make the one of the other."""
    text = """
kind = "convolutions whose first goes with all norms"
classifier = ["network.fc"]
stages = [{ units = [["network.convs.0", "network.norms"], "network.convs.1"] }]
"""
    arch = "tests.networks:alternating_shallow"
    write_ticket(own_ticket(arch))
    status, _, err = carried(call, text, arch, arch, "ticket", "out", "--block_mapping", "0:0,1")
    assert status == 2 and "what has 2 modules (network.convs.0, network.norms) cannot be copied to what has 1" in err


def test_a_mask_of_dropped_units_alone_is_refused(call, folder):
    ticket = own_ticket("tests.networks:vit_deep")
    mask = {name: layer for name, layer in ticket.mask.items() if name.startswith("network.blocks.4.")}
    write_ticket(ticket._replace(mask=mask))
    status, _, err = carried(call, VITS, "tests.networks:vit_deep", "tests.networks:vit_shallow", "ticket", "out")
    assert status == 2 and "masks only units that have no copy in tests.networks:vit_shallow" in err
    assert not Path("out").exists()


def test_a_part_whose_masked_units_are_dropped_is_told(call, folder):
    ticket = own_ticket("tests.networks:vit_deep")
    kept = [name for name in ticket.mask if "blocks" not in name or "blocks.4" in name]
    write_ticket(ticket._replace(mask={name: ticket.mask[name] for name in kept}))
    status, out, err = carried(call, VITS, "tests.networks:vit_deep", "tests.networks:vit_shallow", "ticket", "out")
    assert status == 0 and re.search(r"^stage 1 .* 0 +0 +1\.0000$", out, re.M), err


def test_the_classes_are_those_of_the_last_tensor_of_the_classifier():
    arch, three = "tests.networks:mobilenet_shallow", {"mean": [0.5] * 3, "std": [0.25] * 3}
    model = build_model(arch, classes=7, channels=3, image_size=None, **three)
    found = image_spec(model.state_dict(), arch, "network.classifier", Path("ticket"))
    assert found | {"image_size": None} == {"classes": 7, "channels": 3, "image_size": None, **three}
