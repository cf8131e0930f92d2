"""What is pruned as one: single coefficients, or whole rows of a layer's weights, (out, ...), along the outputs.

In the canonical basis a row is a filter or a neuron. A mask of rows is {name: (out,) bool}; pruner.drop takes it, and
scores of the same shape, as it takes a mask of weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lottery.bases.config import BasisConfig
from pruner import Mask, Scores


def rows(mask: Mask) -> Mask:
    """Which rows of each layer keep anything."""
    return {name: layer.reshape(len(layer), -1).any(1) for name, layer in mask.items()}


def units(mask: Mask, config: BasisConfig) -> Mask:
    """The mask of what is pruned as one: itself, or {name: (out,)} for rows."""
    return rows(mask) if config.in_blocks else mask


def row_magnitude(coefficients: Mapping[str, Tensor], mask: Mask) -> Scores:
    """||row||_2 / sqrt(size of the row), (out,): the root of the mean square, so that rows of all lengths compare."""
    return {name: coefficients[name].detach().reshape(len(layer), -1).square().mean(1).sqrt()
            for name, layer in mask.items()}  # fmt: skip


def of_rows(kept: Mask, mask: Mask) -> Mask:
    """The part of `mask` in the rows that are `kept`, {name: (out,)}."""
    return {name: layer & kept[name].view(-1, *[1] * (layer.ndim - 1)) for name, layer in mask.items()}


def in_whole_rows(mask: Mask) -> bool:
    """Whether every row is kept or dropped as a whole."""
    counts = [(layer.reshape(len(layer), -1).any(1) == layer.reshape(len(layer), -1).all(1)) for layer in mask.values()]
    return bool(torch.cat(counts).all())
