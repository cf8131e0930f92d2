"""Settings of main_dst.py, as frozen dataclasses. Importing this module does not import torch."""

from dataclasses import dataclass, field
from typing import NamedTuple

from lottery.tickets.config import REWIND_EPOCH, TicketConfig
from lottery.training.config import TrainingConfig


class Method(NamedTuple):
    """A way to change the mask while a network trains."""

    name: str  # in reports
    help: str


METHODS = {
    "gmp": Method(
        "GMP",
        "gradual magnitude pruning along a cubic schedule, by magnitude over all layers together (Zhu & Gupta, 2017)",
    ),
}
# Of the training, by default: as the RigL authors prune on CIFAR-10, from step 20 000 to 75 000 of 97 656, every 1 000.
UPDATE_FROM, UPDATE_UNTIL, UPDATES = 0.2, 0.77, 100


@dataclass(frozen=True)
class SparseTrainingConfig:
    """One training whose mask changes, and the weights that its ticket is rewound to."""

    training: TrainingConfig
    ticket: TicketConfig = field(default_factory=TicketConfig)  # what it begins with
    method: str = "gmp"  # a key of METHODS
    density: float = 0.1  # of the prunable weights, in the end
    update_from: float = UPDATE_FROM  # share of the steps after which the mask begins to change,
    update_until: float = UPDATE_UNTIL  # and after which it changes for the last time
    update_every: int | None = None  # steps between two changes; None: one part in UPDATES of all
    prune_type: str = "lt"  # what the ticket's weights are: the initial ones, or (rewind_lt) those after
    rewind_epoch: int | None = REWIND_EPOCH  # this 0-based epoch, or
    rewind_iteration: int | None = None  # so many steps
    prune_classifier: bool = False
    prune_also: tuple[str, ...] | None = None  # weights of other layers than Conv2d and Linear, or "all"
