"""A ticket on its way out, which every format writes, and the content of a checkpoint made of one that came back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lottery.checkpointing.checkpoint import masked_state
from pruner import Mask, Weights, apply_
from utils import InputError

VERSION = 1  # of what the formats hold; raised when older readers would misread a file
STARTING, TRAINED, UNRECORDED = "starting", "trained", "unrecorded"


class ExportedTicket(NamedTuple):
    """What is known of a ticket, on the CPU.

    `weights` are complete where the source holds those that the mask drops. `mask` is empty if the network is dense.
    `facts` are plain values about the ticket (docs/tickets_elsewhere.md lists them), `settings` those of the run that
    made it, empty if the source has none.
    """

    weights: Weights
    mask: Mask
    facts: dict[str, Any]
    settings: dict[str, Any]

    @property
    def masked_weights(self) -> Weights:
        """The weights, contiguous and zero where they are dropped."""
        weights = {name: value.clone().contiguous() for name, value in self.weights.items()}
        apply_(weights, self.mask)
        return weights

    def metadata(self, ticket_format: str) -> dict[str, Any]:
        """The facts, with what a reader recognises the file by."""
        return {"ticket_format": ticket_format, "ticket_version": VERSION} | self.facts


def format_of(stored: Mapping) -> str | None:
    """The format that a file's content says it has; None if it was not written by convert.py."""
    metadata = stored.get("metadata")
    return metadata.get("ticket_format") if isinstance(metadata, Mapping) else None


def check_version(path: object, metadata: Mapping) -> None:
    """InputError for a file of a later version than this one."""
    if metadata.get("ticket_version") != VERSION:
        raise InputError(
            f"{path} is of version {metadata.get('ticket_version')} of its format, of which this suite reads {VERSION}"
        )


def checkpoint_content(weights: Weights, mask: Mask, metadata: dict, settings: dict) -> dict:
    """What `TicketFile` finds in a checkpoint with this ticket.

    Of trained weights it is one without starting weights; of starting weights, one whose training has not begun; of
    weights of which it is not recorded what they are, a state_dict and no more.
    """
    content = {"state_dict": masked_state(weights, mask), "metadata": metadata}
    if metadata.get("weights") == UNRECORDED:
        return content
    content |= {"state": metadata.get("prunings"), "settings": settings}
    if metadata.get("weights") == TRAINED:
        return content
    return content | {"init_weight": weights, "init_step": metadata.get("step"), "history": []}
