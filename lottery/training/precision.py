"""Number formats of the arithmetic: what --precision means on each device.

`fp32` everywhere; `tf32`, on NVIDIA GPUs: products of fp32 numbers rounded to 10 mantissa bits; `bf16`: the network's
forward pass in bfloat16 (autocast). Weights, momentum and sums are fp32 in all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

import torch

from utils import InputError

TENSOR_CORES = (8, 0)  # the compute capability from which on NVIDIA's GPUs have tf32 and bf16


def supported_precisions(device: torch.device) -> tuple[str, ...]:
    """The number formats that the device computes in.

    torch.cuda.is_bf16_supported does not tell: it is true for older GPUs, which store bf16, but have no convolutions in
    it.
    """
    if device.type != "cuda" or torch.version.hip:
        return "fp32", "bf16"
    if torch.cuda.get_device_capability(device) < TENSOR_CORES:
        return ("fp32",)
    return "fp32", "tf32", "bf16"


def pick_precision(asked: str, device: torch.device) -> str:
    """The number format asked for, or the device's own for `auto`; InputError if the device has none such."""
    there = supported_precisions(device)
    if asked == "auto":
        return "tf32" if "tf32" in there else "fp32"
    if asked not in there:
        need = "an NVIDIA GPU from compute capability 8.0 on"
        raise InputError(
            f"--precision {asked} needs {need}{' or a CPU' if asked == 'bf16' else ''}; "
            f"{described(device)} takes {', '.join(('auto', *there))}"
        )
    return asked


def described(device: torch.device) -> str:
    if device.type != "cuda":
        return f"the {device.type.upper()}"
    if torch.version.hip:
        return f"{torch.cuda.get_device_name(device)}, an AMD GPU,"
    capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return f"{torch.cuda.get_device_name(device)}, of compute capability {capability},"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Around a forward pass: convolutions and matrix products in bfloat16, if that is asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


# --- tf32 -------------------------------------------------------------------------------------------------------------

# torch's switches. The older ones are set as well: torch.compile still reads them in some versions, and reading one
# that a newer one contradicts raises. The newer ones are what torch computes by from version 2.9 on.
OLDER = (("cudnn", "allow_tf32"), ("cuda.matmul", "allow_tf32"))
NEWER = (("cuda.matmul", "fp32_precision"), ("cudnn.conv", "fp32_precision"), ("cudnn.rnn", "fp32_precision"))


@contextmanager
def products(device: torch.device, precision: str) -> Iterator[None]:
    """Around forward and backward pass: whether CUDA may round the factors of products to tf32.

    The switches are torch's and global; they are put back, so that two networks of one process may differ.
    """
    if device.type != "cuda":
        yield
        return
    before = switches()
    set_switches_(dict.fromkeys(OLDER, precision != "fp32"))
    set_switches_({switch: "ieee" if precision == "fp32" else "tf32" for switch in NEWER if switch in before})
    try:
        yield
    finally:
        set_switches_(before)


def switches() -> dict[tuple[str, str], bool | str]:
    """What the switches are at, without those that this torch does not have or cannot tell."""
    found = {}
    for switch in (*OLDER, *NEWER):
        try:
            found[switch] = attrgetter(".".join(switch))(torch.backends)
        except (AttributeError, RuntimeError):  # RuntimeError: an older one that a newer one contradicts
            continue
    return found


def set_switches_(values: dict[tuple[str, str], bool | str]) -> None:
    for (owner, name), value in values.items():
        setattr(attrgetter(owner)(torch.backends), name, value)
