"""Folding batch norm into the convolution before it, for faster evaluation.

In eval mode batch norm is a fixed scale and shift per channel, which a convolution with other weights can apply:

    w' = w s,  b' = (b - mean) s + beta,  with s = gamma / sqrt(variance + eps)

This saves reading and writing every activation once more.
"""

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.python_state import python_state_kept


class FoldedPair(NamedTuple):
    """A convolution of the network, the batch norm after it, and the convolution that replaces both."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    folded: nn.Conv2d


class FoldedNetwork:
    """`model` in eval mode, with each batch norm folded into its convolution if nothing else reads that.

    All other layers are the model's own. `refresh_` folds the current weights. The constructor raises whatever torch.fx
    raises for a network that it cannot trace, such as one whose forward pass depends on values.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        with python_state_kept(model):  # a network that stores activations would keep torch.fx's proxies
            self.network = fx.symbolic_trace(model)
        self.pairs = [self.fold(node, dtype) for node in foldable_norms(self.network)]
        self.network.recompile()

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images)

    def fold(self, node: fx.Node, dtype: torch.dtype) -> FoldedPair:
        """Replace the batch norm at `node` and its convolution by a new convolution."""
        convolution_node = node.args[0]
        convolution = self.network.get_submodule(convolution_node.target)
        name = f"folded_{len(self.network.graph.nodes)}_{convolution_node.name}"
        own = empty_copy(convolution).to(convolution.weight.device, dtype, memory_format=torch.channels_last)
        self.network.add_module(name, own)
        convolution_node.target = name
        node.replace_all_uses_with(convolution_node)
        self.network.graph.erase_node(node)
        return FoldedPair(convolution, self.network.get_submodule(node.target), own)

    @torch.no_grad()
    def refresh_(self) -> None:
        """Recompute the folded weights from the model's current ones."""
        for convolution, norm, folded in self.pairs:
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            folded.weight.copy_(weight)
            folded.bias.copy_(bias)


def empty_copy(convolution: nn.Conv2d) -> nn.Conv2d:
    """A convolution of the same shape, with a bias, uninitialised and without gradients."""
    return nn.utils.skip_init(  # drawing weights would take longer than all the rest
        nn.Conv2d,
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
        bias=True,
        padding_mode=convolution.padding_mode,
    ).requires_grad_(False)


def foldable_norms(network: fx.GraphModule) -> list[fx.Node]:
    """Batch norms with running statistics whose input is a convolution that nothing else reads, both called once."""
    modules = dict(network.named_modules())
    calls = Counter(node.target for node in network.graph.nodes if node.op == "call_module")

    def is_once(node: object, kind: type) -> bool:
        if not (isinstance(node, fx.Node) and node.op == "call_module" and calls[node.target] == 1):
            return False
        return type(modules[node.target]) is kind

    return [
        node
        for node in network.graph.nodes
        if is_once(node, nn.BatchNorm2d)
        and modules[node.target].track_running_stats
        and node.args
        and is_once(node.args[0], nn.Conv2d)
        and len(node.args[0].users) == 1
    ]
