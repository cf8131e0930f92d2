"""The bounds of the theory against measured losses, and the selections that greedy selection has to beat."""

import itertools

import numpy as np
import pytest
import torch

from lottery.greedy.names import ACTIVATIONS, TARGETS
from lottery.greedy.neurons.bounds import (
    bound_after_first,
    bound_from_dense,
    first_informative,
    largest_neurons,
    moments,
    prefix_losses,
    random_mean_loss,
    random_picks,
)
from lottery.greedy.neurons.evaluation import build_candidates
from lottery.greedy.neurons.selection import (
    Candidates,
    SquaredScore,
    select_greedily,
)
from lottery.greedy.neurons.task import squared
from lottery.greedy.neurons.training import (
    Examples,
    SgdRecipe,
    network_outputs,
    train_,
)
from models.mean_field import MeanField, initial


def theory(candidates, targets, selected):
    spread, picks = moments(candidates), len(selected.picks)
    dense, variance = float(squared(spread.mean, targets)), float(spread.variance)
    return (
        bound_after_first(float(selected.losses[0]), dense, variance, picks),
        bound_from_dense(dense, variance, picks),
    )


@pytest.mark.parametrize("seed", range(40))
def test_the_bounds_hold_at_every_pick_of_random_networks(seed, neuron_problem, select_by_squares):
    hidden, weights, targets = neuron_problem(seed, 1 + seed % 3, neurons=5 + seed, examples=4 + seed % 7)
    weights = weights * 4 ** (seed % 3 - 1)
    selected, candidates = select_by_squares(hidden, weights, targets, 60), Candidates([hidden], weights)
    after_first, from_dense = theory(candidates, targets, selected)
    assert (selected.losses <= after_first + 1e-12).all() and (after_first <= from_dense + 1e-12).all()
    torch.testing.assert_close(selected.losses[0], after_first[0])


@pytest.mark.parametrize("target, activation", list(itertools.product(TARGETS, ACTIVATIONS)))
def test_the_bounds_hold_at_every_pick_of_trained_networks(digits, target, activation):
    data = digits("train", target)
    network = initial(150, data.inputs.shape[1], data.targets.shape[1], activation, seed=1)
    first = float(squared(network_outputs(network, data.inputs), data.targets))
    for stretch in (range(0), range(200)):
        train_(network, data, stretch, SgdRecipe(0.2, 64, squared, seed=0))
        twin = network.to(torch.float64)
        data64 = Examples(data.inputs.double(), data.targets.double())
        candidates = build_candidates(twin, data64.inputs, 2**30)
        selected = select_greedily(
            candidates, data64.targets, 80, SquaredScore(candidates, data64.targets, moments(candidates).norms), squared
        )
        after_first, from_dense = theory(candidates, data64.targets, selected)
        assert (selected.losses <= after_first).all() and (after_first <= from_dense + 1e-12).all()
        network = twin.to(torch.float32)
    assert float(squared(network_outputs(network, data.inputs), data.targets)) < first / 2, "it has been trained"


def test_moments_are_those_of_the_neurons_outputs(neuron_problem):
    hidden, weights, targets = neuron_problem(0, 3)
    points = hidden[:, :, None] * weights[:, None, :]  # (N, m, C)
    spread = moments(Candidates(hidden.split(5), weights))
    torch.testing.assert_close(spread.mean, points.mean(0))
    torch.testing.assert_close(spread.norms, points.square().sum((1, 2)))
    torch.testing.assert_close(spread.variance, (points - points.mean(0)).square().sum((1, 2)).mean() / len(targets))


def test_a_random_multiset_has_the_mean_loss_it_is_said_to_have(neuron_problem):
    hidden, weights, targets = neuron_problem(3, 2)
    candidates, random, draws = Candidates([hidden], weights), np.random.default_rng(0), 4000
    points, spread = hidden[:, :, None] * weights[:, None, :], moments(candidates)
    expected = random_mean_loss(float(squared(spread.mean, targets)), float(spread.variance), 6)
    for k in (1, 2, 6):
        drawn = torch.stack([squared(points[random_picks(12, k, random)].mean(0), targets) for _ in range(draws)])
        error = float(drawn.std()) / draws**0.5
        assert abs(float(drawn.mean() - expected[k - 1])) < 4 * error
        assert 4 * error < float(spread.variance) / (2 * k) / 4, "few draws would tell nothing"


def test_losses_of_picks_are_those_of_their_selection(neuron_problem, select_by_squares):
    hidden, weights, targets = neuron_problem(1, 3)
    network = MeanField(torch.eye(12).double(), weights, "relu")  # neuron i has the i-th input as its activation
    data = Examples(hidden.T, targets)
    selected = select_by_squares(hidden, weights, targets, 20)
    torch.testing.assert_close(prefix_losses(network.subnetwork(selected.picks), data, squared), selected.losses)


def test_largest_are_the_first_of_equals_and_never_more_than_there_are():
    norms = torch.tensor([1.0, 3.0, 2.0, 3.0])
    assert largest_neurons(norms, 3).tolist() == [1, 3, 2]
    assert largest_neurons(norms, 9).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("zero, expected", [(0.5, None), (0.6, 3), (1.0, 2), (5.0, 1)])
def test_where_a_bound_begins_to_say_something(zero, expected):
    assert first_informative(torch.tensor([2.0, 1.0, 0.6], dtype=torch.float64), zero) == expected
