"""Networks by name, each with the normalisation of its images as the first layer.

    check_arch("res20s", stem="imagenet")
    model = build_model("res20s", classes=10, channels=3, image_size=32, mean=(0.49,) * 3, std=(0.24,) * 3)

A network takes images (n, channels, size, size) in [0, 1] and returns logits (n, classes). Its `state_dict` begins with
`normalize.mean` and `normalize.std` and otherwise has the keys of the 2021 PrAC-LTH code, so that either code loads the
other's tickets. Importing this package does not import torch; building a network does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from utils import InputError

from .families import ARCHITECTURES, NORMALIZATIONS, RESNETS, STEMS
from .library import LIBRARIES, check_library_network, is_library_network
from .user_code import check_function

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ARCHITECTURES", "NORMALIZATIONS", "STEMS", "build_model", "check_arch"]


def check_arch(arch: str, stem: str) -> None:
    """InputError for a name that is neither built in, a library's nor a user's function, and for a stem that does not
    apply.

    A user's function is `package.module:function` or `path/to/file.py:function`, a library's network `timm:NAME` or
    `torchvision:NAME`; only `build_model`, which imports them, finds out whether they exist.
    """
    if is_library_network(arch):
        check_library_network(arch)
    elif arch not in ARCHITECTURES:
        libraries = (f"{library}:NAME" for library in LIBRARIES)
        check_function(arch, "arch", (*ARCHITECTURES, *libraries), "a network")
    if stem not in STEMS:
        raise InputError(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
    if stem == "cifar" and arch not in RESNETS:
        raise InputError(f"stem cifar applies to {', '.join(RESNETS)} only, got arch {arch}")


def build_model(
    arch: str,
    *,
    classes: int,
    channels: int,
    image_size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    stem: str = "imagenet",
    network: Callable[[int], nn.Module] | None = None,
    tried: bool = True,
) -> nn.Module:
    """Build the network `arch`, its weights drawn from torch's global generator.

    From Python, `network` may be a function from the number of classes to a network; `arch` is then its name.

    `mean` and `std` have `channels` (1 or 3) entries. Convolutional networks get three channels: grey images, and their
    mean and std, are repeated, unless there are three of these. InputError if the network fails on such images or does
    not return (n, classes). With `image_size` None, or without `tried`, the network is not tried; without the size it
    must not be an MLP, whose first layer depends on it.
    """
    if network is None:
        check_arch(arch, stem)
    from .build import build_checked

    return build_checked(arch, stem, classes, channels, image_size, mean, std, network, tried)
