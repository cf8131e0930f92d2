"""Which channels of a convolutional network can be dropped without touching anything but their own layers.

The channels of a convolution go through batch norms, activations, pools and depth-wise convolutions, each on its own,
until convolutions or linear layers read them. If nothing else sees them on the way, they are a *group*: a channel of it
can be dropped, with its row of the producer, its numbers on the way, and its column of every reader. A channel that
enters a residual addition cannot, since the stream that it is added to would have to lose it everywhere. Layers and
reasons are read off a torch.fx trace, so networks of one's own are covered as far as they can be traced.
"""

import inspect
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from models.python_state import python_state_kept
from utils import InputError, one_line


class Slot(NamedTuple):
    """Where a group's channels lie in a tensor of the network: along `dimension`, `span` entries for each channel."""

    name: str  # of the parameter or buffer
    dimension: int
    span: int


@dataclass(frozen=True)
class Group:
    """Channels that can be dropped one by one."""

    producer: str  # the convolution whose output they are; names the group
    channels: int
    passed: tuple[str, ...]  # batch norms and depth-wise convolutions on the way
    readers: tuple[str, ...]  # convolutions and linear layers that read them

    def slots(self, network: nn.Module) -> Iterator[Slot]:
        """The channels' places in the network's parameters and buffers."""
        for module in (self.producer, *self.passed):
            for name, value in network.get_submodule(module).state_dict(keep_vars=True).items():
                if value.ndim:  # not the number of batches a batch norm has seen
                    yield Slot(f"{module}.{name}", 0, len(value) // self.channels)
        for module in self.readers:
            yield self.reading(network, module)

    def reading(self, network: nn.Module, reader: str) -> Slot:
        """The channels' places in the weight of one of the `readers`; after a flattening a channel has several."""
        return Slot(f"{reader}.weight", 1, network.get_submodule(reader).weight.shape[1] // self.channels)


class Layers(NamedTuple):
    """The convolutions of a network: those whose channels can be dropped, front to back, and why others' cannot; and
    what its other modules are."""

    groups: dict[str, Group]
    reasons: dict[str, str]
    others: dict[str, str]


# --- the trace --------------------------------------------------------------------------------------------------------


def trace(model: nn.Module) -> fx.GraphModule:
    """The network's operations one by one, on the network's own parameters, none of them in place.

    So a value that has been computed stays what it is. It is traced in eval mode, in which alone it may be used.
    InputError for a network that torch.fx cannot trace.
    """
    training = model.training
    try:
        with python_state_kept(model):  # a network that keeps what it computes would keep what stands for it here
            network = fx.symbolic_trace(model.eval())
    except Exception as error:  # users' networks raise many kinds
        raise InputError(
            f"the layers of this network cannot be found: torch.fx does not trace it ({one_line(error)}); its forward "
            "pass must not depend on values"
        ) from None
    finally:
        model.train(training)
    for node in network.graph.nodes:
        not_in_place_(node, network)
    network.recompile()
    return network


IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def not_in_place_(node: fx.Node, network: fx.GraphModule) -> None:
    """Make one operation give its result without writing it over its argument."""
    if node.op == "call_module" and getattr(module := network.get_submodule(node.target), "inplace", False):
        parent, _, name = node.target.rpartition(".")
        # The trace has containers of its own around the model's layers: the model keeps its layer.
        setattr(network.get_submodule(parent), name, _copy_not_in_place(module))
    elif node.op == "call_method" and hasattr(Tensor, plain := node.target.rstrip("_")):
        node.target = node.target if node.target.startswith("__") else plain
    elif node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        node.target = IN_PLACE.get(node.target, node.target)
        if name.endswith("_") and hasattr(torch, name[:-1]):
            node.target = getattr(torch, name[:-1])
        named = _arguments(node)
        if named.pop("inplace", False):
            node.args, node.kwargs = (named.pop(next(iter(named))),), named


def _copy_not_in_place(module: nn.Module) -> nn.Module:
    """The same layer with the same parameters."""
    twin = object.__new__(type(module))
    twin.__dict__ = module.__dict__ | {"inplace": False, "training": False}
    return twin


def _arguments(node: fx.Node) -> dict:
    """The arguments by name; none where the function does not tell its names."""
    try:
        return dict(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments)
    except (TypeError, ValueError):
        return {}


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
MAP, FLAT = "map", "flat"  # forms of a value: (n, channels, h, w); (n, channels x span), each channel's side by side


class NotFollowed(Exception):
    """Why channels cannot be followed further."""


def layers_of(model: nn.Module, network: fx.GraphModule | None = None) -> Layers:
    """The groups of the model, for every other Conv2d the reason why its channels are none, and the others' kinds.

    `network` is its trace, where there is one already.
    """
    follower = Follower(network or trace(model))
    groups, reasons = {}, {}
    for node in follower.calls():
        try:
            groups[node.target] = follower.group(node)
        except NotFollowed as reason:
            reasons[node.target] = str(reason)
    others = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            others[name] = type(module).__name__
        elif name not in {*groups, *reasons}:
            reasons[name] = "the network does not call it as a layer"
    return Layers(groups, reasons, others)


class Follower:
    """Follows channels through a traced network."""

    def __init__(self, network: fx.GraphModule):
        self.network = network
        self.modules = dict(network.named_modules())
        nodes = network.graph.nodes
        self.times_called = Counter(node.target for node in nodes if node.op == "call_module")
        self.read_directly = {node.target.rpartition(".")[0] for node in nodes if node.op == "get_attr"}
        everywhere = network.named_parameters(remove_duplicate=False)
        self.sharing = Counter(id(parameter) for _, parameter in everywhere)

    def calls(self) -> list[fx.Node]:
        """Calls of convolutions, front to back, the first of each."""
        nodes = [node for node in self.network.graph.nodes if isinstance(self.module(node), nn.Conv2d)]
        return list({node.target: node for node in reversed(nodes)}.values())[::-1]

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[node.target] if node.op == "call_module" else None

    def group(self, producer: fx.Node) -> Group:
        """The channels of a convolution; NotFollowed with the reason if they are no group."""
        module = self.module(producer)
        self.check_plain(producer)
        if is_depthwise(module):
            raise NotFollowed("it is depth-wise: its channels are those of the convolution before it")
        if module.groups > 1:
            raise NotFollowed(f"it works on {module.groups} groups of channels, which must stay equally large")
        if module.out_channels == 1:
            raise NotFollowed("it has one channel only")
        passed, readers = [], []
        ways = [(producer, MAP)]
        for value, form in ways:  # which grows as they are followed
            for user in value.users:
                kind, after = self.step(value, user, form)
                if kind == "reader":
                    readers.append(user.target)
                    continue
                if kind == "passed":
                    passed.append(user.target)
                if after is not None:
                    ways.append((user, after))
        if not readers:
            raise NotFollowed("nothing reads its channels")
        return Group(producer.target, module.out_channels, tuple(passed), tuple(dict.fromkeys(readers)))

    def step(self, value: fx.Node, user: fx.Node, form: str) -> tuple[str, str | None]:
        """What `user` is to the channels in `value`, and the form in which they leave it, None if they do not."""
        if user.op == "output":
            raise NotFollowed("its channels are the network's output")
        if user.target in ADDITIONS:
            raise NotFollowed("its channels enter an addition: they belong to a residual stream")
        if user.target in CONCATENATIONS:
            raise NotFollowed("its channels are joined with others")
        if user.op == "call_module":
            found = self.through_module(user, form)
        elif user.args and user.args[0] is value:
            found = self.through_function(user, form)
        else:
            found = None
        if found is None:
            raise NotFollowed(f"its channels go through {self.called(user)}, where single ones are not followed")
        return found

    def through_module(self, user: fx.Node, form: str) -> tuple[str, str | None] | None:
        module = self.module(user)
        kind = type(module)
        if kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d):
            self.check_plain(user)
        if kind is nn.Conv2d and form == MAP:
            if is_depthwise(module):
                return "passed", MAP
            return ("reader", None) if module.groups == 1 else None
        if kind is nn.Linear and form == FLAT:
            return "reader", None
        if kind is (nn.BatchNorm2d if form == MAP else nn.BatchNorm1d):
            return "passed", form
        if kind in ELEMENTWISE or (kind in POOLS and form == MAP):
            return "on the way", form
        if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            return "on the way", FLAT
        return None

    def through_function(self, user: fx.Node, form: str) -> tuple[str, str | None] | None:
        target, more = user.target, (*user.args[1:], *user.kwargs.values())
        if target in ("view", "reshape") and len(more) == 2 and is_number_of_images(more[0]) and more[1] == -1:
            return "on the way", FLAT
        if any(isinstance(each, fx.Node) for each in more):
            return None
        if target in FUNCTIONS or target in METHODS:
            return "on the way", form
        if target in POOL_FUNCTIONS and form == MAP:
            return "on the way", form
        if (target == "size" and more == (0,)) or (target is getattr and more == ("shape",) and only_first(user)):
            return "asked how many images it has", None
        if target in (torch.flatten, "flatten") and more in ((1,), (1, -1)):
            return "on the way", FLAT
        if target in (torch.mean, "mean") and form == MAP and is_over_pixels(user):
            return "on the way", MAP if user.kwargs.get("keepdim") else FLAT
        return None

    def check_plain(self, node: fx.Node) -> None:
        """NotFollowed unless all that a layer does is what its own parameters say, and in one place."""
        module, name = self.module(node), node.target
        if type(module) not in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d):
            raise NotFollowed(f"{name} is a {type(module).__name__}, no plain layer")
        if "weight" not in module._parameters or module._forward_hooks or module._forward_pre_hooks:
            raise NotFollowed(f"the weights of {name} are computed, or hooks are attached to it")
        shared = any(self.sharing[id(parameter)] > 1 for parameter in module.parameters())
        if self.times_called[name] > 1 or name in self.read_directly or shared:
            raise NotFollowed(f"{name} is used more than once")

    def called(self, node: fx.Node) -> str:
        """An operation in words."""
        if node.op == "call_module":
            return f"{node.target} ({type(self.module(node)).__name__})"
        return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def is_depthwise(module: nn.Conv2d) -> bool:
    """Whether every channel has a filter of its own, and passes through."""
    return module.groups == module.in_channels == module.out_channels > 1


def only_first(shape: fx.Node) -> bool:
    """Whether of a shape only the first number is taken."""
    return all(user.target is operator.getitem and user.args[1] == 0 for user in shape.users)


def is_number_of_images(value: object) -> bool:
    """Whether this is x.size(0) or x.shape[0] of some value."""
    if not isinstance(value, fx.Node):
        return False
    if value.target == "size":
        return value.args[1:] == (0,)
    return value.target is operator.getitem and value.args[0].target is getattr and value.args[1] == 0


def is_over_pixels(mean: fx.Node) -> bool:
    """Whether a mean is over height and width."""
    over = mean.args[1] if len(mean.args) == 2 else mean.kwargs.get("dim")
    return isinstance(over, list | tuple) and {axis % 4 for axis in over} == {2, 3} and len(mean.args) <= 2
