"""What belongs to one output of a layer beside its weights: its bias, and the batch norm behind the layer.

A filter without weights still emits its bias, and a batch norm its shift. Where whole filters are pruned, those are
zero as well, so that a pruned filter emits nothing.
"""

from collections.abc import Collection, Iterator

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from lottery.channels.operations import ELEMENTWISE, FUNCTIONS, METHODS, POOL_FUNCTIONS, POOLS
from lottery.channels.trace import trace
from utils import InputError


def output_parameters(model: nn.Module, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For the weights of these names, the parameters with one number for each output of their layer.

    InputError for transposed convolutions, whose weights do not begin with their outputs, and for a network with batch
    norm that torch.fx cannot trace.
    """
    own = dict(model.named_parameters())
    norms = _norms_behind(model) if any(isinstance(each, _BatchNorm) for each in model.modules()) else {}
    found = {}
    for name in names:
        layer, _, weight = name.rpartition(".")
        if isinstance(model.get_submodule(layer), _ConvTransposeNd):
            raise InputError(
                f"--block filter cannot prune {name}: the weights of a transposed convolution lie by its inputs; leave "
                "it out of --prune_also"
            )
        parts = [f"{layer}.{weight.replace('weight', 'bias', 1)}"]
        parts += [f"{norm}.{part}" for norm in norms.get(layer, ()) for part in ("weight", "bias")]
        found[name] = tuple(part for part in parts if part in own and len(own[part]) == len(own[name]))
    return found


def _norms_behind(model: nn.Module) -> dict[str, list[str]]:
    """The names of the batch norms that read the output of each layer, at once or behind activations and pools."""
    try:
        traced = trace(model)
    except InputError as error:
        raise InputError(f"--block filter needs to know which batch norm is behind which layer: {error}") from None
    modules, found, seen = dict(traced.named_modules()), dict[str, list[str]](), set[str]()
    for node in traced.graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], _BatchNorm):
            if node.target in seen:  # it would silence a filter of one layer for the pruned one of another
                raise InputError(f"--block filter cannot prune in front of {node.target}, which is used more than once")
            seen.add(node.target)
            for before in _before(node, modules):
                found.setdefault(before, []).append(node.target)
    return found


def _before(node: fx.Node, modules: dict[str, nn.Module]) -> Iterator[str]:
    """The modules that lie before an operation, the nearest first, up to one that is not channel by channel."""
    while node.args and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        if node.op == "call_module":
            yield node.target
            if not isinstance(modules[node.target], (*ELEMENTWISE, *POOLS, _BatchNorm)):
                return
        elif node.target not in FUNCTIONS | METHODS | POOL_FUNCTIONS:
            return
