"""TF32 emulated: products of float32 numbers whose factors are rounded to 10 mantissa bits, summed in float32.

That is what tensor cores do to convolutions and matrix products in training: inputs and weights are rounded in the
forward pass, and the gradient that comes in beside them in the backward pass. Here numbers are rounded to the nearest,
ties to even; hardware may round ties away from zero, or cut off.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DROPPED = 13  # of float32's 23 mantissa bits


def to_tf32(values: Tensor) -> Tensor:
    """float32 -> the nearest float32 with 10 mantissa bits, of two the even one.

    The relative error is at most 2^-11, but for subnormal numbers, which have fewer bits. Infinities stay, and the
    largest numbers may become one.
    """
    bits = values.view(torch.int32)
    half = (1 << (DROPPED - 1)) - 1 + ((bits >> DROPPED) & 1)
    return ((bits + half) & -(1 << DROPPED)).view(torch.float32)


class Rounded(torch.autograd.Function):
    """A factor on its way into a product: rounded forward; its gradient is a sum and is left as it is."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        return to_tf32(values)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return gradient


class RoundedGradient(torch.autograd.Function):
    """A product on its way out: left as it is; the gradient that comes back is a factor and is rounded."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return to_tf32(gradient)


def round_products_(model: nn.Module) -> nn.Module:
    """Make every Conv2d (padded with zeros) and Linear of `model` multiply as TF32 does, from now on; returns it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = partial(convolve, module)
        elif isinstance(module, nn.Linear):
            module.forward = partial(multiply, module)
    return model


def convolve(layer: nn.Conv2d, images: Tensor) -> Tensor:
    options = layer.stride, layer.padding, layer.dilation, layer.groups
    out = RoundedGradient.apply(F.conv2d(Rounded.apply(images), Rounded.apply(layer.weight), None, *options))
    return out if layer.bias is None else out + layer.bias[:, None, None]


def multiply(layer: nn.Linear, inputs: Tensor) -> Tensor:
    out = RoundedGradient.apply(F.linear(Rounded.apply(inputs), Rounded.apply(layer.weight)))
    return out if layer.bias is None else out + layer.bias
