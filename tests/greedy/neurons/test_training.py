"""The two-layer network and its training by plain SGD."""

import itertools

import numpy as np
import pytest
import torch

from lottery.greedy.names import ACTIVATIONS
from lottery.greedy.neurons.bounds import (
    moments,
)
from lottery.greedy.neurons.evaluation import build_candidates
from lottery.greedy.neurons.task import cross_entropy, squared
from lottery.greedy.neurons.training import (
    Examples,
    SgdRecipe,
    iteration_batches,
    network_outputs,
    train_,
)
from models.mean_field import initial


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_network_is_the_mean_of_its_neurons(activation):
    network = initial(7, 5, 3, activation, seed=4).double().requires_grad_(False)
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
    act = {"relu": lambda value: max(value, 0.0), "tanh": np.tanh}[activation]
    for x, output in zip(inputs, network(inputs), strict=True):
        neurons = [act(float(a @ x)) * b for a, b in zip(network.a, network.b, strict=True)]
        torch.testing.assert_close(output, sum(neurons) / 7)
    candidates = build_candidates(network, inputs, 2**20)
    torch.testing.assert_close(moments(candidates).mean, network(inputs))
    torch.testing.assert_close(network_outputs(network, inputs), network(inputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lottery.greedy.neurons.training.MAX_ACTIVATIONS", 7 * 4)  # four examples at once
        torch.testing.assert_close(network_outputs(network, inputs), network(inputs))


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
    train_(network, data, range(1), SgdRecipe(0.3, 10, squared, seed=0))
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
        train_(each, data, range(40), SgdRecipe(0.5, 3, loss, seed=0))
    torch.testing.assert_close(twice(data.inputs), network(data.inputs))


@pytest.mark.parametrize("examples", [8, 10, 100])
def test_training_in_parts_is_training_at_once_to_the_bit(examples):
    data, recipe = tiny_data(examples, torch.float32), SgdRecipe(0.5, 3, squared, seed=5)
    whole, parts = (initial(6, 4, 1, "relu", seed=1) for _ in range(2))
    train_(whole, data, range(23), recipe)
    for start, stop in itertools.pairwise((0, 1, 9, 23)):
        torch.rand(3)  # nothing may depend on the global generator
        train_(parts, data, range(start, stop), recipe)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_an_epoch_has_every_example_once_in_an_order_of_its_own():
    chosen = iteration_batches(range(8), 10, SgdRecipe(0.5, 3, squared, seed=0))  # 3, 3, 4: no batch of one
    assert [len(batch) for batch in chosen] == [3, 3, 4, 3, 3, 4, 3, 3]
    first, second = (torch.cat(chosen[start : start + 3]) for start in (0, 3))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert first.tolist() != second.tolist() != list(range(10))


def test_two_widths_of_one_seed_begin_with_other_weights_and_one_with_its_own():
    a, b, again = (initial(neurons, 3, 1, "relu", seed) for neurons, seed in ((5, 0), (5, 1), (5, 0)))
    assert torch.equal(a.a, again.a) and not torch.equal(a.a, b.a)
