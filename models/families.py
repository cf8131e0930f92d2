"""The built-in architectures as data: how many units each stage of a network has.

A *unit* is what a stage repeats: a residual block in a ResNet, a convolution in a VGG. Importing this module does not
import torch, so that a script can check its arguments first.
"""

from typing import NamedTuple

# He et al. 2016, section 4.2: 6n + 2 layers are n basic blocks in each of three stages.
CIFAR_WIDTHS = (16, 32, 64)
CIFAR_RESNETS = {
    "res14s": (2, 2, 2),
    "res20s": (3, 3, 3),
    "res32s": (5, 5, 5),
    "res44s": (7, 7, 7),
    "res56s": (9, 9, 9),
    "res110s": (18, 18, 18),
}
# The shortcuts of the networks above have no parameters (option A of that section); these are projections (option B)
# where the width changes, as the Elastic Lottery Ticket paper (Chen et al., NeurIPS 2021) has them.
PROJECTION = "_projection"
CIFAR_RESNETS |= {f"{name}{PROJECTION}": units for name, units in CIFAR_RESNETS.items()}

# He et al. 2016, table 1: the kind of block, and blocks per stage. ResNet-26 is Chen et al.'s, between the two.
RESNETS = {
    "res18": ("basic", (2, 2, 2, 2)),
    "res26": ("basic", (2, 3, 4, 3)),
    "res34": ("basic", (3, 4, 6, 3)),
    "res50": ("bottleneck", (3, 4, 6, 3)),
}
STEMS = ("imagenet", "cifar")

# Mean and standard deviation per channel that torchvision's and most other pre-trained networks expect.
NORMALIZATIONS = {"dataset": None, "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


class VGGForm(NamedTuple):
    """Convolutions per stage, whether each has batch norm, and the number of linear layers after them."""

    units: tuple[int, ...]
    batch_norm: bool
    linear: int = 1


# Simonyan & Zisserman 2015, table 1 (A, B, D, E); with several linear layers: Chen et al. 2021, table 5.
VGG_WIDTHS = (64, 128, 256, 512, 512)
VGG_UNITS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VGGS = {name: VGGForm(units, batch_norm=False) for name, units in VGG_UNITS.items()}
VGGS |= {f"{name}_bn": VGGForm(units, batch_norm=True) for name, units in VGG_UNITS.items()}
VGGS |= {
    f"{name}_bn_{linear}fc": VGGForm(VGG_UNITS[name], batch_norm=True, linear=linear)
    for name in ("vgg13", "vgg16", "vgg19")
    for linear in (2, 3, 5)
}


class MLPForm(NamedTuple):
    """Widths of the hidden layers, and how the weights are initialised."""

    hidden: tuple[int, ...]
    initialization: str


# LeNet-300-100 (LeCun et al. 1998) as Frankle & Carbin start it, and Chen et al.'s MLP-n, n layers of 300.
MLPS = {"lenet300": MLPForm((300, 100), "glorot")}
MLPS |= {f"mlp{n}": MLPForm((300,) * n + (100,), "kaiming") for n in (2, 3, 4)}

ARCHITECTURES = (*CIFAR_RESNETS, *RESNETS, *VGGS, *MLPS)
