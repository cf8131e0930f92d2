"""What a two-layer network is to compute: its inputs, their targets, and the losses.

Shapes: m examples of d inputs and C outputs; `...` stands for any number of networks at once.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dataset import to_input

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs (..., m, C), targets (m, C) -> (...), the mean over the examples
CONVERTED_AT_ONCE = 4096  # images, which bounds the memory for float copies


def network_inputs(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 images (m, H, W, channels) -> float32 (m, d): normalised pixels and a constant 1 for the bias.

    d = H W channels + 1. Pixels are divided by the square root of their number: an image then has a norm of about 1
    whatever its size, and one learning rate suits all data sets.
    """
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (mean, std))
    parts = [((to_input(part) - mean) / std).flatten(1) for part in images.split(CONVERTED_AT_ONCE)]
    pixels = torch.cat(parts) / parts[0].shape[1] ** 0.5
    return F.pad(pixels, (0, 1), value=1.0)


def network_targets(labels: Tensor, classes: int, kind: str) -> Tensor:
    """Labels (m,) -> float32 (m, C), by `kind`, one of `greedy.names.TARGETS`.

    `halves`: one output, 1 for the lower half of the classes (labels below classes / 2), -1 for the others.
    `classes`: one output per class, 1 for the right one, 0 for the others.
    """
    if kind == "halves":
        return torch.where(labels < classes / 2, 1.0, -1.0)[:, None]
    return F.one_hot(labels, classes).float()


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """l(u) = |u - y|^2 / (2m): summed over the outputs, half the mean over the examples."""
    return (outputs - targets).square().sum(-1).mean(-1) / 2


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross entropy for one-hot targets; for a single output, logistic loss with targets 1 and -1."""
    if targets.shape[-1] == 1:
        return F.softplus(-targets * outputs).squeeze(-1).mean(-1)
    return (outputs.logsumexp(-1) - (outputs * targets).sum(-1)).mean(-1)


LOSSES: dict[str, Loss] = {"squared": squared, "cross_entropy": cross_entropy}


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Percentage of examples whose largest output is that of their class or, with one output, whose output has the
    sign of the target; an output of 0 has none and counts as wrong."""
    one = targets.shape[1] == 1
    right = (outputs * targets > 0).squeeze(1) if one else outputs.argmax(1) == targets.argmax(1)
    return 100 * right.double().mean().item()
