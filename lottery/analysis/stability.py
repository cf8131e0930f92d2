"""The straight line between the weights of two trainings: how high the error rises on it, how far apart its ends are.

Stability to the noise of SGD (Frankle et al., "Stabilizing the Lottery Ticket Hypothesis", 2019; "Linear Mode
Connectivity and the Lottery Ticket Hypothesis", ICML 2020): two copies of a network start from the same weights and see
the examples in different orders. If the error does not rise on the line between them, both have reached the same
linearly connected minimum.

A network is its state_dict; distance and angle are those of its parameters, without batch-norm statistics.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dataset import to_input
from lottery.training.labelled_images import LabelledImages
from lottery.training.precision import autocast, matmul_precision
from lottery.training.recipe import batches
from pruner import Weights

STABLE = 2.0  # points of error: a lower barrier counts as none (Linear Mode Connectivity)


def interpolate(a: Weights, b: Weights, alpha: float) -> Weights:
    """(1 - alpha) a + alpha b, exactly a at 0 and b at 1. Integer tensors, such as batch norm's count of batches, are
    those of a."""
    return {
        name: torch.lerp(value, b[name], alpha) if value.is_floating_point() else value for name, value in a.items()
    }


def barrier(values: Sequence[float]) -> float:
    """How much higher the line rises than its ends: max(values) - (first + last) / 2.

    `values` are errors or losses along the line, both ends among them, so the result is never below 0. Of errors in
    percent it is the "instability" of Linear Mode Connectivity, E_sup - mean(E(W1), E(W2)).
    """
    return max(values) - (values[0] + values[-1]) / 2


def distance(a: Weights, b: Weights, names: Iterable[str]) -> float:
    """||a - b||, the L2 norm over all these parameters together."""
    return math.sqrt(sum(float((a[name].double() - b[name].double()).square().sum()) for name in names))


def angle(a: Weights, b: Weights, names: Iterable[str]) -> float:
    """The angle between a and b as vectors of these parameters, in degrees; 0 where one of them is zero.

    2 atan2(|a' - b'|, |a' + b'|) of the two unit vectors: unlike the arc cosine it is exact for small angles.
    """
    names = list(names)
    origin = {name: torch.zeros_like(a[name]) for name in names}
    length_a, length_b = distance(a, origin, names), distance(b, origin, names)
    if not (length_a and length_b):
        return 0.0
    a = {name: a[name].double() / length_a for name in names}
    b = {name: b[name].double() / length_b for name in names}
    opposite = {name: -value for name, value in b.items()}
    return math.degrees(2 * math.atan2(distance(a, b, names), distance(a, opposite, names)))


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep statistics for evaluation."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


@torch.no_grad()
def reestimate_(
    model: nn.Module, data: LabelledImages, indices: Tensor, batch_size: int, precision: str = "fp32"
) -> None:
    """Re-estimate the batch-norm statistics of `model`: the mean over batches of each batch's statistics.

    Interpolated statistics would be wrong for an interpolated network, whose activations have a mean and variance of
    their own. All other layers work as in evaluation, and images are not augmented. A network without batch norm is
    left unchanged.
    """
    norms, device = batch_norms(model), data.device
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # makes torch average over batches
        norm.train()
    with matmul_precision(device, precision), autocast(device, precision):
        for images, _ in data.batches([indices[batch] for batch in batches(len(indices), batch_size)]):
            model(to_input(images))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
