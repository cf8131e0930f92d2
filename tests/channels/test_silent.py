"""Which channels of pruned networks emit nothing, and the networks without them."""

import copy

import pytest
import torch
from torch import nn

import pruner
from lottery.channels import slicing
from lottery.channels.groups import find_all_groups
from lottery.channels.outputs import output_parameters
from lottery.channels.silent import emitting_channels
from lottery.channels.slicing import check_equivalent, slice_network
from models.families import MLPS
from tests.helpers import OwnForward, conv3x3, network, with_trained_batchnorm
from utils import InputError, RunError

ARCHS = ["lenet300", "vgg13_bn_3fc", "vgg11", "res14s", "res14s_projection", "res50", "torchvision.models:mobilenet_v2"]


def without_outputs(model, dropped):
    """A copy of the model without these outputs, {layer: bool (out,)}, of its layers, as --block filter prunes them;
    and its mask."""
    pruned = copy.deepcopy(model).eval()
    parameters = dict(pruned.named_parameters())
    mask = {}
    for name, parts in output_parameters(model, [f"{layer}.weight" for layer in dropped]).items():
        for each in (name, *parts):
            layer = mask.setdefault(each, torch.ones_like(parameters[each], dtype=torch.bool))
            layer[dropped[name.removesuffix(".weight")]] = False
    pruner.apply_(parameters, mask)
    return pruned, mask


def pruned_filters(model, share=0.5, seed=0):
    """The same without random outputs of all layers but the last."""
    generator = torch.Generator().manual_seed(seed)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    layers.popitem()
    dropped = {name: torch.rand(len(layer.weight), generator=generator) < share for name, layer in layers.items()}
    return without_outputs(model, dropped)


def emitting(model, mask, images):
    groups = find_all_groups(model)
    return groups, emitting_channels(model, groups.values(), mask, images)


class Coarse(nn.Module):
    """Rounds float32 as a GPU's faster algorithms may, and float64 not at all; `wrong` is an error of its own."""

    def __init__(self, wrong=0.0):
        super().__init__()
        self.wrong = wrong

    def forward(self, x):
        return x + self.wrong + (1e-3 if x.dtype == torch.float32 else 0)


def test_rounding_on_a_gpu_is_no_difference(monkeypatch):
    images = torch.rand(2, 3)
    with pytest.raises(RunError, match="this is a bug"):
        check_equivalent(nn.Identity(), Coarse(), images)  # on a CPU it is
    monkeypatch.setattr(slicing, "COARSER", ("cpu",))
    assert check_equivalent(nn.Identity(), Coarse(), images) > slicing.TOLERANCE
    with pytest.raises(RunError, match="this is a bug"):
        check_equivalent(nn.Identity(), Coarse(wrong=0.01), images)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_network_without_them_computes_the_same(arch):
    model, mask = pruned_filters(with_trained_batchnorm(network(arch, "cpu")))
    images = torch.rand(3, 1, 8, 8) if arch in MLPS else torch.rand(3, 3, 32, 32)
    groups, kept = emitting(model, mask, images)
    small = slice_network(model, groups.values(), kept)
    check_equivalent(model, small, images)
    for name, group in groups.items():
        depthwise = [each for each in group.passed if isinstance(model.get_submodule(each), nn.Conv2d)]
        layers = [mask[f"{each}.weight"].flatten(1).any(1) for each in (*group.producers, *depthwise)]
        assert torch.equal(kept[name], torch.stack(layers).any(0)), name
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


def rows(*numbers, out=4):
    return torch.zeros(out, dtype=torch.bool).index_fill_(0, torch.tensor(numbers), True)


def test_a_channel_of_a_stream_stays_while_one_layer_writes_to_it():
    model = OwnForward(lambda self, x: self.fc(((y := self.a(x)) + self.b(y)).relu().flatten(1)), fc=nn.Linear(256, 3))
    model, mask = without_outputs(model, {"a": rows(0, 1), "b": rows(1, 2)})
    groups, kept = emitting(model, mask, images := torch.rand(2, 3, 8, 8))
    assert groups["a"].producers == ("a", "b") and groups["a"].readers == ("b", "fc")
    assert kept["a"].tolist() == [True, False, True, True]
    check_equivalent(model, slice_network(model, groups.values(), kept), images)


def test_what_is_added_to_channels_of_another_kind_is_no_stream():
    def added(self, x):
        return self.out((self.b(self.a(x)).flatten(1) + self.fc(x.flatten(1))).relu())

    layers = {"fc": nn.Linear(192, 256), "out": nn.Linear(256, 3)}
    assert list(find_all_groups(OwnForward(added, **layers))) == ["a"]
    by_name = OwnForward(lambda self, x: self.fc(torch.add(self.a(x), other=self.c(x)).flatten(1)), c=conv3x3(3, 4),
                         fc=nn.Linear(256, 2))  # fmt: skip
    assert not find_all_groups(by_name)


KEPT = {
    "a bias that the mask does not have": ([conv3x3(3, 4)], {"0.bias"}),
    "a shift that the mask does not have": ([conv3x3(3, 4), nn.ReLU(), nn.BatchNorm2d(4)], {"2.bias"}),
    "f(0) is not 0": ([conv3x3(3, 4), nn.Sigmoid()], set()),
    "a depth-wise filter": ([conv3x3(3, 4), conv3x3(4, 4, groups=4)], set()),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_channel_stays_that_emits_something_or_may_learn_to(case):
    layers, unmasked = KEPT[case]
    model = nn.Sequential(*copy.deepcopy(layers), nn.Flatten(), nn.Linear(256, 2))
    model, mask = without_outputs(model, {"0": rows(1, 2)})
    assert unmasked <= mask.keys(), "--block filter masks it"
    images = torch.rand(2, 3, 8, 8)
    assert emitting(model, {name: layer for name, layer in mask.items() if name not in unmasked}, images)[1]["0"].all()
    if unmasked:
        assert not emitting(model, mask, images)[1]["0"].all()


def test_a_channel_that_happens_to_be_zero_stays():
    """Its weights are there: another image may bring it back."""
    model = nn.Sequential(conv3x3(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    with torch.no_grad():
        model[0].bias[1] = -100
    assert emitting(model, {}, torch.rand(2, 3, 8, 8))[1]["0"].all()


def test_a_layer_without_anything_keeps_one_channel():
    model = nn.Sequential(conv3x3(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    model, mask = without_outputs(model, {"0": rows(0, 1, 2, 3)})
    groups, kept = emitting(model, mask, images := torch.rand(2, 3, 8, 8))
    assert kept["0"].tolist() == [True, False, False, False]
    check_equivalent(model, slice_network(model, groups.values(), kept), images)


def test_tokens_are_not_taken_for_channels():
    """After a flattening that joins positions with channels, neurons of a linear layer cannot be told apart; and batch
    norm of tokens is none of features."""
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4), nn.Flatten(), nn.Linear(12, 2))
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 2) and not find_all_groups(model)
    normed = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(4, 2))
    assert normed(torch.rand(2, 3, 8, 8)).shape == (2, 3, 2) and not find_all_groups(normed)


def test_a_batch_norm_of_two_layers_is_refused_where_filters_are_pruned():
    """A filter that one of them drops would be silent in the other."""
    shared = OwnForward(lambda self, x: self.norm(self.b(self.norm(self.a(x)))), norm=nn.BatchNorm2d(4))
    with pytest.raises(InputError, match="cannot prune in front of norm, which is used more than once"):
        output_parameters(shared, ["a.weight", "b.weight"])
