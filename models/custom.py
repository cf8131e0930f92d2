"""A user's own network, given as `package.module:function` or `path/to/file.py:function`.

Every failure is an InputError of one sentence.
"""

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from utils import InputError

from .layer_roles import LayerRoles, layer_roles
from .normalization import rgb
from .user_function import call, user_function


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
