"""The file of a ticket that no training of its own has made: like any other checkpoint, its training not yet begun."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from lottery.checkpointing.checkpoint import checkpoint_content, masked_state
from pruner import Ticket, apply_


def known_examples(seen: Iterable[np.ndarray], validation: Tensor | None) -> dict[str, Tensor]:
    """For the file: all examples that weights and mask were found with, if any, and those that validate, if known."""
    together = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *seen]))
    found = {"sequence": torch.from_numpy(together).to(torch.int32)} if len(together) else {}
    return found if validation is None else found | {"validation": validation.cpu().to(torch.int32)}


def untrained(ticket: Ticket, settings: dict, command: str) -> dict:
    """A checkpoint with the weights under the mask, those that the ticket starts from, the settings that decided it,
    and the command that made it."""
    weights = {name: value.clone() for name, value in ticket.weights.items()}
    apply_(weights, ticket.mask)
    return checkpoint_content(
        masked_state(weights, ticket.mask),
        settings,
        epoch=0,
        init_weight=ticket.weights,
        init_step=ticket.step,
        result={"train": [], "ta": [], "test_ta": []},
        best_sa=0.0,
        command=command,
    )
