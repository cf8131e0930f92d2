"""Greedy selection of channels against brute force, in a network cut where they are read."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lottery.channels.groups import find_groups
from lottery.channels.trace import trace
from lottery.greedy.channels.config import SelectionConfig
from lottery.greedy.channels.cut import SelectionExamples, cut_network
from lottery.greedy.channels.selection import Goal, accuracy, channel_weights, fold_weights_, select_greedily
from tests.helpers import (
    OwnForward,
    Tiny,
    conv3x3,
    network,
    with_trained_batchnorm,
)


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

    model = with_trained_batchnorm(OwnForward(forward, n=nn.BatchNorm2d(4), c=conv3x3(4, 4), fc=nn.Linear(256, 3)))
    nn.init.uniform_(model.n.bias, 1, 2)  # no channel is dead
    model.scale = nn.Parameter(torch.rand(4) + 0.5)
    return model


def examples_before(cut, images, labels, batch=None, memory=2**30):
    with torch.no_grad():
        return SelectionExamples(cut.front, images, labels, batch or len(labels), memory)


@pytest.mark.parametrize("how, repeats", [("average", False), ("average", True), ("ones", False)])
@pytest.mark.parametrize("which", ["b", "conv1", "conv2"])
def test_selection_equals_brute_force(which, how, repeats):
    torch.manual_seed(2)
    model = narrow() if which == "b" else with_trained_batchnorm(Tiny())
    images = torch.rand(12, 3 if which == "b" else 1, 8, 8)
    labels = torch.arange(12) % 3
    group = find_groups(model).groups[which]
    cut = cut_network(trace(model), group)
    config = SelectionConfig(repeats, 0, how)
    budget = group.channels if not repeats else None
    goal = Goal(budget=budget) if budget else Goal(accuracy=2.0)  # never reached: as many picks as there may be
    found = select_greedily(cut, examples_before(cut, images, labels), goal, config, np.random.default_rng(0))
    picks = 2 * group.channels if repeats else group.channels
    expected = brute_force(model, group, images, labels, picks, how, repeats)
    assert found.picks == [pick for pick, _ in expected]
    assert found.losses == pytest.approx([loss for _, loss in expected], rel=1e-5)
    assert found.reached == (not repeats)


@pytest.mark.parametrize(
    "arch", ["res14s", "vgg11_bn", "tests.networks:mobilenet_shallow", "tests.networks:convnext_shallow"]
)
def test_a_network_cut_anywhere_computes_what_the_whole_one_does(arch):
    model = with_trained_batchnorm(network(arch, "cpu"))
    traced, images = trace(model), torch.rand(3, 3, 16, 16)
    for group in find_groups(model, traced).groups.values():
        cut, weights = cut_network(traced, group), torch.rand(group.channels)
        folded = copy.deepcopy(model)
        fold_weights_(folded, group, weights)
        with torch.no_grad():
            values = cut.front(images)
            torch.testing.assert_close(cut.logits(values, weights), folded(images), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(cut.logits(values, weights), model(images), rtol=1e-4, atol=1e-5)
        assert all(len(value) == 3 for value in values), "parameters do not cross the cut"


def test_the_front_of_the_network_is_not_run_again_for_a_candidate():
    model, calls = narrow(), []
    images, labels = torch.rand(12, 3, 8, 8), torch.arange(12) % 3
    group = find_groups(model).groups["b"]
    cut = cut_network(trace(model), group)
    model.a.register_forward_hook(lambda *_: calls.append("a"))
    model.c.register_forward_hook(lambda *_: calls.append("c"))
    for memory, before in ((2**30, 3), (0, 1 + 4)):  # in batches once, or the first batch and one for each pick
        calls.clear()
        examples = examples_before(cut, images, labels, 4, memory)
        found = select_greedily(cut, examples, Goal(budget=4), SelectionConfig(candidates=0), np.random.default_rng(0))
        assert calls.count("c") == 4 + 3 + 2 + 1
        assert calls.count("a") == before + (memory > 0), "one more to see how large it is"
        assert len(found.picks) == 4


def test_kept_or_computed_anew_the_same_is_selected():
    model = with_trained_batchnorm(Tiny())
    images, labels = torch.rand(30, 1, 8, 8), torch.arange(30) % 3
    cut = cut_network(trace(model), find_groups(model).groups["conv2"])
    found = [
        select_greedily(
            cut,
            examples_before(cut, images, labels, 8, memory),
            Goal(budget=4),
            SelectionConfig(candidates=3),
            np.random.default_rng(1),
        )
        for memory in (0, 2**30)
    ]
    assert found[0].picks == found[1].picks and found[0].losses == pytest.approx(found[1].losses)


def test_a_tolerance_ends_at_the_first_selection_that_is_good_enough():
    model = with_trained_batchnorm(Tiny(), seed=3)
    images = torch.rand(40, 1, 8, 8)
    labels = model(images).argmax(1)  # which the whole network gets right
    cut = cut_network(trace(model), find_groups(model).groups["conv2"])
    examples = examples_before(cut, images, labels)
    assert accuracy(cut, examples) == 1
    found = select_greedily(cut, examples, Goal(accuracy=0.9), SelectionConfig(candidates=0), np.random.default_rng(0))
    after = [
        accuracy(cut, examples, channel_weights(torch.bincount(torch.tensor(found.picks[:k]), minlength=6), "average"))
        for k in range(1, len(found.picks) + 1)
    ]
    assert found.reached and after[-1] >= 0.9 and all(each < 0.9 for each in after[:-1])


def test_weights_are_folded_into_the_layers_that_read():
    model, images = narrow(), torch.rand(4, 3, 8, 8)
    group = find_groups(model).groups["b"]
    cut = cut_network(trace(model), group)
    weights = channel_weights(torch.tensor([2.0, 0, 1, 1]), "average")
    assert weights.tolist() == [2, 0, 1, 1]
    with torch.no_grad():
        expected = cut.logits(cut.front(images), weights)
    assert not torch.allclose(expected, model(images))
    fold_weights_(model, group, weights)
    torch.testing.assert_close(model(images), expected)
