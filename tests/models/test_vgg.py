"""VGGs against torchvision's features, and their linear layers."""

import re

import pytest
import torch
import torchvision
from torch import nn

from models import ARCHITECTURES
from tests.models.helpers import images, modules, network, normalized, parameters, shapes, unsettle_

VGGS = [arch for arch in ARCHITECTURES if re.fullmatch(r"vgg\d+(_bn)?", arch)]


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
