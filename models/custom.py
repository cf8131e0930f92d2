"""The user's own network, named as `package.module:function` or `path/to/file.py:function`.

Every failure is told as one sentence (InputError).
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from utils import InputError

from .layer_roles import LayerRoles, layer_roles
from .network_state import generators_kept
from .normalization import rgb
from .probe import in_short
from .user_code import ROOT, is_path, lies_in, top, user_code


class UserNetwork(nn.Module):
    """`network` behind the normalisation: it gets (n, 3, size, size), normalised.

    `classifier_names`: the layers that make its logits, None while that is not known, then with the reason in
    `unknown`; `altered`: those whose weights are changed before they are used (`layer_roles.LayerRoles`). `unsaved`:
    what training changes in it and no checkpoint holds (`probe.check_training`).
    """

    classifier_names: tuple[str, ...] | None = None
    altered: tuple[str, ...] = ()
    unknown: str = "it was not tried on images"
    unsaved: tuple[str, ...] = ()

    def __init__(self, network: nn.Module, normalize: nn.Module):
        super().__init__()
        self.normalize = normalize
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalize(rgb(images)))

    def find_layer_roles_(self, channels: int, image_size: int) -> None:
        """Set `classifier_names` and `altered`, or `unknown`, by a pass of such images."""
        found = layer_roles(self, channels, image_size)
        if isinstance(found, LayerRoles):
            self.classifier_names, self.altered = found
        else:
            self.unknown = found


def call_user_function(arch: str, classes: int) -> nn.Module:
    """function(num_classes=classes), for `arch` = "package.module:function" or "path/to/file.py:function"."""
    place, _, name = arch.rpartition(":")
    with global_settings_kept(), user_code(place)[0].named():
        with generators_kept():  # what a module draws or seeds when it is imported is not for the network to begin with
            module = import_user_module(place)
        function = getattr(module, name, None)
        if function is None:
            raise InputError(f"module {place} has no function {name}{whose(module)}")
        try:
            network = function(num_classes=classes)
        except (Exception, SystemExit) as error:
            raise InputError(f"{arch}(num_classes={classes}) raised {in_short(error)}") from error
    return checked_network(arch, network)


def checked_network(arch: str, network: object) -> nn.Module:
    """What a user's function returned, if it is a network with parameters of known shapes; InputError otherwise."""
    if not isinstance(network, nn.Module):
        raise InputError(f"{arch} must return a torch.nn.Module, got {type(network).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        raise InputError(f"{arch} must return a network whose parameters have shapes, got one with lazy layers")
    return network


def import_user_module(place: str) -> ModuleType:
    """The module in a file, or of that name: from the current directory or else from wherever Python looks.

    To be called while names are the user's (`UserCode.named`).
    """
    code, name = user_code(place)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not is_path(place) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"no module {name} is installed or lies in {code.folder}") from error
        raise InputError(f"importing {place} raised {in_short(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {place} raised {in_short(error)}") from error


def whose(module: ModuleType) -> str:
    """What to do where a user's module was meant and one beside ours was found."""
    if not lies_in(sys.modules.get(top(module.__name__)), ROOT):
        return ""
    return f"; it was found in this suite, {ROOT}: give a network in a file of your own as path/to/file.py:function"


# What a module may set for a whole process, with how it is read and set: it would decide how everything here computes.
GLOBAL_SETTINGS = (
    (os.getcwd, os.chdir),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.get_default_device, lambda device: torch.set_default_device(None)),  # as it is here: none is set
    (lambda: torch.backends.cudnn.benchmark, partial(setattr, torch.backends.cudnn, "benchmark")),
    (lambda: torch.backends.cudnn.deterministic, partial(setattr, torch.backends.cudnn, "deterministic")),
    (lambda: torch.backends.cudnn.allow_tf32, partial(setattr, torch.backends.cudnn, "allow_tf32")),
    # The newer switches of number formats, as far as this torch has them. Last: the older ones set them as well.
    *(
        (partial(getattr, owner, "fp32_precision"), partial(setattr, owner, "fp32_precision"))
        for owner in (
            torch.backends,
            torch.backends.cuda.matmul,
            torch.backends.cudnn,
            *(getattr(torch.backends.cudnn, name, None) for name in ("conv", "rnn")),
            torch.backends.mkldnn,
            *(getattr(torch.backends.mkldnn, name, None) for name in ("matmul", "conv", "rnn")),
        )
        if hasattr(owner, "fp32_precision")
    ),
)


@contextmanager
def global_settings_kept() -> Iterator[None]:
    """Whatever is set in here for the whole process is set back."""
    before = [read() for read, _ in GLOBAL_SETTINGS]
    try:
        yield
    finally:
        for value, (read, write) in zip(before, GLOBAL_SETTINGS, strict=True):
            if is_changed(read, value):
                write(value)


def is_changed(read: Callable[[], object], before: object) -> bool:
    """Whether a setting is another than before, or cannot be told: torch raises where newer switches contradict it."""
    try:
        return read() != before
    except RuntimeError:
        return True
