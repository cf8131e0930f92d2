"""Notes on pruning a user's own network: which layer is not pruned, which weights stay dense, what is not saved."""

from torch import nn

from lottery.training.also_pruned import of_layers
from pruner import classifiers, frozen, last_linear, never_pruned, prunable
from utils import listed

NOTED_FROM = 0.01  # share of the parameters that stay dense from which a note is worth it


def network_notes(model: nn.Module, prune_classifier: bool) -> list[str]:
    """The notes of a run that prunes `model`."""
    return [*classifier_note(model, prune_classifier), *dense_note(model), *frozen_note(model)]


def classifier_setting(model: nn.Module) -> dict[str, str]:
    """The classifier's entry in a run's settings; none if it is the last linear layer, as in built-in networks."""
    names = classifiers(model)
    return {} if names == last_linear(model) else {"classifier": ", ".join(names) or "none"}


def classifier_note(model: nn.Module, prune_classifier: bool) -> list[str]:
    """Which layers count as the classifier and are not pruned, if that is not simply the last linear layer."""
    if prune_classifier:
        return []
    names = classifiers(model)
    if getattr(model, "classifier_names", ()) is None:
        taken = f"{names[0]}, the last linear layer in order of registration, is" if names else "no layer is"
        return [f"which layer makes the logits is not known, since {model.unknown}: {taken} taken for the classifier"]
    if names == last_linear(model):
        return []
    if not names:
        return ["no layer makes the logits by weights of its own: all layers are pruned"]
    by_flag = {f"{name}.weight" for name in names} & set(prunable(model, prune_classifier=True))
    unless = " unless --prune_classifier is given" if by_flag else ""
    make, are = ("makes", "is") if len(names) == 1 else ("make", "are")
    return [f"{listed(names)}, which {make} the logits, {are} not pruned{unless}"]


def new_classifier_note(model: nn.Module) -> list[str]:
    """Which layers --new_classifier re-initialises, if that is not simply the last linear layer."""
    names = classifiers(model)
    return [] if names == last_linear(model) else [f"--new_classifier: {listed(names)} of this network starts anew"]


def outputs_note(model: nn.Module) -> list[str]:
    """What is taken for the logits of a network that returns several things."""
    several = getattr(model, "several", "")
    return (
        [f"the network returns a {several} is taken for the logits; other outputs are not trained"] if several else []
    )


def unsaved_note(model: nn.Module) -> list[str]:
    """State of the network that training changes and no checkpoint holds."""
    if not (names := getattr(model, "unsaved", ())):
        return []
    return [
        f"training changes {listed(names)}, which is in no checkpoint, as only parameters and buffers are: a run that "
        "is continued differs from an unbroken one, and rewinding does not put it back; make it a buffer"
    ]


def dense_note(model: nn.Module) -> list[str]:
    """How many weights no mask covers, if they are a notable share."""
    dense = never_pruned(model)
    weights, parameters = sum(dense.values()), sum(parameter.numel() for parameter in model.parameters())
    if weights <= NOTED_FROM * parameters:
        return []
    on_request = sum(dense[name] for name in of_layers(model))
    hint = f"; --prune_also all prunes {on_request:,} of them" if on_request else ""
    return [
        f"{weights:,} weights stay dense, {weights / parameters:.1%} of the network's parameters, since only those of "
        f"Conv2d and Linear layers are pruned: {listed(sorted(dense, key=dense.get, reverse=True))}{hint}"
    ]


def frozen_note(model: nn.Module) -> list[str]:
    """Which parameters are neither trained nor pruned."""
    if not (names := sorted(frozen(model))):
        return []
    return [f"{listed(names)} are neither trained nor pruned, since they do not require gradients"]
