"""Which channels of pruned networks emit nothing, and the networks without them."""

import copy

import pytest
import torch
from torch import nn

from lottery.bases.outputs import output_parameters
from lottery.channels.groups import find_all_groups
from lottery.channels.silent import emitting_channels
from lottery.channels.slicing import check_equivalent, slice_network
from models.families import MLPS
from tests.helpers import OwnForward, conv3x3, network, with_trained_batchnorm

ARCHS = ["lenet300", "vgg13_bn_3fc", "vgg11", "res14s", "res14s_projection", "res50", "torchvision.models:mobilenet_v2"]


def pruned_filters(model, share=0.5, seed=0, but=()):
    """A copy without random outputs of all layers but the last and those in `but`, as --block filter prunes them."""
    generator, pruned = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    parameters = dict(pruned.named_parameters())
    kinds = nn.Conv2d | nn.Linear
    names = [name for name, module in model.named_modules() if isinstance(module, kinds) and name not in but][:-1]
    parts_of = output_parameters(model, [f"{name}.weight" for name in names])
    with torch.no_grad():
        for name, parts in parts_of.items():
            kept = torch.rand(len(parameters[name]), generator=generator) >= share
            for each in (name, *parts):
                parameters[each][~kept] = 0
    return pruned.eval()


def rows_left(model, name):
    return model.get_submodule(name).weight.flatten(1).any(1)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_network_without_them_computes_the_same(arch):
    model = pruned_filters(with_trained_batchnorm(network(arch, "cpu")))
    images = torch.rand(3, 1, 8, 8) if arch in MLPS else torch.rand(3, 3, 32, 32)
    groups = find_all_groups(model)
    kept = emitting_channels(model, groups.values(), images)
    small = slice_network(model, groups.values(), kept)
    check_equivalent(model, small, images)
    for name, group in groups.items():
        left = torch.stack([rows_left(model, producer) for producer in group.producers]).any(0)
        depthwise = [each for each in group.passed if isinstance(model.get_submodule(each), nn.Conv2d)]
        shifts = [rows_left(model, each) for each in depthwise]  # of the batch norm behind, if the filter is there
        assert (kept[name] >= left).all() and (kept[name] <= torch.stack([left, *shifts]).any(0)).all(), name
        assert all(len(small.get_submodule(each).weight) == kept[name].sum() for each in group.producers)
    assert any((~channels).any() for channels in kept.values())


def test_neurons_and_residual_streams_are_groups_too():
    mlp = find_all_groups(network("lenet300"))
    assert {name: group.readers for name, group in mlp.items()} == {"fc1": ("fc2",), "fc2": ("fc3",)}
    fc = [name for name, module in network("vgg13_bn_3fc").named_modules() if isinstance(module, nn.Linear)]
    assert len(fc) == 3 and set(fc[:2]) <= set(find_all_groups(network("vgg13_bn_3fc")))
    found = find_all_groups(network("res50"))
    stream = found["layer1.0.conv3"]
    assert stream.producers == ("layer1.0.conv3", "layer1.0.downsample.0", "layer1.1.conv3", "layer1.2.conv3")
    assert stream.readers == ("layer1.1.conv1", "layer1.2.conv1", "layer2.0.conv1", "layer2.0.downsample.0")
    assert found["layer4.0.conv3"].readers[-1] == "fc"
    convolutions = [name for name, module in network("res50").named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(name for group in found.values() for name in group.producers) == sorted(convolutions)


def test_streams_whose_shortcuts_pad_stay_whole():
    inner = {f"layer{stage}.{unit}.conv1" for stage in (1, 2, 3) for unit in (0, 1)}
    assert set(find_all_groups(network("res14s"))) == inner


def test_a_channel_of_a_stream_stays_while_one_layer_writes_to_it():
    model = OwnForward(lambda self, x: self.fc(((y := self.a(x)) + self.b(y)).relu().flatten(1)), fc=nn.Linear(256, 3))
    with torch.no_grad():
        for layer, rows in ((model.a, [0, 1]), (model.b, [1, 2])):
            layer.weight[rows], layer.bias[rows] = 0, 0
    groups = find_all_groups(model)
    assert groups["a"].producers == ("a", "b") and groups["a"].readers == ("b", "fc")
    kept = emitting_channels(model, groups.values(), images := torch.rand(2, 3, 8, 8))
    assert kept["a"].tolist() == [True, False, True, True]
    check_equivalent(model, slice_network(model, groups.values(), kept), images)


MAKE_SOMETHING_OF_NOTHING = {
    "a bias": [conv3x3(3, 4)],
    "a shift": [conv3x3(3, 4, bias=False), nn.BatchNorm2d(4)],
    "f(0) is not 0": [conv3x3(3, 4, bias=False), nn.Sigmoid()],
    "a depth-wise filter's bias": [conv3x3(3, 4, bias=False), conv3x3(4, 4, groups=4)],
}


@pytest.mark.parametrize("case", MAKE_SOMETHING_OF_NOTHING)
def test_pruned_weights_alone_do_not_silence_a_channel(case):
    model = nn.Sequential(*copy.deepcopy(MAKE_SOMETHING_OF_NOTHING[case]), nn.Flatten(), nn.Linear(256, 2))
    with torch.no_grad():
        model[0].weight[1:3] = 0
        for name, value in model.named_parameters():
            if "bias" in name:
                value.fill_(0.1)
    groups = find_all_groups(model)
    assert emitting_channels(model, groups.values(), torch.rand(2, 3, 8, 8))["0"].all()


def test_a_channel_that_happens_to_be_zero_stays():
    """Its weights are there: another image may bring it back."""
    model = nn.Sequential(conv3x3(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    with torch.no_grad():
        model[0].bias[1] = -100
    assert emitting_channels(model, find_all_groups(model).values(), torch.rand(2, 3, 8, 8))["0"].all()


def test_a_layer_without_anything_keeps_one_channel():
    model = nn.Sequential(conv3x3(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    groups = find_all_groups(model)
    kept = emitting_channels(model, groups.values(), images := torch.rand(2, 3, 8, 8))
    assert kept["0"].tolist() == [True, False, False, False]
    check_equivalent(model, slice_network(model, groups.values(), kept), images)


def test_tokens_are_not_taken_for_channels():
    """After a flattening that joins positions with channels, neurons of a linear layer cannot be told apart."""
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4), nn.Flatten(), nn.Linear(12, 2))
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 2) and not find_all_groups(model)
