"""Normalisation as the first layer of a network, and the import of advertorch.

A network that normalises its own images takes them in [0, 1], where attacks perturb them, and its file records the
statistics it was trained with. advertorch 0.2.3 needs `zero_gradients` from torch.autograd.gradcheck, which torch 1.9
removed; it is supplied here. Import this module before any other part of advertorch.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module

import torch
from torch import Tensor, nn


def zero_gradients(tensors: Tensor | Iterable) -> None:
    """Zero the gradient, if any, of a tensor or of each tensor in a nested iterable."""
    if not isinstance(tensors, Tensor):
        for tensor in tensors:
            zero_gradients(tensor)
    elif tensors.grad is not None:
        tensors.grad.detach_().zero_()


# `import torch.autograd.gradcheck as gradcheck` would give the function of that name, not the module.
gradcheck = import_module("torch.autograd.gradcheck")
if not hasattr(gradcheck, "zero_gradients"):
    gradcheck.zero_gradients = zero_gradients  # type: ignore[attr-defined]  # what torch 2 no longer has


def normalization(
    mean: Sequence[float], std: Sequence[float], *, image_channels: int, network_channels: int
) -> nn.Module:
    """The layer (x − mean) / std per channel; the entries of grey images apply to every channel of the network."""
    from advertorch.utils import NormalizeByChannelMeanStd  # late: with torchvision it takes more than a second

    assert len(mean) == len(std) in (image_channels, network_channels), (
        f"{len(mean)} means, {len(std)} stds, {image_channels} channels"
    )
    assert image_channels in (1, network_channels), f"{image_channels} channels for a network with {network_channels}"
    means, stds = torch.tensor([mean, std], dtype=torch.float32).expand(2, network_channels)
    return NormalizeByChannelMeanStd(means.clone(), stds.clone())


def rgb(images: Tensor) -> Tensor:
    """(n, 1 or 3, h, w) → (n, 3, h, w): the channel of grey images is repeated."""
    return images.expand(-1, 3, -1, -1)
