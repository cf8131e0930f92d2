"""Greedy selection of neurons, against brute force.

Everything is in float64, so that rounding decides no pick.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F

from lottery.greedy.neurons.bounds import (
    moments,
)
from lottery.greedy.neurons.selection import (
    Block,
    Candidates,
    SquaredScore,
    activation_blocks,
    exhaustive_score,
    select_greedily,
)
from lottery.greedy.neurons.task import cross_entropy, squared

CASES = list(itertools.product([0, 1, 2], [1, 3]))  # seed, outputs


def brute_force(hidden, weights, targets, picks, loss):
    """The algorithm as the paper writes it: every candidate added, every loss computed, one example after another."""
    outputs = [[[h * b for b in own] for h in row] for row, own in zip(hidden.tolist(), weights.tolist(), strict=True)]
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


@pytest.mark.parametrize("seed, outputs", CASES)
def test_selection_is_that_of_brute_force(seed, outputs, neuron_problem, select_by_squares):
    hidden, weights, targets = neuron_problem(seed, outputs)
    found, losses = brute_force(hidden, weights, targets, 30, half_mean_square)
    selected = select_by_squares(hidden, weights, targets, 30)
    assert selected.picks.tolist() == found
    torch.testing.assert_close(selected.losses, torch.tensor(losses, dtype=torch.float64))
    assert selected.distinct == len(set(found)) < 30, "neurons are picked again"


@pytest.mark.parametrize("seed, outputs", CASES)
def test_selection_by_cross_entropy_is_that_of_brute_force(seed, outputs, neuron_problem):
    hidden, weights, targets = neuron_problem(seed, outputs)
    labels = targets.argmax(1)
    targets = F.one_hot(labels, outputs).double() if outputs > 1 else targets.sign()

    def in_words_of_its_own(u, y):
        if outputs == 1:
            return F.binary_cross_entropy_with_logits(u, (y + 1) / 2)
        return F.cross_entropy(u, labels)

    found, losses = brute_force(hidden, weights, targets, 15, in_words_of_its_own)
    selected = select_greedily(
        Candidates([hidden], weights), targets, 15, exhaustive_score(targets, cross_entropy), cross_entropy
    )
    assert selected.picks.tolist() == found
    torch.testing.assert_close(selected.losses, torch.tensor(losses, dtype=torch.float64))


def test_a_selection_worked_by_hand(select_by_squares):
    """Two examples, to be 3 and 0. First (2, 0) has the smallest error; then (4, 0) makes the mean (3, 0)."""
    hidden = torch.tensor([[1.0, 1.0], [2.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    selected = select_by_squares(hidden, torch.ones(3, 1).double(), torch.tensor([[3.0], [0.0]]).double(), 4)
    assert selected.picks.tolist() == [1, 2, 1, 2]
    assert selected.losses.tolist() == [0.25, 0.0, pytest.approx(1 / 36), 0.0]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_of_equals_the_first_is_picked(size, select_by_squares):
    """Whole numbers, so that equals are equal to the bit; copies lie in one block and in others."""
    hidden = torch.tensor([[0, 1, 5], [3, 1, 0], [1, 2, 1], [3, 1, 0]] * 2, dtype=torch.float64)
    weights, targets = torch.ones(8, 1).double(), torch.tensor([[2.0], [1.0], [3.0]]).double()
    found = select_by_squares(hidden, weights, targets, 20, hidden.split(size)).picks.tolist()
    assert found == brute_force(hidden, weights, targets, 20, half_mean_square)[0]
    assert set(found) <= {0, 1, 2} and len(set(found)) > 1


@pytest.mark.parametrize("seed, outputs", CASES)
@pytest.mark.parametrize("chunk", [1, 700, 2**26])
def test_the_way_for_any_loss_finds_what_the_fast_one_does(seed, outputs, chunk, neuron_problem, select_by_squares):
    hidden, weights, targets = neuron_problem(seed, outputs)
    fast = select_by_squares(hidden, weights, targets, 25)
    slow = select_greedily(
        Candidates([hidden], weights), targets, 25, exhaustive_score(targets, squared, chunk), squared
    )
    assert slow.picks.tolist() == fast.picks.tolist()
    torch.testing.assert_close(slow.losses, fast.losses)


def test_the_way_for_any_loss_keeps_to_its_chunks(neuron_problem):
    hidden, weights, targets = neuron_problem(0, 3)
    seen = []

    def watching(outputs, targets):
        seen.append(outputs.numel() * outputs.itemsize)
        return squared(outputs, targets)

    exhaustive_score(targets, watching, chunk=3 * 9 * 3 * 8)(torch.zeros_like(targets), 1, None)(
        Block(0, hidden, weights)
    )
    assert seen == [3 * 9 * 3 * 8] * 4


@pytest.mark.parametrize("way", ["squared", "cross_entropy"])
@pytest.mark.parametrize("neurons_at_once", [1, 5, 11, 12])
def test_activations_that_are_recomputed_give_the_same(way, neurons_at_once, neuron_problem):
    hidden, weights, targets = neuron_problem(1, 1)
    targets, asked = targets.sign(), []

    def compute(neurons):
        asked.append(neurons)
        return hidden[neurons]

    blocks = activation_blocks(compute, 12, bytes_per_neuron=9 * 8, memory=neurons_at_once * 9 * 8)
    recomputed, kept = Candidates(blocks, weights), Candidates([hidden], weights)
    assert torch.equal(moments(recomputed).norms, moments(kept).norms)
    torch.testing.assert_close(moments(recomputed).mean, moments(kept).mean)
    loss = {"squared": squared, "cross_entropy": cross_entropy}[way]

    def selected(candidates):
        norms = moments(kept).norms
        score = SquaredScore(candidates, targets, norms) if way == "squared" else exhaustive_score(targets, loss)
        return select_greedily(candidates, targets, 20, score, loss)

    ours, theirs = selected(recomputed), selected(kept)
    assert ours.picks.tolist() == theirs.picks.tolist()
    torch.testing.assert_close(ours.losses, theirs.losses)
    assert max(part.stop - part.start for part in asked) == neurons_at_once
    assert len(asked) == (1 if neurons_at_once == 12 else (2 + (way == "squared") + 20) * -(-12 // neurons_at_once))


def test_memory_for_less_than_a_neuron_is_taken_as_one(neuron_problem):
    hidden = neuron_problem(0, 1)[0]
    blocks = activation_blocks(lambda part: hidden[part], 12, bytes_per_neuron=72, memory=1)
    assert [len(block) for block in blocks] == [1] * 12


def test_more_picks_than_neurons_are_allowed(neuron_problem, select_by_squares):
    hidden, weights, targets = neuron_problem(2, 1, neurons=2)
    assert select_by_squares(hidden, weights, targets, 9).picks.tolist() == brute_force(
        hidden, weights, targets, 9, half_mean_square)[0]  # fmt: skip
