"""ResNets for ImageNet (He et al., CVPR 2016): torchvision's networks and keys, with the normalisation in front."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from .normalization import rgb

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ImageNetResNet(ResNet):
    """torchvision's network with `units` blocks per stage, and its initialisation.

    The stem `imagenet` (7×7 with stride 2, then max-pooling) is made for 224 pixels and reduces 32 pixels to a map of
    1×1. The stem `cifar` (3×3 with stride 1, no pooling) leaves a map of 4×4.
    """

    _modules: dict[str, nn.Module]

    def __init__(self, block: str, units: Sequence[int], classes: int, normalize: nn.Module, stem: str):
        super().__init__(BLOCKS[block], list(units), num_classes=classes)
        if stem == "cifar":
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.maxpool = nn.Identity()
        # Registered first, so that it comes first in the state_dict, as in the other networks.
        self._modules = {"normalize": normalize, **self._modules}

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.normalize(rgb(images)))
