"""Inputs, targets, losses and accuracy of a two-layer network."""

import numpy as np
import pytest
import torch

from lottery.greedy import names as greedy
from lottery.greedy.names import ACTIVATIONS, TARGETS
from lottery.greedy.neurons.task import LOSSES, accuracy, cross_entropy, network_inputs, network_targets, squared
from models import mean_field


def test_names_are_those_that_there_are():
    assert set(ACTIVATIONS) == set(mean_field.ACTIVATIONS)
    assert set(greedy.LOSSES) == set(LOSSES)


def test_inputs_are_normalised_have_length_1_on_average_and_a_constant(digits):
    inputs = digits("train", "halves").inputs
    assert inputs.shape == (1437, 65) and inputs.dtype == torch.float32
    assert (inputs[:, -1] == 1).all()
    assert float(inputs[:, :-1].square().sum(1).mean()) == pytest.approx(1, abs=1e-3)
    assert float(inputs[:, :-1].mean()) == pytest.approx(0, abs=1e-3)


def test_colour_images_are_normalised_channel_by_channel():
    images = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)  # one pixel
    found = network_inputs(images, (0.5, 0.25, 0.1), (0.5, 0.25, 0.1))
    torch.testing.assert_close(found, torch.tensor([[1 / 3**0.5, -1 / 3**0.5, 1 / 3**0.5, 1]]))


def test_targets():
    labels = torch.tensor([0, 1, 2])
    assert network_targets(labels, 3, "halves").tolist() == [[1.0], [1.0], [-1.0]]
    assert network_targets(torch.arange(10), 10, "halves").flatten().tolist() == [1.0] * 5 + [-1.0] * 5
    assert network_targets(labels, 3, "classes").tolist() == [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]


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
