"""Channels chosen at random or by the norms of their filters."""

from collections import Counter

import numpy as np
import torch
from torch import nn

from lottery.channels.groups import find_groups
from lottery.greedy.channels.baselines import Baseline, baseline_channels, filter_norms
from tests.helpers import (
    conv3x3,
)


def test_the_largest_filters_are_kept_by_the_l1_norm_of_what_makes_the_channel():
    """By hand: the norms are 3, 4, 4, 0; in L2, by the bias or by the readers the order would be another one."""
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    filters = torch.tensor([[3.0, 0], [-2, 2], [-4, 0], [0, 0]])
    with torch.no_grad():
        model[0].weight.copy_(filters[:, :, None, None])
        model[0].bias.copy_(torch.tensor([9.0, 0, 0, 9]))
        model[2].weight[:, 3] = 9
    group = find_groups(model).groups["0"]
    assert filter_norms(model, group).tolist() == [3, 4, 4, 0]
    by_magnitude = [
        baseline_channels(Baseline("magnitude", k), model, group, np.random.default_rng(0)) for k in range(1, 5)
    ]
    assert by_magnitude == [[1], [1, 2], [1, 2, 0], [1, 2, 0, 3]], "of equals the first"


def test_every_choice_of_random_channels_is_as_likely_as_any_other():
    model = nn.Sequential(conv3x3(3, 4), conv3x3(4, 4))
    group, random = find_groups(model).groups["0"], np.random.default_rng(0)
    found = Counter(frozenset(baseline_channels(Baseline("random", 2), model, group, random)) for _ in range(1200))
    assert len(found) == 6 and all(len(pair) == 2 for pair in found)
    assert min(found.values()) > 150 and max(found.values()) < 250, "200 expected, 13 their standard deviation"
