"""What networks cost to run, such as one before and after channels were dropped: parameters, FLOPs, latency."""

import statistics

import torch
from torch import Tensor, nn

from lottery.training.flops import forward_flops
from lottery.training.precision import autocast, matmul_precision
from lottery.training.timing import interleave, timed_task

BATCHES = (1, 128)  # images at once: one, as on a device that answers one request, and many, as on a server
REPEATS = 7


def inference_costs(networks: dict[str, nn.Module], images: Tensor, precision: str) -> dict[str, dict]:
    """For each network: parameters, FLOPs of a forward pass of one image, and median seconds of a forward pass of each
    of the `BATCHES`, taken from `images`, (b, C, H, W), or of all of these if there are fewer."""
    seconds = {size: median_latency(networks, images[:size], precision) for size in BATCHES}
    return {
        name: {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "flops": sum(forward_flops(network, images[:1]).values()),
            "seconds": {str(size): seconds[size][name] for size in BATCHES},
        }
        for name, network in networks.items()
    }


def median_latency(networks: dict[str, nn.Module], images: Tensor, precision: str) -> dict[str, float]:
    """Median seconds of a forward pass. The networks take turns, so that other load affects all alike."""
    device = images.device

    def passing(network: nn.Module):
        network.eval()
        return timed_task(lambda: network(images), device)

    with torch.inference_mode(), matmul_precision(device, precision), autocast(device, precision):
        times = interleave({name: passing(network) for name, network in networks.items()}, REPEATS)
    return {name: statistics.median(found) for name, found in times.items()}
