"""Channels: which can be dropped, what is left without them, and which greedy selection keeps."""

import copy
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dataset import to_input
from lottery.greedy.channels.baselines import Baseline, chosen, filter_norms
from lottery.greedy.channels.budgets import asked_layers, plan
from lottery.greedy.channels.groups import layers_of, trace
from lottery.greedy.channels.selection import Examples, Goal, Rule, accuracy, channel_weights, cut, fold_, select
from lottery.greedy.channels.slicing import apart, channel_mask, check_same, export, load_sliced, save_sliced, sliced
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from models.families import CIFAR_RESNETS, RESNETS, VGGS
from pruner import Ticket, apply_
from tests.helpers import ROOT, Tiny, network
from utils import InputError, RunError

MOBILENET = "torchvision.models:mobilenet_v2"


def lively(model, seed=0):
    """The model with batch norm that does something: statistics, scales and shifts as after some training."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in ((module.weight, 0.5, 1.5), (module.running_var, 0.5, 2)):
                nn.init.uniform_(value, low, high)
            for value in (module.bias, module.running_mean):
                nn.init.normal_(value)
    return model.eval()


def drawn(groups, share=0.4, seed=0):
    """Some channels of each group, one at least."""
    random = torch.Generator().manual_seed(seed)
    kept = {name: torch.rand(group.channels, generator=random) < share for name, group in groups.items()}
    for channels in kept.values():
        channels[-1] = True
    return kept


def masked_and_sliced(model, kept, groups):
    masked = copy.deepcopy(model)
    apply_(dict(masked.named_parameters()), channel_mask(masked, groups.values(), kept))
    return masked, sliced(masked, groups.values(), kept)


# --- which channels can be dropped ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["res14s", "res20s", "res14s_projection"])
def test_the_first_convolution_of_a_basic_block_can_lose_channels(arch):
    found = layers_of(network(arch))
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
    found = layers_of(network("res50"))
    blocks = [f"layer{stage}.{unit}" for stage, units in enumerate(RESNETS["res50"][1], 1) for unit in range(units)]
    assert list(found.groups) == ["conv1", *(f"{block}.conv{number}" for block in blocks for number in (1, 2))]
    assert found.groups["conv1"].readers == ("layer1.0.conv1", "layer1.0.downsample.0"), "its first shortcut projects"
    shortcuts = (f"layer{stage}.0.downsample.0" for stage in (1, 2, 3, 4))
    assert set(found.reasons) == {*(f"{block}.conv3" for block in blocks), *shortcuts}


@pytest.mark.parametrize("arch", ["vgg11", "vgg16_bn", "vgg13_bn_3fc"])
def test_every_convolution_of_a_vgg_can_lose_channels(arch):
    model = network(arch)
    found = layers_of(model)
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert list(found.groups) == convolutions and not found.reasons and len(convolutions) == sum(VGGS[arch].units)
    readers = [group.readers for group in found.groups.values()]
    assert readers == [*((name,) for name in convolutions[1:]), ("classifier.0" if "fc" in arch else "classifier",)]


def test_channels_of_a_mobilenet_pass_through_its_depthwise_convolutions():
    """Of torchvision's 17 inverted residuals the first expands nothing, 10 add what they are given to what they make,
    and 5 begin the streams that these add to."""
    found = layers_of(network(MOBILENET))
    name = "network.features"
    assert found.groups[f"{name}.2.conv.0.0"].passed == (
        f"{name}.2.conv.0.1", f"{name}.2.conv.1.0", f"{name}.2.conv.1.1")  # fmt: skip
    assert found.groups[f"{name}.2.conv.0.0"].readers == (f"{name}.2.conv.2",)
    assert found.groups[f"{name}.18.0"].readers == ("network.classifier.1",)
    kinds = [reason.partition(":")[0] for reason in found.reasons.values()]
    assert kinds.count("it is depth-wise") == 17 and kinds.count("its channels enter an addition") == 10 + 5
    assert len(found.groups) == 1 + 16 + 2 + 1, "the first, the expansions, two projections, the last"


def layers(*parts):
    return nn.Sequential(*parts)


def conv(inputs, outputs, **more):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


class Forward(nn.Module):
    """Convolutions a and b, and a forward pass of one's own."""

    def __init__(self, way, **modules):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(4, 4)
        for name, module in modules.items():
            self.add_module(name, module)
        self.way = way

    def forward(self, x):
        return self.way(self, x)


def hooked():
    convolution = conv(3, 4)
    convolution.register_forward_hook(lambda *_: None)
    return layers(convolution, conv(4, 4))


SHARED = conv(4, 4)
NOT = {  # network, the layer, the reason
    "output": (layers(conv(3, 4)), "0", "its channels are the network's output"),
    "groups": (layers(conv(4, 4, groups=2), conv(4, 4)), "0", "2 groups of channels, which must stay equally large"),
    "read in groups": (layers(conv(3, 4), conv(4, 4, groups=2)), "0", "go through 1 (Conv2d)"),
    "several filters": (layers(conv(3, 4), conv(4, 8, groups=4), conv(8, 4)), "0", "go through 1 (Conv2d)"),
    "mixed by a norm": (layers(conv(3, 4), nn.GroupNorm(2, 4), conv(4, 4)), "0", "go through 1 (GroupNorm)"),
    "used twice": (layers(conv(3, 4), SHARED, nn.ReLU(), SHARED), "0", "1 is used more than once"),
    "computed": (layers(nn.utils.parametrizations.weight_norm(conv(3, 4)), conv(4, 4)), "0", "no plain layer"),
    "hooks": (hooked(), "0", "hooks are attached to it"),
    "one": (layers(conv(3, 1), conv(1, 4)), "0", "it has one channel only"),
    "joined": (Forward(lambda self, x: self.b(torch.cat([self.a(x)], 1))), "a", "joined with others"),
    "scaled": (Forward(lambda self, x: self.b((y := self.a(x)) * y.mean((2, 3), keepdim=True))), "a", "through mul"),
    "added": (Forward(lambda self, x: self.b((y := self.a(x)) + y.relu())), "a", "residual stream"),
    "cut by number": (Forward(lambda self, x: self.fc(self.a(x).view(4, -1)), fc=nn.Linear(256, 2)), "a",
                      "through view"),
    "flattened by number": (Forward(lambda self, x: self.fc(self.a(x).view(-1, 256)), fc=nn.Linear(256, 2)), "a",
                            "through view"),
    "mean over channels": (Forward(lambda self, x: self.a(x).mean(1)), "a", "through mean"),
    "not called": (Forward(lambda self, x: self.b(self.a(x))), "c", "does not call it"),
    "read by name": (Forward(lambda self, x: F.conv2d(self.b(self.a(x)), self.b.weight)), "a", "b is used more than"),
}  # fmt: skip
NOT["not called"][0].c = conv(3, 3)


@pytest.mark.parametrize("case", NOT)
def test_what_cannot_be_dropped_says_why(case):
    model, name, reason = NOT[case]
    found = layers_of(model)
    assert name not in found.groups and reason in found.reasons[name], found.reasons


FORMS = {
    "flatten": lambda self, x: self.fc(torch.flatten(self.b(self.a(x)), 1)),
    "method": lambda self, x: self.fc(self.b(self.a(x)).flatten(1)),
    "view": lambda self, x: self.fc((y := self.b(self.a(x))).view(y.size(0), -1)),
    "reshape": lambda self, x: self.fc((y := self.b(F.relu(self.a(x), True))).reshape(y.shape[0], -1)),
    "early": lambda self, x: self.fc(self.b(self.a(x)).view(x.size(0), -1)),
    "two readers": lambda self, x: self.fc((self.b(y := self.a(x)) + self.c(F.max_pool2d(y.relu_(), 1))).flatten(1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_users_write_are_followed(form):
    torch.manual_seed(1)
    model = Forward(FORMS[form], fc=nn.Linear(256, 3), c=conv(4, 4)).eval()
    groups = layers_of(model).groups
    assert list(groups) == (["a"] if form == "two readers" else ["a", "b"])
    masked, small = masked_and_sliced(model, drawn(groups), groups)
    assert small.a.out_channels < 4 and apart(masked, small, torch.rand(2, 3, 8, 8)) < 1e-6
    if form != "two readers":
        assert small.fc.in_features == 64 * small.b.out_channels


def test_a_network_that_cannot_be_traced_is_told_in_a_sentence():
    with pytest.raises(InputError, match=r"torch\.fx does not trace it .*must not depend on values"):
        layers_of(Forward(lambda self, x: self.b(self.a(x)) if x.sum() > 0 else x))


def test_tracing_leaves_the_model_alone():
    model = network("vgg11", "cpu").train()
    traced = trace(model)
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU)) and model.training
    assert not any(getattr(module, "inplace", False) for module in traced.modules())


# --- without them -----------------------------------------------------------------------------------------------------

SMALL = ["res20s", "res14s_projection", "vgg11_bn", "vgg11", "res50", MOBILENET, "tests.networks:convnext_shallow"]


@pytest.mark.parametrize("arch", SMALL)
def test_the_sliced_network_computes_what_the_masked_one_does(arch):
    model = lively(network(arch, "cpu"))
    groups = layers_of(model).groups
    kept, images = drawn(groups), torch.rand(3, 3, 32, 32)
    masked, small = masked_and_sliced(model, kept, groups)
    assert check_same(masked, small, images) <= 1e-5
    assert apart(model, small, images) > 1e-3, "what was dropped did something"
    for name, group in groups.items():
        assert small.get_submodule(name).out_channels == int(kept[name].sum()) < group.channels
    numbers = [sum(p.numel() for p in each.parameters()) for each in (small, model)]
    assert numbers[0] < numbers[1] and small.state_dict().keys() == model.state_dict().keys()
    mask = channel_mask(model, groups.values(), kept)
    assert numbers[1] - numbers[0] == sum(int((~layer).sum()) for layer in mask.values()), "the mask counts the same"


def test_with_every_channel_nothing_changes():
    model = lively(network("res14s", "cpu"))
    groups = layers_of(model).groups
    masked, small = masked_and_sliced(model, drawn(groups, share=2), groups)
    for name, value in model.state_dict().items():
        assert torch.equal(masked.state_dict()[name], value) and torch.equal(small.state_dict()[name], value)
    assert apart(model, small, torch.rand(3, 3, 32, 32)) < 1e-6


def test_another_network_is_no_slice():
    model = lively(network("res14s", "cpu"))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.fc.weight[0, 0] += 1e-2
    with pytest.raises(RunError, match=r"differ by .* of the largest"):
        check_same(model, other, torch.rand(3, 3, 32, 32))


def test_dropped_channels_stay_silent_in_training(images):
    """Batch norm statistics, momentum and weight decay move; the channels' output stays exactly zero."""
    torch.manual_seed(0)
    model = Tiny()
    groups = layers_of(model).groups
    kept = drawn(groups)
    step = Step(model, images, Recipe(epochs=3, milestones=(), batch_size=20, lr=0.1))
    step.load_(Ticket(channel_mask(model, groups.values(), kept), copy_weights(model)))
    before = copy_weights(model)
    for _ in fit(step, torch.arange(40), Recipe(epochs=3, milestones=(), batch_size=20), seed=0):
        pass
    assert not torch.equal(before["bn1.running_mean"], model.bn1.running_mean)
    assert not torch.equal(before["bn1.weight"], model.bn1.weight.detach())
    x, model = to_input(images.images), model.eval()
    inside = model.bn1(model.conv1(x))
    assert (inside[:, ~kept["conv1"]] == 0).all() and (inside[:, kept["conv1"]] != 0).any()
    assert check_same(model, sliced(model, groups.values(), kept), x) <= 1e-6


def test_a_sliced_network_comes_back_from_its_file(tmp_path):
    model = lively(network("res14s", "cpu"))
    groups = layers_of(model).groups
    kept, images = drawn(groups), torch.rand(3, 3, 32, 32)
    small = sliced(model, groups.values(), kept)
    form = {"arch": "res14s", "stem": "imagenet", "classes": 10, "channels": 3, "image_size": 32}
    save_sliced(tmp_path / "1sliced.pt", small, kept, form | {"mean": [0.5] * 3, "std": [0.2] * 3}, {})
    assert torch.equal(load_sliced(str(tmp_path / "1sliced.pt"))(images), small(images))
    torch.save({"state_dict": small.state_dict()}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no sliced network"):
        load_sliced(tmp_path / "other.pt")


def test_the_exported_program_needs_torch_alone(tmp_path):
    model = lively(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 3)))
    groups = layers_of(model).groups
    masked, small = masked_and_sliced(model, drawn(groups), groups)
    images = torch.rand(5, 3, 8, 8)
    export(tmp_path / "small.pt2", small, images)
    torch.save((images, masked(images)), tmp_path / "expected.pt")
    code = (
        "import sys, torch; network = torch.export.load('small.pt2').module();"
        "images, expected = torch.load('expected.pt');"
        "assert torch.allclose(network(images), expected, atol=1e-6) and len(network(images[:1])) == 1;"
        "assert not {'models', 'greedy', 'advertorch'} & set(sys.modules)"
    )
    environment = {"PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, env=environment)
    assert tmp_path != ROOT


# --- selection --------------------------------------------------------------------------------------------------------


def brute_force(model, group, images, labels, picks, how, repeats):
    """Every candidate in a copy of the whole network, its readers' columns set by hand, on all the examples."""
    counts, found = [0] * group.channels, []
    for _ in range(picks):
        losses = {}
        for candidate in range(group.channels):
            if counts[candidate] and not repeats:
                continue
            training, total = copy.deepcopy(model), sum(counts) + 1
            weight = training.get_submodule(group.readers[0]).weight
            span = weight.shape[1] // group.channels
            with torch.no_grad():
                for channel in range(group.channels):
                    times = counts[channel] + (channel == candidate)
                    factor = group.channels * times / total if how == "average" else float(times > 0)
                    weight[:, channel * span : (channel + 1) * span] *= factor
                losses[candidate] = float(F.cross_entropy(training(images), labels))
        best = min(losses, key=losses.get)
        counts[best] += 1
        found.append((best, losses[best]))
    return found


def narrow():
    """A residual stream beside the layer; behind it a parameter of no layer, and a flattening."""
    torch.manual_seed(4)

    def forward(self, x):
        y = F.relu(self.a(x))
        inside = F.relu(self.n(self.b(y)), True)
        return self.fc(F.relu((self.c(inside) * self.scale[:, None, None]).add_(y)).flatten(1))

    model = lively(Forward(forward, n=nn.BatchNorm2d(4), c=conv(4, 4), fc=nn.Linear(256, 3)))
    nn.init.uniform_(model.n.bias, 1, 2)  # no channel is dead
    model.scale = nn.Parameter(torch.rand(4) + 0.5)
    return model


def examples_at(parts, images, labels, batch=None, memory=2**30):
    with torch.no_grad():
        return Examples(parts.front, images, labels, batch or len(labels), memory)


@pytest.mark.parametrize("how, repeats", [("average", False), ("average", True), ("ones", False)])
@pytest.mark.parametrize("which", ["b", "conv1", "conv2"])
def test_selection_equals_brute_force(which, how, repeats):
    torch.manual_seed(2)
    model = narrow() if which == "b" else lively(Tiny())
    images = torch.rand(12, 3 if which == "b" else 1, 8, 8)
    labels = torch.arange(12) % 3
    group = layers_of(model).groups[which]
    parts = cut(trace(model), group)
    rule = Rule(repeats, 0, how)
    budget = group.channels if not repeats else None
    goal = Goal(budget=budget) if budget else Goal(accuracy=2.0)  # never reached: as many picks as there may be
    found = select(parts, examples_at(parts, images, labels), goal, rule, np.random.default_rng(0))
    picks = 2 * group.channels if repeats else group.channels
    expected = brute_force(model, group, images, labels, picks, how, repeats)
    assert found.picks == [pick for pick, _ in expected]
    assert found.losses == pytest.approx([loss for _, loss in expected], rel=1e-5)
    assert found.reached == (not repeats)


@pytest.mark.parametrize(
    "arch", ["res14s", "vgg11_bn", "tests.networks:mobilenet_shallow", "tests.networks:convnext_shallow"]
)
def test_a_network_cut_anywhere_computes_what_the_whole_one_does(arch):
    model = lively(network(arch, "cpu"))
    traced, images = trace(model), torch.rand(3, 3, 16, 16)
    for group in layers_of(model, traced).groups.values():
        parts, weights = cut(traced, group), torch.rand(group.channels)
        folded = copy.deepcopy(model)
        fold_(folded, group, weights)
        with torch.no_grad():
            values = parts.front(images)
            torch.testing.assert_close(parts.logits(values, weights), folded(images), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(parts.logits(values, weights), model(images), rtol=1e-4, atol=1e-5)
        assert all(len(value) == 3 for value in values), "parameters do not cross the cut"


def test_the_front_of_the_network_is_not_run_again_for_a_candidate():
    model, calls = narrow(), []
    images, labels = torch.rand(12, 3, 8, 8), torch.arange(12) % 3
    group = layers_of(model).groups["b"]
    parts = cut(trace(model), group)
    model.a.register_forward_hook(lambda *_: calls.append("a"))
    model.c.register_forward_hook(lambda *_: calls.append("c"))
    for memory, before in ((2**30, 3), (0, 1 + 4)):  # in batches once, or the first batch and one for each pick
        calls.clear()
        examples = examples_at(parts, images, labels, 4, memory)
        found = select(parts, examples, Goal(budget=4), Rule(), np.random.default_rng(0))
        assert calls.count("c") == 4 + 3 + 2 + 1
        assert calls.count("a") == before + (memory > 0), "one more to see how large it is"
        assert len(found.picks) == 4


def test_kept_or_computed_anew_the_same_is_selected():
    model = lively(Tiny())
    images, labels = torch.rand(30, 1, 8, 8), torch.arange(30) % 3
    parts = cut(trace(model), layers_of(model).groups["conv2"])
    found = [
        select(parts, examples_at(parts, images, labels, 8, memory), Goal(budget=4), Rule(candidates=3),
               np.random.default_rng(1))
        for memory in (0, 2**30)
    ]  # fmt: skip
    assert found[0].picks == found[1].picks and found[0].losses == pytest.approx(found[1].losses)


def test_a_tolerance_ends_at_the_first_selection_that_is_good_enough():
    model = lively(Tiny(), seed=3)
    images = torch.rand(40, 1, 8, 8)
    labels = model(images).argmax(1)  # which the whole network gets right
    parts = cut(trace(model), layers_of(model).groups["conv2"])
    examples = examples_at(parts, images, labels)
    assert accuracy(parts, examples) == 1
    found = select(parts, examples, Goal(accuracy=0.9), Rule(), np.random.default_rng(0))
    after = [
        accuracy(
            parts, examples, channel_weights(torch.bincount(torch.tensor(found.picks[:k]), minlength=6), "average")
        )
        for k in range(1, len(found.picks) + 1)
    ]
    assert found.reached and after[-1] >= 0.9 and all(each < 0.9 for each in after[:-1])


def test_weights_are_folded_into_the_layers_that_read():
    model, images = narrow(), torch.rand(4, 3, 8, 8)
    group = layers_of(model).groups["b"]
    parts = cut(trace(model), group)
    weights = channel_weights(torch.tensor([2.0, 0, 1, 1]), "average")
    assert weights.tolist() == [2, 0, 1, 1]
    with torch.no_grad():
        expected = parts.logits(parts.front(images), weights)
    assert not torch.allclose(expected, model(images))
    fold_(model, group, weights)
    torch.testing.assert_close(model(images), expected)


# --- what it has to be better than ------------------------------------------------------------------------------------


def test_the_largest_filters_are_kept_by_the_l1_norm_of_what_makes_the_channel():
    """By hand: the norms are 3, 4, 4, 0; in L2, by the bias or by the readers the order would be another one."""
    model = layers(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    filters = torch.tensor([[3.0, 0], [-2, 2], [-4, 0], [0, 0]])
    with torch.no_grad():
        model[0].weight.copy_(filters[:, :, None, None])
        model[0].bias.copy_(torch.tensor([9.0, 0, 0, 9]))
        model[2].weight[:, 3] = 9
    group = layers_of(model).groups["0"]
    assert filter_norms(model, group).tolist() == [3, 4, 4, 0]
    by_magnitude = [chosen(Baseline("magnitude", k), model, group, np.random.default_rng(0)) for k in range(1, 5)]
    assert by_magnitude == [[1], [1, 2], [1, 2, 0], [1, 2, 0, 3]], "of equals the first"


def test_every_choice_of_random_channels_is_as_likely_as_any_other():
    model = layers(conv(3, 4), conv(4, 4))
    group, random = layers_of(model).groups["0"], np.random.default_rng(0)
    found = Counter(frozenset(chosen(Baseline("random", 2), model, group, random)) for _ in range(1200))
    assert len(found) == 6 and all(len(pair) == 2 for pair in found)
    assert min(found.values()) > 150 and max(found.values()) < 250, "200 expected, 13 their standard deviation"


# --- which layers are asked for ---------------------------------------------------------------------------------------


def test_budgets_by_name_pattern_share_and_number():
    found = layers_of(network("res14s"))
    asked = asked_layers("layer1.*=0.4,layer2.0.conv1,layer1.1.conv1=3,layer3.*=1.0")
    budgets = {name: layer.budget for name, layer in plan(found, asked, "0.5", "res14s").items()}
    assert budgets == {"layer1.0.conv1": 6, "layer1.1.conv1": 3, "layer2.0.conv1": 16}
    everything = plan(found, asked_layers(None), "0.01", "res14s")
    assert list(everything) == list(found.groups) and {layer.budget for layer in everything.values()} == {1}
    assert {layer.budget for layer in plan(found, [], None, "res14s").values()} == {None}


def test_an_mlp_has_no_channels():
    with pytest.raises(InputError, match="--arch mlp2 has no convolution whose channels can be dropped"):
        plan(layers_of(network("mlp2")), [], "0.5", "mlp2")
