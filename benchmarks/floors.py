"""Floors: how fast a network could run at most on this device, by two counts of its work.

FLOPs: those of convolutions and linear layers, as torch.utils.flop_counter counts them (a multiplication and an
addition are two), forward and, for training, backward (no gradient of the images); divided by the rate of a large
matrix product or of a large 3x3 convolution in the same arithmetic, whichever is faster.

Bytes: the activations, tensors of images x channels x height x width, that the kernels of convolution, batch norm, ReLU
and addition take and give, each read or written once per kernel, forward and, for training, backward: there a kernel
reads the incoming gradient and what it saved and writes the gradient of its input, and gradients that meet at a
shortcut are added by a kernel too. Divided by the rate of a large copy. Not counted: weights and statistics, poolings,
the normalisation of the images, the padding of shortcuts, classifier, loss, optimiser, augmentation. A value has two
bytes in bf16, else four.

The first floor holds for programs that multiply as often (convolutions by Winograd or FFT need fewer FLOPs), as far as
nothing else is faster on the device. The second holds for one kernel per operation: kernels that do several at once, a
batch norm folded into its convolution, or caches that hold the activations may go below it.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases import CHANNELS, SIZE
from benchmarks.hardware import DTYPES, best_rate

COUNTED = ("convolution", "batch_norm", "relu", "threshold_backward", "add")
IMAGES = 7  # in the batch that is counted; no layer has as many channels, which tells activations from weights


class Work(NamedTuple):
    """What one image costs: FLOPs, and activation values read or written."""

    flops: float
    values: float


class ActivationCounter(TorchDispatchMode):
    """While it is on, counts the values of activations that the `COUNTED` kernels take and give."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if any(name in function.name() for name in COUNTED):
            self.values += sum(leaf.numel() for leaf in tree_leaves((args, result)) if is_activation(leaf))
        return result


def is_activation(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4 and len(value) == IMAGES


def work(model: nn.Module, training: bool) -> Work:
    """What one image costs, counted on a copy of the network that holds no data."""
    twin = copy.deepcopy(model).to("meta").train(training)
    images = torch.empty(IMAGES, CHANNELS, SIZE, SIZE, device="meta")
    labels = torch.empty(IMAGES, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as flops, ActivationCounter() as activations, torch.set_grad_enabled(training):
        logits = twin(images)
        if training:
            F.cross_entropy(logits, labels).backward()
    return Work(flops.get_total_flops() / IMAGES, activations.values / IMAGES)


def floors(work: Work, rates: dict, precisions: list[str], images_per_epoch: int) -> dict:
    """Images a second, and seconds for those of a full epoch, that each floor allows."""
    copied = rates["copy"]["per_second"]
    seconds = {f"floor, FLOPs {name}": work.flops / best_rate(rates, name) for name in precisions}
    seconds |= {f"floor, bytes {name}": work.values * DTYPES[name].itemsize / copied for name in precisions}
    return {
        name: {"images_per_second": 1 / each, "seconds_per_epoch": images_per_epoch * each}
        for name, each in seconds.items()
    }
