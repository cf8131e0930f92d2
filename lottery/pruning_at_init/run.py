"""Read what main_init.py prunes, and write the ticket that it finds, a file like any other ticket's.

The file has what a ticket is used with and checked by: how many weights it should keep, the examples that were looked
at and those that validate, and where its weights come from.
"""

from pathlib import Path

import numpy as np

from lottery.bases.basis import Basis
from lottery.bases.blocks import units
from lottery.checkpointing.checkpoint import on_cpu, split_ticket, write
from lottery.checkpointing.resume import ResumePoint
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.run_settings import run_settings
from lottery.patterns import Pattern, pattern_notes
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.examples import select_examples
from lottery.pruning_at_init.pruning import PruningInputs, kept_count
from lottery.terminal import Column, table_lines
from lottery.tickets.load import LoadedTicket, checksum, load_ticket
from lottery.tickets.network_basis import basis_of_network
from lottery.tickets.save import seen_examples, ticket_checkpoint
from lottery.training.context import ModelAndData, build_model_and_data, check_prunable
from lottery.training.devices import pick_device
from lottery.training.environment import keep_freed_memory, set_determinism
from lottery.training.network_notes import classifier_setting, network_notes
from lottery.training.tables import retraining_lines
from pruner import Mask, count, dense, layer_counts, size
from utils import digest


def read_inputs(config: PruningAtInitConfig) -> PruningInputs:
    """Data, network, weights and examples. InputError where flags, files and network do not go together."""
    keep_freed_memory()
    device = pick_device(config.device.gpu)
    set_determinism(device, config.device.deterministic)
    context = build_model_and_data(config.data, config.model, config.run.seed, device)
    check_prunable(context.model, config.model.arch, config.prune_classifier)
    loaded = load_weights(config, context)
    return PruningInputs(
        config,
        context,
        loaded=loaded,
        kept=kept_count(config, context),
        examples=select_examples(config, context),
        basis=chosen_basis(config, context, loaded),
    )


def chosen_basis(config: PruningAtInitConfig, context: ModelAndData, loaded: LoadedTicket) -> Basis | None:
    """The basis of the mask, svd that of the weights that are scored; None for a mask of weights."""
    if config.basis.is_plain:
        return None
    weights = {name: loaded.ticket.weights[name] for name in dense(context.model, config.prune_classifier)}
    return basis_of_network(config.basis, context.model, weights, config.run.seed, context.train.at(slice(1)))


def load_weights(config: PruningAtInitConfig, context: ModelAndData) -> LoadedTicket:
    """The weights to score: the network's own, or those of --init_dir; InputError for trained ones that a mask cut."""
    loaded = load_ticket(config.ticket, context, config.starts_trained)
    if config.starts_trained:
        loaded.files.check_kept(on_cpu(dense(context.model, config.prune_classifier)), context.model)
    return loaded


def pruning_settings(inputs: PruningInputs) -> dict:
    """What decides the ticket, as its checkpoint records it.

    Beside flags, data and split: how many weights it keeps of how many; the classifier, where it is not the last linear
    layer; the step that its weights stand at; and checksums of weights and PrAC set, if they were given.
    """
    config, ticket = inputs.config, inputs.loaded.ticket
    contents: dict[str, int | str | None] = {
        "kept": inputs.kept,
        "prunable": size(units(inputs.dense, config.basis)),
        "step": ticket.step,
    }
    contents |= inputs.context.contents | classifier_setting(inputs.context.model)
    if config.ticket.init_dir:
        contents["ticket checksum"] = checksum(ticket)
    if config.prac_set:
        contents["PrAC set of round 0"] = digest(np.sort(inputs.examples.indices.cpu().numpy()))
    return run_settings(config.run.script, config, contents=contents)


# --- the ticket's file ------------------------------------------------------------------------------------------------


def ticket_file(config: PruningAtInitConfig) -> Path:
    return RunDirectory(config.run.save_dir).checkpoint(None)


def write_ticket(inputs: PruningInputs, mask: Mask, settings: dict) -> None:
    """Write the ticket: the mask, and the weights that were scored."""
    files, examples = inputs.loaded.files, inputs.examples.indices
    ticket = inputs.loaded.ticket._replace(mask=on_cpu(mask), basis=inputs.basis)
    content = ticket_checkpoint(ticket, settings, inputs.config.run.command)
    content |= {"source": files.origin} if files.init else {}
    seen = [file.sequence for file in files.all_files] + ([] if examples is None else [examples.cpu().numpy()])
    write(ticket_file(inputs.config), content | seen_examples(seen, inputs.context.split.validation))


def written_mask(resume_point: ResumePoint) -> Mask | None:
    """The mask that the same command has written before; None if there is none."""
    return split_ticket(resume_point.saved["state_dict"])[1] if resume_point.saved else None


# --- what the user sees -----------------------------------------------------------------------------------------------


def report(inputs: PruningInputs, mask: Mask, resume_point: ResumePoint) -> list[str]:
    """Notes, a line for each layer, and one for the whole network."""
    config, context = inputs.config, inputs.context
    notes = [*context.notes, *inputs.loaded.notes, *inputs.examples.notes]
    notes += [*network_notes(context.model, config.prune_classifier), *resume_point.notes]
    notes += pattern_notes(mask, Pattern.parse(config.pattern) if config.pattern else None)
    criterion = f"{config.criterion}, inverted," if config.inverted else config.criterion
    mask = units(mask, config.basis)
    kept, weights = count(mask), size(mask)
    what = f"{config.basis.units} ({config.basis.describe()})" if config.basis.transforms else config.basis.units
    what = "prunable weights" if config.basis.is_plain else what
    return [
        *(f"note: {note}" for note in notes),
        *layer_table(mask),
        f"{criterion} keeps {kept:,} of {weights:,} {what} of {config.model.arch}, density "
        f"{kept / weights:.4f}; the ticket is in {ticket_file(config)}",
        *retraining_lines(config.run.retraining_command(ticket_file(config))),
    ]


def layer_table(mask: Mask) -> list[str]:
    """A line for each layer, with a header."""
    columns = [Column("layer", "<"), Column("kept", ","), Column("of", ","), Column("density", ".4f")]
    layers = layer_counts(mask).items()
    return table_lines(
        columns, [(name, each["kept"], each["size"], each["kept"] / each["size"]) for name, each in layers]
    )
