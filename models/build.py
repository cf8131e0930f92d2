"""Building a network by name and checking it; `models.build_model` documents the arguments."""

from collections.abc import Callable, Sequence

from torch import nn

from utils import InputError

from .cifar_resnet import CifarResNet
from .custom import UserNetwork, call_user_function, checked_network
from .families import CIFAR_RESNETS, MLPS, PROJECTION, RESNETS, VGGS
from .imagenet_resnet import ImageNetResNet
from .library import build_library_network, is_library_network
from .mlp import MLP
from .normalization import normalization
from .probe import check_network, check_training
from .vgg import VGG


def build_checked(
    arch: str,
    stem: str,
    classes: int,
    channels: int,
    image_size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    function: Callable[[int], nn.Module] | None = None,
    tried: bool = True,
) -> nn.Module:
    is_mlp = function is None and arch in MLPS
    if len(mean) not in (channels, channels if is_mlp else 3):
        raise InputError(f"{arch} takes grey images as they are, their normalisation has {len(mean)} channels")
    normalize = normalization(mean, std, image_channels=channels, network_channels=channels if is_mlp else 3)
    if image_size is None:
        assert not is_mlp, "the first layer of an MLP depends on the image size"
        return build(arch, stem, classes, 0, normalize, function)
    network = build(arch, stem, classes, channels * image_size**2, normalize, function, image_size)
    if not tried:
        return network
    images = {"classes": classes, "channels": channels, "image_size": image_size}
    if not isinstance(network, UserNetwork):
        check_network(network, arch, **images)
        return network
    with network.watching_outputs_():
        check_network(network, arch, **images)
        network.unsaved = check_training(network, arch, **images)
    network.find_layer_roles_(channels, image_size)
    return network


def build(
    arch: str,
    stem: str,
    classes: int,
    inputs: int,
    normalize: nn.Module,
    function: Callable[[int], nn.Module] | None = None,
    image_size: int | None = None,
) -> nn.Module:
    """The network `arch`, or that of a user's `function`, behind `normalize`.

    `inputs`, the pixels times channels of an image, matters to MLPs only, `image_size` to networks of libraries only.
    """
    if function is not None:
        return UserNetwork(checked_network(arch, function(classes)), normalize)
    if arch in CIFAR_RESNETS:
        return CifarResNet(CIFAR_RESNETS[arch], classes, normalize, projection=arch.endswith(PROJECTION))
    if arch in RESNETS:
        return ImageNetResNet(*RESNETS[arch], classes, normalize, stem)
    if arch in VGGS:
        return VGG(VGGS[arch], classes, normalize)
    if arch in MLPS:
        form = MLPS[arch]
        return MLP(inputs, form.hidden, classes, normalize, form.initialization)
    if is_library_network(arch):
        return UserNetwork(build_library_network(arch, classes, image_size), normalize)
    return UserNetwork(call_user_function(arch, classes), normalize)
