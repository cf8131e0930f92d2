"""Tickets from files, ours or the 2021 code's: a mask and starting weights, checked against the network.

All that comes back is on the CPU and shares nothing with the network.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from checkpoint import on_cpu, read, split_state
from given_sets import sequence_of
from models.units import NORMALIZATION, owners
from pruner import Mask, Ticket, Weights, classifier
from step import copy_weights
from utils import InputError, digest
from whole_file import is_sealed

if TYPE_CHECKING:
    from workbench import Workbench


def given_ticket(args: argparse.Namespace, bench: "Workbench") -> tuple[Ticket, list[str]]:
    """The ticket of a script's flags, checked against its network, data and split; and what is to be said."""
    ticket, notes = read_ticket(args.init_dir, args.mask_dir, bench.model, args.new_classifier)
    for path in given_files(args):
        notes += check_ticket_data(path, *bench.contents.values(), bench.split.validation)
    return ticket, notes


def given_files(args: argparse.Namespace) -> list[Path]:
    """The files that a script's flags take the ticket from."""
    return list(dict.fromkeys(filter(None, (args.init_dir, args.mask_dir))))


def ticket_settings(args: argparse.Namespace, ticket: Ticket) -> dict:
    """What a given ticket adds to a run's settings; nothing if none is given."""
    found = {"ticket checksum": checksum(ticket)} if given_files(args) else {}
    return found | ({"ticket step": ticket.step} if found and args.rewind_lr else {})


def read_ticket(
    init: Path | None, mask: Path | None, model: nn.Module, new_classifier: bool = False
) -> tuple[Ticket, list[str]]:
    """The ticket of `--init_dir` and `--mask_dir`, and what there is to say about it.

    Without starting weights the network's own, freshly drawn, are the ticket's; without a mask its mask is empty, which
    is the dense network. With `new_classifier` the network's own classifier is the ticket's, dense, whatever the files
    have for it.
    """
    spared = own_parts(model, new_classifier)
    weights, step, notes = on_cpu(copy_weights(model)), 0, []
    if init:
        weights, notes = starting_weights(init, model, spared)
        step = read(init).get("init_step")
    found = read_mask(mask, model, spared) if mask else {}
    if mask and not found:
        notes.append(f"{mask} holds no mask: the dense network is trained")
    unsealed = [str(file) for file in dict.fromkeys(filter(None, (init, mask))) if not is_sealed(file)]
    notes += [
        f"{file} carries no checksum, as no file of the 2021 code does: it is used unchecked" for file in unsealed
    ]
    return Ticket(found, weights, step), notes


def own_parts(model: nn.Module, new_classifier: bool) -> tuple[str, ...]:
    """Names of the modules that are the network's own, whatever a ticket has for them: normalisation always."""
    if not new_classifier:
        return (NORMALIZATION,)
    if (last := classifier(model)) is None:
        raise InputError("--new_classifier: this network has no linear layer that could be its classifier")
    return NORMALIZATION, last


def ticket_in_files(init: Path, mask: Path) -> Ticket:
    """The ticket of two files as it stands in them, compared with no network; each is read once."""
    contents = {path: read(path) for path in {init, mask}}
    weights, step = _starting_state_in(contents[init], init), contents[init].get("init_step")
    return Ticket(_mask_in(contents[mask], mask)[1], weights, step)


def checksum(ticket: Ticket) -> str:
    """Tells tickets apart, in a run's settings."""
    return digest(*(value.numpy() for part in (ticket.mask, ticket.weights) for _, value in sorted(part.items())))


def origin(path: Path | None) -> dict | None:
    """Where a ticket comes from: its file, the prunings it took, and the settings of its search as far as known.

    An elastic ticket has a `source` in turn: where the ticket that was carried over comes from.
    """
    if path is None:
        return None
    content = read(path)
    found = {"file": str(path), "prunings": content.get("state"), "settings": content.get("settings")}
    return found | ({"source": content["source"]} if "source" in content else {})


def starting_weights(
    path: Path, model: nn.Module, spared: tuple[str, ...] = (NORMALIZATION,)
) -> tuple[Weights, list[str]]:
    """The weights a ticket starts from, and what there is to say about them.

    For the `spared` modules the model's own are used; a difference in normalisation is mentioned.
    """
    state = read_starting_state(path)
    own = on_cpu(copy_weights(model))
    _check_fit(path, state, own, spared)
    if broken := [name for name, value in state.items() if not value.isfinite().all()]:
        raise InputError(f"{path} is no starting point: {broken[0]} holds values that are not finite")
    foreign = [name for name in own if owners(name, [NORMALIZATION]) and not _equal(state.get(name), own[name])]
    notes = [f"{path} was made with another input normalisation; this data set's own is used"] if foreign else []
    return {name: own[name] if owners(name, spared) else state[name] for name in own}, notes


def read_starting_state(path: Path) -> Weights:
    """The starting weights in a file, of whatever network: in a checkpoint its `init_weight`, or a state_dict such as
    ``epoch_3_rewind_weight.pt``."""
    return _starting_state_in(read(path), path)


def _starting_state_in(content: dict, path: Path) -> Weights:
    if "init_weight" in content:
        state = content["init_weight"]
        if state is None:
            raise InputError(f"{path} was written before the rewinding point: it holds no starting weights yet")
    elif "state_dict" in content or "result" in content:
        raise InputError(f"{path} holds no starting weights (`init_weight`): give a checkpoint of a pruning script")
    else:
        state = content
    return split_state(_tensors(state, path))[0]


def read_mask(path: Path, model: nn.Module, spared: tuple[str, ...] = (NORMALIZATION,)) -> Mask:
    """The mask in a checkpoint or state_dict, without that of `spared` modules; empty if the network in it is dense.
    InputError if it does not fit."""
    weights, mask = _mask_in(read(path), path)
    _check_fit(path, weights, model.state_dict(), spared)
    if strangers := mask.keys() - dict(model.named_parameters()).keys():
        raise InputError(f"{path} has a mask for {sorted(strangers)[0]}, which is no parameter of this network")
    return {name: layer for name, layer in mask.items() if not owners(name, spared)}


def _mask_in(content: dict, path: Path) -> tuple[Weights, Mask]:
    """The trained weights, and the mask."""
    return split_state(_tensors(content.get("state_dict", content), path))


def check_ticket_data(path: Path, data_checksum: str, split_checksum: str, validation: Tensor) -> list[str]:
    """InputError if the round of `path` had examples that validate here; a note if its data or split is another.

    Whether a checkpoint of the 2021 code comes from this data set cannot be known; it is taken to.
    """
    content = read(path)
    there = content.get("settings", {})
    if there.get("data checksum", data_checksum) != data_checksum:
        return [f"{path} was found on another data set"]
    notes = []
    if there.get("split checksum", split_checksum) != split_checksum:
        notes.append(f"{path} was found with another --split_file: it may know examples that validate here")
    if "sequence" in content:
        seen = int(np.isin(sequence_of(content, path), validation.cpu().numpy()).sum())
        if seen:
            raise InputError(
                f"{path} was found with {seen} examples that validate here: give the --split_file and the "
                "--val_fraction it was found with"
            )
    return notes


def _tensors(state: object, path: Path) -> Weights:
    """`state` if it is a state_dict."""
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no weights: tensors by name are needed")
    return state


def _check_fit(path: Path, state: Weights, own: Weights, spared: tuple[str, ...]) -> None:
    """InputError unless `state` has the network's names and shapes, `spared` modules aside."""
    there = {name: tuple(value.shape) for name, value in state.items() if not owners(name, spared)}
    here = {name: tuple(value.shape) for name, value in own.items() if not owners(name, spared)}
    if there.keys() != here.keys():
        name = sorted(there.keys() ^ here.keys())[0]
        where = "is there and not in" if name in there else "is missing there and in"
        raise InputError(f"{path} belongs to another network: {name} {where} this network")
    for name, shape in here.items():
        if there[name] != shape:
            raise InputError(
                f"{path} belongs to another network: {name} is {dims(there[name])} there, {dims(shape)} here; "
                "do the architecture, its stem and the number of classes fit? (--new_classifier for other classes)"
            )


def dims(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _equal(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and torch.allclose(a, b)
