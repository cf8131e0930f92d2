"""Which channels of a convolutional network can be dropped without affecting anything but their own layers.

The channels of a convolution pass, each on its own, through batch norms, activations, pools and depth-wise convolutions
until convolutions or linear layers read them. If nothing else reads them, they form a *group*: any of them can be
dropped, with its row of the producer, its entries in the layers it passes, and its column of every reader. Channels
that enter a residual addition form none, since the whole residual stream would have to lose them. Groups, and reasons
for other layers, come from a torch.fx trace, so they are found in users' networks too, if these can be traced.
"""

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional as F

from lottery.greedy.channels.trace import trace


class Slot(NamedTuple):
    """Where a group's channels lie in a parameter or buffer: along `dimension`, with `span` entries per channel."""

    name: str
    dimension: int
    span: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can be dropped one by one."""

    producer: str  # the convolution that outputs them; names the group
    channels: int
    passed: tuple[str, ...]  # batch norms and depth-wise convolutions between producer and readers
    readers: tuple[str, ...]  # convolutions and linear layers that read them

    def slots(self, network: nn.Module) -> Iterator[Slot]:
        """Where the channels lie in all of the network's parameters and buffers."""
        for module in (self.producer, *self.passed):
            for name, value in network.get_submodule(module).state_dict(keep_vars=True).items():
                if value.ndim:  # not a batch norm's count of batches
                    yield Slot(f"{module}.{name}", 0, len(value) // self.channels)
        for module in self.readers:
            yield self.reader_slot(network, module)

    def reader_slot(self, network: nn.Module, reader: str) -> Slot:
        """Where they lie in the weight of one of the `readers`; after a flattening each channel has several columns."""
        return Slot(f"{reader}.weight", 1, network.get_submodule(reader).weight.shape[1] // self.channels)


class ChannelGroups(NamedTuple):
    """The modules of a network by name, as far as channels go."""

    groups: dict[str, ChannelGroup]  # of convolutions whose channels can be dropped, front to back
    reasons: dict[str, str]  # why the channels of the other convolutions cannot
    others: dict[str, str]  # modules that are no convolutions: their types


# --- from a convolution to its readers --------------------------------------------------------------------------------

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
# fmt: on
POOL_FUNCTIONS = {F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
METHODS = {"relu", "sigmoid", "tanh", "contiguous"}
ADDITIONS = (operator.add, operator.sub, torch.add, torch.sub, "add", "sub", "__add__", "__radd__")
CONCATENATIONS = (torch.cat, torch.concat, torch.stack)
MAP, FLAT = "map", "flat"  # forms of a value: (n, channels, h, w), or (n, channels x span) with channels contiguous

# What an operation is to the channels that enter it:
READER = "reader"  # a convolution or linear layer that computes with them
PASSED = "passed"  # a layer with parameters of its own for each channel
CHANNELWISE = "channelwise"  # an operation on each channel without parameters of its own
SIZE = "size"  # asks for the number of images only


class NotDroppable(Exception):
    """Why the channels of a convolution cannot be dropped."""


def find_groups(model: nn.Module, traced: fx.GraphModule | None = None) -> ChannelGroups:
    """The channel groups of the model; `traced` is its trace, if there is one already."""
    finder = GroupFinder(traced or trace(model))
    groups, reasons = {}, {}
    for node in finder.convolution_calls():
        try:
            groups[node.target] = finder.group(node)
        except NotDroppable as reason:
            reasons[node.target] = str(reason)
    others = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            others[name] = type(module).__name__
        elif name not in {*groups, *reasons}:
            reasons[name] = "the network does not call it as a layer"
    return ChannelGroups(groups, reasons, others)


class GroupFinder:
    """Follows the channels of convolutions through a traced network to the layers that read them."""

    def __init__(self, traced: fx.GraphModule):
        self.traced = traced
        self.modules = dict(traced.named_modules())
        nodes = traced.graph.nodes
        self.times_called = Counter(node.target for node in nodes if node.op == "call_module")
        self.read_directly = {node.target.rpartition(".")[0] for node in nodes if node.op == "get_attr"}
        everywhere = traced.named_parameters(remove_duplicate=False)
        self.sharing = Counter(id(parameter) for _, parameter in everywhere)

    def convolution_calls(self) -> list[fx.Node]:
        """The first call of each convolution, front to back."""
        nodes = [node for node in self.traced.graph.nodes if isinstance(self.module(node), nn.Conv2d)]
        return list({node.target: node for node in reversed(nodes)}.values())[::-1]

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None

    def group(self, producer: fx.Node) -> ChannelGroup:
        """The channels of a convolution; NotDroppable, with the reason, if they form no group."""
        module = self.module(producer)
        self.check_plain(producer)
        if is_depthwise(module):
            raise NotDroppable("it is depth-wise: its channels are those of the convolution before it")
        if module.groups > 1:
            raise NotDroppable(f"it works on {module.groups} groups of channels, which must stay equally large")
        if module.out_channels == 1:
            raise NotDroppable("it has one channel only")
        passed, readers = [], []
        values = [(producer, MAP)]
        for value, form in values:  # which grows within the loop
            for user in value.users:
                role, after = self.follow(value, user, form)
                if role == READER:
                    readers.append(user.target)
                    continue
                if role == PASSED:
                    passed.append(user.target)
                if after is not None:
                    values.append((user, after))
        if not readers:
            raise NotDroppable("nothing reads its channels")
        return ChannelGroup(producer.target, module.out_channels, tuple(passed), tuple(dict.fromkeys(readers)))

    def follow(self, value: fx.Node, user: fx.Node, form: str) -> tuple[str, str | None]:
        """The role of `user` for the channels in `value`, and the form in which they leave it, None if they do not."""
        if user.op == "output":
            raise NotDroppable("its channels are the network's output")
        if user.target in ADDITIONS:
            raise NotDroppable("its channels enter an addition: they belong to a residual stream")
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
        if kind is nn.Linear and form == FLAT:
            return READER, None
        if kind is (nn.BatchNorm2d if form == MAP else nn.BatchNorm1d):
            return PASSED, form
        if kind in ELEMENTWISE or (kind in POOLS and form == MAP):
            return CHANNELWISE, form
        if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            return CHANNELWISE, FLAT
        return None

    def through_function(self, user: fx.Node, form: str) -> tuple[str, str | None] | None:
        target, more = user.target, (*user.args[1:], *user.kwargs.values())
        if target in ("view", "reshape") and len(more) == 2 and is_batch_size(more[0]) and more[1] == -1:
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
        if target in (torch.flatten, "flatten") and more in ((1,), (1, -1)):
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
