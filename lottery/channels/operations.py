"""What each operation of a traced network does to the channels that enter it.

Channels are followed in three forms: as a *map*, (n, channels, h, w); *flat*, (n, channels x span), each channel's
values side by side; and *last*, (..., channels), as a linear layer gives them.
"""

import operator
from collections import Counter
from collections.abc import Mapping

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.padding import _ReflectionPadNd, _ReplicationPadNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

# fmt: off
ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh,
    nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d,
)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
FUNCTIONS = {
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid, F.dropout,
    torch.relu, torch.sigmoid, torch.tanh,
}
POOL_FUNCTIONS = {F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
# Others that leave channels apart, which slicing does not follow:
APART = (
    nn.PReLU, nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, _ReflectionPadNd, _ReplicationPadNd, _DropoutNd,
    _MaxPoolNd, _AvgPoolNd, _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd,
)
APART_FUNCTIONS = {
    F.prelu, F.interpolate, F.dropout1d, F.dropout2d, F.dropout3d, F.max_pool1d, F.max_pool3d, F.avg_pool1d,
    F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool3d,
}
# fmt: on
METHODS = {"relu", "sigmoid", "tanh", "contiguous"}
ADDITIONS = (operator.add, operator.sub, torch.add, torch.sub, "add", "sub", "__add__", "__radd__")
CONCATENATIONS = (torch.cat, torch.concat, torch.stack)
MAP, FLAT, LAST = "map", "flat", "last"  # the forms of a value

# What an operation is to the channels that enter it:
READER = "reader"  # a convolution or linear layer that computes with them
PASSED = "passed"  # a layer with parameters of its own for each channel
ADDED = "added"  # an addition to other channels, of a residual stream
CHANNELWISE = "channelwise"  # an operation on each channel without parameters of its own
SIZE = "size"  # asks for the number of images only


class NotDroppable(Exception):
    """Why the channels of a layer cannot be dropped."""


class ChannelOperations:
    """The operations of a trace, and what they do to channels."""

    def __init__(self, traced: fx.GraphModule):
        self.traced = traced
        self.modules = dict(traced.named_modules())
        nodes = traced.graph.nodes
        self.times_called = Counter(node.target for node in nodes if node.op == "call_module")
        self.read_directly = {node.target.rpartition(".")[0] for node in nodes if node.op == "get_attr"}
        everywhere = traced.named_parameters(remove_duplicate=False)
        self.sharing = Counter(id(parameter) for _, parameter in everywhere)

    def calls(self, *kinds: type[nn.Module]) -> list[fx.Node]:
        """The first call of each layer of these kinds, front to back."""
        nodes = [node for node in self.traced.graph.nodes if isinstance(self.module(node), kinds)]
        return list({node.target: node for node in reversed(nodes)}.values())[::-1]

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None

    def follow(self, value: fx.Node, user: fx.Node, form: str) -> tuple[str, str | None]:
        """The role of `user` for the channels in `value`, and the form in which they leave it, None if they do not."""
        if user.op == "output":
            raise NotDroppable("its channels are the network's output")
        if user.target in ADDITIONS and not user.kwargs:
            return ADDED, form
        if user.target in CONCATENATIONS:
            raise NotDroppable("its channels are joined with others")
        if user.op == "call_module":
            found = self.through_module(user, form)
        elif user.args and user.args[0] is value:
            found = self.through_function(user, form)
        else:
            found = None
        if found is None:
            raise NotDroppable(f"its channels go through {self.described(user)}, where single ones cannot be followed")
        return found

    def through_module(self, user: fx.Node, form: str) -> tuple[str, str | None] | None:
        module = self.module(user)
        kind = type(module)
        if kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d):
            self.check_plain(user)
        if kind is nn.Conv2d and form == MAP:
            if is_depthwise(module):
                return PASSED, MAP
            return (READER, None) if module.groups == 1 else None
        if kind is nn.Linear and form != MAP:
            return READER, None
        if kind is (nn.BatchNorm2d if form == MAP else nn.BatchNorm1d):
            return PASSED, form
        if kind in ELEMENTWISE or (kind in POOLS and form == MAP):
            return CHANNELWISE, form
        if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1) and form != LAST:
            return CHANNELWISE, FLAT
        return None

    def through_function(self, user: fx.Node, form: str) -> tuple[str, str | None] | None:
        target, more = user.target, (*user.args[1:], *user.kwargs.values())
        flattens = target in ("view", "reshape") and len(more) == 2 and is_batch_size(more[0]) and more[1] == -1
        if flattens and form != LAST:
            return CHANNELWISE, FLAT
        if any(isinstance(each, fx.Node) for each in more):
            return None
        if target in FUNCTIONS or target in METHODS:
            return CHANNELWISE, form
        if target in POOL_FUNCTIONS and form == MAP:
            return CHANNELWISE, form
        if (target == "size" and more == (0,)) or (
            target is getattr and more == ("shape",) and reads_batch_size_only(user)
        ):
            return SIZE, None
        if target in (torch.flatten, "flatten") and more in ((1,), (1, -1)) and form != LAST:
            return CHANNELWISE, FLAT
        if target in (torch.mean, "mean") and form == MAP and is_over_pixels(user):
            return CHANNELWISE, MAP if user.kwargs.get("keepdim") else FLAT
        return None

    def check_plain(self, node: fx.Node) -> None:
        """NotDroppable unless a layer is of a plain type, computes with its own parameters alone, and is used once."""
        module, name = self.module(node), node.target
        if type(module) not in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d):
            raise NotDroppable(f"{name} is a {type(module).__name__}, no plain layer")
        if "weight" not in module._parameters or module._forward_hooks or module._forward_pre_hooks:
            raise NotDroppable(f"the weights of {name} are computed, or hooks are attached to it")
        shared = any(self.sharing[id(parameter)] > 1 for parameter in module.parameters())
        if self.times_called[name] > 1 or name in self.read_directly or shared:
            raise NotDroppable(f"{name} is used more than once")

    def described(self, node: fx.Node) -> str:
        """An operation in words."""
        if node.op == "call_module":
            return f"{node.target} ({type(self.module(node)).__name__})"
        return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def leaves_channels_apart(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether an operation computes each channel from that channel alone, and does not normalise it."""
    if node.op == "call_module":
        module = modules[node.target]
        flattens = isinstance(module, nn.Flatten) and module.start_dim > 0
        return flattens or isinstance(module, (*ELEMENTWISE, *POOLS, *APART))
    if node.target in (torch.flatten, "flatten"):
        return (node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim", 0)) != 0
    return node.target in FUNCTIONS | METHODS | POOL_FUNCTIONS | APART_FUNCTIONS


def is_depthwise(module: nn.Conv2d) -> bool:
    """Whether every channel has a filter of its own and remains a channel."""
    return module.groups == module.in_channels == module.out_channels > 1


def reads_batch_size_only(shape: fx.Node) -> bool:
    """Whether only the first entry of a shape is used."""
    return all(user.target is operator.getitem and user.args[1] == 0 for user in shape.users)


def is_batch_size(value: object) -> bool:
    """Whether this is x.size(0) or x.shape[0] for some x."""
    if not isinstance(value, fx.Node):
        return False
    if value.target == "size":
        return value.args[1:] == (0,)
    return value.target is operator.getitem and value.args[0].target is getattr and value.args[1] == 0


def is_over_pixels(mean: fx.Node) -> bool:
    """Whether a mean is taken over height and width."""
    over = mean.args[1] if len(mean.args) == 2 else mean.kwargs.get("dim")
    return isinstance(over, list | tuple) and {axis % 4 for axis in over} == {2, 3} and len(mean.args) <= 2
