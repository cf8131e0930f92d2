"""torch's process-wide settings: number formats of products, and whatever a user's module may change on import."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import attrgetter

import torch

# --- switches of number formats ---------------------------------------------------------------------------------------

Switch = tuple[str, str]  # the name of its owner in torch.backends ("" for torch.backends itself), and its attribute

# tf32 on NVIDIA GPUs. Both kinds have to be set: torch.compile still reads the older switches in some versions, and
# torch computes by the newer ones from 2.9 on. Reading an older switch that a newer one contradicts raises.
OLDER_TF32_SWITCHES: tuple[Switch, ...] = (("cudnn", "allow_tf32"), ("cuda.matmul", "allow_tf32"))
NEWER_TF32_SWITCHES: tuple[Switch, ...] = tuple(
    (owner, "fp32_precision") for owner in ("cuda.matmul", "cudnn.conv", "cudnn.rnn")
)
# The newer switches of all back ends; a general one sets those below it.
FP32_PRECISION_SWITCHES: tuple[Switch, ...] = tuple(
    (owner, "fp32_precision")
    for owner in (
        *("", "cuda.matmul"),
        *("cudnn", "cudnn.conv", "cudnn.rnn"),
        *("mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
    )
)


def read_switch(switch: Switch) -> bool | str:
    """AttributeError if this torch does not have it, RuntimeError if a newer one contradicts it."""
    owner, name = switch
    return getattr(attrgetter(owner)(torch.backends) if owner else torch.backends, name)


def set_switch_(switch: Switch, value: bool | str) -> None:
    owner, name = switch
    setattr(attrgetter(owner)(torch.backends) if owner else torch.backends, name, value)


def read_switches(switches: Iterable[Switch]) -> dict[Switch, bool | str]:
    """The values of those switches that can be read."""
    values = {}
    for switch in switches:
        try:
            values[switch] = read_switch(switch)
        except (AttributeError, RuntimeError):
            continue
    return values


def set_switches_(values: dict[Switch, bool | str]) -> None:
    for switch, value in values.items():
        set_switch_(switch, value)


# --- all settings that a user's module may change ---------------------------------------------------------------------

# How each is read and set. The newer switches come last, since the older settings set them as well.
GLOBAL_SETTINGS = (
    (os.getcwd, os.chdir),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_default_device, lambda device: torch.set_default_device(None)),  # this suite never sets one
    *(
        (partial(read_switch, switch), partial(set_switch_, switch))
        for switch in (
            ("cudnn", "benchmark"),
            ("cudnn", "deterministic"),
            ("cudnn", "allow_tf32"),
            *read_switches(FP32_PRECISION_SWITCHES),
        )
    ),
)


@contextmanager
def global_settings_kept() -> Iterator[None]:
    """Afterwards every setting has the value it had before."""
    before = [read() for read, _ in GLOBAL_SETTINGS]
    try:
        yield
    finally:
        for value, (read, write) in zip(before, GLOBAL_SETTINGS, strict=True):
            if _has_changed(read, value):
                write(value)


def _has_changed(read: Callable[[], object], before: object) -> bool:
    """Whether a setting differs from `before`, or cannot be read because a newer switch contradicts it."""
    try:
        return read() != before
    except RuntimeError:
        return True
