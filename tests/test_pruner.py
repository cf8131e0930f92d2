"""Masks: the laws of pruning, and agreement with torch's own and with the 2021 code's."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn

import pruner
from models import build_model
from pruner import EarlyBird, count, density, distance, magnitude, prune
from tests.helpers import GOLDEN, Tiny


def layers(*values):
    return {f"layer{i}": torch.tensor(value) for i, value in enumerate(values)}


def weights_of(model):
    return dict(model.named_parameters())


def test_what_is_prunable(tiny):
    assert pruner.prunable(tiny) == ["conv1.weight", "conv2.weight"]
    mlp = build_model("lenet300", classes=10, channels=1, image_size=28, mean=[0.5], std=[0.5])
    assert pruner.prunable(mlp) == ["fc1.weight", "fc2.weight"], "the classifier stays"
    resnet = build_model("res18", classes=10, channels=3, image_size=32, mean=[0.5] * 3, std=[0.5] * 3)
    assert "layer2.0.downsample.0.weight" in pruner.prunable(resnet) and "fc.weight" not in pruner.prunable(resnet)
    with pytest.raises(ValueError, match="nothing to prune"):
        pruner.prunable(nn.Linear(3, 2))


def test_prune_ranks_over_all_layers():
    mask = layers([True, True], [True, True])
    pruned = prune(mask, layers([4.0, 1.0], [3.0, 2.0]), 0.5)
    assert pruner.same(pruned, layers([True, False], [True, False]))


def test_prune_ignores_scores_of_weights_already_gone():
    mask = layers([False, True, True], [True, True])
    pruned = prune(mask, layers([0.0, 5.0, 1.0], [3.0, 4.0]), 0.25)
    assert pruner.same(pruned, layers([False, True, False], [True, True]))


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.999])
def test_prune_counts_exactly_under_ties_and_drops_the_first(rate):
    mask, scores = layers([True] * 6, [True] * 4), layers([1.0] * 6, [1.0] * 4)
    pruned = prune(mask, scores, rate)
    flat = torch.cat(list(pruned.values()))
    dropped = round(rate * 10)
    assert flat.tolist() == [False] * dropped + [True] * (10 - dropped)


def test_ties_at_the_threshold_keep_the_lower_out_wherever_it_stands():
    mask, scores = layers([True] * 3, [True] * 3), layers([2.0, 2.0, 1.0], [2.0, 0.0, 3.0])
    assert pruner.same(prune(mask, scores, 0.5), layers([False, True, False], [True, False, True]))


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5])
def test_rate_outside_0_1_is_refused(rate):
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        prune(layers([True]), layers([1.0]), rate)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not a number"):
        prune(layers([True, True]), layers([1.0, float("nan")]), 0.5)


@pytest.mark.parametrize("rate", [0.2, 0.37])
def test_masks_are_nested_with_exact_counts_over_rounds(rate):
    torch.manual_seed(0)
    model = Tiny()
    mask = pruner.dense(model)
    for _ in range(8):
        for parameter in model.parameters():  # training moves the weights
            nn.init.normal_(parameter)
        pruner.apply_(weights_of(model), mask)
        before, mask = mask, prune(mask, magnitude(weights_of(model), mask), rate)
        assert count(mask) == count(before) - round(rate * count(before))
        assert all((mask[name] <= before[name]).all() for name in mask)
        assert density(mask) == count(mask) / pruner.size(mask)


@pytest.mark.parametrize("rounds", [1, 3])
def test_agrees_with_torch_prune(rounds):
    """Our functional masks against torch's reparametrised ones, the independent implementation."""
    torch.manual_seed(1)
    model = Tiny()
    twin, mask = copy.deepcopy(model), pruner.dense(model)
    convolutions = [(m, "weight") for m in twin.modules() if isinstance(m, nn.Conv2d)]
    for _ in range(rounds):
        mask = prune(mask, magnitude(weights_of(model), mask), 0.2)
        torch_prune.global_unstructured(convolutions, torch_prune.L1Unstructured, amount=0.2)
    for (module, _), layer in zip(convolutions, mask.values(), strict=True):
        assert torch.equal(module.weight_mask.bool(), layer)


def golden_masks(state, number):
    packed = np.load(GOLDEN / "res20s_seed11_masks.npz")
    shapes = {key.split("/")[1].removesuffix("_mask"): key for key in packed if key.startswith(f"round{number}/")}
    return {
        name: torch.from_numpy(np.unpackbits(packed[key], count=state[name].numel()).astype(bool)).view_as(state[name])
        for name, key in shapes.items()
    }


def test_agrees_with_the_2021_code_over_three_rounds():
    state = torch.load(GOLDEN / "res20s_seed11_state_dict.pt", weights_only=True)
    facts = json.loads((GOLDEN / "res20s_seed11.json").read_text())
    masks = [{name: torch.ones_like(state[name], dtype=torch.bool) for name in golden_masks(state, 1)}]
    for number, kept in enumerate(facts["remain_parameters"], start=1):
        masks.append(prune(masks[-1], magnitude(state, masks[-1]), 0.2))
        assert pruner.same(masks[-1], golden_masks(state, number))
        assert count(masks[-1]) == kept
    del masks[0]  # the distances in the file number the masks from the first pruning on
    sizes = {"total": facts["total"]} | {str(k): count(mask) for k, mask in enumerate(masks)}
    compared = 0
    for key, value in facts["hamming"].items():
        a, b, relative_to = key.split(",")
        if max(int(a), int(b)) < len(masks) and relative_to in sizes:
            assert distance(masks[int(a)], masks[int(b)], sizes[relative_to]) == pytest.approx(value, abs=1e-7)
            compared += 1
    assert compared > 10


def test_random_scores_are_a_function_of_the_generator(tiny):
    mask = pruner.dense(tiny)
    a, b, c = (pruner.random_scores(mask, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_whole_density_counts_what_is_never_pruned(tiny):
    total = sum(p.numel() for p in tiny.parameters())
    mask = prune(pruner.dense(tiny), magnitude(weights_of(tiny), pruner.dense(tiny)), 0.5)
    dropped = pruner.size(mask) - count(mask)
    assert pruner.whole_density(mask, tiny.parameters()) == pytest.approx(1 - dropped / total)


def test_a_layer_without_weights_is_named():
    assert pruner.empty_layers(layers([False, False], [True])) == ["layer0"]


# --- the early bird ---------------------------------------------------------------------------------------------------

CASES = json.loads((GOLDEN / "early_bird.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"case{case['case']}")
def test_early_bird_decides_as_the_2021_code(case):
    bird = EarlyBird(case["eps"], case["queue_length"], case["warmup"])
    stop_epoch = None
    for epoch, seen in enumerate(case["distances"]):
        stops = epoch > 0 and bird.observe(epoch, seen)
        assert list(bird.queue) == pytest.approx(case["queue"][epoch])
        assert bird.armed == case["start_record"][epoch]
        assert stops == case["flag_break"][epoch]
        if stops:
            stop_epoch = epoch
            break
    assert stop_epoch == case["stop_epoch"]


def test_early_bird_queue_is_first_in_first_out():
    states = json.loads((GOLDEN / "early_bird_fifo.json").read_text())
    bird = EarlyBird(eps=0.01, queue_length=4)
    for pushed, state in zip([0.5, 0.4, 0.3, 0.2, 0.1], states, strict=True):
        bird.observe(1, pushed)
        assert list(bird.queue) == pytest.approx(state)


def test_a_distance_that_equals_eps_neither_arms_nor_stops():
    bird = EarlyBird(eps=0.08, queue_length=1)
    bird.observe(1, float(np.float32(0.08)))
    assert not bird.armed
    bird.armed = True
    assert not bird.observe(2, float(np.float32(0.08)))
    assert bird.observe(3, 0.0799)


def test_early_bird_never_arms_below_eps_unless_told_not_to_wait():
    waiting, eager = EarlyBird(0.5, 2), EarlyBird(0.5, 2, arm="none")
    assert not any(waiting.observe(epoch, 0.1) for epoch in range(1, 20))
    assert [eager.observe(epoch, 0.1) for epoch in (1, 2, 3)] == [False, True, True]


def test_early_bird_survives_a_resume():
    distances = CASES[0]["distances"][1:]
    whole, half = (EarlyBird(CASES[0]["eps"], CASES[0]["queue_length"]) for _ in range(2))
    for epoch, seen in enumerate(distances[:6], start=1):
        whole.observe(epoch, seen), half.observe(epoch, seen)
    resumed = EarlyBird(CASES[0]["eps"], CASES[0]["queue_length"])
    resumed.load_state_dict(half.state_dict())
    for epoch, seen in enumerate(distances[6:], start=7):
        assert whole.observe(epoch, seen) == resumed.observe(epoch, seen)
        assert whole.queue == resumed.queue


def test_update_compares_consecutive_masks():
    bird = EarlyBird(eps=0.3, queue_length=1)
    a, b = layers([True, False, True, False]), layers([True, True, False, False])
    assert not bird.update(0, a, kept=4), "the first mask has none before it"
    bird.update(1, b, kept=4)
    assert bird.distances == [0.5] and bird.armed
    assert bird.update(2, b, kept=4), "an unchanged mask has settled"


def test_frozen_parameters_are_not_pruned():
    model = Tiny()
    model.conv1.requires_grad_(False)
    assert pruner.prunable(model) == ["conv2.weight"] and pruner.frozen(model) == {"conv1.weight", "conv1.bias"}
    assert pruner.never_pruned(model) == {}
    assert pruner.frozen(model.requires_grad_(False)) == set(), "a network that is only evaluated is not frozen"
