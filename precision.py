"""Number formats of the arithmetic: what --precision means on each device.

`fp32` everywhere; `tf32`, on CUDA: products of fp32 numbers rounded to 10 mantissa bits; `bf16`: the network's forward
pass in bfloat16 (autocast). Weights, momentum and sums are fp32 in all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def default_precision(device: torch.device) -> str:
    return "tf32" if device.type == "cuda" else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Around a forward pass: convolutions and matrix products in bfloat16, if that is asked for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def products(device: torch.device, precision: str) -> Iterator[None]:
    """Around forward and backward pass: whether CUDA may round the factors of products to tf32.

    The switches are torch's and global; they are put back, so that two networks of one process may differ.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
