"""Selections of channels that greedy selection has to be better than: as many of each layer, but chosen without looking
at what the network computes.

    random     every choice as likely as any other
    magnitude  the channels whose filters have the largest L1 norm (Li et al., "Pruning Filters for Efficient ConvNets",
               ICLR 2017)

A channel's filter is the weights of the convolution that makes it, without bias and batch norm. Layers are treated
front to back in the network as it is then, whose filters have nothing left for the dropped channels of layers before:
what Li et al. call the greedy strategy. Which channels are kept is all that differs from a greedy selection: they weigh
as much (--channel_weights) and are trained as long. Shapes: D channels, K of them chosen.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lottery.greedy.channels.groups import Group
from lottery.greedy.names import RANDOM


class Baseline(NamedTuple):
    """So many channels, chosen by one of `greedy.BASELINES`."""

    by: str
    channels: int


def chosen(baseline: Baseline, model: nn.Module, group: Group, random: np.random.Generator) -> list[int]:
    """(K,) channels of the group, those of the largest filters in falling order; of equals the first."""
    if baseline.by == RANDOM:
        return random.permutation(group.channels)[: baseline.channels].tolist()
    norms = filter_norms(model, group)
    return norms.sort(descending=True, stable=True).indices[: baseline.channels].tolist()


@torch.no_grad()
def filter_norms(model: nn.Module, group: Group) -> Tensor:
    """(D,) the sum of the absolute weights of each channel's filter, float64."""
    return model.get_submodule(group.producer).weight.double().abs().sum((1, 2, 3))
