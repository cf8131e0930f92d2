"""LeNet-300-100 and the MLPs, by hand."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.models.helpers import MEAN, STD, images, modules, network, parameters, unsettle_


def test_lenet300_is_two_hidden_layers():
    model, x = unsettle_(network("lenet300", channels=1, size=28)), images(channels=1, size=28)
    assert model.normalize.mean.shape == (1,)
    assert sum(parameter.numel() for parameter in model.parameters()) == 266_610
    hidden = (x.view(4, 784) - MEAN[0]) / STD[0]
    for layer in model.fc1, model.fc2:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ model.fc3.weight.T + model.fc3.bias)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_mlp_n_has_n_layers_of_300_and_one_of_100(n):
    model, x = unsettle_(network(f"mlp{n}", channels=1, size=28)), images(channels=1, size=28)
    widths = [784, *[300] * n, 100, 10]
    assert parameters(model) == sum((i + 1) * o for i, o in pairwise(widths))
    hidden = (x.view(4, 784) - MEAN[0]) / STD[0]
    layers = [getattr(model, f"fc{number}") for number in range(1, n + 3)]
    assert modules(model, nn.Linear) == layers
    for layer in layers[:-1]:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ layers[-1].weight.T + layers[-1].bias)


def test_fully_connected_networks_start_as_their_papers_say():
    glorot = {layer: 2 / (layer.in_features + layer.out_features) for layer in linears("lenet300")}
    kaiming = {layer: 2 / layer.in_features for layer in linears("mlp4")}
    for deviations in glorot, kaiming:
        for layer, variance in deviations.items():
            deviation = variance**0.5
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1) and not layer.bias.any()


def linears(arch):
    return modules(network(arch, channels=1, size=28), nn.Linear)


@pytest.mark.parametrize("size, channels", [(1, 1), (8, 1), (32, 3)])
def test_lenet300_takes_any_size(size, channels):
    assert network("lenet300", size=size, channels=channels)(images(2, channels, size)).shape == (2, 10)
