"""Which layers of a user's network produce its logits, and whether weights are changed before they are used.

Both are read from the graph that autograd records in one forward pass of a copy, walking back from the logits; the
names and the order of layers are no evidence of either.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from utils import one_line

from .network_state import copy_network
from .probe import BATCH
from .python_state import generators_kept

PRUNABLE = nn.Conv2d | nn.Linear
MATRIX_PRODUCT = re.compile("convolution|mm|mv|linear|rnn", re.IGNORECASE)  # matches names of autograd nodes
# Node name -> the names under which the node saves its operands, in the order of its inputs.
OPERANDS = {
    "ConvolutionBackward0": ("input", "weight"),
    "AddmmBackward0": (None, "mat1", "mat2"),
    "MmBackward0": ("self", "mat2"),
    "BmmBackward0": ("self", "mat2"),
    "BaddbmmBackward0": (None, "batch1", "batch2"),
}


class LayerRoles(NamedTuple):
    """`classifiers`: names of the layers whose output reaches the logits through no other weights, in order of
    registration; of parameters where they belong to no layer. `altered`: names of the Conv2d and Linear layers whose
    weights are changed before use, so that a zero weight still has an effect.
    """

    classifiers: tuple[str, ...]
    altered: tuple[str, ...]


class WeightUse(NamedTuple):
    """An operation that takes weights and something computed from the images; `weights` maps each parameter's name to
    its position among the node's inputs."""

    node: Node
    weights: Mapping[str, int]


def layer_roles(network: nn.Module, channels: int, image_size: int) -> LayerRoles | str:
    """The roles of the network's layers on such images, or the reason why they cannot be determined.

    They are determined in a forward pass, in eval mode on the CPU, of a copy with every second weight zeroed.
    """
    twin = half_zeroed_copy(network)
    images = torch.zeros(BATCH, channels, image_size, image_size, requires_grad=True)
    try:
        with generators_kept(), torch.enable_grad(), warnings.catch_warnings(action="ignore"):
            logits = twin(images)
    except Exception as error:
        return f"a pass in eval mode fails with {one_line(error)}"
    if not isinstance(logits, Tensor) or logits.grad_fn is None:
        return "its logits cannot be differentiated"
    used = find_uses(logits.grad_fn, images, twin)
    return LayerRoles(owning_layers(last_weights(logits.grad_fn, used), twin), altered_layers(used.values(), twin))


def half_zeroed_copy(network: nn.Module) -> nn.Module:
    """A copy with every second weight of its Conv2d and Linear layers set to zero."""
    twin = copy_network(network).cpu().eval().requires_grad_(True)
    with torch.no_grad():
        for weight in layer_weights(twin).values():
            weight.mul_((torch.arange(weight.numel()) % 2).view(weight.shape))
    return twin


def layer_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of Conv2d and Linear layers that are parameters, by name."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, PRUNABLE)}
    weights = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


# --- the graph --------------------------------------------------------------------------------------------------------


def find_uses(root: Node, images: Tensor, network: nn.Module) -> dict[Node, WeightUse]:
    """The nodes between images and logits that use weights."""
    graph = backward_graph(root)
    active = image_dependent(graph, images)
    weighing = layer_weights(network)
    names = {id(p): name for name, p in (*network.named_parameters(), *reversed(weighing.items()))}
    found = {}
    for node in active:
        product = MATRIX_PRODUCT.search(node.name())
        weights = {
            names[id(variable)]: place
            for place, (before, _) in enumerate(node.next_functions)
            if before is not None and before not in active
            for variable in parameters_behind(before)
            if id(variable) in names and (names[id(variable)] in weighing or (product and variable.ndim > 1))
        }
        if weights:
            found[node] = WeightUse(node, weights)
    return found


def backward_graph(root: Node) -> dict[Node, list[Node]]:
    """The graph behind a node: each node with the nodes that computed its inputs."""
    graph, left = {}, [root]
    while left:
        node = left.pop()
        if node not in graph:
            graph[node] = [before for before, _ in node.next_functions if before is not None]
            left += graph[node]
    return graph


def image_dependent(graph: Mapping[Node, Iterable[Node]], images: Tensor) -> set[Node]:
    """The nodes whose values depend on the images or, where no gradient reaches these, on a matrix product."""
    starts = [node for node in graph if getattr(node, "variable", None) is images]
    return reachable(starts or [node for node in graph if MATRIX_PRODUCT.search(node.name())], reversed_graph(graph))


def reversed_graph(graph: Mapping[Node, Iterable[Node]]) -> dict[Node, list[Node]]:
    """The graph with all edges reversed."""
    found: dict[Node, list[Node]] = {node: [] for node in graph}
    for node, inputs in graph.items():
        for before in inputs:
            found[before].append(node)
    return found


def reachable(starts: Iterable[Node], graph: Mapping[Node, Iterable[Node]], ends: Iterable[Node] = ()) -> set[Node]:
    """`starts` and all nodes reachable from them, without passing through `ends`."""
    found, left = set(), list(starts)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += [] if node in ends else graph[node]
    return found


def parameters_behind(node: Node) -> list[Tensor]:
    """The parameters that a node depends on, if it depends on nothing else."""
    return [each.variable for each in backward_graph(node) if hasattr(each, "variable")]


# --- roles ------------------------------------------------------------------------------------------------------------


def last_weights(root: Node, used: Mapping[Node, WeightUse]) -> set[str]:
    """The names of the weights that are last on some path to the logits. A use that comes before another one of them on
    any other path does not count."""
    graph = backward_graph(root)
    met = reachable([root], graph, ends=used) & used.keys()
    earlier = {node for use in met for node in reachable(graph[use], graph) & met}
    return {name for node in met - earlier for name in used[node].weights}


def owning_layers(weights: Iterable[str], network: nn.Module) -> tuple[str, ...]:
    """The layers of these parameters, in order of registration; a parameter outside any layer stands for itself."""
    found = []
    for name in (name for name, _ in network.named_parameters(remove_duplicate=False) if name in set(weights)):
        place = name.rpartition(".")[0]
        module = network.get_submodule(place)
        is_layer = isinstance(module, PRUNABLE) or not [*module.children()]
        found.append(place if place and is_layer else name)
    return tuple(dict.fromkeys(found))


def altered_layers(used: Iterable[WeightUse], network: nn.Module) -> tuple[str, ...]:
    """The layers whose zero weights are no longer all zero where they are used."""
    weights = layer_weights(network)
    found = {
        name
        for use in used
        for name, place in use.weights.items()
        if name in weights
        and count_zeros(weights[name]) > count_zeros(operand(use.node, place), unknown=weights[name].numel())
    }
    return tuple(name.removesuffix(".weight") for name in weights if name in found)


def operand(node: Node, place: int) -> Tensor | None:
    """The saved input of a matrix product; None if the node does not save it or it was modified in place since."""
    names = OPERANDS.get(node.name(), ())
    name = names[place] if place < len(names) else None
    try:
        return getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None


def count_zeros(values: Tensor | None, unknown: int = 0) -> int:
    return unknown if values is None else int((values == 0).sum())
