"""The flags that say which network there is. Importing this module does not import torch."""

from models import NORMALIZATIONS, STEMS


def add_network(group) -> None:
    group.add_argument(
        "--arch",
        default="res20s",
        help="res14s res20s res32s res44s res56s res110s (CIFAR form), each with _projection, too (1x1 convolutions as "
        "shortcuts, uniform batch norm scales, as in the elastic ticket paper), res18 res26 res34 res50, vgg11 vgg13 "
        "vgg16 vgg19 with and without _bn, vgg13_bn_2fc and the like (13, 16, 19; 2, 3, 5 linear layers), lenet300, "
        "mlp2 mlp3 mlp4; timm:NAME and torchvision:NAME for networks of these libraries, their weights drawn afresh, "
        "with arguments of theirs as in timm:vit_tiny_patch16_224,patch_size=4; for a network of your own "
        "path/to/file.py:function, or package.module:function, looked for in the current directory first: a function "
        "of num_classes that returns the network",
    )
    add_stem(group)
    group.add_argument(
        "--normalization",
        choices=tuple(NORMALIZATIONS),
        default="dataset",
        help="mean and standard deviation that the first layer takes from images and divides them by: those of the "
        "data set; or ImageNet's, of three channels, which most pre-trained weights expect",
    )


def add_stem(group) -> None:
    group.add_argument(
        "--stem",
        choices=STEMS,
        default="imagenet",
        help="first layers of res18/26/34/50: 7x7 stride 2 and max-pool, or 3x3 stride 1",
    )
