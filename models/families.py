"""The architectures as data: how many units each stage of a network has.

A *unit* is what a stage repeats: a residual block in a ResNet, a convolution in a VGG. Nothing here imports torch, so
that a script can check its arguments before it does.
"""

# He et al. 2016, section 4.2: 6n + 2 layers are n basic blocks in each of three stages.
CIFAR_WIDTHS = (16, 32, 64)
CIFAR_RESNETS = {
    "res20s": (3, 3, 3),
    "res32s": (5, 5, 5),
    "res44s": (7, 7, 7),
    "res56s": (9, 9, 9),
    "res110s": (18, 18, 18),
}

# He et al. 2016, table 1: the kind of block, and blocks per stage.
RESNETS = {
    "res18": ("basic", (2, 2, 2, 2)),
    "res34": ("basic", (3, 4, 6, 3)),
    "res50": ("bottleneck", (3, 4, 6, 3)),
}
STEMS = ("imagenet", "cifar")

# Simonyan & Zisserman 2015, table 1 (A, B, D, E): convolutions per stage, each with batch norm or without.
VGG_WIDTHS = (64, 128, 256, 512, 512)
VGGS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VGGS |= {f"{name}_bn": units for name, units in VGGS.items()}

# LeCun et al. 1998: the widths of the hidden layers.
MLPS = {"lenet300": (300, 100)}

ARCHITECTURES = (*CIFAR_RESNETS, *RESNETS, *VGGS, *MLPS)
