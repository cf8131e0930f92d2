"""Which layers make a network's logits, whether its weights are used as they stand, and what a user is told of both."""

import copy
import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import pruner
from lottery.checkpointing.checkpoint import masked_state, read, write
from lottery.tickets.load import own_modules
from lottery.training.network_notes import classifier_setting, network_notes
from lottery.training.step import copy_weights
from models import ARCHITECTURES, build_model
from models.families import MLPS
from models.layer_roles import layer_roles
from tests import networks
from tests.helpers import network as ours


class Body(nn.Module):
    """A convolution and a hidden layer; heads are registered before and after them."""

    def __init__(self, num_classes=5, **heads: nn.Module):
        super().__init__()
        self.first = nn.Linear(6, num_classes)
        self.conv, self.hidden = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)
        self.last = nn.Linear(6, num_classes)
        self.prototypes = nn.Parameter(torch.randn(num_classes, 6))
        self.position = nn.Parameter(torch.randn(1, num_classes))
        self.norm = nn.BatchNorm1d(num_classes)

    def features(self, x):
        return torch.relu(self.hidden(torch.relu(self.conv(x)).mean((2, 3))))


def of(forward, base=Body):
    """A network that computes this."""
    return type("Net", (base,), {"forward": forward})()


class Residual(nn.Module):
    """Each layer reaches the logits by a shortcut past those that come after it."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if n == 0 else 5, 5, 1) for n in range(3))

    def forward(self, x):
        x = self.convs[0](x)
        for conv in self.convs[1:]:
            x = x + torch.relu(conv(x))
        return x.mean((2, 3))


def frozen(net, x):
    with torch.no_grad():
        features = net.features(x)
    return net.first(features)


CASES = {
    "registered first": (of(lambda net, x: net.first(net.features(x))), ["first"]),
    "registered last": (of(lambda net, x: net.last(net.features(x))), ["last"]),
    "a sum of two": (of(lambda net, x: net.last(net.features(x)) + net.first(net.features(x))), ["first", "last"]),
    "norm, bias, temperature, softmax": (
        of(lambda net, x: F.log_softmax((net.norm(net.first(net.features(x))) + net.position) / 2, 1)),
        ["first"],
    ),
    "one layer at two places": (
        of(lambda net, x: net.first(net.features(x)) + net.first(net.features(x).roll(1, 1))),
        ["first"],
    ),
    "without its module": (of(lambda net, x: net.features(x) @ F.normalize(net.first.weight).T), ["first"]),
    "without a matrix product": (of(lambda net, x: (net.features(x)[:, None] * net.first.weight).sum(2)), ["first"]),
    "a parameter of no layer": (of(lambda net, x: net.features(x) @ F.normalize(net.prototypes).T), ["prototypes"]),
    "a parameter that only adds": (of(lambda net, x: net.first(net.features(x)) + net.position), ["first"]),
    "features that do not learn": (of(frozen), ["first"]),
    "shortcuts": (Residual(), ["convs.2"]),
    "attention": (networks.ViT(5, depth=1), ["head"]),
    "attention at the end": (
        nn.Sequential(
            nn.Flatten(2), nn.Linear(64, 6), nn.TransformerEncoderLayer(6, 2, 8, norm_first=True), nn.Flatten()
        ),
        ["2.linear2"],
    ),
    "another kind of convolution": (
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()),
        ["1"],
    ),
    "no weights": (of(lambda net, x: net.features(x).detach().requires_grad_() * 2), []),
}


@pytest.mark.parametrize("net, expected", CASES.values(), ids=CASES)
def test_the_layers_that_make_the_logits(net, expected):
    assert layer_roles(net, 3, 8) == (tuple(expected), ())


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "googlenet", "shufflenet_v2_x0_5"])
def test_torchvisions_networks_have_their_classifier(name):
    more = {"init_weights": False} if name == "googlenet" else {}  # with auxiliary heads, which eval mode does not use
    net = getattr(torchvision.models, name)(num_classes=5, **more)
    expected = "fc" if hasattr(net, "fc") else "classifier.1"
    assert layer_roles(net, 3, 64) == ((expected,), ())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_our_networks_last_linear_layer_makes_their_logits(arch):
    model = ours(arch).to_empty(device="cpu")
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(1)
    found = layer_roles(model, *((1, 8) if arch in MLPS else (3, 16 if arch.startswith("vgg") else 8)))
    assert found == (pruner.classifiers(model), ()) and pruner.classifiers(model) == pruner.last_linear(model)


@pytest.mark.parametrize("arch", ["res20s", "mlp2"])
def test_our_networks_are_not_examined(arch, monkeypatch):
    monkeypatch.setattr("models.custom.layer_roles", None)
    build_model(arch, classes=3, channels=1, image_size=8, mean=[0.5], std=[0.5])


# --- weights that are not used as they stand --------------------------------------------------------------------------


def weighing(change, kind=nn.Conv2d):
    """A layer whose weights are changed before they are used."""

    class Layer(kind):
        def forward(self, x):
            weight = change(self.weight)
            return self._conv_forward(x, weight, self.bias) if kind is nn.Conv2d else F.linear(x, weight, self.bias)

    return Layer(3, 4, 3) if kind is nn.Conv2d else Layer(4, 4)


def standardised(weight):
    dims = tuple(range(1, weight.ndim))
    return (weight - weight.mean(dims, keepdim=True)) / (weight.std(dims, keepdim=True) + 1e-5)


WEIGHTS = {
    "as it is": (lambda weight: weight, False),
    "standardised": (standardised, True),
    "shifted": (lambda weight: weight + 1e-3, True),
    "on the unit sphere": (lambda weight: F.normalize(weight.flatten(1)).view_as(weight), False),
    "scaled": (lambda weight: weight * 3, False),
    "in another format": (lambda weight: weight.to(torch.bfloat16).float(), False),
    "copied": (lambda weight: weight.clone(memory_format=torch.preserve_format), False),
    "rounded": (lambda weight: weight + (weight.round() - weight).detach(), False),
    "softmax": (lambda weight: weight.flatten(1).softmax(1).view_as(weight), True),
}


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.Linear])
@pytest.mark.parametrize("change, altered", WEIGHTS.values(), ids=WEIGHTS)
def test_zeros_stay_zeros_or_the_layer_is_named(change, altered, kind):
    layers = [nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)]
    place = 0 if kind is nn.Conv2d else 3
    layers[place] = weighing(change, kind)
    net = nn.Sequential(*layers, nn.ReLU(), nn.Linear(4, 5)).to(memory_format=torch.channels_last)
    assert layer_roles(net, 3, 8) == (("5",), (str(place),) if altered else ())


def test_spectral_norm_by_hand_only_scales():
    layer = weighing(lambda weight: weight / (torch.randn(4) @ weight.flatten(1) @ torch.randn(27)))
    net = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert layer_roles(net, 3, 8) == (("3",), ())


# --- the pass leaves no trace -----------------------------------------------------------------------------------------


class Chancy(nn.Module):
    """Draws from every generator, and changes its buffers, in eval mode as well."""

    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)
        self.fc.weight.requires_grad_(False)

    def forward(self, x):
        self.passes += 1
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002, as networks have it
        self.kept = self.conv(x)
        return self.fc(self.kept.mean((2, 3)) * noise)


def test_the_network_and_chance_are_left_as_they_were():
    net, draws = Chancy(5), []
    before = copy.deepcopy(net.state_dict())
    for look in (False, True):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
        if look:
            assert layer_roles(net, 3, 8) == (("fc",), ())
        draws.append((float(torch.rand(())), random.random(), np.random.rand()))  # noqa: NPY002
    assert draws[0] == draws[1] and net.training and not hasattr(net, "kept")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.fc.weight.requires_grad and net.conv.weight.grad is None


def test_why_it_is_not_known():
    assert layer_roles(of(lambda net, x: net.features(x).detach()), 3, 8) == "its logits cannot be differentiated"
    assert layer_roles(of(lambda net, x: (net.features(x), x)), 3, 8) == "its logits cannot be differentiated"
    assert layer_roles(of(lambda net, x: net.nothing), 3, 8).startswith("a pass in eval mode fails with AttributeError")


# --- what is pruned, told and recorded --------------------------------------------------------------------------------


def built(name):
    return build_model(f"tests.networks:{name}", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])


def test_the_classifier_is_spared_wherever_it_is_registered():
    model = copy.deepcopy(built("head_first"))
    assert pruner.prunable(model) == ["network.conv.weight", "network.hidden.weight"]
    assert pruner.prunable(model, prune_classifier=True) == ["network.head.weight", *pruner.prunable(model)]
    assert own_modules(model, new_classifier=True) == ("normalize", "network.head")
    assert network_notes(model, False) == [
        "network.head, which makes the logits, is not pruned unless --prune_classifier is given"
    ]
    assert network_notes(model, True) == []


def test_a_convolution_that_makes_the_logits_is_spared():
    model = built("all_convolutions")
    assert pruner.prunable(model) == ["network.0.weight", "network.2.weight"]
    assert own_modules(model, new_classifier=True) == ("normalize", "network.4")
    assert classifier_setting(model) == {"classifier": "network.4"}


def test_the_obvious_is_neither_told_nor_recorded():
    for model in (built("tiny"), ours("res20s"), ours("vgg11")):
        assert network_notes(model, False) == [] and classifier_setting(model) == {}


def test_where_it_is_not_known_the_last_linear_layer_is_taken():
    model = built("no_gradient")
    assert pruner.prunable(model) == ["network.conv.weight"] and classifier_setting(model) == {}
    (note,) = network_notes(model, False)
    assert re.fullmatch(
        "which layer makes the logits is not known, since .*: network.fc, the last linear .* taken .*", note
    )


def test_weights_that_no_mask_covers_are_told():
    model = build_model("tests.networks:vit_shallow", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    assert set(pruner.never_pruned(model).values()) == {8, 40, 8 * 24}
    total = sum(parameter.numel() for parameter in model.parameters())
    (note,) = network_notes(model, False)
    dense = 8 + 40 + 2 * 8 * 24
    assert note == (
        f"{dense} weights stay dense, {dense / total:.1%} of the network's parameters, since only those of Conv2d and "
        "Linear layers are pruned: network.blocks.0.self_attn.in_proj_weight, "
        "network.blocks.1.self_attn.in_proj_weight, network.pos_embed and 1 more; --prune_also all prunes 384 of them"
    )


def test_weights_of_two_layers_are_one(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), *(nn.Linear(192, 192) for _ in range(2)), nn.Linear(192, 3))
    model[2].weight = model[1].weight
    assert pruner.prunable(model) == ["1.weight"]


# --- by the scripts ---------------------------------------------------------------------------------------------------

SEARCH = "--dataset digits --epochs 1 --decreasing_lr 1 --pruning_times 1 --save_dir"


def test_a_search_says_and_records_what_it_spares(call, tmp_path):
    words = [*SEARCH.split(), tmp_path / "run", "--arch", "tests.networks:head_first"]
    status, out, _ = call("main_imp", *words)
    assert status == 0 and "note: network.head, which makes the logits, is not pruned unless" in out
    saved = read(tmp_path / "run" / "1checkpoint.pth.tar")
    assert saved["settings"]["classifier"] == "network.head"
    assert "network.hidden.weight_mask" in saved["state_dict"] and "network.head.weight" in saved["state_dict"]


def test_a_new_classifier_is_the_layer_that_makes_the_logits(call, tmp_path):
    """A ticket of five classes is trained on ten: the shapes of its convolutional head do not fit, and need not."""
    torch.manual_seed(1)
    five = build_model("tests.networks:all_convolutions", classes=5, channels=1, image_size=8, mean=[0.5], std=[0.5])
    weights, mask = copy_weights(five), pruner.dense(five, prune_classifier=True)
    write(tmp_path / "ticket", {"state_dict": masked_state(weights, mask), "init_weight": weights})
    words = "--dataset digits --arch tests.networks:all_convolutions --epochs 1 --decreasing_lr 1 --lr 0.001".split()
    given = ["--init_dir", tmp_path / "ticket", "--mask_dir", tmp_path / "ticket", "--save_dir", tmp_path / "run"]
    assert call("main_train", *words, *given)[0] == 2
    status, out, err = call("main_train", *words, *given, "--new_classifier")
    assert status == 0 and "note: --new_classifier: network.4 of this network starts anew" in out, err
    saved = read(tmp_path / "run" / "checkpoint.pth.tar")["init_weight"]
    assert torch.equal(saved["network.2.weight"], weights["network.2.weight"]) and len(saved["network.4.weight"]) == 10


def test_a_search_that_pruned_the_classifier_is_not_gone_on_with(call, tmp_path, monkeypatch):
    """One that was begun when the last linear layer was spared, whatever it was."""
    words = [*SEARCH.split(), tmp_path / "run", "--arch", "tests.networks:head_first"]
    with monkeypatch.context() as before:
        before.setattr("models.custom.layer_roles", lambda *_: "nobody asked")
        assert call("main_imp", *words)[0] == 0
        status, out, _ = call("main_imp", *words)
        assert status == 0 and "network.head" not in out.replace("network.hidden", "").replace("nobody", "")
    status, _, err = call("main_imp", *words)
    assert status == 2 and "classifier was the last linear layer in order of registration, is network.head" in err


@pytest.mark.parametrize("script, more", [("main_imp", []), ("main_init", ["--criterion", "snip", "--density", "0.5"])])
def test_standardised_weights_are_refused(call, tmp_path, script, more):
    status, _, err = call(
        script, "--dataset", "digits", "--arch", "tests.networks:standardised", "--save_dir", tmp_path / "run", *more
    )
    assert status == 2 and "network.0 changes weights before it uses them" in err
    assert not (tmp_path / "run").exists()
