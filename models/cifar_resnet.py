"""ResNets for small images (He et al., CVPR 2016, section 4.2), with shortcuts of option A or B."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .families import CIFAR_WIDTHS
from .normalization import rgb


class BasicBlock(nn.Module):
    """relu(x' + bn(conv(relu(bn(conv(x)))))): (n, inputs, h, w) → (n, width, ⌈h/stride⌉, ⌈w/stride⌉).

    The shortcut x' has no parameters: it keeps every `stride`-th pixel and pads with zero channels on both sides.
    """

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.stride, self.padding = stride, (width - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.padding == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))

    def forward(self, x: Tensor) -> Tensor:
        # In place: the gradient of batch norm does not need its output.
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)).add_(self.shortcut(x)), inplace=True)


class ProjectionBlock(BasicBlock):
    """The same, but the shortcut of a block that changes width or size is a 1×1 convolution with batch norm."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__(inputs, width, stride)
        self.downsample = nn.Identity()
        if stride != 1 or inputs != width:
            convolution = nn.Conv2d(inputs, width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def shortcut(self, x: Tensor) -> Tensor:
        return self.downsample(x)


class CifarResNet(nn.Module):
    """A 3×3 convolution, three stages of `units` blocks with 16, 32 and 64 channels, and a linear classifier.

    The stages after the first halve the image; global average pooling takes whatever size is left. Convolutions and
    classifier are initialised Kaiming-normal (fan in).

    `projection` gives the network of the Elastic Lottery Ticket paper (Chen et al., NeurIPS 2021) and of the framework
    it builds on: shortcuts of option B, and batch norm scales drawn uniformly from [0, 1).
    """

    def __init__(self, units: Sequence[int], classes: int, normalize: nn.Module, projection: bool = False):
        super().__init__()
        block = ProjectionBlock if projection else BasicBlock
        self.normalize = normalize
        first, *_, last = CIFAR_WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        widths = pairwise((first, *CIFAR_WIDTHS))
        self.layer1, self.layer2, self.layer3 = (stage(block, *io, n) for io, n in zip(widths, units, strict=True))
        self.fc = nn.Linear(last, classes)
        self.apply(initialize_)
        if projection:
            self.apply(draw_scales_)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.normalize(rgb(images)))), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def stage(block: type[BasicBlock], inputs: int, width: int, units: int) -> nn.Sequential:
    """`units` blocks of `width` channels; the first halves the image if the width changes."""
    first = block(inputs, width, stride=1 if inputs == width else 2)
    return nn.Sequential(first, *(block(width, width, stride=1) for _ in range(units - 1)))


def initialize_(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)


def draw_scales_(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight)
