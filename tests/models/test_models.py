"""The networks against independent ones (torchvision's, plainly written ones, the 2021 reference's weights), and laws.

Legend: n images, h = w pixels.
"""

import copy
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from models import ARCHITECTURES, STEMS, build_model, check_arch
from models.normalization import NormalizeByChannelMeanStd, zero_gradients
from utils import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "res20s_seed11_state_dict.pt"
ROOT = Path(__file__).parents[2]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
RESNETS = {"res18": "resnet18", "res34": "resnet34", "res50": "resnet50"}
VGGS = [arch for arch in ARCHITECTURES if re.fullmatch(r"vgg\d+(_bn)?", arch)]


def network(arch, *, classes=10, channels=3, size=32, seed=0, **more):
    torch.manual_seed(seed)
    statistics = {"mean": MEAN[:channels], "std": STD[:channels]}
    return build_model(arch, classes=classes, channels=channels, image_size=size, **statistics, **more)


def images(n=4, channels=3, size=32):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def normalized(x):
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def golden():
    return torch.load(GOLDEN, weights_only=True)


def without_normalize(state):
    return {name: value for name, value in state.items() if not name.startswith("normalize.")}


def shapes(state):
    return [(name, tuple(value.shape)) for name, value in without_normalize(state).items()]


def unsettle_(model):
    """Give batch norm and biases values that are not 0 or 1, so that forgetting one of them shows."""
    for name, value in model.state_dict().items():
        if value.ndim == 1 and not name.startswith("normalize."):
            value.uniform_(0.5, 1.5)
    return model


def modules(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def python(code):
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- names ---


def test_names_are_checked_without_torch():
    python("import sys, models; models.check_arch('res18', 'cifar'); assert 'torch' not in sys.modules")


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "mine:net", "package.module:function"])
def test_known_names_pass(arch):
    check_arch(arch, "imagenet")


@pytest.mark.parametrize("arch", ["res20", "", "package.module", ":net", "mine:", "a..b:net", "mine:net()", "a:b:c"])
def test_unknown_names_are_refused_with_what_is_allowed(arch):
    with pytest.raises(InputError, match=r"res20s.*vgg16_bn.*lenet300.*package\.module:function"):
        check_arch(arch, "imagenet")


@pytest.mark.parametrize("arch, stem, said", [("res18", "mnist", "imagenet, cifar"), ("res20s", "cifar", "res18")])
def test_stems_that_do_not_apply_are_refused(arch, stem, said):
    with pytest.raises(InputError, match=said):
        check_arch(arch, stem)


# --- laws that every network obeys ---


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_normalization_comes_first_and_logits_last(arch):
    model = network(arch, classes=7)
    assert list(model.state_dict())[:2] == ["normalize.mean", "normalize.std"]
    assert next(model.children()) is model.normalize
    assert re.fullmatch(r"(fc\d?|classifier(\.\d)?)\.bias", list(model.state_dict())[-1])
    assert list(model.state_dict().values())[-1].shape == (7,)
    assert model.training
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


@pytest.mark.parametrize("arch", ["res20s", "res18", "vgg11", "lenet300"])
def test_the_generator_decides_the_weights(arch):
    first, same, other = (network(arch, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "arch", ["res20s", "res14s_projection", "res18", "vgg11_bn", "vgg13_bn_3fc", "lenet300", "mlp3"]
)
def test_every_parameter_learns(arch):
    model = network(arch)
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("arch", ["res20s", "res14s_projection", "vgg11_bn", "mlp2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compiles_whole_and_takes_channels_last(arch, channels):
    model, x = network(arch, channels=channels).eval(), images(channels=channels)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), expected)
    last = {"memory_format": torch.channels_last}
    torch.testing.assert_close(model.to(**last)(x.to(**last)), expected)


# --- normalisation ---


def test_each_channel_has_its_mean_and_std():
    torch.testing.assert_close(network("lenet300").normalize(images()), normalized(images()))


@pytest.mark.parametrize("arch", ["res20s", "res18", "vgg11", "torchvision.models:mobilenet_v2"])
def test_grey_images_are_repeated_before_they_are_normalized(arch):
    model, x, seen = network(arch, channels=1), images(channels=1), []
    model.normalize.register_forward_pre_hook(lambda layer, inputs: seen.extend(inputs))
    model(x)
    assert torch.equal(seen[0], torch.cat([x, x, x], 1))


def test_images_of_two_channels_are_no_images():
    with pytest.raises(RuntimeError, match="expand"):
        network("res20s")(images(channels=2))


def test_grey_images_are_seen_as_three_equal_channels():
    grey = unsettle_(network("res20s", channels=1)).eval()
    colour = copy.deepcopy(grey)
    colour.normalize = NormalizeByChannelMeanStd([MEAN[0]] * 3, [STD[0]] * 3)
    x = images(channels=1)
    assert grey.normalize.mean.shape == (3,)
    assert torch.equal(grey(x), colour(torch.cat([x, x, x], 1)))


def test_zero_gradients_of_tensors_and_of_iterables():
    tensors = [torch.ones(2, requires_grad=True) for _ in range(4)]
    untouched = torch.ones(2, requires_grad=True)
    sum(tensor.sum() for tensor in tensors).backward()
    zero_gradients(tensors[0])
    assert tensors[1].grad.all()
    zero_gradients((tensors[1], iter([tensors[2], untouched])))
    assert [bool(tensor.grad.any()) for tensor in tensors] == [False, False, False, True]
    assert untouched.grad is None


def test_a_zero_gradients_of_torchs_own_is_left_alone():
    python(
        "import sys, torch; gradcheck = sys.modules['torch.autograd.gradcheck']; gradcheck.zero_gradients = 'own'\n"
        "import models.normalization; assert gradcheck.zero_gradients == 'own'"
    )


def test_advertorch_attacks_work_through_the_normalization():
    from advertorch.attacks import LinfFABAttack, LinfPGDAttack

    model, x = network("lenet300", size=8).eval(), images(8, size=8)
    label = model(x).argmax(1)
    pushed = LinfPGDAttack(model, eps=0.1, nb_iter=5, eps_iter=0.05).perturb(x, label)
    assert torch.equal(pushed, pushed.clamp(0, 1))
    assert (pushed - x).abs().max() <= 0.1 + 1e-6
    assert F.cross_entropy(model(pushed), label) > F.cross_entropy(model(x), label)
    fooled = LinfFABAttack(model, n_iter=5, eps=0.5).perturb(x, label)
    assert (model(fooled).argmax(1) != label).any()


# --- CIFAR ResNets ---


def plain_res20s(state, x, train):
    """ResNet-20 with the shortcut of option A, from a dict of tensors."""

    def bn(x, name):
        mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=train)

    def block(x, name, stride):
        y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = F.conv2d(bn(y, f"{name}.bn1").relu(), state[f"{name}.conv2.weight"], padding=1)
        if stride == 2:
            x = x[:, :, ::2, ::2]
            nothing = torch.zeros_like(x[:, : x.shape[1] // 2])
            x = torch.cat([nothing, x, nothing], 1)
        return (bn(y, f"{name}.bn2") + x).relu()

    x = bn(F.conv2d(x, state["conv1.weight"], padding=1), "bn1").relu()
    for stage in 1, 2, 3:
        for unit in 0, 1, 2:
            x = block(x, f"layer{stage}.{unit}", 2 if (stage, unit) in [(2, 0), (3, 0)] else 1)
    return x.flatten(2).mean(2) @ state["fc.weight"].T + state["fc.bias"]


def test_the_references_weights_fit_strictly():
    model = network("res20s")
    assert list(model.state_dict()) == list(golden())
    model.load_state_dict(golden(), strict=True)


def test_the_references_seed_gives_its_weights():
    torch.testing.assert_close(without_normalize(network("res20s", seed=11).state_dict()), without_normalize(golden()))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [32, 19])
def test_res20s_computes_what_a_plain_one_does(train, size):
    model = network("res20s").train(train)
    model.load_state_dict(without_normalize(golden()), strict=False)
    state, x = unsettle_(model).state_dict(), images(size=size)
    expected = plain_res20s(state, normalized(x), train)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "arch, depth, millions",
    [
        ("res14s", 14, 0.17),
        ("res20s", 20, 0.27),
        ("res32s", 32, 0.46),
        ("res44s", 44, 0.66),
        ("res56s", 56, 0.85),
        ("res110s", 110, 1.7),
    ],
)
def test_sizes_are_those_of_the_paper(arch, depth, millions):
    model = network(arch)
    assert len(modules(model, nn.Conv2d | nn.Linear)) == depth
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.03 if millions > 1 else 0.005)


def test_res20s_has_267696_prunable_weights():
    assert sum(conv.weight.numel() for conv in modules(network("res20s"), nn.Conv2d)) == 267_696


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_projections_are_a_convolution_and_batch_norm_where_the_width_changes():
    plain, projected = network("res20s"), network("res20s_projection")
    more = {
        name: tuple(value.shape)
        for name, value in projected.named_parameters()
        if name not in dict(plain.named_parameters())
    }
    assert more == {
        "layer2.0.downsample.0.weight": (32, 16, 1, 1),
        "layer2.0.downsample.1.weight": (32,),
        "layer2.0.downsample.1.bias": (32,),
        "layer3.0.downsample.0.weight": (64, 32, 1, 1),
        "layer3.0.downsample.1.weight": (64,),
        "layer3.0.downsample.1.bias": (64,),
    }
    assert plain.state_dict().keys() < projected.state_dict().keys()


@pytest.mark.parametrize("arch, depth", [("res14s", 14), ("res20s", 20), ("res56s", 56)])
def test_sizes_by_hand(arch, depth):
    def block(inputs, width):
        return 9 * inputs * width + 9 * width**2 + 4 * width

    more = (depth - 2) // 6 - 1
    stem, classifier = 9 * 3 * 16 + 2 * 16, 64 * 10 + 10
    firsts = block(16, 16) + block(16, 32) + block(32, 64)
    expected = stem + firsts + more * (block(16, 16) + block(32, 32) + block(64, 64)) + classifier
    assert parameters(network(arch)) == expected
    assert parameters(network(f"{arch}_projection")) == expected + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_a_block_with_a_projection_adds_it_to_what_the_convolutions_give():
    block, x = unsettle_(network("res14s_projection")).layer2[0].eval(), torch.randn(2, 16, 8, 8)
    residual = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    # A 1x1 convolution with stride 2 is a matrix product on every second pixel.
    matrix = block.downsample[0].weight.flatten(1)
    projected = block.downsample[1](torch.einsum("oi,nihw->nohw", matrix, x[:, :, ::2, ::2]))
    torch.testing.assert_close(block(x), (residual + projected).relu())
    assert not torch.allclose(residual, residual + projected)


def test_scales_start_uniform_with_projections_and_as_ones_without():
    scales = torch.cat([norm.weight for norm in modules(network("res56s_projection"), nn.BatchNorm2d)])
    assert scales.min() >= 0 and scales.max() < 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.03)
    assert scales.std().item() == pytest.approx(12**-0.5, abs=0.02)
    assert all((norm.weight == 1).all() for norm in modules(network("res56s"), nn.BatchNorm2d))


def test_projections_start_kaiming_normal():
    for stage, fan_in in ("layer2", 16), ("layer3", 32):
        convolution = network("res14s_projection").get_submodule(f"{stage}.0.downsample.0")
        assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)


# --- ResNet-18, -26, -34, -50 ---


@pytest.mark.parametrize("arch", RESNETS)
@pytest.mark.parametrize("stem", STEMS)
def test_resnet_keys_are_torchvisions(arch, stem):
    with torch.device("meta"):
        expected = shapes(getattr(torchvision.models, RESNETS[arch])(num_classes=10).state_dict())
    if stem == "cifar":
        expected[0] = ("conv1.weight", (64, 3, 3, 3))
    assert shapes(network(arch, stem=stem).state_dict()) == expected


@pytest.mark.parametrize("arch", ["res18", "res50"])
def test_resnet_is_torchvisions_behind_the_normalization(arch):
    model = network(arch)
    torch.manual_seed(0)
    twin = getattr(torchvision.models, RESNETS[arch])(num_classes=10)
    assert torch.equal(model(images()), twin(normalized(images())))


def test_res26_lies_between_resnet_18_and_34():
    """torchvision has no ResNet-26: (2, 3, 4, 3) basic blocks. ResNet-18 has 11,689,512 parameters for 1000 classes."""
    model = network("res26", classes=1000)
    block = {width: 2 * 9 * width**2 + 4 * width for width in (128, 256, 512)}
    assert parameters(model) == 11_689_512 + block[128] + 2 * block[256] + block[512] == 19_066_920
    weights = [name for name, value in model.state_dict().items() if value.ndim > 1 and "downsample" not in name]
    assert len(weights) == 26
    smaller, larger = (dict(shapes(network(arch, classes=1000).state_dict())) for arch in ("res18", "res34"))
    assert smaller.items() < dict(shapes(model.state_dict())).items() < larger.items()


@pytest.mark.parametrize("stem, first, last", [("imagenet", 8, 1), ("cifar", 32, 4)])
def test_the_stem_decides_the_maps(stem, first, last):
    model, seen = network("res18", stem=stem), []
    for layer in model.layer1, model.layer4:
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(tuple(output.shape)))
    model(images(2))
    assert seen == [(2, 64, first, first), (2, 512, last, last)]


@pytest.mark.parametrize("stem", STEMS)
def test_resnet_starts_kaiming_normal(stem):
    for conv in modules(network("res18", stem=stem), nn.Conv2d):
        fan_out = conv.out_channels * conv.kernel_size[0] ** 2
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


# --- VGG ---


def torchvision_features(arch):
    """torchvision's layers, without values and without the last max-pool."""
    with torch.device("meta"):
        return getattr(torchvision.models, arch)().features[:-1]


@pytest.mark.parametrize("arch", VGGS)
def test_vgg_layers_are_torchvisions_less_the_last_pool(arch):
    ours, theirs = network(arch).features, torchvision_features(arch)
    assert [str(layer) for layer in ours if not isinstance(layer, nn.MaxPool2d)] == [
        str(layer) for layer in theirs if not isinstance(layer, nn.MaxPool2d)
    ]
    assert shapes(ours.state_dict()) == shapes(theirs.state_dict())
    assert len(modules(ours, nn.MaxPool2d)) == 4


@pytest.mark.parametrize("arch", ["vgg16_bn", "vgg11"])
def test_vgg_computes_torchvisions_features_then_one_linear_layer(arch):
    model, x = unsettle_(network(arch)).eval(), images(2)
    twin = torchvision_features(arch).to_empty(device="cpu").eval()
    twin.load_state_dict(model.features.state_dict())
    features = twin(normalized(x))
    assert features.shape == (2, 512, 2, 2)
    assert torch.equal(model.features(normalized(x)), features)
    expected = features.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(x), expected)


def test_vgg_starts_as_the_reference_does():
    model = network("vgg11_bn", classes=1000)
    for conv in modules(model, nn.Conv2d):
        assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.1)
        assert not conv.bias.any()
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.classifier.bias.any()


@pytest.mark.parametrize("convolutions", [13, 16, 19])
@pytest.mark.parametrize("linear", [2, 3, 5])
def test_vgg_with_several_linear_layers_has_hidden_ones_of_512(convolutions, linear):
    several, one = network(f"vgg{convolutions}_bn_{linear}fc"), network(f"vgg{convolutions}_bn")
    assert shapes(several.features.state_dict()) == shapes(one.features.state_dict())
    layers = modules(several.classifier, nn.Linear)
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(512, 512)] * (linear - 1) + [(512, 10)]
    assert parameters(several) == parameters(one) + (linear - 1) * (512 * 512 + 512)


def test_vggs_linear_layers_have_a_relu_between_them():
    model, x = unsettle_(network("vgg13_bn_3fc")).eval(), images(2)
    hidden = model.features(normalized(x)).mean((2, 3))
    for layer in 0, 2:
        hidden = (hidden @ model.classifier[layer].weight.T + model.classifier[layer].bias).clamp(min=0)
    expected = hidden @ model.classifier[4].weight.T + model.classifier[4].bias
    torch.testing.assert_close(model(x), expected)


def test_vggs_hidden_linear_layers_start_kaiming_normal():
    *hidden, last = modules(network("vgg13_bn_5fc", classes=1000).classifier, nn.Linear)
    assert all(layer.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02) for layer in hidden)
    assert last.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not any(layer.bias.any() for layer in (*hidden, last))


# --- fully connected networks ---


def test_lenet300_is_two_hidden_layers():
    model, x = unsettle_(network("lenet300", channels=1, size=28)), images(channels=1, size=28)
    assert model.normalize.mean.shape == (1,)
    assert sum(parameter.numel() for parameter in model.parameters()) == 266_610
    hidden = (x.view(4, 784) - MEAN[0]) / STD[0]
    for layer in model.fc1, model.fc2:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ model.fc3.weight.T + model.fc3.bias)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_mlp_n_has_n_layers_of_300_and_one_of_100(n):
    model, x = unsettle_(network(f"mlp{n}", channels=1, size=28)), images(channels=1, size=28)
    widths = [784, *[300] * n, 100, 10]
    assert parameters(model) == sum((i + 1) * o for i, o in pairwise(widths))
    hidden = (x.view(4, 784) - MEAN[0]) / STD[0]
    layers = [getattr(model, f"fc{number}") for number in range(1, n + 3)]
    assert modules(model, nn.Linear) == layers
    for layer in layers[:-1]:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ layers[-1].weight.T + layers[-1].bias)


def test_fully_connected_networks_start_as_their_papers_say():
    glorot = {layer: 2 / (layer.in_features + layer.out_features) for layer in linears("lenet300")}
    kaiming = {layer: 2 / layer.in_features for layer in linears("mlp4")}
    for deviations in glorot, kaiming:
        for layer, variance in deviations.items():
            deviation = variance**0.5
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1) and not layer.bias.any()


def linears(arch):
    return modules(network(arch, channels=1, size=28), nn.Linear)


@pytest.mark.parametrize("size, channels", [(1, 1), (8, 1), (32, 3)])
def test_lenet300_takes_any_size(size, channels):
    assert network("lenet300", size=size, channels=channels)(images(2, channels, size)).shape == (2, 10)


# --- the user's own network ---

NETS = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 32 * 32, num_classes), nn.BatchNorm1d(num_classes))

def five_pixels(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

class Looks(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(3 * 32 * 32, num_classes)
    def forward(self, x):
        return super().forward(nn.functional.dropout(x.flatten(1))) * float(x.max())

def mismatched(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def map_of_logits(num_classes):
    return nn.Conv2d(3, num_classes, 1)

def pairs(num_classes):
    return nn.Sequential(nn.Flatten(1, 2), nn.LSTM(32, num_classes))

def number(num_classes):
    return 7

def failing(num_classes):
    raise RuntimeError("out of ideas\\nsecond line")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory that holds the user's modules."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("import there_is_no_such_library")
    (tmp_path / "faulty.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in "nets", "broken", "faulty":
        sys.modules.pop(name, None)


def test_a_network_from_the_current_directory(here):
    model = network("nets:net").eval()
    assert list(model.state_dict())[:3] == ["normalize.mean", "normalize.std", "network.2.weight"]
    assert torch.equal(model(images()), model.network(normalized(images())))


def test_a_network_of_a_library_that_sees_grey_images():
    assert network("torchvision.models:mobilenet_v2", classes=5, channels=1)(images(channels=1)).shape == (4, 5)


@pytest.mark.parametrize(
    "arch, said",
    [
        ("no_such:net", "no module no_such "),
        ("nets.more:net", "no module nets.more "),
        ("broken:net", "importing broken raised ModuleNotFoundError: No module named 'there_is_no_such_library'"),
        ("faulty:net", "importing faulty raised ZeroDivisionError"),
        ("nets:nett", "module nets has no function nett"),
        ("nets:number", "nets:number must return a torch.nn.Module, got int"),
        ("nets:failing", r"nets:failing\(num_classes=10\) raised RuntimeError: out of ideas$"),
        ("nets:mismatched", "fails on images of 32 pixels with RuntimeError: .*mat1 and mat2"),
        ("nets:map_of_logits", r"shape \(2, 10\) for 2 images, got \(2, 10, 32, 32\)"),
        ("nets:pairs", r"shape \(2, 10\) for 2 images, got tuple"),
    ],
)
def test_each_failure_is_one_sentence(here, arch, said):
    with pytest.raises(InputError, match=said) as caught:
        network(arch)
    assert "\n" not in str(caught.value)


# --- images that are too small ---


@pytest.mark.parametrize("arch", ["vgg16_bn", "vgg11"])
def test_vgg_needs_16_pixels(arch):
    with pytest.raises(InputError, match=f"^{arch} needs images of at least 16 pixels, got 8$"):
        network(arch, size=8)
    assert network(arch, size=16).eval()(images(1, size=16)).shape == (1, 10)


def test_resnets_take_8_pixels():
    assert network("res20s", size=8)(images(size=8)).shape == network("res18", size=8)(images(size=8)).shape == (4, 10)


@pytest.mark.parametrize(
    "arch, size, said",
    [
        ("nets:five_pixels", 4, "at least 5 pixels, got 4"),
        ("nets:net", 28, "at least 32 pixels, got 28"),
        ("nets:net", 64, "of 32 pixels, got 64"),
    ],
)
def test_the_size_that_works_is_named(here, arch, size, said):
    with pytest.raises(InputError, match=said):
        network(arch, size=size)


def test_a_network_that_looks_at_values_is_probed_too(here):
    assert network("nets:Looks")(images()).shape == (4, 10)
    with pytest.raises(InputError, match="nets:Looks fails on images of 8 pixels"):
        network("nets:Looks", size=8)


@pytest.mark.parametrize("name", ["net", "Looks"])
def test_the_probe_leaves_no_trace(here, name):
    model = network(f"nets:{name}")
    next_draw = torch.rand(1)
    import nets

    torch.manual_seed(0)
    twin = getattr(nets, name)(num_classes=10)
    assert torch.equal(next_draw, torch.rand(1))
    torch.testing.assert_close(model.network.state_dict(), twin.state_dict(), rtol=0, atol=0)
