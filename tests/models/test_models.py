"""The names of networks, and laws that every network obeys."""

import re

import pytest
import torch
from torch.nn import functional as F

from models import ARCHITECTURES, check_arch
from tests.models.helpers import images, network, python
from utils import InputError


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
