"""Number formats of the arithmetic: what --precision means on each device.

`fp32` on every device; `tf32` on NVIDIA GPUs: the factors of fp32 products are rounded to 10 mantissa bits; `bf16`: the
network's forward pass in bfloat16 (autocast). Weights, momentum and sums are fp32 in all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.torch_settings import NEWER_TF32_SWITCHES, OLDER_TF32_SWITCHES, read_switches, set_switches_
from utils import InputError

TENSOR_CORES = (8, 0)  # the compute capability from which on NVIDIA GPUs have tf32 and bf16


def supported_precisions(device: torch.device) -> tuple[str, ...]:
    """The number formats that the device computes in.

    torch.cuda.is_bf16_supported() is no help: it is true for older GPUs that can store bf16 but not convolve in it.
    """
    if device.type != "cuda" or torch.version.hip:
        return "fp32", "bf16"
    if torch.cuda.get_device_capability(device) < TENSOR_CORES:
        return ("fp32",)
    return "fp32", "tf32", "bf16"


def pick_precision(asked: str, device: torch.device) -> str:
    """The number format that is `asked` for; for `auto`, tf32 where supported and fp32 elsewhere.

    InputError if the device does not support it.
    """
    supported = supported_precisions(device)
    if asked == "auto":
        return "tf32" if "tf32" in supported else "fp32"
    if asked not in supported:
        need = "an NVIDIA GPU from compute capability 8.0 on"
        raise InputError(
            f"--precision {asked} needs {need}{' or a CPU' if asked == 'bf16' else ''}; "
            f"{describe_device(device)} takes {', '.join(('auto', *supported))}"
        )
    return asked


def describe_device(device: torch.device) -> str:
    """The device as the subject of an error message."""
    if device.type != "cuda":
        return f"the {device.type.upper()}"
    if torch.version.hip:
        return f"{torch.cuda.get_device_name(device)}, an AMD GPU,"
    capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return f"{torch.cuda.get_device_name(device)}, of compute capability {capability},"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Around a forward pass: convolutions and matrix products in bfloat16 if `precision` is bf16."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def matmul_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Around forward and backward pass: let CUDA round the factors of products to tf32, unless `precision` is fp32.

    torch's switches are process-wide; they are restored, so that two networks in one process may differ.
    """
    if device.type != "cuda":
        yield
        return
    before = read_switches((*OLDER_TF32_SWITCHES, *NEWER_TF32_SWITCHES))
    set_switches_(dict.fromkeys(OLDER_TF32_SWITCHES, precision != "fp32"))
    newer = "ieee" if precision == "fp32" else "tf32"
    set_switches_({switch: newer for switch in NEWER_TF32_SWITCHES if switch in before})
    try:
        yield
    finally:
        set_switches_(before)
