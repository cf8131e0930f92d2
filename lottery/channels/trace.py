"""A network's operations one by one, from torch.fx, none of them in place."""

import inspect
import operator

import torch
from torch import Tensor, fx, nn

from models.python_state import python_state_kept
from utils import InputError, one_line


def trace(model: nn.Module) -> fx.GraphModule:
    """The torch.fx trace of the network in eval mode, the only mode it may be used in, on the network's own parameters.

    No operation is in place, so a value stays what it was when computed. InputError if torch.fx cannot trace the
    network.
    """
    training = model.training
    try:
        with python_state_kept(model):  # a network that stores its activations would store proxies here
            network = fx.symbolic_trace(model.eval())
    except Exception as error:  # users' networks raise many kinds
        raise InputError(
            f"the layers of this network cannot be found: torch.fx does not trace it ({one_line(error)}); its forward "
            "pass must not depend on values"
        ) from None
    finally:
        model.train(training)
    for node in network.graph.nodes:
        make_out_of_place_(node, network)
    network.recompile()
    return network


OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def make_out_of_place_(node: fx.Node, network: fx.GraphModule) -> None:
    """Make one operation return its result instead of overwriting its argument."""
    if node.op == "call_module" and getattr(module := network.get_submodule(node.target), "inplace", False):
        parent, _, name = node.target.rpartition(".")
        # The containers belong to the trace, the layers to the model: the model keeps its own.
        setattr(network.get_submodule(parent), name, _out_of_place_copy(module))
    elif node.op == "call_method" and hasattr(Tensor, plain := node.target.rstrip("_")):
        node.target = node.target if node.target.startswith("__") else plain
    elif node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        node.target = OUT_OF_PLACE.get(node.target, node.target)
        if name.endswith("_") and hasattr(torch, name[:-1]):
            node.target = getattr(torch, name[:-1])
        named = _arguments(node)
        if named.pop("inplace", False):
            node.args, node.kwargs = (named.pop(next(iter(named))),), named


def _out_of_place_copy(module: nn.Module) -> nn.Module:
    """The same layer with the same parameters."""
    twin = object.__new__(type(module))
    twin.__dict__ = module.__dict__ | {"inplace": False, "training": False}
    return twin


def _arguments(node: fx.Node) -> dict:
    """The arguments by name; none if the function has no signature."""
    try:
        return dict(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments)
    except (TypeError, ValueError):
        return {}
