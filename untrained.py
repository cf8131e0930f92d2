"""The file of a ticket that no training of its own has made: like any other checkpoint, its training not yet begun."""

from checkpoint import FORMAT, masked_state
from pruner import Ticket, apply_


def untrained(ticket: Ticket, settings: dict, command: str) -> dict:
    """A checkpoint with the weights under the mask, those that the ticket starts from, the settings that decided it,
    and the command that made it."""
    weights = {name: value.clone() for name, value in ticket.weights.items()}
    apply_(weights, ticket.mask)
    return {
        "state": None,
        "epoch": 0,
        "state_dict": masked_state(weights, ticket.mask),
        "init_weight": ticket.weights,
        "init_step": ticket.step,
        "result": {"train": [], "ta": [], "test_ta": []},
        "best_sa": 0.0,
        "history": [],
        "momentum": None,
        "settings": settings,
        "command": command,
        "format": FORMAT,
    }
