"""What the device does at best: multiply and add, copy memory."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from lottery.training.precision import matmul_precision
from lottery.training.timing import elapsed_seconds, interleave, time_report

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
CHANNELS, PIXELS = 256, 32  # of the large convolution: as many come in as go out, on images of 32 x 32


def rates(precisions: Sequence[str], device: torch.device, repeats: int) -> dict:
    """FLOP a second, by precision, of the product of two large square matrices and of a large 3x3 convolution; bytes a
    second of a large copy, which reads as much as it writes.

    Of the fastest repeat: it is a bound on what the device can do, which other work only lowers.
    """
    side, images, size = (8192, 256, 2**30) if device.type == "cuda" else (2048, 4, 2**28)
    tasks: dict[str, Callable[[], float]] = {"copy": copy_task(size, device)}
    work = {"copy": 2 * size}
    for precision in precisions:
        tasks[f"matrix product {precision}"] = matrix_task(side, precision, device)
        work[f"matrix product {precision}"] = 2 * side**3
        tasks[f"convolution {precision}"] = convolution_task(images, precision, device)
        work[f"convolution {precision}"] = (
            2 * images * PIXELS**2 * 9 * CHANNELS**2
        )  # the image's border counted in full
    seconds = interleave(tasks, repeats)
    return {name: time_report(times) | {"per_second": work[name] / min(times)} for name, times in seconds.items()}


def best_rate(rates: dict, precision: str) -> float:
    """FLOP a second in this precision, by whichever is faster."""
    return max(rates[f"{kind} {precision}"]["per_second"] for kind in ("matrix product", "convolution"))


def matrix_task(side: int, precision: str, device: torch.device) -> Callable[[], float]:
    a, b = (torch.rand(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    product = torch.empty_like(a)
    return in_precision(lambda: torch.mm(a, b, out=product), precision, device)


def convolution_task(images: int, precision: str, device: torch.device) -> Callable[[], float]:
    shapes = (images, CHANNELS, PIXELS, PIXELS), (CHANNELS, CHANNELS, 3, 3)
    inputs, weight = (
        torch.rand(shape, device=device).to(DTYPES[precision], memory_format=torch.channels_last) for shape in shapes
    )
    return in_precision(lambda: F.conv2d(inputs, weight, padding=1), precision, device)


def in_precision(run: Callable[[], object], precision: str, device: torch.device) -> Callable[[], float]:
    def task() -> float:
        with matmul_precision(device, precision):
            return elapsed_seconds(run, device)

    return task


def copy_task(size: int, device: torch.device) -> Callable[[], float]:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: elapsed_seconds(lambda: target.copy_(source), device)
