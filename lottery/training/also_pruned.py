"""Weights that are pruned on request (--prune_also), beside those of Conv2d and Linear layers."""

from collections.abc import Sequence

from torch import nn

from pruner import classifiers, never_pruned, prunable_if_any
from utils import InputError, did_you_mean, listed

ALL = "all"
CONVOLUTIONS = nn.Conv1d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
# The weights of layers that multiply what they are given by a matrix, by the beginnings of the parameters' own names.
WEIGHTS_OF = {
    CONVOLUTIONS: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    nn.RNNBase: ("weight_ih", "weight_hh", "weight_hr"),
}


def also_pruned(model: nn.Module, asked: Sequence[str]) -> tuple[str, ...]:
    """The names of the parameters that are `asked` for, in the model's order.

    Each entry is the name of a parameter, the end of one's name after a dot (`in_proj_weight`), or `all`: the weights
    of the layers in `WEIGHTS_OF`. InputError for what names none that may be pruned: embeddings, biases, normalisation
    and frozen parameters may not, and weights that are pruned anyway need not be named.
    """
    possible = candidates(model)
    found = set[str]()
    for name in asked:
        these = of_layers(model) if name == ALL else [each for each in possible if f".{each}".endswith(f".{name}")]
        if not these:
            there = f"those that are spared are {listed(possible, 5)}" if possible else "it spares none"
            raise InputError(
                f"--prune_also {name} names no weight that this network spares and that could be pruned; {there}"
                f"{did_you_mean(name, possible)}"
            )
        found.update(these)
    return tuple(name for name in possible if name in found)


def candidates(model: nn.Module) -> list[str]:
    """Names of the weights that are pruned only on request, in the model's order.

    Embeddings and tokens or positions, (1, ., .), are none. Neither are those that others are computed from, as by
    weight norm: a zero among them would leave no zero in what is used.
    """
    embeddings = {name for name, module in model.named_modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    return [
        name
        for name in never_pruned(model)
        if len(model.get_parameter(name)) > 1
        and name.rpartition(".")[0] not in embeddings
        and ".parametrizations." not in f".{name}"
    ]


def of_layers(model: nn.Module) -> list[str]:
    """Those of the candidates that belong to a layer in `WEIGHTS_OF`."""
    starts = {
        name: beginnings
        for name, module in model.named_modules()
        for kind, beginnings in WEIGHTS_OF.items()
        if isinstance(module, kind)
    }
    places = ((name, *name.rpartition(".")[::2]) for name in candidates(model))
    return [name for name, place, own in places if own.startswith(starts.get(place, ()))]


# --- networks of which nothing else is pruned -------------------------------------------------------------------------


def flag_that_prunes(model: nn.Module) -> str:
    """The flag that would prune something of a network of which nothing is pruned without, as the end of an error."""
    if names := [name for name in of_layers(model) if name.rpartition(".")[0] not in classifiers(model)]:
        return f"; main_imp.py, main_PrAC_imp.py and main_dst.py prune {listed(names)} with --prune_also all"
    return ", which --prune_classifier prunes" if prunable_if_any(model, prune_classifier=True) else ""


def prune_on_request_(model: nn.Module) -> bool:
    """Let the weights that flags alone would prune count as prunable where a network has no others, as for the
    training of a ticket that was found with these flags; returns whether they are those of the classifier."""
    if prunable_if_any(model):
        return False
    model.also_pruned = tuple(of_layers(model))
    return not prunable_if_any(model)
