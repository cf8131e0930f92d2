"""Baselines for greedy selection: as many channels of each layer, chosen without running the network.

    random     uniformly at random
    magnitude  the channels whose filters have the largest L1 norm (Li et al., "Pruning Filters for Efficient ConvNets",
               ICLR 2017)

A channel's filter is the weights of the convolution that outputs it, without bias and batch norm. Layers are treated
front to back, with filters that no longer have weights for channels dropped in earlier layers: what Li et al. call the
greedy strategy. All else is as in a greedy selection: channel weights and training. Shapes: D channels, K chosen.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lottery.channels.groups import ChannelGroup
from lottery.greedy.names import RANDOM


class Baseline(NamedTuple):
    """How to choose how many channels."""

    by: str  # one of greedy.names.BASELINES
    channels: int


def baseline_channels(
    baseline: Baseline, model: nn.Module, group: ChannelGroup, random: np.random.Generator
) -> list[int]:
    """K channels of the group; by magnitude in falling order, the first among equals first."""
    if baseline.by == RANDOM:
        return random.permutation(group.channels)[: baseline.channels].tolist()
    norms = filter_norms(model, group)
    return norms.sort(descending=True, stable=True).indices[: baseline.channels].tolist()


@torch.no_grad()
def filter_norms(model: nn.Module, group: ChannelGroup) -> Tensor:
    """The L1 norm of each channel's filter, float64 (D,)."""
    return model.get_submodule(group.producer).weight.double().abs().sum((1, 2, 3))
