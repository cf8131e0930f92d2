"""Which layers of a network of the user's own make its logits, and whether its weights are used as they stand.

Both are read off the graph that autograd records in one forward pass of a copy, walked back from the logits: names, and
the order in which layers were registered, say nothing about either.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from utils import one_line

from .network_state import copied, generators_kept
from .probe import BATCH

PRUNED = nn.Conv2d | nn.Linear
MATRIX_PRODUCT = re.compile("convolution|mm|mv|linear|rnn", re.IGNORECASE)  # in the names of nodes
# By the name of a node: under which names it keeps its operands, in the order of its inputs.
OPERANDS = {
    "ConvolutionBackward0": ("input", "weight"),
    "AddmmBackward0": (None, "mat1", "mat2"),
    "MmBackward0": ("self", "mat2"),
    "BmmBackward0": ("self", "mat2"),
    "BaddbmmBackward0": (None, "batch1", "batch2"),
}


class LayerRoles(NamedTuple):
    """`classifiers`: the names, in the order of registration, of the layers whose output reaches the logits through no
    other weights; of parameters where they lie in no layer of their own. `altered`: the names of those Conv2d and
    Linear layers whose weights are changed before they are used, so that one that is zero has an effect all the same.
    """

    classifiers: tuple[str, ...]
    altered: tuple[str, ...]


class Use(NamedTuple):
    """An operation on what was computed from the images, which takes weights besides: by the name of each parameter, as
    which of its inputs."""

    node: Node
    weights: Mapping[str, int]


def layer_roles(network: nn.Module, channels: int, image_size: int) -> LayerRoles | str:
    """The roles of the network's layers for such images; where they cannot be known, why.

    They are those in a pass of a copy, in eval mode on the CPU, every second one of whose weights is zero.
    """
    twin = thinned(network)
    images = torch.zeros(BATCH, channels, image_size, image_size, requires_grad=True)
    try:
        with generators_kept(), torch.enable_grad(), warnings.catch_warnings(action="ignore"):
            logits = twin(images)
    except Exception as error:
        return f"a pass in eval mode fails with {one_line(error)}"
    if not isinstance(logits, Tensor) or logits.grad_fn is None:
        return "its logits cannot be differentiated"
    used = uses(logits.grad_fn, images, twin)
    return LayerRoles(owners_of(last(logits.grad_fn, used), twin), altered(used.values(), twin))


def thinned(network: nn.Module) -> nn.Module:
    """A copy with every second weight of its layers at zero."""
    twin = copied(network).cpu().eval().requires_grad_(True)
    with torch.no_grad():
        for weight in layer_weights(twin).values():
            weight.mul_((torch.arange(weight.numel()) % 2).view(weight.shape))
    return twin


def layer_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of Conv2d and Linear layers, as far as they are parameters; by the parameter's name."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, PRUNED)}
    weights = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    return {name: weight for name, weight in weights.items() if isinstance(weight, nn.Parameter)}


# --- the graph --------------------------------------------------------------------------------------------------------


def uses(root: Node, images: Tensor, network: nn.Module) -> dict[Node, Use]:
    """Where, on the way back from the logits' node to the images, weights are used."""
    graph = inputs_by_node(root)
    active = computed_from(graph, images)
    weighing = layer_weights(network)
    names = {id(p): name for name, p in (*network.named_parameters(), *reversed(weighing.items()))}
    found = {}
    for node in active:
        product = MATRIX_PRODUCT.search(node.name())
        weights = {
            names[id(variable)]: place
            for place, (before, _) in enumerate(node.next_functions)
            if before is not None and before not in active
            for variable in variables(before)
            if id(variable) in names and (names[id(variable)] in weighing or (product and variable.ndim > 1))
        }
        if weights:
            found[node] = Use(node, weights)
    return found


def inputs_by_node(root: Node) -> dict[Node, list[Node]]:
    """The graph behind a node: each node with those that it got its inputs from."""
    graph, left = {}, [root]
    while left:
        node = left.pop()
        if node not in graph:
            graph[node] = [before for before, _ in node.next_functions if before is not None]
            left += graph[node]
    return graph


def computed_from(graph: Mapping[Node, Iterable[Node]], images: Tensor) -> set[Node]:
    """The nodes whose values depend on the images; where no gradient reaches these, those that depend on a matrix
    product, which is as much as is known."""
    starts = [node for node in graph if getattr(node, "variable", None) is images]
    return closure(starts or [node for node in graph if MATRIX_PRODUCT.search(node.name())], turned(graph))


def turned(graph: Mapping[Node, Iterable[Node]]) -> dict[Node, list[Node]]:
    """The graph with its arrows the other way."""
    found: dict[Node, list[Node]] = {node: [] for node in graph}
    for node, inputs in graph.items():
        for before in inputs:
            found[before].append(node)
    return found


def closure(starts: Iterable[Node], graph: Mapping[Node, Iterable[Node]], ends: Iterable[Node] = ()) -> set[Node]:
    """All nodes that can be reached from these, and these; from `ends` one goes no further."""
    found, left = set(), list(starts)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += [] if node in ends else graph[node]
    return found


def variables(node: Node) -> list[Tensor]:
    """The parameters that a node, of parameters alone, depends on."""
    return [each.variable for each in inputs_by_node(node) if hasattr(each, "variable")]


# --- what it says -----------------------------------------------------------------------------------------------------


def last(root: Node, used: Mapping[Node, Use]) -> set[str]:
    """The names of weights after which, on some way to the logits, there are no others; of two uses of which one comes
    before the other on any way, the later counts."""
    graph = inputs_by_node(root)
    met = closure([root], graph, ends=used) & used.keys()
    earlier = {node for use in met for node in closure(graph[use], graph) & met}
    return {name for node in met - earlier for name in used[node].weights}


def owners_of(weights: Iterable[str], network: nn.Module) -> tuple[str, ...]:
    """The layers that these parameters belong to, in the order of registration; a parameter beside layers, or of the
    network itself, stands for itself."""
    found = []
    for name in (name for name, _ in network.named_parameters(remove_duplicate=False) if name in set(weights)):
        place = name.rpartition(".")[0]
        module = network.get_submodule(place)
        is_layer = isinstance(module, PRUNED) or not [*module.children()]
        found.append(place if place and is_layer else name)
    return tuple(dict.fromkeys(found))


def altered(used: Iterable[Use], network: nn.Module) -> tuple[str, ...]:
    """The layers of which weights that are zero are not where they are used."""
    weights = layer_weights(network)
    found = {
        name
        for use in used
        for name, place in use.weights.items()
        if name in weights and zeros(weights[name]) > zeros(operand(use.node, place), unknown=weights[name].numel())
    }
    return tuple(name.removesuffix(".weight") for name in weights if name in found)


def operand(node: Node, place: int) -> Tensor | None:
    """An input of a matrix product, as it was; None where the node does not keep it, or it has changed since."""
    names = OPERANDS.get(node.name(), ())
    name = names[place] if place < len(names) else None
    try:
        return getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None


def zeros(values: Tensor | None, unknown: int = 0) -> int:
    return unknown if values is None else int((values == 0).sum())
