"""VGG (Simonyan & Zisserman, ICLR 2015) as in the 2021 PrAC-LTH code: four max-pools and one linear layer.

torchvision's VGG has the same keys and a fifth max-pool at the end of `features`; with that, a ticket would load and
compute another function. The variants with several linear layers are those of the Elastic Lottery Ticket paper (Chen et
al., NeurIPS 2021, table 5).
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from .families import VGG_WIDTHS, VGGForm
from .normalization import rgb


class VGG(nn.Module):
    """Five stages of 3×3 convolutions, global average pooling, optional hidden linear layers as wide as the last
    stage, and a linear classifier.

    Images need at least 16 pixels for the four max-pools. Convolutions are initialised Kaiming-normal (fan out), hidden
    linear layers Kaiming-normal (fan in), the classifier with standard deviation 0.01, and all biases to zero.
    """

    def __init__(self, form: VGGForm, classes: int, normalize: nn.Module):
        super().__init__()
        self.normalize = normalize
        self.features = nn.Sequential(*feature_layers(form.units, form.batch_norm))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden = list(hidden_layers(form.linear - 1))
        last = nn.Linear(VGG_WIDTHS[-1], classes)
        self.classifier = nn.Sequential(*hidden, last) if hidden else last
        self.apply(initialize_)
        for layer in hidden[::2]:  # with the classifier's standard deviation their outputs would vanish
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(self.normalize(rgb(images)))  # (n, 512, size/16, size/16)
        return self.classifier(self.avgpool(x).flatten(1))


def feature_layers(units: Sequence[int], batch_norm: bool) -> Iterator[nn.Module]:
    """The layers of all stages in order, with a max-pool between stages but none after the last."""
    inputs = 3
    for stage, (width, repeats) in enumerate(zip(VGG_WIDTHS, units, strict=True)):
        if stage > 0:
            yield nn.MaxPool2d(2)
        for _ in range(repeats):
            yield from unit(inputs, width, batch_norm)
            inputs = width


def unit(inputs: int, width: int, batch_norm: bool) -> Iterator[nn.Module]:
    yield nn.Conv2d(inputs, width, 3, padding=1)
    if batch_norm:
        yield nn.BatchNorm2d(width)
    yield nn.ReLU(inplace=True)


def hidden_layers(layers: int) -> Iterator[nn.Module]:
    for _ in range(layers):
        yield nn.Linear(VGG_WIDTHS[-1], VGG_WIDTHS[-1])
        yield nn.ReLU(inplace=True)


def initialize_(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
