"""The tensors of a network by name, and copies of networks.

A user's network may hold the same layer under two names, or keep a tensor of its last forward pass.
"""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

DEPTH = 4  # how deep containers are searched for tensors


def first_names(model: nn.Module) -> dict[str, str]:
    """Map each name of a parameter or persistent buffer, in state_dict order, to the first name of the same tensor.

    Names are the modules' own, whatever state_dict hooks make of them.
    """
    firsts: dict[int, str] = {}
    return {name: firsts.setdefault(id(value), name) for name, value in _named_tensors(model)}


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for place, module in model.named_modules(remove_duplicate=False):
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and name not in module._non_persistent_buffers_set:
                yield f"{place}.{name}" if place else name, value


def is_extra_state(name: str) -> bool:
    """Whether this state_dict key comes from a module's `get_extra_state`; its value need not be a tensor."""
    return name.rpartition(".")[2] == "_extra_state"


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and persistent buffers, in state_dict order, detached but not copied.

    A tensor with several names is listed once, under the first. Extra state is left out.
    """
    names = first_names(model)
    return {name: value.detach() for name, value in _named_tensors(model) if names[name] == name}


def copy_network(model: nn.Module) -> nn.Module:
    """A deep copy. Tensors that the network keeps of a forward pass, which torch refuses to deep-copy, are detached."""
    kept = [value for module in model.modules() for value in tensors_within(vars(module))]
    memo = {id(value): value.detach().clone() for value in kept if not value.is_leaf}
    return copy.deepcopy(model, memo)


def tensors_within(value: object, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors in an attribute's value, including those within lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_within(part, depth - 1)
    elif depth and isinstance(value, list | tuple | set):
        for part in value:
            yield from tensors_within(part, depth - 1)


def move_to_device(model: nn.Module, device: torch.device | str) -> nn.Module:
    """The model on its device, its images and filters in channels-last memory, which 3D convolutions do not have."""
    if any(parameter.ndim == 5 for parameter in model.parameters()):
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)
