"""A user's own network, given as `package.module:function` or `path/to/file.py:function`.

Every failure is an InputError of one sentence.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from utils import InputError

from .layer_roles import LayerRoles, layer_roles
from .normalization import rgb
from .user_function import call, user_function

LOGITS = ("logits", "out")  # names of the logits in a mapping, as of transformers and of torchvision


class UserNetwork(nn.Module):
    """`network` behind the normalisation: it gets normalised images (n, 3, size, size).

    `classifier_names`: the layers that produce the logits, or None if that is not known, for the reason in `unknown`.
    `altered`: the layers whose weights are changed before use (both from `layer_roles`). `unsaved`: state that training
    changes and no checkpoint holds (`probe.check_training`). A network that returns several things, as one with
    auxiliary heads does in train mode, gives its logits only (`logits_in`).
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
        return logits_in(self.network(self.normalize(rgb(images))))

    def find_layer_roles_(self, channels: int, image_size: int) -> None:
        """Set `classifier_names` and `altered`, or else `unknown`, by a forward pass on such images."""
        found = layer_roles(self, channels, image_size)
        if isinstance(found, LayerRoles):
            self.classifier_names, self.altered = found
        else:
            self.unknown = found


def logits_in(output: object) -> object:
    """The logits in what a network returns: the first element of a tuple or list, the entry "logits" or "out" of a
    mapping; anything else as it is, for `probe` to check."""
    if isinstance(output, Mapping):
        return next((output[key] for key in LOGITS if key in output), output)
    return output[0] if isinstance(output, tuple | list) and output else output


def call_user_function(arch: str, classes: int) -> nn.Module:
    """The network `function(num_classes=classes)`; InputError if it cannot be imported or returns something else."""
    with user_function(arch) as function:
        network = call(arch, function, num_classes=classes)
    return checked_network(arch, network)


def checked_network(arch: str, network: object) -> nn.Module:
    """Return `network` if it is a module whose parameters have shapes; InputError otherwise."""
    if not isinstance(network, nn.Module):
        raise InputError(f"{arch} must return a torch.nn.Module, got {type(network).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
        raise InputError(f"{arch} must return a network whose parameters have shapes, got one with lazy layers")
    return network
