"""A user's own network, given as `package.module:function` or `path/to/file.py:function`.

Every failure is an InputError of one sentence.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

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
    auxiliary heads does in train mode, gives its logits only (`logits_in`); `several` says in words what it returned
    when it was tried, and is empty for a network that returns its logits alone.
    """

    classifier_names: tuple[str, ...] | None = None
    altered: tuple[str, ...] = ()
    unknown: str = "it was not tried on images"
    unsaved: tuple[str, ...] = ()
    several: str = ""

    def __init__(self, network: nn.Module, normalize: nn.Module):
        super().__init__()
        self.normalize = normalize
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return logits_in(self.network(self.normalize(rgb(images))))

    @contextmanager
    def watching_outputs_(self) -> Iterator[None]:
        """Within it a pass that returns several things sets `several`."""

        def see(_module: nn.Module, _inputs: object, output: object) -> None:
            if logits_in(output) is not output:
                place = logits_place(output)
                where = f'entry "{place}"' if isinstance(output, Mapping) else place
                self.several = f"{type(output).__name__}, whose {where}"

        watched = self.network.register_forward_hook(see)
        try:
            yield
        finally:
            watched.remove()

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
    place = logits_place(output)
    if isinstance(output, Mapping):
        return output[place] if place else output
    return output[0] if place else output  # type: ignore[index]


def logits_place(output: object) -> str:
    """Where the logits are in what a network returns, in a word; empty if that is all of it or not known."""
    if isinstance(output, Mapping):
        return next((key for key in LOGITS if key in output), "")
    return "first element" if isinstance(output, tuple | list) and output else ""


def call_user_function(arch: str, classes: int) -> nn.Module:
    """The network `function(num_classes=classes)`; InputError if it cannot be imported or returns something else."""
    with user_function(arch) as function:
        network = call(arch, function, num_classes=classes)
    return checked_network(arch, network)


def checked_network(arch: str, network: object) -> nn.Module:
    """Return `network` if it is a module whose parameters have shapes; InputError otherwise."""
    if not isinstance(network, nn.Module):
        raise InputError(f"{arch} must return a torch.nn.Module, got {type(network).__name__}")
    if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        raise InputError(f"{arch} must return a network whose parameters have shapes, got one with lazy layers")
    return network
