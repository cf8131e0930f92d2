"""The user's own network, named as `package.module:function`; every failure is told as one sentence (InputError)."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from utils import InputError

from .normalization import rgb
from .probe import in_short


class UserNetwork(nn.Module):
    """`network` behind the normalisation: it gets (n, 3, size, size), normalised."""

    def __init__(self, network: nn.Module, normalize: nn.Module):
        super().__init__()
        self.normalize = normalize
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalize(rgb(images)))


def call_user_function(arch: str, classes: int) -> nn.Module:
    """function(num_classes=classes), for `arch` = "package.module:function"."""
    module_name, _, name = arch.partition(":")
    function = getattr(import_user_module(module_name), name, None)
    if function is None:
        raise InputError(f"module {module_name} has no function {name}")
    try:
        network = function(num_classes=classes)
    except (Exception, SystemExit) as error:
        raise InputError(f"{arch}(num_classes={classes}) raised {in_short(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{arch} must return a torch.nn.Module, got {type(network).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        raise InputError(f"{arch} must return a network whose parameters have shapes, got one with lazy layers")
    return network


def import_user_module(name: str) -> ModuleType:
    """The module `name`, from wherever Python looks or from the current directory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, and for good: it may import more when called, but must not shadow our modules
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"no module {name} is installed or lies in {here}") from error
        raise InputError(f"importing {name} raised {in_short(error)}") from error
    except Exception as error:
        raise InputError(f"importing {name} raised {in_short(error)}") from error
