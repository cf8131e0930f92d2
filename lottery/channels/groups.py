"""Which channels of a network can be dropped without affecting anything but the layers they belong to.

The channels of a convolution pass, each on its own, through batch norms, activations, pools and depth-wise convolutions
until convolutions or linear layers read them. If nothing else reads them, they form a *group*: any of them can be
dropped, with its row of the producer, its entries in the layers it passes, and its column of every reader. Groups, and
reasons for other layers, come from a torch.fx trace, so they are found in users' networks too, if these can be traced.

`find_groups` has those of single convolutions, in which every channel is free to go: channels that enter a residual
addition form none, since the whole residual stream would have to lose them. `find_all_groups` has the neurons of linear
layers and residual streams as well; in a stream every producer writes to the same channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import fx, nn

from lottery.channels.operations import (
    ADDED,
    ADDITIONS,
    FLAT,
    LAST,
    MAP,
    PASSED,
    READER,
    ChannelOperations,
    NotDroppable,
    is_depthwise,
)
from lottery.channels.trace import trace


class Slot(NamedTuple):
    """Where a group's channels lie in a parameter or buffer: along `dimension`, with `span` entries per channel."""

    name: str
    dimension: int
    span: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can be dropped one by one."""

    producers: tuple[str, ...]  # the layers that output them, front to back; several if their outputs are added
    channels: int
    passed: tuple[str, ...]  # batch norms and depth-wise convolutions between producers and readers
    readers: tuple[str, ...]  # convolutions and linear layers that read them

    @property
    def producer(self) -> str:
        """The first of the producers, which names the group."""
        return self.producers[0]

    def slots(self, network: nn.Module) -> Iterator[Slot]:
        """Where the channels lie in all of the network's parameters and buffers."""
        for module in (*self.producers, *self.passed):
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


def find_groups(model: nn.Module, traced: fx.GraphModule | None = None) -> ChannelGroups:
    """The groups of single convolutions; `traced` is the model's trace, if there is one already."""
    operations = ChannelOperations(traced or trace(model))
    groups, reasons = {}, {}
    for node in operations.calls(nn.Conv2d):
        try:
            groups[node.target] = GroupFinder(operations).group(node)
        except NotDroppable as reason:
            reasons[node.target] = str(reason)
    others = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            others[name] = type(module).__name__
        elif name not in {*groups, *reasons}:
            reasons[name] = "the network does not call it as a layer"
    return ChannelGroups(groups, reasons, others)


def find_all_groups(model: nn.Module) -> dict[str, ChannelGroup]:
    """The groups of convolutions, linear layers and residual streams by their first producer, front to back."""
    operations = ChannelOperations(trace(model))
    groups, seen = {}, set[str]()
    for node in operations.calls(nn.Conv2d, nn.Linear):
        if node.target in seen:
            continue
        try:
            groups[node.target] = group = GroupFinder(operations, streams=True).group(node)
        except NotDroppable:
            continue
        seen.update(group.producers)
    return groups


class GroupFinder:
    """Follows the channels of a layer through a traced network to the layers that read them; with `streams` also back
    from an addition to the other layers whose outputs are added."""

    def __init__(self, operations: ChannelOperations, streams: bool = False):
        self.operations, self.streams = operations, streams
        self.channels = 0
        self.values: list[fx.Node] = []  # that hold the channels
        self.forms: dict[fx.Node, str] = {}
        self.producers: list[str] = []
        self.passed: list[str] = []
        self.readers: list[str] = []

    def group(self, producer: fx.Node) -> ChannelGroup:
        """The channels that a layer outputs; NotDroppable, with the reason, if they form no group."""
        module = self.operations.module(producer)
        self.channels = len(module.weight)
        self.add(producer, LAST if isinstance(module, nn.Linear) else MAP)
        self.check_producer(producer)
        for value in self.values:  # which grows within the loop
            if value is producer or self.streams:
                self.trace_back(value)
            self.follow_on(value)
        if not self.readers:
            raise NotDroppable("nothing reads its channels")
        once = (tuple(dict.fromkeys(each)) for each in (self.producers, self.passed, self.readers))
        producers, passed, readers = once
        return ChannelGroup(producers, self.channels, passed, readers)

    def add(self, value: fx.Node, form: str) -> None:
        if value not in self.forms:
            self.values.append(value)
            self.forms[value] = form

    def trace_back(self, value: fx.Node) -> None:
        """Note the layer that a value comes out of, or the values that it is made of."""
        module = self.operations.module(value)
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and not is_depthwise(module)):
            self.check_producer(value)
            self.producers.append(value.target)
            return
        before = value.args[:2] if value.target in ADDITIONS else value.args[:1]
        for each in before:
            if not isinstance(each, fx.Node) or each.op in ("placeholder", "get_attr"):
                raise NotDroppable("its channels are added to what no layer outputs")
            self.add(each, self.forms[value])

    def check_producer(self, node: fx.Node) -> None:
        """NotDroppable unless single channels of this layer's output can be left out."""
        module = self.operations.module(node)
        self.operations.check_plain(node)
        if isinstance(module, nn.Conv2d) and is_depthwise(module):
            raise NotDroppable("it is depth-wise: its channels are those of the convolution before it")
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            raise NotDroppable(f"it works on {module.groups} groups of channels, which must stay equally large")
        if self.channels == 1:
            raise NotDroppable("it has one channel only")
        if len(module.weight) != self.channels:
            raise NotDroppable(f"its channels are added to those of {node.target}, which has another number of them")

    def check_passed(self, node: fx.Node, form: str) -> None:
        """NotDroppable for a batch norm over another axis, such as that of tokens."""
        module = self.operations.module(node)
        entries = module.out_channels if isinstance(module, nn.Conv2d) else module.num_features
        if form != FLAT and entries != self.channels:
            raise NotDroppable(f"{node.target} normalises another axis than that of its channels")

    def follow_on(self, value: fx.Node) -> None:
        """Note the layers that read a value, or that it passes, and the values that come out of these."""
        for user in value.users:
            role, after = self.operations.follow(value, user, self.forms[value])
            if role == ADDED and not self.streams:
                raise NotDroppable("its channels enter an addition: they belong to a residual stream")
            if role == READER:
                self.readers.append(user.target)
            if role == PASSED:
                self.check_passed(user, self.forms[value])
                self.passed.append(user.target)
            if after is not None:
                self.add(user, after)
