"""What computes: networks by name, each with the normalisation of its images as the first layer.

    check_arch("res20s", stem="imagenet")
    model = build_model("res20s", classes=10, channels=3, image_size=32, mean=(0.49,) * 3, std=(0.24,) * 3)

A network takes images (n, channels, size, size) in [0, 1] and returns logits (n, classes). Its `state_dict` begins with
`normalize.mean` and `normalize.std` and otherwise has the keys of the 2021 reference, so tickets travel both ways.
Importing this package does not import torch; building a network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils import InputError

from .families import ARCHITECTURES, RESNETS, STEMS

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ARCHITECTURES", "STEMS", "build_model", "check_arch"]


def check_arch(arch: str, stem: str) -> None:
    """Refuse (InputError) a name that is neither ours nor `package.module:function`, and a stem that does not apply.

    Whether the user's function exists is found out by `build_model`, which imports it.
    """
    if arch not in ARCHITECTURES and not _names_a_function(arch):
        raise InputError(
            f"arch must be one of {', '.join(ARCHITECTURES)}, or package.module:function for a network of your own, "
            f"got {arch!r}"
        )
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
) -> nn.Module:
    """The network `arch`, its weights drawn from torch's global generator.

    `mean` and `std` have `channels` (1 or 3) entries. Convolutional networks see three channels: grey images are
    repeated, and so is their one mean. A network that cannot take such images, or does not return (n, classes), is
    refused with an InputError; without an `image_size` it is not tried, and may not be an MLP.
    """
    check_arch(arch, stem)
    from .build import build_checked

    return build_checked(arch, stem, classes, channels, image_size, mean, std)


def _names_a_function(arch: str) -> bool:
    module, _, function = arch.partition(":")
    return all(name.isidentifier() for name in (*module.split("."), function))
