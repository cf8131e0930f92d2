"""Masks that came from elsewhere (lottery/formats/masks.py), fitted to a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.formats.masks import check_mask
from lottery.tickets.state_dict_formats import renamed, renaming
from models.units import owners
from pruner import Mask, prunable, prunable_if_any
from utils import InputError


def fitted_mask(
    path: Path, masks: Mapping[str, Tensor], model: nn.Module, spared: Sequence[str]
) -> tuple[Mask, list[str]]:
    """The mask of a network, and notes on what was renamed, cast or left dense; empty if nothing is dropped.

    Prunable layers without a mask are kept whole, so that the density counts all prunable weights. A mask of ones for
    another parameter, such as a bias, says nothing and is left out. `spared` modules have no mask.
    """
    parameters = dict(model.named_parameters())
    names = mask_names(model, masks)
    masks = {name: layer for name, layer in masks.items() if not owners(names[name], spared)}
    allowed = prunable(model, prune_classifier=True)
    for name, layer in masks.items():
        check_mask(path, name, layer, parameters.get(names[name]), f"this network, as {allowed[0]} is")
    found = {names[name]: layer.bool() for name, layer in masks.items()}
    check_prunable(path, {name: layer for name, layer in found.items() if name not in allowed})
    whole = [name for name in prunable_if_any(model) if name not in found and not owners(name, spared)]
    found |= {name: torch.ones_like(parameters[name], dtype=torch.bool, device="cpu") for name in whole}
    mask = {name: found[name] for name in allowed if name in found}
    if all(bool(layer.all()) for layer in mask.values()):
        return {}, []
    return mask, renamed(path, names) + cast_note(path, masks) + dense_note(path, whole)


def mask_names(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of masks, each with its parameter's in this network if one way of reading finds one for all."""
    firsts = dict(model.named_parameters(remove_duplicate=False))
    by_identity = {id(value): name for name, value in model.named_parameters()}
    names = renaming(list(masks), lambda found: found <= firsts.keys())
    return {there: by_identity[id(firsts[here])] if here in firsts else here for there, here in names.items()}


def check_prunable(path: Path, others: Mask) -> None:
    """InputError for a mask that drops weights of a parameter that is not pruned."""
    for name, layer in others.items():
        if not layer.all():
            raise InputError(
                f"{path} has a mask that drops {int((~layer).sum())} of the {layer.numel()} values of {name}, which is "
                "not pruned: only weights of Conv2d and Linear layers are"
            )


def cast_note(path: Path, masks: Mapping[str, Tensor]) -> list[str]:
    kinds = dict.fromkeys(str(layer.dtype).removeprefix("torch.") for layer in masks.values())
    kinds.pop("bool", None)
    return [f"{path} holds masks as {' and '.join(kinds)}: 1 is kept, 0 dropped"] if kinds else []


def dense_note(path: Path, whole: Sequence[str]) -> list[str]:
    if not whole:
        return []
    if len(whole) == 1:
        return [f"{path} has no mask for {whole[0]}, which is prunable: it is kept whole"]
    more = f"{whole[0]} and {len(whole) - 1} more"
    return [f"{path} has no mask for {more} of the prunable layers: they are kept whole"]


def check_pruned_layers(path: Path | None, mask: Mask, names: Sequence[str]) -> None:
    """InputError if the given mask decides about weights that a search leaves alone, which prunes those of `names`."""
    if others := [name for name in mask if name not in names]:
        raise InputError(
            f"--mask_dir {path} has a mask for {others[0]}, which this search does not prune: is --prune_classifier or "
            "--prune_also missing?"
        )
