"""A network cut in two where a group's channels are read, so that what lies before the cut is computed only once.

Shapes: D channels, n examples, b in a mini-batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from lottery.channels.groups import ChannelGroup


@dataclass(frozen=True)
class NetworkCut:
    """The two parts of a traced network, which share its parameters."""

    front: fx.GraphModule  # images (b, C, H, W) -> the values that `rest` needs, those of the channels first
    rest: fx.GraphModule  # these values -> logits
    weighted: int  # how many of the values hold the group's channels, (b, D, h, w) or (b, D x span)
    channels: int

    def logits(self, values: tuple, weights: Tensor) -> Tensor:
        """The network's logits with the channels multiplied by `weights`, (D,)."""
        first = [value * self.broadcast(weights, value) for value in values[: self.weighted]]
        return self.rest(*first, *values[self.weighted :]).float()

    def broadcast(self, weights: Tensor, value: Tensor) -> Tensor:
        span = value.shape[1] // self.channels
        shape = (1, -1) + (1,) * (value.ndim - 2)
        return weights.to(value.dtype).repeat_interleave(span).view(shape)


def cut_network(traced: fx.GraphModule, group: ChannelGroup) -> NetworkCut:
    """Cut a traced network where the channels of a group are read."""
    nodes = list(traced.graph.nodes)
    of_images = downstream(nodes, lambda node: node.op == "placeholder")  # not those of parameters alone
    late = downstream(nodes, lambda node: node.op == "call_module" and node.target in group.readers)
    needed = [node for node in nodes if node in of_images - late and not late.isdisjoint(node.users)]
    read = [node for node in needed if any(user.target in group.readers for user in node.users)]
    crossing = read + [node for node in needed if node not in read]
    front = subgraph(traced, [], [node for node in nodes if node not in late], crossing)
    rest_nodes = [node for node in nodes if node in late or node not in of_images]
    rest = subgraph(traced, crossing, rest_nodes, nodes[-1].args[0])
    return NetworkCut(front, rest, len(read), group.channels)


def downstream(nodes: list[fx.Node], is_source: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """The sources among the nodes, and all nodes that depend on them."""
    found: set[fx.Node] = set()
    for node in nodes:
        if is_source(node) or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def subgraph(traced: fx.GraphModule, inputs: list[fx.Node], nodes: list[fx.Node], result) -> fx.GraphModule:
    """These nodes of a traced network as a module, from the values `inputs` to `result`."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        if node.op != "output":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in result) if isinstance(result, list) else copies[result])
    found = fx.GraphModule(traced, graph)
    found.graph.eliminate_dead_code()
    found.recompile()
    return found


class SelectionExamples:
    """The examples to select by, as the values in front of a cut: stored if they fit into `memory` bytes, otherwise
    recomputed for every mini-batch."""

    def __init__(self, front: Callable[[Tensor], tuple], images: Tensor, labels: Tensor, batch: int, memory: int):
        self.front, self.images, self.labels, self.batch = front, images, labels, batch
        first = front(images[:batch])
        tensors = all(isinstance(value, Tensor) for value in first)  # the number of images is none
        size = sum(value.nbytes for value in first) / len(images[:batch]) * len(images) if tensors else float("inf")
        self.stored = None
        if size <= memory:
            parts = [front(part) for part in images.split(batch)]
            self.stored = tuple(torch.cat(values) for values in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, places: Tensor) -> tuple:
        """The values for the examples at `places`, (b,)."""
        if self.stored is None:
            return self.front(self.images[places])
        return tuple(value[places] for value in self.stored)
