"""The file of a ticket that no training has written: a checkpoint like any other, of a training yet to begin."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from lottery.checkpointing.checkpoint import checkpoint_content, masked_in
from pruner import Ticket, apply_


def ticket_checkpoint(ticket: Ticket, settings: dict, command: str) -> dict:
    """The content of the file: the ticket's weights, under its mask and as they are, and no epoch done.

    `settings` are what decides the ticket, `command` is the one that made it.
    """
    weights = {name: value.clone() for name, value in ticket.weights.items()}
    apply_(weights, ticket.mask, ticket.basis)
    content = checkpoint_content(
        masked_in(weights, ticket.mask, ticket.basis),
        settings,
        epoch=0,
        init_weight=ticket.weights,
        init_step=ticket.step,
        result={"train": [], "ta": [], "test_ta": []},
        best_sa=0.0,
        command=command,
    )
    return content | ({"basis": ticket.basis.record()} if ticket.basis else {})


def seen_examples(seen: Iterable[np.ndarray], validation: Tensor | None) -> dict[str, Tensor]:
    """More for that file, by which a split that mixes the two is refused later: the examples that mask and weights
    were found with, (n,) int32, sorted, without repeats, if there are any; and those that validated, if known."""
    together = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *seen]))
    found = {"sequence": torch.from_numpy(together).to(torch.int32)} if len(together) else {}
    return found if validation is None else found | {"validation": validation.cpu().to(torch.int32)}
