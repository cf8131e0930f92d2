"""What is known of the ticket in a checkpoint, for `tickets.invariants.check`: from the file, the checkpoints of its
run beside it, the rewinding weights, the source of an elastic ticket, and a split file."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataset import VAL_FRACTION, read_permutation, split
from lottery.analysis.config import VerificationConfig
from lottery.bases.basis import basis_in
from lottery.bases.blocks import rows
from lottery.bases.config import SINGLE
from lottery.checkpointing.checkpoint import read, split_ticket
from lottery.checkpointing.recorded_flags import split_flags
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script
from lottery.elastic.transfer import transfer_again
from lottery.formats.exported_ticket import format_of
from lottery.formats.masks import MASKS, is_tensors
from lottery.formats.reading import without_foreign_entries
from lottery.patterns import find_pattern
from lottery.search.pruning_plan import PruningPlan
from lottery.sparse_training.config import METHODS
from lottery.tickets.export import foreign_masks, is_foreign
from lottery.tickets.invariants import Seen, TicketFacts, equal, unknown
from lottery.tickets.load import TicketFiles, checksum
from lottery.tickets.prac_set_files import read_sequence
from lottery.tickets.recorded_facts import mask_is_final, prunings
from lottery.tickets.state_dict_formats import unwrapped
from lottery.tickets.ticket_file import TicketFile
from pruner import Mask, Ticket, Weights, count, size
from utils import InputError, digest


class RunCheckpoints:
    """The checkpoints in a run's directory by round, each read at most once."""

    def __init__(self, folder: Path):
        self.directory = RunDirectory(folder)
        self.known: dict[int | None, dict | None] = {}

    def __getitem__(self, round: int | None) -> dict | None:
        """The checkpoint of a round, or main_train.py's only one (None); None if it is missing or damaged."""
        if round not in self.known:
            self.known[round] = self._read(self.directory.checkpoint(round))
        return self.known[round]

    def _read(self, path: Path) -> dict | None:
        try:
            content = without_foreign_entries(read(path)) if path.exists() else {}
        except InputError:
            return None
        return content if is_tensors(content.get("state_dict")) else None


def collect_facts(ticket: TicketFile, checkpoints: RunCheckpoints, config: VerificationConfig) -> TicketFacts:
    """The ticket in a file, and what is known of it; InputError if the file holds none."""
    file, content = ticket.path, ticket.content
    mask, weights, _, _ = ticket_in(ticket)
    settings, round = content.get("settings", {}), prunings(content)
    before = checkpoints[round - 1] if round and prunes_previous_mask(settings) else None
    from_file = config.split_file and split_from_file(config.split_file, file, content)
    training, validation = from_file or recorded_split(content, checkpoints)
    pattern = PruningPlan.from_settings(settings, config.rate).pattern if round != 0 else None  # round 0 is dense
    transferred, not_transferred = transferred_again(content, file.parent)
    rewound, rewinding = content.get("init_weight"), rewinding_weights(file, content, before)
    rewound = rewound if rewound is None else comparable(ticket.tensors(rewound))
    if format_of(content):  # most forms of convert.py do not hold the weights that are dropped
        rewound, rewinding = kept_part(rewound, mask), kept_part(rewinding, mask)
        transferred = transferred and transferred._replace(weights=kept_part(transferred.weights, mask))
    return TicketFacts(
        mask=mask,
        weights=weights,
        basis=basis_in(content) if mask else None,
        units=pruned_rows(mask) if in_blocks(settings) else None,
        rewound=rewound,
        untrained=is_untrained(content) and not continues(content),
        continued=recorded_ticket(before)[0] if before and is_untrained(content) and continues(content) else None,
        kept=expected_kept(content, mask, checkpoints, config.rate),
        pattern=pattern,
        found_pattern=find_pattern(mask),
        before=None if before is None else split_ticket(before["state_dict"])[1],
        rewinding=rewinding,
        examples=torch.from_numpy(read_sequence(content, file)).long() if "sequence" in content else None,
        training=training,
        validation=validation,
        transferred=transferred,
        not_transferred=not_transferred,
    )


def ticket_in(file: TicketFile) -> Ticket:
    """Weights by the names in the file, as numbers that can be compared, and the mask; InputError if there are none."""
    content = file.content
    state = unwrapped(content)
    if MASKS in content and state is content:
        raise InputError(f"{file.path} holds masks and no weights: a ticket is both. --mask_dir takes it")
    weights, mask = recorded_ticket(content | {"state_dict": file.tensors(state)}, as_stored=is_foreign(file))
    weights, masks = foreign_masks(file, weights)
    return Ticket(masks or mask, comparable(weights))


def comparable(weights: Weights) -> Weights:
    """The weights, floating-point numbers of 8 bits in 32, in which they are the same: torch cannot compare them."""
    small = {name for name, value in weights.items() if value.is_floating_point() and value.element_size() == 1}
    return {name: value.float() if name in small else value for name, value in weights.items()}


def kept_part(weights: Weights | None, mask: Mask) -> Weights | None:
    """The weights, zero where the mask drops them."""
    if weights is None:
        return None
    return {name: value.where(mask[name], 0) if name in mask else value for name, value in weights.items()}


def is_untrained(content: dict) -> bool:
    """Whether a file of ours, or one that convert.py wrote, holds a network at its start."""
    return content.get("history") == [] or bool(content.get("format") and not content.get("history"))


def continues(content: dict) -> bool:
    """Whether its round began with the weights that the one before it had trained, instead of rewound ones."""
    return content.get("settings", {}).get("between") == "continue" and bool(prunings(content))


def recorded_ticket(content: dict, as_stored: bool = False) -> tuple[Weights, Mask]:
    """Weights under plain names, and the mask.

    Weights of our files, and others `as_stored`, are as they are there, to be checked. In files of the 2021 code
    dropped weights have values that its network never uses; they are zero here.
    """
    state = content["state_dict"]
    weights, mask = split_ticket(state)
    if as_stored or "format" in content:
        weights |= {name: state[f"{name}_orig"] for name in mask}
    return weights, mask


def prunes_previous_mask(settings: Mapping) -> bool:
    """Whether a round of this run prunes the mask of the one before it."""
    script = Script.named(settings.get("script"))
    return script is None or script.prunes_previous_mask  # no script: the 2021 code, whose searches do


def expected_kept(content: dict, mask: Mask, checkpoints: RunCheckpoints, rate: float) -> int | None:
    """How many weights the mask should keep; None if that is not known.

    A ticket found before training records the number; a training with a changing mask begins with it, or reaches it in
    the end. A search prunes what its round 0 keeps: every weight, or those of the ticket that it began with. `rate` is
    the pruning rate where the file records none.
    """
    settings, after = content.get("settings", {}), prunings(content)
    if "kept" in settings:
        return settings["kept"]
    if settings.get("script") == Script.DST:
        known = METHODS[settings["method"]].begins_sparse or mask_is_final(content)
        return round(settings["density"] * size(mask)) if known else None
    if not after or not mask or not prunes_previous_mask(settings):
        return None
    mask = pruned_rows(mask) if in_blocks(settings) else mask
    at_first = size(mask)
    if settings.get("mask_dir"):
        if (first := checkpoints[0]) is None:
            return None
        given = split_ticket(first["state_dict"])[1]
        at_first = count(pruned_rows(given) if in_blocks(settings) else given) or at_first
    return PruningPlan.from_settings(settings, rate).kept(after, at_first, size(mask))


def in_blocks(settings: Mapping) -> bool:
    """Whether its run pruned whole rows, and counted those."""
    return settings.get("block", SINGLE) != SINGLE


def pruned_rows(mask: Mask) -> Mask:
    """The rows that were pruned as one: of layers, not of the biases and batch norms that an exported mask has as
    well."""
    return rows({name: layer for name, layer in mask.items() if layer.ndim > 1})


def rewinding_weights(file: Path, content: dict, before: dict | None) -> Weights | None:
    """The weights that every round is rewound to: from the file of the rewinding point, or from the round before.

    The 2021 code does not record which of the two it used: the one that fits is taken, if there is one.
    """
    settings, rewound = content.get("settings", {}), content.get("init_weight")
    files = sorted(file.parent.glob("epoch_*_rewind_weight.pt"))
    if settings:
        point = settings.get("rewind_epoch"), settings.get("rewind_iteration")
        rewinds = settings.get("prune_type") == "rewind_lt"
        files = [RunDirectory(file.parent).rewinding(*point)] if rewinds else []
    candidates = [read(path) for path in files if path.exists()]
    candidates += [before["init_weight"]] if before and before.get("init_weight") else []
    fitting = (each for each in candidates if rewound and equal(rewound, each, "")[0])
    return next(fitting, candidates[0] if candidates else None)


# --- the split --------------------------------------------------------------------------------------------------------


def split_from_file(split_file: Path, checkpoint: Path, content: Mapping) -> tuple[Tensor, Tensor]:
    """Training and validation examples of a split file; InputError if the checkpoint records another split."""
    settings = content.get("settings", {})
    permutation = read_permutation(split_file)
    here = digest(permutation.astype(np.int64))
    if (recorded := settings.get("split checksum", here)) != here:
        made_with = split_flags(checkpoint.parent, content)
        raise InputError(
            f"it was made with another split than --split_file {split_file}: split checksum was {recorded}, is {here}"
            + (f". Its run had {made_with}" if made_with else "")
        )
    return split(permutation, settings.get("val_fraction", VAL_FRACTION))


def recorded_split(content: dict, checkpoints: RunCheckpoints) -> tuple[Tensor | None, Tensor | None]:
    """Training and validation examples as far as our own files record them: round 0 of a search trains on the whole
    training split."""
    validation, settings = content.get("validation"), content.get("settings", {})
    first = checkpoints[0] if settings and not settings.get("prac_set") and "state" in content else None
    same_split = first and first.get("settings", {}).get("split checksum") == settings.get("split checksum")
    return (first["sequence"].long() if same_split else None), (None if validation is None else validation.long())


# --- elastic tickets --------------------------------------------------------------------------------------------------


def transferred_again(content: dict, folder: Path) -> tuple[Ticket | None, Seen | None]:
    """What transferring the source of an elastic ticket again gives; or, in its place, why that cannot be done."""
    if content.get("settings", {}).get("script") != Script.ELASTIC:
        return None, None
    source, why = elastic_source(content, folder)
    if source is None:
        return None, unknown(why)
    try:
        return transfer_again(content, source), None
    except InputError as error:
        return None, (False, f"its source cannot be transferred as it says: {error}")


def elastic_source(content: dict, folder: Path) -> tuple[Ticket | None, str]:
    """The ticket that the elastic one in `folder` was made of; None, and why, if its files no longer hold it."""
    if "carried_from" not in content:
        return None, "the file does not say where its source lies"
    expected, why = content["settings"]["ticket checksum"], ""
    there = {given: existing_files(given, relative, folder) for given, relative in content["carried_from"].values()}
    if gone := [given for given, files in there.items() if not files]:
        return None, f"its source is gone: {gone[0]} is not there"
    for init, mask in product(*(there[given] for given, _ in content["carried_from"].values())):
        try:
            source = TicketFiles.read(init, mask).unmodified()
        except InputError as error:
            why = f"its source is gone: {error}"
            continue
        if checksum(source) == expected:
            return source, ""
        names = " and ".join(dict.fromkeys(map(str, (init, mask))))
        why = f"its source is gone: now another ticket is in {names}, checksum {checksum(source)}, not {expected}"
    return None, why


def existing_files(given: str, relative: str, folder: Path) -> list[Path]:
    """Those of a recorded path and the same path relative to `folder` that exist; one if both are the same file."""
    files = {path.resolve(): path for path in (folder / relative, Path(given)) if path.is_file()}
    return list(files.values())
