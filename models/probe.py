"""Checking that a network accepts its images and can be trained, before hours of work depend on it.

A copy is tried on two images; the network itself and torch's generator are left unchanged. The search for an image size
that works runs on the meta device first, where tensors have no values and a forward pass takes milliseconds.
"""

from collections.abc import Mapping

import torch
from torch import nn

from utils import InputError, one_line

from .network_state import copy_network, first_names, is_extra_state, move_to_device
from .python_state import generators_kept, python_state

BATCH = 2
# Of parameters: masks and checksums are computed from their bits, by NumPy, which has no others.
WEIGHT_FORMATS = (torch.float16, torch.float32, torch.float64)
LARGEST = 512  # pixels, where the search for a size that works ends


def check_network(network: nn.Module, arch: str, *, classes: int, channels: int, image_size: int) -> None:
    """InputError for a network that fails in train mode on such images or does not return (n, classes).

    The message names the smallest image size that works, if there is one.
    """
    try:
        output = forward(training_copy(network, "cpu"), "cpu", channels, image_size)
    except Exception as error:
        raise InputError(size_error(network, arch, channels, image_size, error)) from error
    check_logits(output, arch, classes)


def check_logits(output: object, arch: str, classes: int, mode: str = "") -> None:
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if got != (BATCH, classes):
        raise InputError(f"{arch} must return logits of shape {(BATCH, classes)} for {BATCH} images, got {got}{mode}")


def check_training(network: nn.Module, arch: str, *, classes: int, channels: int, image_size: int) -> tuple[str, ...]:
    """InputError for a network that cannot alternate between training and evaluation on such images.

    Returns the state that a training step changes and no checkpoint holds: names of Python attributes and of
    non-persistent buffers.
    """
    check_kinds(network, arch)
    tried = training_copy(network, "cpu")
    before, temporary = python_state(tried), {name: value.clone() for name, value in unsaved_buffers(tried).items()}
    with generators_kept(), torch.enable_grad():
        for training in True, False, True:  # what one pass leaves behind may break the next one
            check_pass(tried.train(training), arch, classes, channels, image_size)
    if names := sorted(first_names(tried).keys() ^ first_names(network).keys()):
        raise InputError(f"{arch} must have all of its tensors when it is built, got {names[0]} only while it computes")
    return (*before.unsaved_changes(python_state(tried)), *changed_buffers(temporary, unsaved_buffers(tried)))


def check_kinds(network: nn.Module, arch: str) -> None:
    """InputError for parameters that cannot be trained and for state that a checkpoint cannot hold."""
    for name, value in network.named_parameters():
        if not value.is_floating_point():
            raise InputError(f"{arch} must have parameters of real numbers, got {value.dtype} in {name}")
        if value.dtype not in WEIGHT_FORMATS:
            raise InputError(
                f"{arch} must have parameters of float32, float64 or float16, got {value.dtype} in {name}: --precision "
                "bf16 computes in bfloat16 with weights of float32"
            )
    for name, value in network.state_dict().items():
        if not (isinstance(value, torch.Tensor) or is_extra_state(name)):
            raise InputError(
                f"{arch} keeps {name} in a form that is neither a parameter nor a buffer, as quantised layers do: such "
                "networks cannot be trained or pruned here"
            )


def check_pass(network: nn.Module, arch: str, classes: int, channels: int, image_size: int) -> None:
    """One forward pass in the network's current mode, and in train mode a backward pass."""
    mode = "train" if network.training else "eval"
    try:
        with torch.inference_mode(not network.training):
            output = network(blank_images(channels, image_size))
    except Exception as error:
        raise InputError(f"{arch} fails in {mode} mode with {one_line(error)}") from error
    check_logits(output, arch, classes, f" in {mode} mode")
    if not network.training:
        return
    try:
        output.float().logsumexp(1).sum().backward()
    except Exception as error:
        raise InputError(f"{arch} cannot be trained: its backward pass fails with {one_line(error)}") from error


def unsaved_buffers(network: nn.Module) -> dict[str, torch.Tensor]:
    """The non-persistent buffers."""
    saved = first_names(network)
    return {name: value for name, value in network.named_buffers(remove_duplicate=False) if name not in saved}


def changed_buffers(before: Mapping[str, torch.Tensor], later: Mapping[str, torch.Tensor]) -> list[str]:
    """The buffers with other values than before, and new ones, such as those that are None until the first pass."""
    return [name for name, value in later.items() if name not in before or not torch.equal(value, before[name])]


def training_copy(network: nn.Module, device: str) -> nn.Module:
    return move_to_device(copy_network(network), device).train()


def blank_images(channels: int, size: int, device: str = "cpu") -> torch.Tensor:
    """Two images in the memory order in which `dataset.Images` gives them."""
    return torch.zeros(BATCH, size, size, channels, device=device).permute(0, 3, 1, 2)


def forward(network: nn.Module, device: str, channels: int, size: int) -> object:
    with torch.no_grad(), generators_kept():  # dropout draws
        return network(blank_images(channels, size, device))


def size_error(network: nn.Module, arch: str, channels: int, size: int, error: Exception) -> str:
    smallest = smallest_size(network, channels, size)
    if smallest is None:
        return f"{arch} fails on images of {size} pixels with {one_line(error)}"
    return f"{arch} needs images of {'at least ' if size < smallest else ''}{smallest} pixels, got {size}"


def smallest_size(network: nn.Module, channels: int, failed: int) -> int | None:
    """The smallest image size that works, or None. All sizes are tried, since a network may work at a single one.

    Sizes that work on the meta device are confirmed on the CPU: older versions of torch accept a kernel larger than its
    input on meta.
    """
    try:
        on_meta, on_cpu = training_copy(network, "meta"), training_copy(network, "cpu")
    except Exception:
        return None
    if failure_at(on_meta, "meta", channels, LARGEST) and (
        failure_at(on_meta, "meta", channels, failed) == failure_at(on_meta, "meta", channels, LARGEST)
    ):
        return None  # the same error at both sizes is not about size; trying all would take a minute
    sizes = (size for size in range(1, LARGEST + 1) if not failure_at(on_meta, "meta", channels, size))
    return next((size for size in sizes if not failure_at(on_cpu, "cpu", channels, size)), None)


def failure_at(network: nn.Module, device: str, channels: int, size: int) -> str:
    """The error at this image size, '' if there is none."""
    try:
        forward(network, device, channels, size)
    except Exception as error:
        return one_line(error)
    return ""
