"""Fully connected networks.

LeNet-300-100 (LeCun et al. 1998; Frankle & Carbin, ICLR 2019), and MLP-2, -3 and -4 of the Elastic Lottery Ticket paper
(Chen et al., NeurIPS 2021), which have two, three and four layers of 300 before the one of 100.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Layers fc1, fc2, ...: (n, channels, size, size), flattened to (n, inputs), → `hidden` widths → (n, classes).

    Weights are initialised from Glorot's or Kaiming's (He's) normal distribution, biases to zero.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, normalize: nn.Module, initialization: str):
        super().__init__()
        self.normalize = normalize
        self.layers = len(hidden) + 1
        for number, (width, outputs) in enumerate(pairwise((inputs, *hidden, classes)), 1):
            self.add_module(f"fc{number}", nn.Linear(width, outputs))
        self.apply(partial(initialize_, weights_=INITIALIZATIONS[initialization]))

    def forward(self, images: Tensor) -> Tensor:
        x = self.normalize(images).flatten(1)  # (n, inputs)
        for number in range(1, self.layers):
            x = F.relu(getattr(self, f"fc{number}")(x))
        return getattr(self, f"fc{self.layers}")(x)


INITIALIZATIONS = {"glorot": nn.init.xavier_normal_, "kaiming": nn.init.kaiming_normal_}


def initialize_(module: nn.Module, weights_: Callable[[Tensor], Tensor]) -> None:
    if isinstance(module, nn.Linear):
        weights_(module.weight)
        nn.init.zeros_(module.bias)
