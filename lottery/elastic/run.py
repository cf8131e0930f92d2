"""Carry one ticket to a relative: read it, check it, stretch or squeeze it, write it as a ticket like any other.

The file has what a ticket is used with and checked by: examples it was found with and those that validated, so that
`main_train.py` can refuse a split that mixes them up, the settings of the search it comes from, and where its source
lies, so that `verify.py` can carry it again.
"""

import argparse
import os
from collections.abc import Iterable
from math import isqrt
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from lottery.checkpointing.checkpoint import masked_state, split_state, write
from lottery.checkpointing.resume import open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.configs import command, run_config
from lottery.elastic.mapping import (
    Count,
    Mapping,
    asked_mapping,
    format_mapping,
    origins,
    parse_mapping,
    stage_counts,
    stretch,
)
from lottery.tickets.load import LoadedTicket, TicketFiles, checksum
from lottery.tickets.save import known_examples, untrained
from lottery.tickets.starting_weights import same_start
from lottery.tickets.state_dict_formats import dims, renaming
from models import ARCHITECTURES, build_model
from models.description import Description
from models.families import MLPS
from models.network_state import tensors
from models.units import NORMALIZATION, Family, family, owners
from pruner import Mask, Ticket, Weights, count, same, size
from utils import InputError

PIXELS = 32  # of a convolutional network's images: its weights do not depend on them
SCRIPT = "main_elastic.py"
INHERITED = ("dataset", "seed", "data checksum", "split checksum")  # settings of the search that hold for its tickets


def transfer_ticket(args: argparse.Namespace) -> None:
    """Read the source's ticket and write the target's. InputError before anything is written."""
    files = TicketFiles.read(args.init_dir, args.mask_dir)
    source, target = members(args, plain_names(files.init.starting_state))
    mapping = asked_mapping(source.units, target.units, args.order, args.block_mapping)
    given = files.load(source.network)
    ticket = given.ticket
    if not ticket.mask:
        raise InputError(f"--mask_dir {args.mask_dir} holds no mask: the dense network is no ticket to carry over")
    carried = carry(ticket, source.units, target.units, mapping)
    check_shapes(carried, tensors(target.network))
    if not carried.ticket.mask:
        raise InputError(f"--mask_dir {args.mask_dir} masks only units that have no copy in {args.target_arch}")
    if same_ticket(carried.ticket, ticket):
        raise InputError(
            f"--target_arch {args.target_arch}: what this mapping makes of the ticket is the ticket itself; another "
            "depth, or another --block_mapping, would carry it over"
        )
    chosen = settings(args, format_mapping(mapping), checksum(ticket), files.mask.settings)
    directory = RunDirectory(args.save_dir)
    with open_run(run_config(args, SCRIPT), chosen, inputs=[args.init_dir, args.mask_dir]) as resume_point:
        if not resume_point.saved:
            write(directory.checkpoint(None), content(carried.ticket, chosen, args, given))
        told = [f"note: {note}" for note in (*given.description, *given.notes, *resume_point.notes)]
        before, after = counts(ticket.mask, source.units), counts(carried.ticket.mask, target.units)
        told += report(args, chosen["block_mapping"], before, after, directory.checkpoint(None))
        print(*told, sep="\n")


class Member(NamedTuple):
    """A network, and what is a unit of it."""

    network: nn.Module
    units: Family


def members(args: argparse.Namespace, state: Weights) -> tuple[Member, Member]:
    """Source and target, built for the images that the starting weights `state` are for."""
    arch = args.source_arch
    classifier = args.description.classifier(arch) if args.description else family(arch).classifier
    images = images_of(state, arch, classifier[-1], args.init_dir)
    return member(args, arch, images), member(args, args.target_arch, images)


def member(args: argparse.Namespace, arch: str, images: dict) -> Member:
    # A network of one's own is not tried on images: which size it takes is not known, and nothing here depends on it.
    size = images["image_size"] if arch in ARCHITECTURES else None
    network = build_model(arch, stem=args.stem, **images | {"image_size": size})
    return Member(network, units_of(args.description, arch, tensors(network)))


def units_of(description: Description | None, arch: str, names: Iterable[str]) -> Family:
    return description.member(arch, names) if description else family(arch)


class Carried(NamedTuple):
    """A ticket of the target, and for each of its tensors the name of the one that it is a copy of."""

    ticket: Ticket
    origins: dict[str, str]


def carry(ticket: Ticket, source: Family, target: Family, mapping: Mapping) -> Carried:
    return Carried(stretch(ticket, source, target, mapping), origins(ticket.weights, source, target, mapping))


def same_ticket(a: Ticket, b: Ticket) -> bool:
    """Whether two tickets have the same tensors under the same names."""
    alike = a.weights.keys() == b.weights.keys() and same_start(a.weights, b.weights, a.mask)
    return alike and same(a.mask, b.mask)


def plain_names(state: Weights) -> Weights:
    """Starting weights without what wrappers put before the names of a network's tensors."""
    names = renaming(state, lambda found: f"{NORMALIZATION}.mean" in found)
    return {names[name]: value for name, value in state.items()}


def images_of(state: Weights, arch: str, classifier: str, path: Path) -> dict:
    """What a network with these weights is for, in the arguments of `build_model`: classes, as the last module of its
    classifier tells, and the kind of images."""
    logits = [value for name, value in state.items() if owners(name, [classifier]) and value.ndim]
    if not logits:
        raise InputError(f"{path} belongs to another network than --source_arch: it has no {classifier}")
    mean, std = (_tensor(state, f"{NORMALIZATION}.{name}", path) for name in ("mean", "std"))
    if mean.shape != std.shape or mean.shape not in [(1,), (3,)]:
        shapes = ", ".join(dims(tensor.shape) for tensor in (mean, std))
        raise InputError(f"{path} has no normalisation of grey or of colour images: its mean and std are {shapes}")
    return {
        "classes": len(logits[-1]),
        "channels": len(mean),
        "image_size": _image_size(state, len(mean), path) if arch in MLPS else PIXELS,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }


def _image_size(state: Weights, channels: int, path: Path) -> int:
    """The pixels that an MLP's first layer takes."""
    first = _tensor(state, "fc1.weight", path)
    return isqrt(first[0].numel() // channels)


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
            here, there = (dims(tensor.shape) for tensor in (value, weights[name]))
            raise InputError(f"{name} of the target is {here} and cannot be a copy of {origins[name]}, {there}")


def settings(args: argparse.Namespace, block_mapping: str, ticket_checksum: str, search: dict) -> dict:
    """What decides the result, and what of the settings of the mask's `search` holds for this ticket as well."""
    inherited = {name: search[name] for name in INHERITED if name in search}
    return {
        "script": SCRIPT,
        "arch": args.target_arch,
        "source_arch": args.source_arch,
        "stem": args.stem,
        "order": args.order,
        "family checksum": args.description.checksum if args.description else None,
        "block_mapping": block_mapping,
        "ticket checksum": ticket_checksum,
        **inherited,
    }


def content(ticket: Ticket, chosen: dict, args: argparse.Namespace, given: LoadedTicket) -> dict:
    """The ticket's checkpoint, with where its source lies and what was known of that one."""
    return {
        **untrained(ticket, chosen, command(args, SCRIPT)),
        "source": given.origin,
        "carried_from": {name: places(getattr(args, name), args.save_dir) for name in ("init_dir", "mask_dir")},
        "family": args.description.content if args.description else None,
        **examples(given.files),
    }


def places(file: Path, folder: Path) -> list[str]:
    """Where to look for a file: as it was given, and from `folder`, in case the two have been moved together."""
    return [str(file), os.path.relpath(file.resolve(), folder.resolve())]


def transfer_again(content: dict, source: Ticket) -> Ticket:
    """What carrying `source` gives, by what the file of an elastic ticket says, in the form in which it keeps it.

    Names are those in the two tickets, so that no network is built, nor any code run that a file names. InputError
    where the file describes no mapping between the two.
    """
    chosen, described = content["settings"], content.get("family")
    description = Description("its family", described) if described else None
    there = units_of(description, chosen["source_arch"], source.weights)
    here = units_of(description, chosen["arch"], content["init_weight"])
    ticket = stretch(source, there, here, parse_mapping(chosen["block_mapping"], there, here))
    return ticket._replace(mask=split_state(masked_state(ticket.weights, ticket.mask))[1])


def examples(files: TicketFiles) -> dict[str, Tensor]:
    """As far as the files tell: all examples that mask and weights were found with, and those that validated."""
    validation = [file.content["validation"] for file in files.each if "validation" in file.content]
    return known_examples((file.sequence for file in files.each), validation[-1] if validation else None)


# --- what the user sees -----------------------------------------------------------------------------------------------


def counts(mask: Mask, member: Family) -> list[Count]:
    """Of each part, and at the end of the whole."""
    return [*stage_counts(mask, member), Count("all", size(mask), count(mask))]


def report(args: argparse.Namespace, mapping: str, before: list[Count], after: list[Count], file: Path) -> list[str]:
    there, here = (f"{100 * (1 - each[-1].density):.2f} %" for each in (before, after))
    return [
        f"{args.source_arch} to {args.target_arch}, {args.order or 'as given'}: {mapping}",
        *table(before, after, args),
        f"sparsity {there} in {args.source_arch}, {here} in {args.target_arch}; the ticket is in {file}",
    ]


def table(before: list[Count], after: list[Count], args: argparse.Namespace) -> list[str]:
    """A line for each part that the mask decides about: in source and target, what it keeps of how many weights."""
    width = max(32, *(len(arch) + 2 for arch in (args.source_arch, args.target_arch)))
    lines = [
        f"{'':10}{args.source_arch:>{width}}{args.target_arch:>{width}}",
        f"{'':10}" + f"{'kept':>{width - 20}}{'of':>11}{'density':>9}" * 2,
    ]
    left = {each.part: each for each in after}
    for there in before:
        here = left.get(there.part, Count(there.part, 0, 0))  # its masked units may have been dropped
        parts = (f"{each.kept:>{width - 20},}{each.size:>11,}{each.density:>9.4f}" for each in (there, here))
        lines.append(f"{there.part:10}" + "".join(parts))
    return lines
