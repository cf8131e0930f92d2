"""What a network holds: its tensors by name, and what its forward pass may depend on beside their values.

A user's network may assign its buffers anew while it trains, count its passes in a Python attribute, keep a tensor of
its last pass, hold the same layer under two names, or draw from Python's and NumPy's generators. What is made once and
used later (a copy, a trace, a captured step, a checkpoint) must know of it.
"""

import copy
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

OF_TORCH = frozenset(vars(nn.Module()))  # the attributes that every module has
DEPTH = 4  # how far objects within objects are looked into
LONGEST = 1000  # elements of a container that are compared one by one
PLAIN = bool | int | float | str | list | dict | set | deque  # of class attributes, what may be a state
LARGEST = 2**20  # bytes of a NumPy array that is compared by its values


def first_names(model: nn.Module) -> dict[str, str]:
    """Each name of a parameter or persistent buffer, in the order of a state_dict, with the first of the names that the
    same tensor goes by. What hooks make of a state_dict's names plays no part."""
    firsts: dict[int, str] = {}
    return {name: firsts.setdefault(id(value), name) for name, value in _named_tensors(model)}


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for place, module in model.named_modules(remove_duplicate=False):
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and name not in module._non_persistent_buffers_set:
                yield f"{place}.{name}" if place else name, value


def is_extra(name: str) -> bool:
    """Whether it is what a module's `get_extra_state` adds to a state_dict, which need be no tensor."""
    return name.rpartition(".")[2] == "_extra_state"


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's own parameters and persistent buffers, detached but not copied, as its state_dict has them.

    A tensor that goes by several names is there once, under the first of them. Extra state is left out.
    """
    names = first_names(model)
    return {name: value.detach() for name, value in _named_tensors(model) if names[name] == name}


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
        """What has changed, in words that follow "each step changes"."""
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
        if isinstance(module, torch.jit.ScriptModule):  # it has no Python attributes of its own
            continue
        start = f"{place}." if place else ""
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            held[start + name] = Same(value)
        for name, value in (_class_attributes(type(module)) | vars(module)).items():
            if name not in OF_TORCH:
                attributes[start + name] = _comparable(value)
    extra = {name: _comparable(value) for name, value in model.state_dict().items() if is_extra(name)}
    return Surroundings(held, attributes | extra, _generators())


def _class_attributes(kind: type) -> dict[str, object]:
    """Plain values and containers that a user's class keeps for all its modules."""
    kinds = [each for each in kind.__mro__ if not each.__module__.startswith(("torch.", "builtins"))]
    found = {name: value for each in reversed(kinds) for name, value in vars(each).items() if not name.startswith("__")}
    return {name: value for name, value in found.items() if isinstance(value, PLAIN)}


def _generators() -> tuple:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002, of the user's network, not of ours
    return random.getstate(), kind, keys.tobytes(), *rest


def _comparable(value: object, depth: int = DEPTH) -> object:
    """A value that equals another one's if nothing that can be seen in the two differs; what cannot be looked into
    without changing it, as an iterator, equals nothing."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | bytearray | np.generic):
        return type(value).__name__, repr(value)
    if isinstance(value, np.ndarray) and value.nbytes <= LARGEST and value.dtype.kind != "O":
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, Iterator):
        return float("nan")
    if isinstance(value, Tensor | nn.Module | type) or callable(value) or not depth:
        return Same(value)
    if isinstance(value, Sized) and len(value) > LONGEST:
        return [Same(value), len(value)]
    if isinstance(value, Mapping):
        return [(repr(key), _comparable(part, depth - 1)) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_comparable(part, depth - 1) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    names = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    slots = {name: getattr(value, name) for name in names}
    return [Same(value), _comparable(getattr(value, "__dict__", {}) | slots, depth - 1)]


def _slots(kind: type) -> tuple[str, ...]:
    names = vars(kind).get("__slots__", ())
    return () if kind.__module__ == "builtins" else (names,) if isinstance(names, str) else tuple(names)


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
        (module, dict(vars(module)), dict(module._parameters), dict(module._buffers))
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
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
