"""A ticket in a file, made ready to leave this suite: plain names, and what is known of it."""

from pathlib import Path

from torch import Tensor

from lottery.checkpointing.version import suite_version
from lottery.formats.exported_ticket import EXAMPLES, STARTING, TRAINED, UNRECORDED, ExportedTicket
from lottery.tickets.state_dict_formats import INNER
from lottery.tickets.ticket_file import TicketFile, weight_mask
from models.units import NORMALIZATION, owners
from pruner import Mask, Weights, count, size
from utils import InputError

RECORDED = ("arch", "stem", "dataset", "seed", "script")  # settings that are facts about a ticket


def exported_ticket(path: Path, trained: bool = False) -> ExportedTicket:
    """The ticket in a file with the weights that it starts from, or, with `trained`, those at the end.

    A network of one's own has its own names, without the prefix `network.`, and no tensors of the normalisation before
    it. InputError if the file holds no weights of that kind.
    """
    file = TicketFile(path)
    whole, mask = weight_mask(file), file.trained[1]
    weights = end_weights(file) if trained else starting_weights(file)
    facts = recorded_facts(file) | {"weights": kind_of_weights(file, trained), "step": None if trained else file.step}
    facts |= {"prunings": file.content.get("state"), "kept": count(mask), "prunable": size(mask)}
    facts |= {"density": count(mask) / size(mask) if mask else 1.0, "suite_version": suite_version()}
    facts |= {"normalization": normalization} if (normalization := input_normalization(weights)) else {}
    weights, mask = emitting_nothing(weights, mask, whole), whole
    if is_own_network(weights):
        facts["prefix"] = f"{INNER}."
        weights, mask = plain_names(weights), plain_names(mask)
    examples = {name: file.content[name] for name in EXAMPLES if isinstance(file.content.get(name), Tensor)}
    return ExportedTicket(weights, mask, facts, file.settings, examples)


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
    known = {name: before[name] for name in (*RECORDED, "normalization") if name in before}
    return known | {name: file.settings[name] for name in RECORDED if name in file.settings}


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
