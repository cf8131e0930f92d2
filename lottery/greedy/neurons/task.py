"""What a two-layer network is to compute: its inputs, what they should give, and how far off an output is.

Shapes: m examples of d inputs and C outputs; `...` stands for any number of networks at once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dataset import to_input

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs (..., m, C), targets (m, C) -> (...), the mean over the examples
CONVERTED = 4096  # images that are turned into numbers at once


def inputs_of(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (m, H, W, channels) -> float32 (m, d): the normalised pixels, and 1 for a bias, d = H W channels + 1.

    The pixels are divided by the root of their number: an image has a length of about 1, whatever its size, and the
    same learning rate suits all data sets.
    """
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (mean, std))
    parts = [((to_input(part) - mean) / std).flatten(1) for part in images.split(CONVERTED)]
    pixels = torch.cat(parts) / parts[0].shape[1] ** 0.5
    return F.pad(pixels, (0, 1), value=1.0)


def targets_of(labels: Tensor, classes: int, kind: str) -> Tensor:
    """(m,) labels -> float32 (m, C).

    `halves`: one output, 1 for the lower half of the classes (labels below classes / 2), else -1. `classes`: an output
    for each class, 1 for the right one, else 0.
    """
    if kind == "halves":
        return torch.where(labels < classes / 2, 1.0, -1.0)[:, None]
    return F.one_hot(labels, classes).float()


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """l(u) = |u - y|^2 / (2m), the sum over the outputs and half the mean over the examples."""
    return (outputs - targets).square().sum(-1).mean(-1) / 2


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of the softmax of C outputs, with one-hot targets; with one output of its sigmoid, with targets 1 and -1."""
    if targets.shape[-1] == 1:
        return F.softplus(-targets * outputs).squeeze(-1).mean(-1)
    return (outputs.logsumexp(-1) - (outputs * targets).sum(-1)).mean(-1)


LOSSES: dict[str, Loss] = {"squared": squared, "cross_entropy": cross_entropy}


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Percent of the examples whose (one) output has its target's sign, or whose largest output is that of its class.

    An output of 0 has no sign and is wrong.
    """
    one = targets.shape[1] == 1
    right = (outputs * targets > 0).squeeze(1) if one else outputs.argmax(1) == targets.argmax(1)
    return 100 * right.double().mean().item()
