"""Write an elastic ticket, a file like any other ticket's, and report what was transferred.

The file has what a ticket is used with and checked by: the examples that its source was found with and those that
validated, so that main_train.py can refuse a split that mixes them; the settings of the source's search that hold for
it, too; and where its source lies, so that verify.py can repeat the transfer.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.run_settings import run_settings
from lottery.elastic.config import ElasticConfig, MappingConfig
from lottery.elastic.mapping import Count, UnitMapping, format_mapping, stage_counts
from lottery.elastic.networks import Member
from lottery.terminal import Column, table_lines
from lottery.tickets.load import LoadedTicket, TicketFiles, checksum
from lottery.tickets.save import seen_examples, ticket_checkpoint
from pruner import Mask, Ticket, count, size

# Settings of a search that hold for its tickets.
INHERITED = ("dataset", "image_size", "seed", "data checksum", "split checksum")


def transfer_settings(config: ElasticConfig, loaded: LoadedTicket, mapping: UnitMapping) -> dict:
    """What decides the ticket, as its checkpoint records it, and the settings of its search that hold for it, too."""
    search = loaded.files.mask.settings
    contents = {
        "family checksum": config.family.checksum if config.family else None,
        "block_mapping": format_mapping(mapping),
        "ticket checksum": checksum(loaded.ticket),
    }
    contents |= {name: search[name] for name in INHERITED if name in search}
    return run_settings(config.run.script, config.mapping, contents=contents)


# --- the ticket's file ------------------------------------------------------------------------------------------------


def ticket_file(config: ElasticConfig) -> Path:
    return RunDirectory(config.run.save_dir).checkpoint(None)


def write_ticket(config: ElasticConfig, ticket: Ticket, settings: dict, loaded: LoadedTicket) -> None:
    """Write the transferred ticket, with where its source lies and what is known of that."""
    content = ticket_checkpoint(ticket, settings, config.run.command) | {
        "source": loaded.origin,
        "carried_from": {flag: source_places(file, config.run.save_dir) for flag, file in config.files.items()},
        "family": config.family.content if config.family else None,
        **source_examples(loaded.files),
    }
    write(ticket_file(config), content)


def source_places(file: Path, folder: Path) -> list[str]:
    """Where to look for a file: as it was given, and from `folder`, in case the two have been moved together."""
    return [str(file), os.path.relpath(file.resolve(), folder.resolve())]


def source_examples(files: TicketFiles) -> dict[str, Tensor]:
    """All examples that mask and weights were found with, and those that validated, as far as the files say."""
    validation = [file.content["validation"] for file in files.all_files if "validation" in file.content]
    return seen_examples((file.sequence for file in files.all_files), validation[-1] if validation else None)


# --- what the user sees -----------------------------------------------------------------------------------------------


def report(
    config: ElasticConfig, settings: dict, source: tuple[Mask, Member], target: tuple[Mask, Member]
) -> list[str]:
    """The mapping, the density of each part of both networks, and where the ticket is."""
    before, after = (counts(mask, member) for mask, member in (source, target))
    names = config.mapping
    there, here = (f"{100 * (1 - each[-1].density):.2f} %" for each in (before, after))
    return [
        f"{names.source_arch} to {names.target_arch}, {names.order or 'as given'}: {settings['block_mapping']}",
        *count_table(names, before, after),
        f"sparsity {there} in {names.source_arch}, {here} in {names.target_arch}; the ticket is in "
        f"{ticket_file(config)}",
    ]


def counts(mask: Mask, member: Member) -> list[Count]:
    """Of each part, and at the end of the whole."""
    return [*stage_counts(mask, member.family), Count("all", size(mask), count(mask))]


def count_table(names: MappingConfig, before: Sequence[Count], after: Sequence[Count]) -> list[str]:
    """A line for each part that the source's mask covers: weights kept, all weights and density, in both networks."""
    left = {each.part: each for each in after}
    pairs = [(there, left.get(there.part, Count(there.part, 0, 0))) for there in before]  # masked units may be dropped
    columns = [Column("part", "<"), *count_columns(names.source_arch), *count_columns(names.target_arch)]
    return table_lines(columns, [(there.part, *count_cells(there), *count_cells(here)) for there, here in pairs])


def count_columns(arch: str) -> list[Column]:
    return [Column(heading, form, group=arch) for heading, form in {"kept": ",", "of": ",", "density": ".4f"}.items()]


def count_cells(part: Count) -> tuple[int, int, float]:
    return part.kept, part.size, part.density
