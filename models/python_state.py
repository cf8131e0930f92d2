"""State of a network beyond the values of its tensors: Python attributes, extra state, and generators.

A user's network may assign its buffers anew while it trains, count its passes in a Python attribute, or draw from
Python's and NumPy's generators. Whatever is made once and used later (a copy, a trace, a captured step, a checkpoint)
is valid only as long as this state is the same.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .network_state import is_extra_state, tensors_within

OF_TORCH = frozenset(vars(nn.Module()))  # the attributes that every module has
DEPTH = 4  # how deep objects within objects are compared
LONGEST = 1000  # elements of a container that are compared one by one
PLAIN = bool | int | float | str | list | dict | set | deque  # class attributes of these types may be state
LARGEST = 2**20  # bytes of a NumPy array that is compared by value


class Identity:
    """Compares an object by identity, and holds it so that its address is not reused."""

    def __init__(self, value: object):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]  # as Python wants it of what cannot be hashed


class PythonState(NamedTuple):
    """A comparable record: a network's tensors (by identity), its Python attributes and extra state, all keyed by
    "module.attribute", and the states of Python's and NumPy's generators."""

    tensors: dict[str, object]
    attributes: dict[str, object]
    generators: tuple

    def changed(self, later: "PythonState") -> list[str]:
        """The names of what has changed, to follow "each step changes"."""
        found = [*_differing_names(self.tensors, later.tensors), *_differing_names(self.attributes, later.attributes)]
        return found + (["the state of Python's or NumPy's generator"] if self.generators != later.generators else [])

    def differs(self, later: "PythonState") -> bool:
        """Whether the network has changed; the generators do not count."""
        return self[:2] != later[:2]

    def unsaved_changes(self, later: "PythonState") -> list[str]:
        """The Python attributes that have changed, without those that hold tensors of a forward pass."""
        return [
            name
            for name in _differing_names(self.attributes, later.attributes)
            if not any(tensor.grad_fn for tensor in tensors_within(_compared_tensors(later.attributes.get(name))))
        ]


def python_state(model: nn.Module) -> PythonState:
    """The model's current state. Tensors are compared by identity, Python values by value as far as possible."""
    held: dict[str, object] = {}
    attributes: dict[str, object] = {}
    for place, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # these have no Python attributes of their own
            continue
        start = f"{place}." if place else ""
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            held[start + name] = Identity(value)
        for name, value in (_class_attributes(type(module)) | vars(module)).items():
            if name not in OF_TORCH:
                attributes[start + name] = _comparable(value)
    extra = {name: _comparable(value) for name, value in model.state_dict().items() if is_extra_state(name)}
    return PythonState(held, attributes | extra, _generators())


def _class_attributes(kind: type) -> dict[str, object]:
    """Plain values and containers among the attributes of a user's class."""
    kinds = [each for each in kind.__mro__ if not each.__module__.startswith(("torch.", "builtins"))]
    found = {name: value for each in reversed(kinds) for name, value in vars(each).items() if not name.startswith("__")}
    return {name: value for name, value in found.items() if isinstance(value, PLAIN)}


def _generators() -> tuple:
    state: tuple = np.random.get_state()  # type: ignore[assignment]  # noqa: NPY002, of the user's network
    return random.getstate(), state[0], state[1].tobytes(), *state[2:]


def _comparable(value: object, depth: int = DEPTH) -> object:
    """A stand-in that compares equal as long as no visible part of `value` changes.

    An iterator, which cannot be inspected without changing it, never compares equal.
    """
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
        return Identity(value)
    if isinstance(value, Sized) and len(value) > LONGEST:
        return [Identity(value), len(value)]
    if isinstance(value, Mapping):
        return [(repr(key), _comparable(part, depth - 1)) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_comparable(part, depth - 1) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    names = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    slots = {name: getattr(value, name) for name in names}
    return [Identity(value), _comparable(getattr(value, "__dict__", {}) | slots, depth - 1)]


def _slots(kind: type) -> tuple[str, ...]:
    names = vars(kind).get("__slots__", ())
    return () if kind.__module__ == "builtins" else (names,) if isinstance(names, str) else tuple(names)


def _compared_tensors(comparable: object) -> object:
    """The objects held by identity in a result of `_comparable`, as nested lists for `tensors_within`."""
    if isinstance(comparable, Identity):
        return comparable.value
    return [_compared_tensors(part) for part in comparable] if isinstance(comparable, list | tuple) else None


def _differing_names(before: Mapping[str, object], later: Mapping[str, object]) -> list[str]:
    return [name for name in {**before, **later} if (name in before) != (name in later) or before[name] != later[name]]


@contextmanager
def python_state_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards the model has the same tensors and Python attributes as before. What was written into a tensor or an
    object is not undone."""
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
def generators_seeded(seed_: Callable[[], object]) -> Iterator[None]:
    """Within, generators are as `seed_` leaves them. Afterwards Python's and NumPy's global ones are as before, so that
    nothing has changed, unless something within drew from them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed_()
    begun = _generators()
    yield
    if _generators() == begun:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def generators_kept(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Restore the states of torch's generators on the CPU and `devices`, and of Python's and NumPy's global ones."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
