"""LeNet-300-100, the fully connected network of LeCun et al. (1998) and of Frankle & Carbin (ICLR 2019)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Two hidden layers: (n, channels, size, size), flattened to (n, inputs), → (n, classes).

    As in Frankle & Carbin, weights start Glorot-normal and biases at zero.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, normalize: nn.Module):
        super().__init__()
        self.normalize = normalize
        first, second = hidden
        self.fc1 = nn.Linear(inputs, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, classes)
        self.apply(initialize_)

    def forward(self, images: Tensor) -> Tensor:
        x = self.normalize(images).flatten(1)  # (n, inputs)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def initialize_(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
