"""Greedy selection: the algorithm against brute force, the bounds against what is measured, the two-layer network.

Everything is in float64 where picks are compared, so that rounding decides nothing.
"""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lottery.greedy import names as greedy
from lottery.greedy.names import ACTIVATIONS, TARGETS
from lottery.greedy.neurons.bounds import (
    bound_after_first,
    bound_from_dense,
    first_informative,
    largest,
    losses_of,
    moments,
    random_mean,
    random_picks,
)
from lottery.greedy.neurons.evaluation import Choice, candidates_of, examine
from lottery.greedy.neurons.selection import Block, Candidates, SquaredScore, any_score, in_blocks, select
from lottery.greedy.neurons.task import LOSSES, accuracy, cross_entropy, inputs_of, squared, targets_of
from lottery.greedy.neurons.training import Examples, Plain, batches_at, measure, outputs_of, train_
from lottery.readers.registry import read_source
from models import mean_field
from models.mean_field import MeanField, initial
from tests.helpers import needs_cuda

CASES = list(itertools.product([0, 1, 2], [1, 3]))  # seed, outputs


def problem(seed: int, outputs: int, neurons: int = 12, examples: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, weights and targets that a network of a few of the neurons could nearly have."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.rand(neurons, examples, generator=random, dtype=torch.float64)
    outward = torch.randn(neurons, outputs, generator=random, dtype=torch.float64)
    targets = torch.randn(examples, outputs, generator=random, dtype=torch.float64)
    return hidden, outward, targets


def by_squares(hidden, outward, targets, picks, blocks=None):
    candidates = Candidates(blocks or [hidden], outward)
    return select(candidates, targets, picks, SquaredScore(candidates, targets, moments(candidates).norms), squared)


def by_brute_force(hidden, outward, targets, picks, loss):
    """The algorithm as the paper writes it: every candidate added, every loss computed, one example after another."""
    outputs = [[[h * b for b in own] for h in row] for row, own in zip(hidden.tolist(), outward.tolist(), strict=True)]
    points = torch.tensor(outputs, dtype=torch.float64)  # (N, m, C)
    total, found, losses = torch.zeros_like(targets), [], []
    for k in range(1, picks + 1):
        tried = [float(loss((total + point) / k, targets)) for point in points]
        found.append(min(range(len(tried)), key=tried.__getitem__))
        total = total + points[found[-1]]
        losses.append(tried[found[-1]])
    return found, losses


def half_mean_square(outputs, targets):
    """l(u) = |u - y|^2 / (2m), in words of its own."""
    return sum((u - y) ** 2 for u, y in zip(outputs.flatten(), targets.flatten(), strict=True)) / (2 * len(targets))


# --- selection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed, outputs", CASES)
def test_selection_is_that_of_brute_force(seed, outputs):
    hidden, outward, targets = problem(seed, outputs)
    found, losses = by_brute_force(hidden, outward, targets, 30, half_mean_square)
    selected = by_squares(hidden, outward, targets, 30)
    assert selected.picks.tolist() == found
    torch.testing.assert_close(selected.losses, torch.tensor(losses, dtype=torch.float64))
    assert selected.distinct == len(set(found)) < 30, "neurons are picked again"


@pytest.mark.parametrize("seed, outputs", CASES)
def test_selection_by_cross_entropy_is_that_of_brute_force(seed, outputs):
    hidden, outward, targets = problem(seed, outputs)
    labels = targets.argmax(1)
    targets = F.one_hot(labels, outputs).double() if outputs > 1 else targets.sign()

    def in_words_of_its_own(u, y):
        if outputs == 1:
            return F.binary_cross_entropy_with_logits(u, (y + 1) / 2)
        return F.cross_entropy(u, labels)

    found, losses = by_brute_force(hidden, outward, targets, 15, in_words_of_its_own)
    selected = select(Candidates([hidden], outward), targets, 15, any_score(targets, cross_entropy), cross_entropy)
    assert selected.picks.tolist() == found
    torch.testing.assert_close(selected.losses, torch.tensor(losses, dtype=torch.float64))


def test_a_selection_worked_by_hand():
    """Two examples, to be 3 and 0. First (2, 0) has the smallest error; then (4, 0) makes the mean (3, 0)."""
    hidden = torch.tensor([[1.0, 1.0], [2.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    selected = by_squares(hidden, torch.ones(3, 1).double(), torch.tensor([[3.0], [0.0]]).double(), 4)
    assert selected.picks.tolist() == [1, 2, 1, 2]
    assert selected.losses.tolist() == [0.25, 0.0, pytest.approx(1 / 36), 0.0]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_of_equals_the_first_is_picked(size):
    """Whole numbers, so that equals are equal to the bit; copies lie in one block and in others."""
    hidden = torch.tensor([[0, 1, 5], [3, 1, 0], [1, 2, 1], [3, 1, 0]] * 2, dtype=torch.float64)
    outward, targets = torch.ones(8, 1).double(), torch.tensor([[2.0], [1.0], [3.0]]).double()
    found = by_squares(hidden, outward, targets, 20, hidden.split(size)).picks.tolist()
    assert found == by_brute_force(hidden, outward, targets, 20, half_mean_square)[0]
    assert set(found) <= {0, 1, 2} and len(set(found)) > 1


@pytest.mark.parametrize("seed, outputs", CASES)
@pytest.mark.parametrize("chunk", [1, 700, 2**26])
def test_the_way_for_any_loss_finds_what_the_fast_one_does(seed, outputs, chunk):
    hidden, outward, targets = problem(seed, outputs)
    fast = by_squares(hidden, outward, targets, 25)
    slow = select(Candidates([hidden], outward), targets, 25, any_score(targets, squared, chunk), squared)
    assert slow.picks.tolist() == fast.picks.tolist()
    torch.testing.assert_close(slow.losses, fast.losses)


def test_the_way_for_any_loss_keeps_to_its_chunks():
    hidden, outward, targets = problem(0, 3)
    seen = []

    def watching(outputs, targets):
        seen.append(outputs.numel() * outputs.itemsize)
        return squared(outputs, targets)

    any_score(targets, watching, chunk=3 * 9 * 3 * 8)(torch.zeros_like(targets), 1, None)(Block(0, hidden, outward))
    assert seen == [3 * 9 * 3 * 8] * 4


@pytest.mark.parametrize("way", ["squared", "cross_entropy"])
@pytest.mark.parametrize("neurons_at_once", [1, 5, 11, 12])
def test_activations_that_are_recomputed_give_the_same(way, neurons_at_once):
    hidden, outward, targets = problem(1, 1)
    targets, asked = targets.sign(), []

    def compute(neurons):
        asked.append(neurons)
        return hidden[neurons]

    blocks = in_blocks(compute, 12, bytes_per_neuron=9 * 8, memory=neurons_at_once * 9 * 8)
    recomputed, kept = Candidates(blocks, outward), Candidates([hidden], outward)
    assert torch.equal(moments(recomputed).norms, moments(kept).norms)
    torch.testing.assert_close(moments(recomputed).mean, moments(kept).mean)
    loss = {"squared": squared, "cross_entropy": cross_entropy}[way]

    def selected(candidates):
        norms = moments(kept).norms
        score = SquaredScore(candidates, targets, norms) if way == "squared" else any_score(targets, loss)
        return select(candidates, targets, 20, score, loss)

    ours, theirs = selected(recomputed), selected(kept)
    assert ours.picks.tolist() == theirs.picks.tolist()
    torch.testing.assert_close(ours.losses, theirs.losses)
    assert max(part.stop - part.start for part in asked) == neurons_at_once
    assert len(asked) == (1 if neurons_at_once == 12 else (2 + (way == "squared") + 20) * -(-12 // neurons_at_once))


def test_memory_for_less_than_a_neuron_is_taken_as_one():
    hidden = problem(0, 1)[0]
    blocks = in_blocks(lambda part: hidden[part], 12, bytes_per_neuron=72, memory=1)
    assert [len(block) for block in blocks] == [1] * 12


def test_more_picks_than_neurons_are_allowed():
    hidden, outward, targets = problem(2, 1, neurons=2)
    assert by_squares(hidden, outward, targets, 9).picks.tolist() == by_brute_force(
        hidden, outward, targets, 9, half_mean_square)[0]  # fmt: skip


# --- bounds -----------------------------------------------------------------------------------------------------------


def theory(candidates, targets, selected):
    spread, picks = moments(candidates), len(selected.picks)
    dense, variance = float(squared(spread.mean, targets)), float(spread.variance)
    return (
        bound_after_first(float(selected.losses[0]), dense, variance, picks),
        bound_from_dense(dense, variance, picks),
    )


@pytest.mark.parametrize("seed", range(40))
def test_the_bounds_hold_at_every_pick_of_random_networks(seed):
    hidden, outward, targets = problem(seed, 1 + seed % 3, neurons=5 + seed, examples=4 + seed % 7)
    outward = outward * 4 ** (seed % 3 - 1)
    selected, candidates = by_squares(hidden, outward, targets, 60), Candidates([hidden], outward)
    after_first, from_dense = theory(candidates, targets, selected)
    assert (selected.losses <= after_first + 1e-12).all() and (after_first <= from_dense + 1e-12).all()
    torch.testing.assert_close(selected.losses[0], after_first[0])


@pytest.fixture(scope="module")
def digits():
    source = read_source("digits", "data")
    parts = {"train": (source.train_images, source.train_labels), "test": (source.test_images, source.test_labels)}

    def examples(which, target):
        images, labels = map(torch.from_numpy, parts[which])
        return Examples(inputs_of(images, source.mean, source.std), targets_of(labels, 10, target))

    return examples


@pytest.mark.parametrize("target, activation", list(itertools.product(TARGETS, ACTIVATIONS)))
def test_the_bounds_hold_at_every_pick_of_trained_networks(digits, target, activation):
    data = digits("train", target)
    network = initial(150, data.inputs.shape[1], data.targets.shape[1], activation, seed=1)
    first = float(squared(outputs_of(network, data.inputs), data.targets))
    for stretch in (range(0), range(200)):
        train_(network, data, stretch, Plain(0.2, 64, squared, seed=0))
        twin = network.to(torch.float64)
        data64 = Examples(data.inputs.double(), data.targets.double())
        candidates = candidates_of(twin, data64.inputs, 2**30)
        selected = select(
            candidates, data64.targets, 80, SquaredScore(candidates, data64.targets, moments(candidates).norms), squared
        )
        after_first, from_dense = theory(candidates, data64.targets, selected)
        assert (selected.losses <= after_first).all() and (after_first <= from_dense + 1e-12).all()
        network = twin.to(torch.float32)
    assert float(squared(outputs_of(network, data.inputs), data.targets)) < first / 2, "it has been trained"


def test_moments_are_those_of_the_neurons_outputs():
    hidden, outward, targets = problem(0, 3)
    points = hidden[:, :, None] * outward[:, None, :]  # (N, m, C)
    spread = moments(Candidates(hidden.split(5), outward))
    torch.testing.assert_close(spread.mean, points.mean(0))
    torch.testing.assert_close(spread.norms, points.square().sum((1, 2)))
    torch.testing.assert_close(spread.variance, (points - points.mean(0)).square().sum((1, 2)).mean() / len(targets))


def test_a_random_multiset_has_the_mean_loss_it_is_said_to_have():
    hidden, outward, targets = problem(3, 2)
    candidates, random, draws = Candidates([hidden], outward), np.random.default_rng(0), 4000
    points, spread = hidden[:, :, None] * outward[:, None, :], moments(candidates)
    expected = random_mean(float(squared(spread.mean, targets)), float(spread.variance), 6)
    for k in (1, 2, 6):
        drawn = torch.stack([squared(points[random_picks(12, k, random)].mean(0), targets) for _ in range(draws)])
        error = float(drawn.std()) / draws**0.5
        assert abs(float(drawn.mean() - expected[k - 1])) < 4 * error
        assert 4 * error < float(spread.variance) / (2 * k) / 4, "few draws would tell nothing"


def test_losses_of_picks_are_those_of_their_selection():
    hidden, outward, targets = problem(1, 3)
    network = MeanField(torch.eye(12).double(), outward, "relu")  # neuron i has the i-th input as its activation
    data = Examples(hidden.T, targets)
    selected = by_squares(hidden, outward, targets, 20)
    torch.testing.assert_close(losses_of(network.subnetwork(selected.picks), data, squared), selected.losses)


def test_largest_are_the_first_of_equals_and_never_more_than_there_are():
    norms = torch.tensor([1.0, 3.0, 2.0, 3.0])
    assert largest(norms, 3).tolist() == [1, 3, 2]
    assert largest(norms, 9).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("zero, expected", [(0.5, None), (0.6, 3), (1.0, 2), (5.0, 1)])
def test_where_a_bound_begins_to_say_something(zero, expected):
    assert first_informative(torch.tensor([2.0, 1.0, 0.6], dtype=torch.float64), zero) == expected


# --- the network ------------------------------------------------------------------------------------------------------


def test_names_are_those_that_there_are():
    assert set(ACTIVATIONS) == set(mean_field.ACTIVATIONS)
    assert set(greedy.LOSSES) == set(LOSSES)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_network_is_the_mean_of_its_neurons(activation):
    network = initial(7, 5, 3, activation, seed=4).double().requires_grad_(False)
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
    act = {"relu": lambda value: max(value, 0.0), "tanh": np.tanh}[activation]
    for x, output in zip(inputs, network(inputs), strict=True):
        neurons = [act(float(a @ x)) * b for a, b in zip(network.a, network.b, strict=True)]
        torch.testing.assert_close(output, sum(neurons) / 7)
    candidates = candidates_of(network, inputs, 2**20)
    torch.testing.assert_close(moments(candidates).mean, network(inputs))
    torch.testing.assert_close(outputs_of(network, inputs), network(inputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lottery.greedy.neurons.training.HIDDEN", 7 * 4)  # four examples at once
        torch.testing.assert_close(outputs_of(network, inputs), network(inputs))


def test_a_subnetwork_is_the_mean_of_its_picks_and_a_network_of_its_own():
    network = initial(5, 4, 2, "relu", seed=0)
    inputs, picks = torch.randn(3, 4), torch.tensor([4, 1, 4])
    small = network.subnetwork(picks)
    four, one = network.subnetwork(picks[:1]), network.subnetwork(picks[1:2])
    torch.testing.assert_close(small(inputs), (2 * four(inputs) + one(inputs)) / 3)
    with torch.no_grad():
        small.a.zero_(), small.b.zero_()
    assert (network.a != 0).all() and (network.b != 0).all()


def tiny_data(examples=10, dtype=torch.float64):
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(examples, 4, generator=random, dtype=dtype)
    return Examples(inputs, inputs[:, :1].sign())


def test_a_step_is_the_gradients_times_the_number_of_neurons():
    data, network = tiny_data(), initial(6, 4, 1, "relu", seed=1).double()
    a, b = network.a.detach().clone(), network.b.detach().clone()
    train_(network, data, range(1), Plain(0.3, 10, squared, seed=0))
    before = data.inputs @ a.T  # (m, N)
    error = (before.relu() @ b / 6 - data.targets) / 10  # (m, 1) gradient of the loss at the outputs
    torch.testing.assert_close(network.b.detach(), b - 0.3 * before.relu().T @ error)
    torch.testing.assert_close(network.a.detach(), a - 0.3 * ((error @ b.T) * (before > 0)).T @ data.inputs)


@pytest.mark.parametrize("loss", [squared, cross_entropy])
def test_learning_rates_mean_the_same_for_every_width(loss):
    """A network with every neuron twice is the same function, and stays so: the law of mean-field units."""
    data, network = tiny_data(), initial(6, 4, 1, "tanh", seed=1).double()
    twice = network.subnetwork(torch.arange(6).repeat(2))
    for each in (network, twice):
        train_(each, data, range(40), Plain(0.5, 3, loss, seed=0))
    torch.testing.assert_close(twice(data.inputs), network(data.inputs))


@pytest.mark.parametrize("examples", [8, 10, 100])
def test_training_in_parts_is_training_at_once_to_the_bit(examples):
    data, recipe = tiny_data(examples, torch.float32), Plain(0.5, 3, squared, seed=5)
    whole, parts = (initial(6, 4, 1, "relu", seed=1) for _ in range(2))
    train_(whole, data, range(23), recipe)
    for start, stop in itertools.pairwise((0, 1, 9, 23)):
        torch.rand(3)  # nothing may depend on the global generator
        train_(parts, data, range(start, stop), recipe)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_an_epoch_has_every_example_once_in_an_order_of_its_own():
    chosen = batches_at(range(8), 10, Plain(0.5, 3, squared, seed=0))  # 3, 3, 4: no batch of one
    assert [len(batch) for batch in chosen] == [3, 3, 4, 3, 3, 4, 3, 3]
    first, second = (torch.cat(chosen[start : start + 3]) for start in (0, 3))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert first.tolist() != second.tolist() != list(range(10))


def test_two_widths_of_one_seed_begin_with_other_weights_and_one_with_its_own():
    a, b, again = (initial(neurons, 3, 1, "relu", seed) for neurons, seed in ((5, 0), (5, 1), (5, 0)))
    assert torch.equal(a.a, again.a) and not torch.equal(a.a, b.a)


# --- the task ---------------------------------------------------------------------------------------------------------


def test_inputs_are_normalised_have_length_1_on_average_and_a_constant(digits):
    inputs = digits("train", "halves").inputs
    assert inputs.shape == (1437, 65) and inputs.dtype == torch.float32
    assert (inputs[:, -1] == 1).all()
    assert float(inputs[:, :-1].square().sum(1).mean()) == pytest.approx(1, abs=1e-3)
    assert float(inputs[:, :-1].mean()) == pytest.approx(0, abs=1e-3)


def test_colour_images_are_normalised_channel_by_channel():
    images = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)  # one pixel
    found = inputs_of(images, (0.5, 0.25, 0.1), (0.5, 0.25, 0.1))
    torch.testing.assert_close(found, torch.tensor([[1 / 3**0.5, -1 / 3**0.5, 1 / 3**0.5, 1]]))


def test_targets():
    labels = torch.tensor([0, 1, 2])
    assert targets_of(labels, 3, "halves").tolist() == [[1.0], [1.0], [-1.0]]
    assert targets_of(torch.arange(10), 10, "halves").flatten().tolist() == [1.0] * 5 + [-1.0] * 5
    assert targets_of(labels, 3, "classes").tolist() == [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]


def test_accuracy():
    one = torch.tensor([[2.0], [-1.0], [0.0], [1.0]])
    assert accuracy(one, torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])) == 50
    assert accuracy(torch.tensor([[0.1, 0.3], [0.4, 0.2]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])) == 50


def test_losses_of_the_zero_function(digits):
    for target in TARGETS:
        targets = digits("test", target).targets
        assert float(squared(torch.zeros_like(targets), targets)) == pytest.approx(0.5)
        expected = np.log(2 if target == "halves" else 10)
        assert float(cross_entropy(torch.zeros_like(targets), targets)) == pytest.approx(expected)


# --- one point --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target, loss", list(itertools.product(TARGETS, LOSSES)))
def test_a_point_says_what_its_networks_do(digits, target, loss):
    train, test = digits("train", target), digits("test", target)
    network = initial(60, train.inputs.shape[1], train.targets.shape[1], "relu", seed=0)
    measured_by = LOSSES[loss]
    train_(network, train, range(60), Plain(0.2, 64, measured_by, seed=0))
    point, picks = examine(network, train, test, Choice(70, loss, 2**30), np.random.default_rng(0))
    assert point["picks"] == picks.tolist() and point["selected"]["distinct"] == len(set(point["picks"]))
    assert point["dense"] == pytest.approx(measure(network, train, test, measured_by), abs=1e-4)
    selected = measure(network.subnetwork(picks), train, test, measured_by)
    assert {name: point["selected"][name] for name in selected} == selected
    curves = point["curves"]
    assert {len(curves[name]) for name in curves if name != "largest"} == {70} and len(curves["largest"]) == 60
    for name in ("selected", "random", "largest"):
        assert curves[name][-1] == pytest.approx(point[name]["loss"], abs=1e-5)
    assert point["selected"]["loss"] < min(point[name]["loss"] for name in ("random", "largest", "zero"))
    assert ("bound" in point) == (loss == "squared")
    if loss == "squared":
        below = np.array(curves["selected"]) <= np.array(curves["bound after the first"])
        assert below.all() and point["bound"] == curves["bound"][-1]
        assert point["vacuous"] == (point["bound"] > point["zero"]["loss"])


@needs_cuda
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_selects_as_the_cpu_does(digits, loss):
    data = digits("train", "halves")
    data = Examples(data.inputs.double(), data.targets.double())
    network = initial(80, data.inputs.shape[1], 1, "relu", seed=0).double()
    found = {}
    for device in ("cpu", "cuda"):
        inputs, targets = (part.to(device) for part in data)
        candidates = candidates_of(network.to(device), inputs, 20 * len(inputs) * 8)
        norms, measured_by = moments(candidates).norms, LOSSES[loss]
        score = SquaredScore(candidates, targets, norms) if loss == "squared" else any_score(targets, measured_by)
        found[device] = select(candidates, targets, 30, score, measured_by).picks.tolist()
    assert found["cpu"] == found["cuda"]


@needs_cuda
def test_nothing_waits_for_the_gpu_within_a_training_or_a_selection(digits):
    data = Examples(*(part.cuda() for part in digits("train", "classes")))
    network = initial(80, data.inputs.shape[1], 10, "relu", seed=0).cuda()
    candidates = candidates_of(network, data.inputs, 20 * len(data.inputs) * 4)
    score, ticks = SquaredScore(candidates, data.targets, moments(candidates).norms), []

    def first_tick():  # the batches have been sent
        ticks.append(torch.cuda.set_sync_debug_mode("error"))

    try:
        train_(network, data, range(30), Plain(0.2, 64, squared, seed=0), first_tick)
        select(candidates, data.targets, 20, score, squared)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(ticks) == 30
