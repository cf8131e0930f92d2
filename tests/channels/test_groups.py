"""Which channels can be dropped, and why others cannot."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lottery.channels.groups import find_groups
from lottery.channels.slicing import relative_difference
from lottery.channels.trace import trace
from models.families import CIFAR_RESNETS, RESNETS, VGGS
from tests.helpers import OwnForward, conv3x3, masked_and_sliced, network, random_channels
from utils import InputError

MOBILENET = "torchvision.models:mobilenet_v2"


@pytest.mark.parametrize("arch", ["res14s", "res20s", "res14s_projection"])
def test_the_first_convolution_of_a_basic_block_can_lose_channels(arch):
    found = find_groups(network(arch))
    blocks = [f"layer{stage}.{unit}" for stage, units in enumerate(CIFAR_RESNETS[arch], 1) for unit in range(units)]
    assert list(found.groups) == [f"{block}.conv1" for block in blocks]
    for block in blocks:
        group = found.groups[f"{block}.conv1"]
        assert (group.passed, group.readers) == ((f"{block}.bn1",), (f"{block}.conv2",))
    others = ["conv1", *(f"{block}.conv2" for block in blocks)]
    others += [f"layer{stage}.0.downsample.0" for stage in (2, 3)] if "projection" in arch else []
    assert set(found.reasons) == set(others)
    assert all("residual stream" in reason for reason in found.reasons.values())


def test_the_first_two_convolutions_of_a_bottleneck_can_lose_channels():
    found = find_groups(network("res50"))
    blocks = [f"layer{stage}.{unit}" for stage, units in enumerate(RESNETS["res50"][1], 1) for unit in range(units)]
    assert list(found.groups) == ["conv1", *(f"{block}.conv{number}" for block in blocks for number in (1, 2))]
    assert found.groups["conv1"].readers == ("layer1.0.conv1", "layer1.0.downsample.0"), "its first shortcut projects"
    shortcuts = (f"layer{stage}.0.downsample.0" for stage in (1, 2, 3, 4))
    assert set(found.reasons) == {*(f"{block}.conv3" for block in blocks), *shortcuts}


@pytest.mark.parametrize("arch", ["vgg11", "vgg16_bn", "vgg13_bn_3fc"])
def test_every_convolution_of_a_vgg_can_lose_channels(arch):
    model = network(arch)
    found = find_groups(model)
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert list(found.groups) == convolutions and not found.reasons and len(convolutions) == sum(VGGS[arch].units)
    readers = [group.readers for group in found.groups.values()]
    assert readers == [*((name,) for name in convolutions[1:]), ("classifier.0" if "fc" in arch else "classifier",)]


def test_channels_of_a_mobilenet_pass_through_its_depthwise_convolutions():
    """Of torchvision's 17 inverted residuals the first expands nothing, 10 add what they are given to what they make,
    and 5 begin the streams that these add to."""
    found = find_groups(network(MOBILENET))
    name = "network.features"
    assert found.groups[f"{name}.2.conv.0.0"].passed == (
        f"{name}.2.conv.0.1", f"{name}.2.conv.1.0", f"{name}.2.conv.1.1")  # fmt: skip
    assert found.groups[f"{name}.2.conv.0.0"].readers == (f"{name}.2.conv.2",)
    assert found.groups[f"{name}.18.0"].readers == ("network.classifier.1",)
    kinds = [reason.partition(":")[0] for reason in found.reasons.values()]
    assert kinds.count("it is depth-wise") == 17 and kinds.count("its channels enter an addition") == 10 + 5
    assert len(found.groups) == 1 + 16 + 2 + 1, "the first, the expansions, two projections, the last"


def hooked():
    convolution = conv3x3(3, 4)
    convolution.register_forward_hook(lambda *_: None)
    return nn.Sequential(convolution, conv3x3(4, 4))


SHARED = conv3x3(4, 4)

REASONS = {  # network, the layer, the reason
    "output": (nn.Sequential(conv3x3(3, 4)), "0", "its channels are the network's output"),
    "groups": (
        nn.Sequential(conv3x3(4, 4, groups=2), conv3x3(4, 4)),
        "0",
        "2 groups of channels, which must stay equally large",
    ),
    "read in groups": (nn.Sequential(conv3x3(3, 4), conv3x3(4, 4, groups=2)), "0", "go through 1 (Conv2d)"),
    "several filters": (
        nn.Sequential(conv3x3(3, 4), conv3x3(4, 8, groups=4), conv3x3(8, 4)),
        "0",
        "go through 1 (Conv2d)",
    ),
    "mixed by a norm": (
        nn.Sequential(conv3x3(3, 4), nn.GroupNorm(2, 4), conv3x3(4, 4)),
        "0",
        "go through 1 (GroupNorm)",
    ),
    "used twice": (nn.Sequential(conv3x3(3, 4), SHARED, nn.ReLU(), SHARED), "0", "1 is used more than once"),
    "computed": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(conv3x3(3, 4)), conv3x3(4, 4)),
        "0",
        "no plain layer",
    ),
    "hooks": (hooked(), "0", "hooks are attached to it"),
    "one": (nn.Sequential(conv3x3(3, 1), conv3x3(1, 4)), "0", "it has one channel only"),
    "joined": (OwnForward(lambda self, x: self.b(torch.cat([self.a(x)], 1))), "a", "joined with others"),
    "scaled": (OwnForward(lambda self, x: self.b((y := self.a(x)) * y.mean((2, 3), keepdim=True))), "a", "through mul"),
    "added": (OwnForward(lambda self, x: self.b((y := self.a(x)) + y.relu())), "a", "residual stream"),
    "cut by number": (
        OwnForward(lambda self, x: self.fc(self.a(x).view(4, -1)), fc=nn.Linear(256, 2)),
        "a",
        "through view",
    ),
    "flattened by number": (
        OwnForward(lambda self, x: self.fc(self.a(x).view(-1, 256)), fc=nn.Linear(256, 2)),
        "a",
        "through view",
    ),
    "mean over channels": (OwnForward(lambda self, x: self.a(x).mean(1)), "a", "through mean"),
    "not called": (OwnForward(lambda self, x: self.b(self.a(x))), "c", "does not call it"),
    "read by name": (
        OwnForward(lambda self, x: F.conv2d(self.b(self.a(x)), self.b.weight)),
        "a",
        "b is used more than",
    ),
}


REASONS["not called"][0].c = conv3x3(3, 3)


@pytest.mark.parametrize("case", REASONS)
def test_what_cannot_be_dropped_says_why(case):
    model, name, reason = REASONS[case]
    found = find_groups(model)
    assert name not in found.groups and reason in found.reasons[name], found.reasons


FORWARDS = {
    "flatten": lambda self, x: self.fc(torch.flatten(self.b(self.a(x)), 1)),
    "method": lambda self, x: self.fc(self.b(self.a(x)).flatten(1)),
    "view": lambda self, x: self.fc((y := self.b(self.a(x))).view(y.size(0), -1)),
    "reshape": lambda self, x: self.fc((y := self.b(F.relu(self.a(x), True))).reshape(y.shape[0], -1)),
    "early": lambda self, x: self.fc(self.b(self.a(x)).view(x.size(0), -1)),
    "two readers": lambda self, x: self.fc((self.b(y := self.a(x)) + self.c(F.max_pool2d(y.relu_(), 1))).flatten(1)),
}


@pytest.mark.parametrize("form", FORWARDS)
def test_forms_that_users_write_are_followed(form):
    torch.manual_seed(1)
    model = OwnForward(FORWARDS[form], fc=nn.Linear(256, 3), c=conv3x3(4, 4)).eval()
    groups = find_groups(model).groups
    assert list(groups) == (["a"] if form == "two readers" else ["a", "b"])
    masked, small = masked_and_sliced(model, random_channels(groups), groups)
    assert small.a.out_channels < 4 and relative_difference(masked, small, torch.rand(2, 3, 8, 8)) < 1e-6
    if form != "two readers":
        assert small.fc.in_features == 64 * small.b.out_channels


def test_a_network_that_cannot_be_traced_is_told_in_a_sentence():
    with pytest.raises(InputError, match=r"torch\.fx does not trace it .*must not depend on values"):
        find_groups(OwnForward(lambda self, x: self.b(self.a(x)) if x.sum() > 0 else x))


def test_tracing_leaves_the_model_alone():
    model = network("vgg11", "cpu").train()
    traced = trace(model)
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU)) and model.training
    assert not any(getattr(module, "inplace", False) for module in traced.modules())
