"""What a weight is worth before training: scores that look at the network, and at examples, not at w alone.

    scores = SCORES["snip"](ScoringInputs(model, weights, mask, batches, random))

Each score is computed in a copy of the network with the weights under the mask, so that nothing of the network changes,
nor its batch norm statistics. `batches` are pairs of images (b, C, H, W) in [0, 1] and labels (b,), which can be gone
through more than once; one at a time is in memory. A loss is the mean over all their examples, whatever the sizes of
batches. Where a score depends on examples, batch norm normalises with the statistics of each batch, as in the training
that the score is about (at initialisation it has no others), and dropout is off.

As everywhere, the lowest scores are dropped first.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from lottery.training.step import load_weights_
from models.network_state import copy_network, tensors
from models.units import NORMALIZATION
from pruner import Mask, Scores, Weights, apply_, magnitude, random_scores

Batches = Iterable[tuple[Tensor, Tensor]]

TEMPERATURE = 200.0  # of the softmax in GraSP's loss, as in its authors' code


class ScoringInputs(NamedTuple):
    """What a criterion may look at."""

    model: nn.Module
    weights: Weights
    mask: Mask
    batches: Batches
    random: np.random.Generator


def snip(model: nn.Module, weights: Weights, mask: Mask, batches: Batches) -> Scores:
    """|w dL/dw|: to first order, how much the loss changes without the weight (SNIP; Lee et al., ICLR 2019).

    The gradient is that of the loss on all examples; its absolute value is taken once, at the end.
    """
    network = _judged(model, weights, mask)
    gradients = _gradients(network, mask, batches)
    return {name: (network.get_parameter(name).detach() * gradient).abs() for name, gradient in gradients.items()}


def grasp(model: nn.Module, weights: Weights, mask: Mask, batches: Batches, temperature: float = TEMPERATURE) -> Scores:
    """w (H g): how much less the gradient would flow without the weight (GraSP; Wang et al., ICLR 2020).

    g is the gradient of the loss with respect to the weights that the mask keeps, H the Hessian. Removing a weight is
    the step -w, along which the flow |g|^2 changes by -2 w (H g). The paper scores a weight -w (H g) and prunes those
    that score highest; ours is minus that, sign and all: a weight whose removal would let the gradient flow more has
    the lowest, a negative score, and is dropped first. The loss is that of the logits divided by `temperature`.

    The examples are gone through twice, first for g, then for H g as the gradient of g (dL/dw) with g held fixed.
    """
    network = _judged(model, weights, mask)
    gradients = _gradients(network, mask, batches, temperature)
    apply_(gradients, mask)  # a weight that is dropped already is no variable any more
    curvature = _gradients(network, mask, batches, temperature, along=gradients)
    return {name: network.get_parameter(name).detach() * product for name, product in curvature.items()}


def synflow(model: nn.Module, weights: Weights, mask: Mask, batches: Batches) -> Scores:
    """|w| dR/d|w|: the synaptic flow through the weight (SynFlow; Tanaka et al., NeurIPS 2020).

    R is the sum of the outputs for an image of ones, of the network with every number replaced by its absolute value,
    in float64, since R may be as large as the network is deep. Batch norm is in eval mode, a scale and a shift by
    numbers of its own; the mean that it subtracts counts as what it adds, so that no path through the network is
    negative. The ones enter behind the normalisation of images. Of `batches` only the shape of an image matters.

    The theory is that of networks whose layers are positively homogeneous; where one gives less if it gets more, as
    attention and group norm may, scores are negative, and mean nothing.
    """
    network = _absolute(_at(model, weights, mask).eval().double())
    parameters = [network.get_parameter(name) for name in mask]
    images, _ = next(iter(batches))
    flow = network(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, parameters, materialize_grads=True)
    return {
        name: parameter.detach() * gradient
        for name, parameter, gradient in zip(mask, parameters, gradients, strict=True)
    }


SCORES: dict[str, Callable[[ScoringInputs], Scores]] = {
    "random": lambda subject: random_scores(subject.mask, subject.random),
    "magnitude": lambda subject: magnitude(subject.weights, subject.mask),
    "snip": lambda subject: snip(*subject[:4]),
    "grasp": lambda subject: grasp(*subject[:4]),
    "synflow": lambda subject: synflow(*subject[:4]),
}


# --- networks to look at ----------------------------------------------------------------------------------------------


def _at(model: nn.Module, weights: Weights, mask: Mask) -> nn.Module:
    """A copy of the network with the weights under the mask."""
    network = copy_network(model)
    load_weights_(network, weights)
    apply_(dict(network.named_parameters()), mask)
    return network.requires_grad_(True)


def _judged(model: nn.Module, weights: Weights, mask: Mask) -> nn.Module:
    """Such a copy as it stands at the beginning of training, with nothing left to chance."""
    network = _at(model, weights, mask).eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    return network


@torch.no_grad()
def _absolute(network: nn.Module) -> nn.Module:
    """The network, changed in place, with every number replaced by its absolute value and no normalisation of images.

    A running mean is replaced by minus its absolute value, since it is subtracted.
    """
    if isinstance(getattr(network, NORMALIZATION, None), nn.Module):
        setattr(network, NORMALIZATION, nn.Identity())
    for value in tensors(network).values():
        value.abs_()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            module.running_mean.neg_()
    return network


def _gradients(
    network: nn.Module, names: Iterable[str], batches: Batches, temperature: float = 1.0, along: Weights | None = None
) -> Weights:
    """dL/dw by name, L the mean cross-entropy over all examples; with `along` a vector v instead the product H v, H
    being the Hessian of L with respect to these parameters."""
    parameters = [network.get_parameter(name) for name in names]
    sums, examples = [torch.zeros_like(parameter) for parameter in parameters], 0
    for images, labels in batches:
        with nullcontext() if along is None else sdpa_kernel(SDPBackend.MATH):  # others have no second derivative
            logits = network(images.to(parameters[0].dtype))
        loss = F.cross_entropy(logits / temperature, labels, reduction="sum")
        for total, part in zip(sums, _derivatives(loss, parameters, along), strict=True):
            total += part
        examples += len(labels)
    return {name: total / examples for name, total in zip(names, sums, strict=True)}


def _derivatives(loss: Tensor, parameters: Sequence[Tensor], along: Weights | None) -> Sequence[Tensor]:
    """The gradient of the loss, or its derivative along a vector, with respect to the parameters."""
    first = torch.autograd.grad(loss, parameters, create_graph=along is not None, materialize_grads=True)
    if along is None:
        return first
    slope = sum((part * vector).sum() for part, vector in zip(first, along.values(), strict=True))
    return torch.autograd.grad(slope, parameters, materialize_grads=True)
