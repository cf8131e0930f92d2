"""ResNet-18 to -50 against torchvision's."""

import pytest
import torch
import torchvision
from torch import nn

from models import STEMS
from tests.models.helpers import images, modules, network, normalized, parameters, shapes

RESNETS = {"res18": "resnet18", "res34": "resnet34", "res50": "resnet50"}


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
