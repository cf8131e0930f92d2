"""The weights that a mask drops, where they are trained on beside the network.

Dynamic pruning with feedback (Lin et al., "Dynamic Model Pruning with Feedback", ICLR 2020) computes the gradient at
the masked weights m * w, and takes the optimiser's step with the dense ones: w <- w - lr * g(m * w). The network always
holds m * w; the rest, (1 - m) * w, is here, in fixed buffers, so that a captured step stays valid.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruner import Mask, Weights


class DroppedWeights:
    """`values`: for each prunable parameter its dropped weights, 0 where one is kept, in the parameter's memory layout.

    `kept` is the mask as 0.0 and 1.0, a fixed buffer for each of the parameters. Both parts of a parameter are 0 where
    the other is not, so that their sum and its parts are exact.
    """

    def __init__(self, parameters: Mapping[str, Tensor], kept: Mapping[str, Tensor]):
        self.parameters, self.kept = {name: parameters[name] for name in kept}, kept
        self.values = {name: torch.zeros_like(parameters[name], requires_grad=False) for name in kept}

    @torch.no_grad()
    def put_back_(self) -> None:
        """Make the network's weights dense."""
        torch._foreach_add_(list(self.parameters.values()), list(self.values.values()))

    @torch.no_grad()
    def take_out_(self) -> None:
        """Make the network's weights, now dense, sparse again."""
        parameters, values = list(self.parameters.values()), list(self.values.values())
        torch._foreach_copy_(values, parameters)
        torch._foreach_mul_(parameters, list(self.kept.values()))
        torch._foreach_sub_(values, parameters)

    @torch.no_grad()
    def change_mask_(self, mask: Mask) -> None:
        """Exchange weights with the network, so that it holds those of another mask."""
        self.put_back_()
        for name, layer in mask.items():
            self.kept[name].copy_(layer)
        self.take_out_()

    @torch.no_grad()
    def dense(self) -> Weights:
        """A copy of the dense weights, by parameter."""
        return {name: parameter + self.values[name] for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def load_(self, values: Weights) -> None:
        """Copy earlier `values` into the buffers."""
        for name, value in self.values.items():
            value.copy_(values[name])
