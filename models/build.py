"""From a name to a network; `models.build_model` says what is built, and checks it."""

from collections.abc import Sequence

from torch import nn

from .cifar_resnet import CifarResNet
from .custom import UserNetwork, call_user_function
from .families import CIFAR_RESNETS, MLPS, PROJECTION, RESNETS, VGGS
from .imagenet_resnet import ImageNetResNet
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
) -> nn.Module:
    normalize = normalization(mean, std, image_channels=channels, network_channels=channels if arch in MLPS else 3)
    if image_size is None:
        assert arch not in MLPS, "the first layer of an MLP depends on it"
        return build(arch, stem, classes, 0, normalize)
    network = build(arch, stem, classes, channels * image_size**2, normalize)
    images = {"classes": classes, "channels": channels, "image_size": image_size}
    check_network(network, arch, **images)
    if isinstance(network, UserNetwork):
        network.unsaved = check_training(network, arch, **images)
        network.find_layer_roles_(channels, image_size)
    return network


def build(arch: str, stem: str, classes: int, inputs: int, normalize: nn.Module) -> nn.Module:
    """The network `arch` behind `normalize`; `inputs`, the pixels times channels of an image, matter to an MLP only."""
    if arch in CIFAR_RESNETS:
        return CifarResNet(CIFAR_RESNETS[arch], classes, normalize, projection=arch.endswith(PROJECTION))
    if arch in RESNETS:
        return ImageNetResNet(*RESNETS[arch], classes, normalize, stem)
    if arch in VGGS:
        return VGG(VGGS[arch], classes, normalize)
    if arch in MLPS:
        form = MLPS[arch]
        return MLP(inputs, form.hidden, classes, normalize, form.initialization)
    return UserNetwork(call_user_function(arch, classes), normalize)
