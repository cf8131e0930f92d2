"""Networks of timm and torchvision by name."""

import re

import pytest
import torch

from models import build_model, check_arch
from models.library import build_library_network, parts
from tests.models.helpers import images
from utils import InputError

VIT = "timm:vit_tiny_patch16_224,patch_size=2,depth=1,embed_dim=24"


def build(arch, size=32, classes=5, **more):
    spec = {"channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return build_model(arch, classes=classes, image_size=size, **spec, **more)


@pytest.mark.parametrize("arch", ["timm:resnet10t", VIT, "torchvision:squeezenet1_1"])
def test_a_network_of_a_library_classifies_the_images(arch):
    check_arch(arch, "imagenet")
    assert build(arch)(images()).shape == (4, 5)


def test_a_transformer_is_made_for_the_size_of_the_images():
    assert build(VIT, size=8).network.pos_embed.shape == (1, 17, 24)
    assert build("torchvision:vit_b_16", tried=False).network.encoder.pos_embedding.shape == (1, 5, 768)


def test_weights_are_the_same_whether_the_network_is_tried_or_not():
    found = []
    for tried in True, False:
        torch.manual_seed(3)
        found.append(build(VIT, size=8, tried=tried).state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_auxiliary_heads_are_off():
    with torch.device("meta"):
        names = dict(build_library_network("torchvision:googlenet", 5, None).named_parameters())
    assert names and not any("aux" in name for name in names)


def test_arguments_are_python_values_or_words():
    assert parts("timm:net.tag,depths=(1,2),act_layer=gelu") == (
        "timm",
        "net.tag",
        {"depths": (1, 2), "act_layer": "gelu"},
    )


@pytest.mark.parametrize(
    "arch, said",
    [
        ("timm:resnett10t", "timm has no network resnett10t that classifies images; did you mean resnet10t?"),
        ("torchvision:raft_large", "torchvision has no network raft_large that classifies images"),
        ("torchvision:vgg11", "torchvision:vgg11 needs images of at least 32 pixels, got 8"),
        (
            "timm:vit_tiny_patch16_224",
            "patches of 16 pixels, got images of 8; smaller patches: timm:vit_tiny_patch16_224,patch_size=2",
        ),
        ("timm:resnet10t,no_such=1", "timm:resnet10t,no_such=1 for images of 8 pixels raised TypeError"),
        ("timm:hf-hub:a/b", "takes the name of a network of timm, got 'hf-hub:a/b'"),
        ("timm:resnet10t,pretrained=True", "pretrained is not given here, it follows from --weights"),
        ("timm:resnet10t,depth", "arguments of the network are NAME=VALUE with commas between, got 'depth'"),
    ],
)
def test_each_failure_is_one_sentence(arch, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        build(arch, size=8)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install timm"):
        check_arch("timm:resnet10t", "imagenet")
