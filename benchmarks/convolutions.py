"""The convolutions of a network alone: a lower bound, as if everything else cost nothing.

The shapes are recorded once by hooks on the real network. Then each convolution runs by itself, in channels-last
memory, on tensors already in the precision that is timed: forward, and for training backward, for the gradients of its
weight, of its bias where it has one, and of its input, but not of the first one's, which is the image.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.hardware import DTYPES
from lottery.training.precision import matmul_precision


class Convolution(NamedTuple):
    """A convolution as the network calls it."""

    name: str
    inputs: tuple[int, ...]  # (b, C, H, W)
    weight: tuple[int, ...]
    bias: bool
    options: tuple  # stride, padding, dilation, groups
    needs_input_gradient: bool


def record(model: nn.Module, images: Tensor) -> list[Convolution]:
    """The convolutions in the order in which they run on `images`, (b, C, H, W), in train mode."""
    found: list[Convolution] = []

    def recording_hook(name: str):
        def hook(module: nn.Conv2d, arguments: tuple[Tensor]) -> None:
            found.append(describe(name, module, arguments[0]))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_pre_hook(recording_hook(name)) for name, module in layers]
    model.train()(images)
    for handle in handles:
        handle.remove()
    return found


def describe(name: str, module: nn.Conv2d, inputs: Tensor) -> Convolution:
    return Convolution(
        name,
        tuple(inputs.shape),
        tuple(module.weight.shape),
        module.bias is not None,
        (module.stride, module.padding, module.dilation, module.groups),
        inputs.requires_grad,
    )


class Alone:
    """All convolutions of a network on tensors of their own, for batches of the size that was recorded."""

    def __init__(self, convolutions: list[Convolution], precision: str, device: torch.device):
        self.precision, self.device = precision, device
        self.layers = [Layer(convolution, DTYPES[precision], device) for convolution in convolutions]

    def train(self, batches: int) -> None:
        with matmul_precision(self.device, self.precision):
            for _ in range(batches):
                for layer in self.layers:
                    torch.autograd.grad(layer.forward(), layer.wanted, layer.gradient)

    @torch.no_grad()
    def evaluate(self, batches: int) -> None:
        with matmul_precision(self.device, self.precision):
            for _ in range(batches):
                for layer in self.layers:
                    layer.forward()


class Layer:
    """One convolution with random tensors, and a gradient that comes in."""

    def __init__(self, convolution: Convolution, dtype: torch.dtype, device: torch.device):
        def random(*shape: int) -> Tensor:
            made = torch.randn(shape, device=device).to(dtype)
            return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made

        self.inputs = random(*convolution.inputs).requires_grad_(convolution.needs_input_gradient)
        self.weight = random(*convolution.weight).requires_grad_()
        self.bias = random(convolution.weight[0]).requires_grad_() if convolution.bias else None
        self.options = convolution.options
        candidates = (self.inputs, self.weight, self.bias)
        self.wanted = [tensor for tensor in candidates if tensor is not None and tensor.requires_grad]
        with torch.no_grad():
            self.gradient = random(*self.forward().shape)

    def forward(self) -> Tensor:
        return F.conv2d(self.inputs, self.weight, self.bias, *self.options)
