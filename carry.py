"""Carry one ticket to a relative: read it, check it, stretch or squeeze it, write it as a ticket like any other.

The file has what a ticket is used with and checked by: examples it was found with and those that validated, so that
`main_train.py` can refuse a split that mixes them up, and the settings of the search it comes from.
"""

import argparse
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from checkpoint import FORMAT, masked_state, read, write
from elastic import Count, Mapping, format_mapping, origins, stage_counts, stretch
from given_sets import sequence_of
from models import build_model
from models.units import Family, family
from opening import begun
from pruner import Ticket, Weights, apply_, count, density, size
from rundir import RunDirectory
from tickets import checksum, dims, origin, read_starting_state, read_ticket
from utils import InputError

PIXELS = 32  # of a convolutional network's images: its weights do not depend on them
INHERITED = ("dataset", "seed", "data checksum", "split checksum")  # settings of the search that hold for its tickets


def carry_ticket(args: argparse.Namespace) -> None:
    """Read the source's ticket and write the target's. InputError before anything is written."""
    source = family(args.source_arch)
    images = images_of(read_starting_state(args.init_dir), source, args.init_dir)
    ticket, notes = read_ticket(args.init_dir, args.mask_dir, build_model(args.source_arch, stem=args.stem, **images))
    if not ticket.mask:
        raise InputError(f"--mask_dir {args.mask_dir} holds no mask: the dense network is no ticket to carry over")
    carried = carry(ticket, source, family(args.target_arch), args.mapping)
    check_shapes(carried, build_model(args.target_arch, stem=args.stem, **images).state_dict())
    chosen = settings(args, checksum(ticket))
    directory = RunDirectory(args.save_dir)
    with begun(directory, chosen, args, inputs=[args.init_dir, args.mask_dir]) as opening:
        if not opening.saved:
            write(directory.checkpoint(None), content(carried.ticket, chosen, args))
        tell(args, ticket, carried.ticket, [*notes, *opening.notes], directory.checkpoint(None))


class Carried(NamedTuple):
    """A ticket of the target, and for each of its tensors the name of the one that it is a copy of."""

    ticket: Ticket
    origins: dict[str, str]


def carry(ticket: Ticket, source: Family, target: Family, mapping: Mapping) -> Carried:
    return Carried(stretch(ticket, source, target, mapping), origins(ticket.weights, source, target, mapping))


def images_of(state: Weights, source: Family, path: Path) -> dict:
    """What a network with these weights is for, in the arguments of `build_model`: classes, and the kind of images."""
    classifier, mean, std = (
        _tensor(state, name, path) for name in (f"{source.classifier[-1]}.weight", "normalize.mean", "normalize.std")
    )
    if mean.shape != std.shape or mean.shape not in [(1,), (3,)]:
        shapes = ", ".join(dims(tuple(tensor.shape)) for tensor in (mean, std))
        raise InputError(f"{path} has no normalisation of grey or of colour images: its mean and std are {shapes}")
    first = state.get(f"{source.stages[0].units[0][0]}.weight")  # a unit that is one layer, of a VGG or an MLP
    fully_connected = first is not None and first.ndim == 2
    return {
        "classes": len(classifier),
        "channels": len(mean),
        "image_size": isqrt(first.shape[1] // len(mean)) if fully_connected else PIXELS,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }


def _tensor(state: Weights, name: str, path: Path) -> Tensor:
    if name not in state or state[name].ndim == 0:
        raise InputError(f"{path} belongs to another network than --source_arch: it has no {name}")
    return state[name]


def check_shapes(carried: Carried, own: Weights) -> None:
    """InputError unless what is carried over has the names and shapes of the target's own weights."""
    weights, origins = carried.ticket.weights, carried.origins
    if strangers := [name for name in weights if name not in own]:
        raise InputError(f"{origins[strangers[0]]} would become {strangers[0]}, which the target does not have")
    if missing := [name for name in own if name not in weights]:
        raise InputError(f"{missing[0]} of the target has no source: the unit mapped to it has no such part")
    for name, value in own.items():
        if weights[name].shape != value.shape:
            here, there = (dims(tuple(tensor.shape)) for tensor in (value, weights[name]))
            raise InputError(f"{name} of the target is {here} and cannot be a copy of {origins[name]}, {there}")


def settings(args: argparse.Namespace, ticket_checksum: str) -> dict:
    """What decides the result, and what of the search's settings holds for this ticket as well."""
    search = read(args.mask_dir).get("settings", {})
    return {
        "script": "main_elastic.py",
        "arch": args.target_arch,
        "source_arch": args.source_arch,
        "stem": args.stem,
        "order": args.order,
        "block_mapping": format_mapping(args.mapping),
        "ticket checksum": ticket_checksum,
        **{name: search[name] for name in INHERITED if name in search},
    }


def content(ticket: Ticket, chosen: dict, args: argparse.Namespace) -> dict:
    """A checkpoint whose training has not begun: the weights under the mask, and those it starts from."""
    weights = {name: value.clone() for name, value in ticket.weights.items()}
    apply_(weights, ticket.mask)
    return {
        "state": None,
        "epoch": 0,
        "state_dict": masked_state(weights, ticket.mask),
        "init_weight": ticket.weights,
        "result": {"train": [], "ta": [], "test_ta": []},
        "best_sa": 0.0,
        "history": [],
        "momentum": None,
        "settings": chosen,
        "source": origin(args.mask_dir),
        "format": FORMAT,
        **examples(args.init_dir, args.mask_dir),
    }


def examples(*paths: Path) -> dict[str, Tensor]:
    """As far as the files tell: all examples that mask and weights were found with, and those that validated."""
    contents = {path: read(path) for path in paths}
    seen = [sequence_of(content, path) for path, content in contents.items() if "sequence" in content]
    validation = [content["validation"] for content in contents.values() if "validation" in content]
    found = {"sequence": torch.from_numpy(np.unique(np.concatenate(seen))).to(torch.int32)} if seen else {}
    return found | ({"validation": validation[-1]} if validation else {})


# --- what the user sees -----------------------------------------------------------------------------------------------


def tell(args: argparse.Namespace, ticket: Ticket, carried: Ticket, notes: list[str], file: Path) -> None:
    for note in notes:
        print(f"note: {note}")
    print(f"{args.source_arch} to {args.target_arch}, {args.order or 'as given'}: {format_mapping(args.mapping)}")
    before = stage_counts(ticket.mask, family(args.source_arch))
    after = stage_counts(carried.mask, family(args.target_arch))
    print(*table([*before, total(ticket)], [*after, total(carried)], args), sep="\n")
    there, here = (f"{100 * (1 - density(each.mask)):.2f} %" for each in (ticket, carried))
    print(f"sparsity {there} in {args.source_arch}, {here} in {args.target_arch}; the ticket is in {file}")


def total(ticket: Ticket) -> Count:
    return Count("all", size(ticket.mask), count(ticket.mask))


def table(before: list[Count], after: list[Count], args: argparse.Namespace) -> list[str]:
    """A line for each part that the mask decides about: in source and target, what it keeps of how many weights."""
    lines = [
        f"{'':10}{args.source_arch:>32}{args.target_arch:>32}",
        f"{'':10}" + f"{'kept':>12}{'of':>11}{'density':>9}" * 2,
    ]
    for there, here in zip(before, after, strict=True):
        parts = (f"{each.kept:>12,}{each.size:>11,}{each.density:>9.4f}" for each in (there, here))
        lines.append(f"{there.part:10}" + "".join(parts))
    return lines
