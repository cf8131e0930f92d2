"""The scores of the criteria: how much each weight is worth at the point where the network stands.

    scores = SCORES["snip"](ScoringInputs(model, weights, mask, batches))

The lowest scores are dropped first. Every score is computed in a copy of the network with `weights` under `mask`, so
the network and its batch norm statistics do not change. Losses are means over all examples, whatever the batch sizes.
Where a score depends on examples, batch norm normalises with the statistics of each batch, as it would in training (at
initialisation it has no others), and dropout is off.

To add a criterion, define its function here, list it in `SCORES`, and describe it in `criteria.CRITERIA` under the same
name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

import pruner
from lottery.bases.basis import Basis
from lottery.training.devices import gradients_in_evaluation
from lottery.training.step import load_weights_
from models.network_state import copy_network, tensors
from models.units import NORMALIZATION
from pruner import Mask, Scores, Weights, apply_

GRASP_TEMPERATURE = 200.0  # of the softmax in GraSP's loss, as in its authors' code


class ScoringInputs(NamedTuple):
    """What a criterion may look at.

    `batches` are pairs of images (b, C, H, W) in [0, 1] and labels (b,). They can be iterated over more than once, and
    only one at a time needs to be in memory.
    """

    model: nn.Module
    weights: Weights
    mask: Mask
    batches: Iterable[tuple[Tensor, Tensor]]
    random: np.random.Generator | None = None  # for criteria that draw
    basis: Basis | None = None  # in which coefficients are scored, instead of weights

    def coefficients(self, values: Mapping[str, Tensor]) -> Weights:
        """Weights, or derivatives with respect to them, in the basis, whose matrix is orthonormal: dL/dc = B dL/dw."""
        if self.basis is None:
            return {name: values[name] for name in self.mask}
        return self.basis.coefficients(values, self.mask)


def random(inputs: ScoringInputs) -> Scores:
    """Uniform random numbers: every weight is as likely to be kept as any other."""
    return pruner.random_scores(inputs.mask, inputs.random)


def magnitude(inputs: ScoringInputs) -> Scores:
    """|w|."""
    return pruner.magnitude(inputs.coefficients(inputs.weights), inputs.mask)


def snip(inputs: ScoringInputs) -> Scores:
    """|w dL/dw|: to first order, how much the loss changes without the weight (SNIP; Lee et al., ICLR 2019).

    The gradient is that of the loss on all examples; its absolute value is taken once, at the end.
    """
    network = _network_at_start(inputs)
    weights, gradients = inputs.coefficients(_prunable(network, inputs)), _gradients(network, inputs)
    return {name: (weights[name] * gradient).abs() for name, gradient in inputs.coefficients(gradients).items()}


def grasp(inputs: ScoringInputs, temperature: float = GRASP_TEMPERATURE) -> Scores:
    """w (H g): how much less the gradient would flow without the weight (GraSP; Wang et al., ICLR 2020).

    g is the gradient of the loss with respect to the weights that the mask keeps, H the Hessian. Removing a weight is
    the step -w, along which the flow |g|^2 changes by -2 w (H g). The paper scores a weight -w (H g) and prunes the
    highest; the score here is minus that, sign and all: a weight whose removal would let the gradient flow more has
    the lowest, a negative score, and is dropped first. The loss is that of the logits divided by `temperature`.

    Two passes over the examples: one for g, one for H g as the gradient of g (dL/dw) with g held fixed.
    """
    network = _network_at_start(inputs)
    gradients = _gradients(network, inputs, temperature)
    apply_(gradients, inputs.mask, inputs.basis)  # a weight that has been dropped is not a variable any more
    products = _gradients(network, inputs, temperature, along=gradients)
    weights = inputs.coefficients(_prunable(network, inputs))
    return {name: weights[name] * product for name, product in inputs.coefficients(products).items()}


def synflow(inputs: ScoringInputs) -> Scores:
    """|w| dR/d|w|: the synaptic flow through the weight (SynFlow; Tanaka et al., NeurIPS 2020).

    R is the sum of the outputs for an image of ones, of the network with every number replaced by its absolute value,
    in float64, since R can grow exponentially with depth. Batch norm is in eval mode, a scale and a shift; the mean
    that it subtracts is added instead, so that no path through the network is negative. The ones enter behind the
    input normalisation. Of the batches only the shape of an image matters.

    The theory is about layers that are positively homogeneous. Where an output falls as an input grows, as in attention
    and group norm, scores can be negative, and mean nothing.
    """
    network = _absolute_(_masked_copy(inputs).eval().double())
    parameters = [network.get_parameter(name) for name in inputs.mask]
    images, _ = next(iter(inputs.batches))
    with gradients_in_evaluation(network):
        flow = network(torch.ones_like(images[:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, parameters, materialize_grads=True)
    return {
        name: parameter.detach() * gradient
        for name, parameter, gradient in zip(inputs.mask, parameters, gradients, strict=True)
    }


SCORES: dict[str, Callable[[ScoringInputs], Scores]] = {
    function.__name__: function for function in (random, magnitude, snip, grasp, synflow)
}


# --- of blocks of weights ---------------------------------------------------------------------------------------------

# From the scores of the weights in each row, (out, size), to those of the rows, (out,). Sums of SNIP, GraSP and SynFlow
# are what they are of a weight: to first order the loss, or the flow, that goes with all of the row. Magnitudes are
# compared as a search compares them (lottery/bases/blocks.py), and a random number for each row is one of its own.
OF_BLOCK: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda scores: scores.sum(1),
    "root mean square": lambda scores: scores.square().mean(1).sqrt(),
    "first": lambda scores: scores[:, 0],
}


def block_scores(scores: Scores, of_block: str) -> Scores:
    """The scores of whole rows, (out,), by those of their weights."""
    return {name: OF_BLOCK[of_block](layer.reshape(len(layer), -1)) for name, layer in scores.items()}


# --- copies of the network --------------------------------------------------------------------------------------------


def _masked_copy(inputs: ScoringInputs) -> nn.Module:
    """A copy of the network with the weights under the mask."""
    network = copy_network(inputs.model)
    load_weights_(network, inputs.weights)
    apply_(dict(network.named_parameters()), inputs.mask, inputs.basis)
    return network.requires_grad_(True)


def _network_at_start(inputs: ScoringInputs) -> nn.Module:
    """Such a copy as it is at the first step of a training, but without dropout."""
    network = _masked_copy(inputs).eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    return network


def _prunable(network: nn.Module, inputs: ScoringInputs) -> Weights:
    """The weights that are scored."""
    return {name: network.get_parameter(name).detach() for name in inputs.mask}


@torch.no_grad()
def _absolute_(network: nn.Module) -> nn.Module:
    """The network, changed in place: every number replaced by its absolute value, and no input normalisation.

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


# --- derivatives ------------------------------------------------------------------------------------------------------


def _gradients(
    network: nn.Module, inputs: ScoringInputs, temperature: float = 1.0, along: Weights | None = None
) -> Weights:
    """dL/dw of the prunable weights by name, L the mean cross-entropy over all examples; with a vector v in `along` the
    product H v, H being the Hessian of L with respect to these weights."""
    parameters = [network.get_parameter(name) for name in inputs.mask]
    sums, examples = [torch.zeros_like(parameter) for parameter in parameters], 0
    with gradients_in_evaluation(network):
        for images, labels in inputs.batches:
            with nullcontext() if along is None else sdpa_kernel(SDPBackend.MATH):  # others have no second derivative
                logits = network(images.to(parameters[0].dtype))
            loss = F.cross_entropy(logits / temperature, labels, reduction="sum")
            for total, part in zip(sums, _derivatives(loss, parameters, along), strict=True):
                total += part
            examples += len(labels)
    return {name: total / examples for name, total in zip(inputs.mask, sums, strict=True)}


def _derivatives(loss: Tensor, parameters: Sequence[Tensor], along: Weights | None) -> Sequence[Tensor]:
    """The gradient of the loss with respect to the parameters, or that gradient's derivative along a vector."""
    first = torch.autograd.grad(loss, parameters, create_graph=along is not None, materialize_grads=True)
    if along is None:
        return first
    slope = sum((part * vector).sum() for part, vector in zip(first, along.values(), strict=True))
    return torch.autograd.grad(slope, parameters, materialize_grads=True)
