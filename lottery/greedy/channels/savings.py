"""What a network costs, before and after its channels were dropped: parameters, FLOPs, seconds."""

import statistics

import torch
from torch import Tensor, nn

from lottery.training.flops import forward_flops
from lottery.training.precision import autocast, matmul_precision
from lottery.training.timing import interleave, timed_task

BATCHES = (1, 128)  # images at once: as a device answers one, as a server answers many
REPEATS = 7


def gains(networks: dict[str, nn.Module], images: Tensor, precision: str) -> dict[str, dict]:
    """For each network its parameters, FLOPs of a forward pass of one image, and seconds of forward passes.

    `images`, (b, C, H, W). The seconds are medians of timed passes with so many images at once as `BATCHES` says, or
    all there are; the networks take turns, so that what else the machine does falls on all of them alike.
    """
    seconds = {size: latency(networks, images[:size], precision) for size in BATCHES}
    return {
        name: {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "flops": sum(forward_flops(network, images[:1]).values()),
            "seconds": {str(size): seconds[size][name] for size in BATCHES},
        }
        for name, network in networks.items()
    }


def latency(networks: dict[str, nn.Module], images: Tensor, precision: str) -> dict[str, float]:
    """The median of the seconds that each network needs for the images."""
    device = images.device

    def passing(network: nn.Module):
        network.eval()
        return timed_task(lambda: network(images), device)

    with torch.inference_mode(), matmul_precision(device, precision), autocast(device, precision):
        times = interleave({name: passing(network) for name, network in networks.items()}, REPEATS)
    return {name: statistics.median(found) for name, found in times.items()}
