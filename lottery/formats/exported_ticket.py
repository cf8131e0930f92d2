"""A ticket on its way out, which every format writes, and the content of a checkpoint made of one that came back."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lottery.checkpointing.checkpoint import masked_state
from models.units import NORMALIZATION
from pruner import Mask, Weights
from utils import InputError

VERSION = 1  # of what the formats hold; raised when older readers would misread a file
STARTING, TRAINED, UNRECORDED = "starting", "trained", "unrecorded"
END, BEST, UNFINISHED = "end", "best", "unfinished"  # at which epoch a training left trained weights
EXAMPLES = ("sequence", "validation")  # keys of a checkpoint: what the ticket was found with, what validated
WORDS = {  # which weights they are
    STARTING: "the weights that it starts from",
    END: "the weights at the end of its training",
    BEST: "the weights of the best validation epoch",
    UNFINISHED: "the weights of a training that has not come to its end",
    UNRECORDED: "weights of which the file does not say what they are",
}


class ExportedTicket(NamedTuple):
    """What is known of a ticket, on the CPU.

    `weights` are complete where the source holds those that the mask drops. `mask` is empty if the network is dense.
    `facts` are plain values about the ticket (docs/tickets_elsewhere.md lists them), `settings` those of the run that
    made it, empty if the source has none, `examples` the EXAMPLES that the source has: numbers of images, which some
    formats leave out, since they can be larger than the ticket.
    """

    weights: Weights
    mask: Mask
    facts: dict[str, Any]
    settings: dict[str, Any]
    examples: dict[str, Tensor]

    @property
    def complete_weights(self) -> Weights:
        """The weights as they are, each contiguous in memory of its own."""
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in self.weights.items()}

    @property
    def masked_weights(self) -> Weights:
        """The weights, zero where they are dropped, each contiguous in memory of its own."""
        weights = self.complete_weights
        # Not by `pruner.apply_`: torch multiplies weights of 8 bits by no booleans.
        dropped = {name: weights[name] * layer.to(weights[name].dtype) for name, layer in self.mask.items()}
        return weights | {name: value.contiguous() for name, value in dropped.items()}

    def metadata(self, ticket_format: str) -> dict[str, Any]:
        """The facts, with what a reader recognises the file by."""
        return {"ticket_format": ticket_format, "ticket_version": VERSION} | self.facts

    def stored(self, ticket_format: str, **parts: object) -> dict:
        """The content of a file that torch.save writes: `parts`, facts and settings."""
        return parts | {"metadata": self.metadata(ticket_format), "settings": self.settings}


def which_weights(facts: Mapping) -> str:
    """Which weights of the ticket these are, in words."""
    return WORDS[facts.get("trained_until", END) if facts["weights"] == TRAINED else facts["weights"]]


def unfinished_note(path: object) -> str:
    return f"{path} is of a training that has not come to its end: its weights are used as they are"


def counted_layers(facts: Mapping) -> str:
    """Which layers the density counts, in words; nothing to say where the network is known, whose prunable ones these
    are."""
    return "" if "arch" in facts else ", of the layers that have a mask"


def format_of(stored: Mapping) -> str | None:
    """The format that a file's content says it has; None if convert.py did not write it."""
    metadata = stored.get("metadata")
    return metadata.get("ticket_format") if isinstance(metadata, Mapping) else None


def check_version(path: object, metadata: Mapping) -> None:
    """InputError for a file of another version than this suite reads."""
    if metadata.get("ticket_version") != VERSION:
        raise InputError(
            f"{path} is of version {metadata.get('ticket_version')} of its format, of which this suite reads {VERSION}"
        )


def checkpoint_content(
    weights: Weights, mask: Mask, metadata: Mapping, settings: Mapping, examples: Mapping | None = None
) -> dict:
    """What `TicketFile` finds in a checkpoint with this ticket.

    Of trained weights it is one without starting weights; of starting weights, one whose training has not begun; of
    weights of which it is not recorded what they are, a state_dict and no more.
    """
    weights, mask = suite_names(weights, metadata) | normalization(metadata), suite_names(mask, metadata)
    content = {"state_dict": masked_state(weights, mask), "metadata": dict(metadata)}
    if metadata.get("weights") == UNRECORDED:
        return content
    content |= {"state": metadata.get("prunings"), "settings": dict(settings), **(examples or {})}
    if metadata.get("weights") == TRAINED:
        return content
    return content | {"init_weight": weights, "init_step": metadata.get("step"), "history": []}


def suite_names(state: Weights, metadata: Mapping) -> Weights:
    """The tensors by their names in this suite: those of a user's own network behind its prefix."""
    return {f"{metadata.get('prefix', '')}{name}": value for name, value in state.items()}


def normalization(metadata: Mapping) -> Weights:
    """The tensors of the normalisation that was before a user's own network; none for other networks."""
    found = metadata.get("normalization") if metadata.get("prefix") else None
    return {f"{NORMALIZATION}.{part}": torch.tensor(values) for part, values in (found or {}).items()}


def content_of_stored(stored: Mapping, weights: Weights, mask: Mask) -> dict:
    """The same of what `ExportedTicket.stored` made, whose parts are these weights and this mask."""
    examples = {name: stored[name] for name in EXAMPLES if name in stored}
    return checkpoint_content(weights, mask, stored["metadata"], stored["settings"], examples)


def checksum(tensors: Weights) -> str:
    """SHA-256 of tensors: of their names, number formats, shapes and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
