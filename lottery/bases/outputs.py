"""What belongs to one output of a layer beside its weights: its bias, and the batch norm behind the layer.

A filter without weights still emits its bias, and a batch norm its shift. Where whole filters are pruned, those are
zero as well, so that a pruned filter emits nothing.
"""

from collections.abc import Collection

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.python_state import python_state_kept
from utils import InputError, one_line


def output_parameters(model: nn.Module, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For the weights of these names, the parameters with one number for each output of their layer.

    InputError for a network with batch norm that torch.fx cannot trace.
    """
    own = dict(model.named_parameters())
    norms = _norms_behind(model) if any(isinstance(each, _BatchNorm) for each in model.modules()) else {}
    found = {}
    for name in names:
        layer = name.rpartition(".")[0]
        parts = [f"{layer}.bias", *(f"{norm}.{part}" for norm in norms.get(layer, ()) for part in ("weight", "bias"))]
        found[name] = tuple(part for part in parts if part in own)
    return found


def _norms_behind(model: nn.Module) -> dict[str, list[str]]:
    """The names of the batch norms that read the output of each layer."""
    try:
        with python_state_kept(model):
            traced = fx.symbolic_trace(model)
    except Exception as error:  # users' networks raise many kinds
        raise InputError(
            "--block filter needs to know which batch norm is behind which layer, and this network cannot be traced "
            f"({one_line(error)})"
        ) from None
    modules, found = dict(traced.named_modules()), dict[str, list[str]]()
    for node in traced.graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], _BatchNorm):
            before = node.args[0]
            if isinstance(before, fx.Node) and before.op == "call_module":
                found.setdefault(before.target, []).append(node.target)
    return found
