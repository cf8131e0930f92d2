"""A ticket in a file, made ready to leave this suite: plain names, and what is known of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from lottery.checkpointing.version import suite_version
from lottery.formats.exported_ticket import EXAMPLES, STARTING, TRAINED, UNRECORDED, ExportedTicket, format_of
from lottery.formats.masks import ENDING, MASKS, beside_weights, check_mask
from lottery.formats.network import size_facts
from lottery.tickets.prac_set_files import read_sequence
from lottery.tickets.recorded_facts import accuracies, prunings, trained_until
from lottery.tickets.state_dict_formats import INNER, unwrapped
from lottery.tickets.ticket_file import TicketFile, weight_mask
from models.units import NORMALIZATION, owners
from pruner import Mask, Weights, count, size
from utils import InputError

RECORDED = ("arch", "stem", "dataset", "seed", "script")  # settings that are facts about a ticket


def exported_ticket(path: Path, trained: bool = False) -> ExportedTicket:
    """The ticket in a file with the weights that it starts from, or, with `trained`, those at the end.

    A network of one's own has its own names, without the prefix `network.`, and no tensors of the normalisation before
    it. InputError if the file holds no weights of that kind, or a mask that was still changing.
    """
    file = TicketFile(path)
    file.check_final()
    weights = end_weights(file) if trained else starting_weights(file)
    whole, mask = weight_mask(file), file.trained[1]
    weights, masks = foreign_masks(file, weights)
    whole, mask = masks or whole, masks or mask
    facts = recorded_facts(file) | {"weights": kind_of_weights(file, trained), "step": None if trained else file.step}
    facts |= training_facts(file.content) if trained else {}
    facts |= {"prunings": prunings(file.content), "kept": count(mask), "prunable": size(mask)}
    facts |= {"density": count(mask) / size(mask) if mask else 1.0, "suite_version": suite_version()}
    facts |= {"normalization": normalization} if (normalization := input_normalization(weights)) else {}
    facts |= {} if format_of(file.content) else size_facts(weights, facts, path, file.settings)
    weights, mask = emitting_nothing(weights, mask, whole), whole
    if is_own_network(weights):
        facts["prefix"] = f"{INNER}."
        weights, mask = plain_names(weights), plain_names(mask)
    return ExportedTicket(weights, mask, facts, file.settings, examples(file))


def examples(file: TicketFile) -> dict[str, Tensor]:
    """The EXAMPLES that the file has, which in one of the 2021 code are numpy's arrays."""
    there = {name: file.content[name] for name in EXAMPLES if file.content.get(name) is not None}
    for value in there.values():
        read_sequence({"sequence": value}, file.path)  # refuses what is no list of example numbers
    return {name: torch.as_tensor(value) for name, value in there.items()}


def is_foreign(file: TicketFile) -> bool:
    """Whether no run of this suite or of the 2021 code wrote it."""
    return not {"settings", "init_weight", "result"} & file.content.keys()


def foreign_masks(file: TicketFile, weights: Weights) -> tuple[Weights, Mask]:
    """The `weights` of a file without the masks that people keep beside them, and these masks, under a key of their own
    or as NAME_mask, by the names of the weights; empty if there are none. InputError for one that is no mask of any."""
    masks = file.content.get(MASKS) or (beside_weights(weights) if is_foreign(file) else {})
    names = {name: weight_name(name, weights) for name in masks}
    for name, layer in masks.items():
        check_mask(file.path, name, layer, weights.get(names[name]), "the network whose weights it holds")
    mask = {names[name]: layer.bool() for name, layer in masks.items()}
    beside = {f"{name}{ENDING}" for name in mask}
    return {name: value for name, value in weights.items() if name not in beside}, mask


def weight_name(name: str, weights: Iterable[str]) -> str:
    """Of these names that of a mask's weight: the same, or that which differs by what a wrapper puts before it."""
    wrapped = [there for there in weights if f".{there}".endswith(f".{name}") or f".{name}".endswith(f".{there}")]
    return name if name in wrapped or len(wrapped) != 1 else wrapped[0]


def end_weights(file: TicketFile) -> Weights:
    file.check_trained()
    return file.trained[0]


def starting_weights(file: TicketFile) -> Weights:
    """InputError that names --trained where the file holds trained weights alone."""
    content = file.content
    if "init_weight" not in content and ("result" in content or "settings" in content):
        raise InputError(
            f"{file.path} holds no weights that a ticket starts from: --trained takes those that it holds, or give a "
            "checkpoint of a pruning script"
        )
    if is_foreign(file):  # in which torch.nn.utils.prune keeps dropped weights, too
        state = file.tensors(unwrapped(content))
        kept = {name: state[f"{name}_orig"] for name in file.trained[1] if f"{name}_orig" in state}
        return file.starting_state | kept
    return file.starting_state


def emitting_nothing(weights: Weights, mask: Mask, whole: Mask) -> Weights:
    """The weights with the parameters at zero that go with pruned outputs, those that `whole` masks and `mask` does
    not: a reader that masks the weights of layers alone would let a pruned filter emit its batch norm's shift."""
    return weights | {name: weights[name] * outputs for name, outputs in whole.items() if name not in mask}


def kind_of_weights(file: TicketFile, trained: bool) -> str:
    if trained:
        return TRAINED
    return STARTING if file.recorded_start is not None else UNRECORDED


def recorded_facts(file: TicketFile) -> dict:
    """What the run's settings say, or else the file that the ticket came back in."""
    before = file.content.get("metadata") or {}
    known = {name: before[name] for name in (*RECORDED, "normalization", "classes", "image_size") if name in before}
    return known | {name: file.settings[name] for name in RECORDED if name in file.settings}


def training_facts(content: Mapping) -> dict:
    """Which epoch's the trained weights are, and their accuracies, where the file says so."""
    found = {"trained_until": trained_until(content), "accuracy": accuracies(content)}
    return {name: value for name, value in found.items() if value}


def input_normalization(weights: Weights) -> dict[str, list[float]] | None:
    """What images in [0, 1] are normalised with before they reach the network; None if the weights do not say."""
    found = {part: weights.get(f"{NORMALIZATION}.{part}") for part in ("mean", "std")}
    return None if None in found.values() else {part: value.flatten().tolist() for part, value in found.items()}


def is_own_network(weights: Weights) -> bool:
    """Whether they are of a user's own network, which `models.custom.UserNetwork` has behind the normalisation."""
    return input_normalization(weights) is not None and all(owners(name, [INNER, NORMALIZATION]) for name in weights)


def plain_names(state: Weights) -> Weights:
    """The tensors of a user's own network by its own names."""
    return {name.removeprefix(f"{INNER}."): value for name, value in state.items() if owners(name, [INNER])}
