"""Normalisation as the first layer of a network, and the only place that imports advertorch.

A network that normalises its own images takes them in [0, 1], which is where an attack perturbs them, and its file says
what it was trained with. advertorch 0.2.3 wants `zero_gradients` from torch.autograd.gradcheck, gone since torch 1.9;
it is supplied here before the import. Whoever wants more of advertorch imports this module first.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module

import torch
from torch import Tensor, nn


def zero_gradients(tensors: Tensor | Iterable) -> None:
    """Zero the gradient of a tensor, or of each in an iterable (of iterables) of tensors, where there is one."""
    if not isinstance(tensors, Tensor):
        for tensor in tensors:
            zero_gradients(tensor)
    elif tensors.grad is not None:
        tensors.grad.detach_().zero_()


# `import torch.autograd.gradcheck as gradcheck` would give the function of that name, not the module.
gradcheck = import_module("torch.autograd.gradcheck")
if not hasattr(gradcheck, "zero_gradients"):
    gradcheck.zero_gradients = zero_gradients

from advertorch.utils import NormalizeByChannelMeanStd  # noqa: E402


def normalization(
    mean: Sequence[float], std: Sequence[float], *, image_channels: int, network_channels: int
) -> nn.Module:
    """The layer (x − mean) / std per channel; the entry of a grey image serves every channel of the network."""
    assert len(mean) == len(std) == image_channels, f"{len(mean)} means, {len(std)} stds, {image_channels} channels"
    assert image_channels in (1, network_channels), f"{image_channels} channels for a network with {network_channels}"
    mean, std = torch.tensor([mean, std], dtype=torch.float32).expand(2, network_channels)
    return NormalizeByChannelMeanStd(mean.clone(), std.clone())


def rgb(images: Tensor) -> Tensor:
    """(n, 1 or 3, h, w) → (n, 3, h, w): the one channel of grey images stands for all three."""
    return images.expand(-1, 3, -1, -1)
