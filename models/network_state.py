"""What a network holds: its tensors by name, and what its forward pass may depend on beside their values.

A user's network may assign its buffers anew while it trains, count its passes in a Python attribute, keep a tensor of
its last pass, hold the same layer under two names, or draw from Python's and NumPy's generators. What is made once and
used later (a copy, a trace, a captured step, a checkpoint) must know of it.
"""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

OF_TORCH = frozenset(vars(nn.Module()))  # the attributes that every module has
DEPTH = 4  # how far objects within objects are looked into
LARGEST = 2**20  # bytes of a NumPy array that is compared by its values


def first_names(model: nn.Module) -> dict[str, str]:
    """Each name of a tensor in the model's state_dict, with the first of the names that the same tensor goes by."""
    firsts: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: firsts.setdefault(id(value), name) for name, value in state.items() if not is_extra(name)}


def is_extra(name: str) -> bool:
    """Whether it is what a module's `get_extra_state` adds to a state_dict, which need be no tensor."""
    return name.rpartition(".")[2] == "_extra_state"


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's own parameters and persistent buffers, detached but not copied, as its state_dict has them.

    A tensor that goes by several names is there once, under the first of them. Extra state is left out.
    """
    names = first_names(model)
    return {name: value for name, value in model.state_dict().items() if names.get(name) == name}


def copied(model: nn.Module) -> nn.Module:
    """A deep copy. A tensor that the network keeps of a pass, which torch refuses to copy, is copied by its values."""
    kept = [value for module in model.modules() for value in _tensors_in(vars(module))]
    memo = {id(value): value.detach().clone() for value in kept if not value.is_leaf}
    return copy.deepcopy(model, memo)


def _tensors_in(value: object, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors in an attribute, within lists and dicts as well."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors_in(part, depth - 1)
    elif depth and isinstance(value, list | tuple | set):
        for part in value:
            yield from _tensors_in(part, depth - 1)


# --- what it may depend on beside the values of its tensors -----------------------------------------------------------


class Same:
    """Equal to what is the very same object; holds it, so that no other one can take its place."""

    def __init__(self, value: object):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    __hash__ = None


class Surroundings(NamedTuple):
    """What is compared: by "module.attribute" which tensors a network has, and what its Python attributes and its extra
    state are; and the states of Python's and NumPy's generators."""

    tensors: dict[str, object]
    attributes: dict[str, object]
    generators: tuple

    def changed(self, later: "Surroundings") -> list[str]:
        """What has changed, in words that follow "the network changes"."""
        found = [*_differing(self.tensors, later.tensors), *_differing(self.attributes, later.attributes)]
        return found + (["the state of Python's or NumPy's generator"] if self.generators != later.generators else [])

    def differs(self, later: "Surroundings") -> bool:
        """Whether the network has changed, whatever was drawn meanwhile."""
        return self[:2] != later[:2]

    def lost(self, later: "Surroundings") -> list[str]:
        """Python attributes that have changed, except for those that hold tensors of a pass."""
        return [
            name
            for name in _differing(self.attributes, later.attributes)
            if not any(tensor.grad_fn for tensor in _tensors_in(_shown(later.attributes.get(name))))
        ]


def surroundings(model: nn.Module) -> Surroundings:
    """Of the model as it is now. Tensors count as what they are, not by their values; Python values by their values, as
    far as they can be seen."""
    held, attributes = {}, {}
    for place, module in model.named_modules():
        start = f"{place}." if place else ""
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            held[start + name] = Same(value)
        for name, value in vars(module).items():
            if name not in OF_TORCH:
                attributes[start + name] = _comparable(value)
    extra = {name: _comparable(value) for name, value in model.state_dict().items() if is_extra(name)}
    return Surroundings(held, attributes | extra, _generators())


def _generators() -> tuple:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002, of the user's network, not of ours
    return random.getstate(), kind, keys.tobytes(), *rest


def _comparable(value: object, depth: int = DEPTH) -> object:
    """A value that equals another one's if nothing that can be seen in the two differs."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return type(value).__name__, repr(value)
    if isinstance(value, np.ndarray) and value.nbytes <= LARGEST and value.dtype.kind != "O":
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, Tensor | nn.Module | type) or callable(value) or not depth:
        return Same(value)
    if isinstance(value, Mapping):
        return [(repr(key), _comparable(part, depth - 1)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [_comparable(part, depth - 1) for part in value]
    if hasattr(value, "__dict__"):
        return [Same(value), _comparable(vars(value), depth - 1)]
    return Same(value)


def _shown(comparable: object) -> object:
    """The tensors in what `_comparable` gave, in a list that `_tensors_in` looks into."""
    if isinstance(comparable, Same):
        return comparable.value
    return [_shown(part) for part in comparable] if isinstance(comparable, list | tuple) else None


def _differing(before: Mapping[str, object], later: Mapping[str, object]) -> list[str]:
    return [name for name in {**before, **later} if (name in before) != (name in later) or before[name] != later[name]]


@contextmanager
def surroundings_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards the model has the tensors and Python attributes that it had. What is written into a tensor or an
    object stays."""
    before = [
        (module, dict(vars(module)), dict(module._parameters), dict(module._buffers)) for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, parameters, buffers in before:
            vars(module).clear()
            vars(module).update(attributes)
            for held, values in (module._parameters, parameters), (module._buffers, buffers):
                held.clear()
                held.update(values)


@contextmanager
def generators_kept(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Afterwards torch's generators on the CPU and on these devices are as they were, and so are Python's and NumPy's
    global ones."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
