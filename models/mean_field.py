"""A two-layer network in mean-field form: an average of neurons.

    f(x) = (1/N) sum_i b_i act(a_i . x)

(Chizat & Bach, NeurIPS 2018; Mei et al., PNAS 2018). The gradient of a neuron is divided by N, so learning rates are
given in mean-field units: the step is N times the learning rate, and one learning rate suits every width.

Shapes: N neurons, m examples, d inputs, C outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_}  # in place


class MeanField(nn.Module):
    """The network with inner weights `a`, (N, d), and outer weights `b`, (N, C); its length is N."""

    def __init__(self, a: Tensor, b: Tensor, activation: str = "relu"):
        super().__init__()
        self.a, self.b, self.activation = nn.Parameter(a), nn.Parameter(b), activation

    def __len__(self) -> int:
        return len(self.b)

    def forward(self, inputs: Tensor) -> Tensor:
        """(m, d) -> (m, C)."""
        return self.hidden(inputs).T @ self.b / len(self)

    def hidden(self, inputs: Tensor, neurons: slice = slice(None)) -> Tensor:
        """(m, d) -> (n, m): the activations act(a_i . x) of these n neurons (all by default)."""
        return ACTIVATIONS[self.activation](self.a[neurons] @ inputs.T)

    def subnetwork(self, picks: Tensor) -> "MeanField":
        """The average of the neurons in `picks`, int64 (K,), which may repeat; its weights are copies."""
        return MeanField(self.a.detach()[picks], self.b.detach()[picks], self.activation)


def initial(neurons: int, inputs: int, outputs: int, activation: str, seed: int) -> MeanField:
    """A network whose weights are drawn from the standard normal distribution, on the CPU, by `seed` alone.

    For inputs of length about 1, each neuron's output is of order 1 and the network's of order 1/sqrt(N).
    """
    random = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, generator=random) for shape in [(neurons, inputs), (neurons, outputs)])
    return MeanField(a, b, activation)
