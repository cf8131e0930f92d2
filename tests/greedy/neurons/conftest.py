"""Fixtures: made-up neurons to select from, and the digits as a two-layer network takes them."""

import pytest
import torch
from torch import Tensor

from lottery.greedy.neurons.bounds import (
    moments,
)
from lottery.greedy.neurons.selection import (
    Candidates,
    Selection,
    SquaredScore,
    select_greedily,
)
from lottery.greedy.neurons.task import network_inputs, network_targets, squared
from lottery.greedy.neurons.training import Examples
from lottery.readers.registry import read_source


@pytest.fixture(scope="session")
def neuron_problem():
    """Makes activations, weights and targets that a network of a few of the neurons could nearly have, in float64, so
    that rounding decides no pick."""

    def make(seed: int, outputs: int, neurons: int = 12, examples: int = 9) -> tuple[Tensor, Tensor, Tensor]:
        random = torch.Generator().manual_seed(seed)
        hidden = torch.rand(neurons, examples, generator=random, dtype=torch.float64)
        weights = torch.randn(neurons, outputs, generator=random, dtype=torch.float64)
        targets = torch.randn(examples, outputs, generator=random, dtype=torch.float64)
        return hidden, weights, targets

    return make


@pytest.fixture(scope="session")
def select_by_squares():
    """Selects by the fast score of the squared loss."""

    def select(hidden, weights, targets, picks, blocks=None) -> Selection:
        candidates = Candidates(blocks or [hidden], weights)
        score = SquaredScore(candidates, targets, moments(candidates).norms)
        return select_greedily(candidates, targets, picks, score, squared)

    return select


@pytest.fixture(scope="session")
def digits():
    """Makes the examples of the digits' training or test set, with targets of either kind."""
    source = read_source("digits", "data")
    parts = {"train": (source.train_images, source.train_labels), "test": (source.test_images, source.test_labels)}

    def examples(which, target):
        images, labels = map(torch.from_numpy, parts[which])
        return Examples(network_inputs(images, source.mean, source.std), network_targets(labels, 10, target))

    return examples
