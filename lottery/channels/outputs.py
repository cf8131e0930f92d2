"""What belongs to one output of a layer beside its weights: its bias, and the batch norm behind the layer.

A filter without weights still emits its bias, and a batch norm its shift. Where whole filters are pruned, those are
zero as well, so that a pruned filter emits nothing, unless what lies behind it makes something else of zeros.
"""

import operator
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lottery.channels.operations import ADDITIONS, CONCATENATIONS, leaves_channels_apart
from lottery.channels.trace import trace
from utils import InputError

# fmt: off
READERS = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase)  # layers that compute with what they are given
READING = {F.linear, F.conv1d, F.conv2d, F.conv3d, torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm",
           F.scaled_dot_product_attention, "size", "dim", getattr}
# What gives something else than zero for zeros, of the operations that leave channels apart:
SHIFTING = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.AlphaDropout, nn.FeatureAlphaDropout)
SHIFTING_FUNCTIONS = {torch.sigmoid, "sigmoid", F.hardsigmoid}
# Others that give zeros for zeros:
KEEPING_ZEROS = {
    *CONCATENATIONS, torch.mul, torch.mean, torch.sum, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze,
    torch.reshape, torch.flatten, torch.chunk, torch.split, torch.unbind, operator.mul, operator.getitem, "mul", "mean",
    "sum", "permute", "transpose", "squeeze", "unsqueeze", "view", "reshape", "flatten", "chunk", "split", "unbind",
}
# fmt: on


def check_outputs_first(model: nn.Module, names: Collection[str], flag: str) -> None:
    """InputError, naming the flag, for transposed convolutions, whose weights do not begin with their outputs."""
    for name in names:
        if isinstance(model.get_submodule(name.rpartition(".")[0]), _ConvTransposeNd):
            raise InputError(
                f"{flag} cannot prune {name}: the weights of a transposed convolution lie by its inputs; leave it out "
                "of --prune_also"
            )


def output_parameters(model: nn.Module, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For the weights of these names, the parameters with one number for each output of their layer.

    InputError for a network with batch norm that torch.fx cannot trace.
    """
    own = dict(model.named_parameters())
    norms = _norms_behind(model) if any(isinstance(each, _BatchNorm) for each in model.modules()) else {}
    found = {}
    for name in names:
        layer, _, weight = name.rpartition(".")
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
        if not (leaves_channels_apart(node, modules) or _is_batch_norm(node, modules)):
            return


def _is_batch_norm(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(modules[node.target], _BatchNorm)


# --- what pruned outputs become ---------------------------------------------------------------------------------------


def emitting_layers(model: nn.Module, per_output: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The weights of the convolutions and linear layers whose pruned outputs, without their parameters in `per_output`,
    may become something else than zeros before another layer reads them: behind group norm, or an activation with
    f(0) != 0. All of them if torch.fx cannot trace the network.
    """
    layers = {name: name.rpartition(".")[0] for name in per_output}
    layers = {name: each for name, each in layers.items() if isinstance(model.get_submodule(each), nn.Linear | _ConvNd)}
    try:
        traced = trace(model)
    except InputError:
        return tuple(layers)
    modules, calls = dict(traced.named_modules()), dict[str, list[fx.Node]]()
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    found = []
    for name, layer in layers.items():
        while layer and layer not in calls:  # a part of attention, say, that is traced as a whole
            layer = layer.rpartition(".")[0]
        silent = {part.rpartition(".")[0] for part in per_output[name]}
        if not layer or any(_reappears(node, modules, silent) for node in calls[layer]):
            found.append(name)
    return tuple(found)


def _reappears(node: fx.Node, modules: Mapping[str, nn.Module], silent: Collection[str]) -> bool:
    """Whether channels that are zero may be something else where a layer reads them; `silent` batch norms leave them
    zero."""
    pending, seen = [node], set[fx.Node]()
    while pending:
        users = set(pending.pop().users) - seen
        seen |= users
        for user in users:
            if _reads(user, modules):
                continue
            if not _keeps_zeros(user, modules, silent):
                return True
            pending.append(user)
    return False


def _reads(user: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether channels end here: in a layer, in the sum with others, or at the end of the network."""
    if user.op == "call_module":
        return isinstance(modules[user.target], READERS)
    values = [each for each in user.args if isinstance(each, fx.Node) and _is_computed(each)]
    return user.op == "output" or user.target in READING or (user.target in ADDITIONS and len(values) == 2)


def _is_computed(node: fx.Node) -> bool:
    """Whether a value depends on the images, as parameters and what is made of them do not."""
    return node.op in ("placeholder", "call_module") or any(map(_is_computed, node.all_input_nodes))


def _keeps_zeros(user: fx.Node, modules: Mapping[str, nn.Module], silent: Collection[str]) -> bool:
    """Whether an operation gives zeros for zeros."""
    if _is_batch_norm(user, modules):
        return user.target in silent
    if user.op == "call_module":
        return leaves_channels_apart(user, modules) and not isinstance(modules[user.target], SHIFTING)
    if user.target is F.pad:
        return user.args[3:] in ((), (None,), (0,)) and user.kwargs.get("value") in (None, 0)
    keeps_zeros = user.target in KEEPING_ZEROS or leaves_channels_apart(user, modules)
    return keeps_zeros and user.target not in SHIFTING_FUNCTIONS
