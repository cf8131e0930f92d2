"""A user's own network, given as `package.module:function` or `path/to/file.py:function`.

Every failure is an InputError of one sentence.
"""

import sys
from importlib import import_module
from types import ModuleType

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from utils import InputError, one_line

from .layer_roles import LayerRoles, layer_roles
from .normalization import rgb
from .python_state import generators_kept
from .torch_settings import global_settings_kept
from .user_code import ROOT, is_in_folder, is_path, top_level_name, user_code


class UserNetwork(nn.Module):
    """`network` behind the normalisation: it gets normalised images (n, 3, size, size).

    `classifier_names`: the layers that produce the logits, or None if that is not known, for the reason in `unknown`.
    `altered`: the layers whose weights are changed before use (both from `layer_roles`). `unsaved`: state that training
    changes and no checkpoint holds (`probe.check_training`).
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
        """Set `classifier_names` and `altered`, or else `unknown`, by a forward pass on such images."""
        found = layer_roles(self, channels, image_size)
        if isinstance(found, LayerRoles):
            self.classifier_names, self.altered = found
        else:
            self.unknown = found


def call_user_function(arch: str, classes: int) -> nn.Module:
    """The network `function(num_classes=classes)`; InputError if it cannot be imported or returns something else."""
    place, _, name = arch.rpartition(":")
    with global_settings_kept(), user_code(place)[0].active():
        with generators_kept():  # draws and seeds on import must not change the initial weights
            module = import_user_module(place)
        function = getattr(module, name, None)
        if function is None:
            raise InputError(f"module {place} has no function {name}{wrong_module_hint(module)}")
        try:
            network = function(num_classes=classes)
        except (Exception, SystemExit) as error:
            raise InputError(f"{arch}(num_classes={classes}) raised {one_line(error)}") from error
    return checked_network(arch, network)


def checked_network(arch: str, network: object) -> nn.Module:
    """Return `network` if it is a module whose parameters have shapes; InputError otherwise."""
    if not isinstance(network, nn.Module):
        raise InputError(f"{arch} must return a torch.nn.Module, got {type(network).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        raise InputError(f"{arch} must return a network whose parameters have shapes, got one with lazy layers")
    return network


def import_user_module(place: str) -> ModuleType:
    """The module in a file, or the module of that name in the current directory or wherever Python looks.

    Call it while the user's code is active (`UserCode.active`).
    """
    code, name = user_code(place)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not is_path(place) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"no module {name} is installed or lies in {code.folder}") from error
        raise InputError(f"importing {place} raised {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {place} raised {one_line(error)}") from error


def wrong_module_hint(module: ModuleType) -> str:
    """Advice if the module found belongs to this suite, where a user's module was probably meant."""
    if not is_in_folder(sys.modules.get(top_level_name(module.__name__)), ROOT):
        return ""
    return f"; it was found in this suite, {ROOT}: give a network in a file of your own as path/to/file.py:function"
