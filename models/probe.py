"""Probing whether a network takes the images it will get, before hours of work depend on it.

A copy is tried with two images; the network itself and torch's generator are left as they were. The search for a size
that works first asks the meta device, where tensors have shapes but no values and a forward pass costs milliseconds.
"""

from collections.abc import Mapping

import torch
from torch import nn

from utils import InputError, one_line

from .network_state import copied, first_names, generators_kept, is_extra, surroundings

BATCH = 2
LARGEST = 512  # pixels: the search for a size that works ends here


def check_network(network: nn.Module, arch: str, *, classes: int, channels: int, image_size: int) -> None:
    """Refuse (InputError) a network that fails in train mode on such images, or does not return (n, classes).

    If it fails, the smallest size that works is named, if there is one.
    """
    try:
        output = run(twin(network, "cpu"), "cpu", channels, image_size)
    except Exception as error:
        raise InputError(why_not(network, arch, channels, image_size, error)) from error
    check_logits(output, arch, classes)


def check_logits(output: object, arch: str, classes: int, mode: str = "") -> None:
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if got != (BATCH, classes):
        raise InputError(f"{arch} must return logits of shape {(BATCH, classes)} for {BATCH} images, got {got}{mode}")


def check_training(network: nn.Module, arch: str, *, classes: int, channels: int, image_size: int) -> tuple[str, ...]:
    """Refuse (InputError) a network that cannot be trained on such images and evaluated in turn.

    Returns what a step of training changes in it and no checkpoint holds: names of Python attributes and of buffers
    that are not persistent.
    """
    check_kinds(network, arch)
    tried = twin(network, "cpu")
    before, temporary = surroundings(tried), {name: value.clone() for name, value in unsaved_buffers(tried).items()}
    with generators_kept(), torch.enable_grad():
        for training in True, False, True:  # what one pass leaves behind may break the next one
            check_pass(tried.train(training), arch, classes, channels, image_size)
    if names := sorted(first_names(tried).keys() ^ first_names(network).keys()):
        raise InputError(f"{arch} must have all of its tensors when it is built, got {names[0]} only while it computes")
    return (*before.lost(surroundings(tried)), *changed_buffers(temporary, unsaved_buffers(tried)))


def check_kinds(network: nn.Module, arch: str) -> None:
    """Refuse what no step here can train, or no checkpoint hold."""
    for name, value in network.named_parameters():
        if not value.is_floating_point():
            raise InputError(f"{arch} must have parameters of real numbers, got {value.dtype} in {name}")
    for name, value in network.state_dict().items():
        if not (isinstance(value, torch.Tensor) or is_extra(name)):
            raise InputError(
                f"{arch} keeps {name} in a form that is neither a parameter nor a buffer, as quantised layers do: such "
                "networks cannot be trained or pruned here"
            )


def check_pass(network: nn.Module, arch: str, classes: int, channels: int, image_size: int) -> None:
    """One pass in the network's mode; in train mode a backward pass as well."""
    mode = "train" if network.training else "eval"
    try:
        with torch.inference_mode(not network.training):
            output = network(torch.zeros(BATCH, channels, image_size, image_size))
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
    """The buffers that are not persistent."""
    saved = first_names(network)
    return {name: value for name, value in network.named_buffers(remove_duplicate=False) if name not in saved}


def changed_buffers(before: Mapping[str, torch.Tensor], later: Mapping[str, torch.Tensor]) -> list[str]:
    """Those that have other values than before, or are new: None until the network has computed, for example."""
    return [name for name, value in later.items() if name not in before or not torch.equal(value, before[name])]


def twin(network: nn.Module, device: str) -> nn.Module:
    return copied(network).to(device).train()


def run(network: nn.Module, device: str, channels: int, size: int) -> object:
    images = torch.zeros(BATCH, channels, size, size, device=device)
    with torch.no_grad(), generators_kept():  # dropout draws
        return network(images)


def why_not(network: nn.Module, arch: str, channels: int, size: int, error: Exception) -> str:
    smallest = smallest_size(network, channels, size)
    if smallest is None:
        return f"{arch} fails on images of {size} pixels with {one_line(error)}"
    return f"{arch} needs images of {'at least ' if size < smallest else ''}{smallest} pixels, got {size}"


def smallest_size(network: nn.Module, channels: int, failed: int) -> int | None:
    """The smallest size that works, tried one by one: a network may work at one size alone.

    The meta device has the first word, the CPU the last: older versions of torch let a convolution pass on meta whose
    kernel is larger than its input.
    """
    try:
        on_meta, on_cpu = twin(network, "meta"), twin(network, "cpu")
    except Exception:
        return None
    if failure(on_meta, "meta", channels, LARGEST) and (
        failure(on_meta, "meta", channels, failed) == failure(on_meta, "meta", channels, LARGEST)
    ):
        return None  # one error for all sizes is not about size; trying them all would take a minute
    sizes = (size for size in range(1, LARGEST + 1) if not failure(on_meta, "meta", channels, size))
    return next((size for size in sizes if not failure(on_cpu, "cpu", channels, size)), None)


def failure(network: nn.Module, device: str, channels: int, size: int) -> str:
    """What goes wrong at this size; nothing: ''."""
    try:
        run(network, device, channels, size)
    except Exception as error:
        return one_line(error)
    return ""
