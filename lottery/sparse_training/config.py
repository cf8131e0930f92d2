"""Settings of main_dst.py, as frozen dataclasses. Importing this module does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lottery.tickets.config import REWIND_EPOCH, TicketConfig
from lottery.training.config import TrainingConfig

UPDATE_FROM, UPDATE_UNTIL = 0.2, 0.77  # of the training: the RigL authors prune from step 20 000 to 75 000 of 97 656
DROPS = ("magnitude", "sign")


class Method(NamedTuple):
    """A way to train under a mask.

    `settings` are those that the method has, with their defaults; it takes no others. `updates` and `least`: where
    --update_every is not given, one part in `updates` of the training's steps lies between two changes, and at least so
    many steps. `growing`: weights that begin at 0 are given so many steps before they are ranked by magnitude, or a
    10th of the training if that is less: fewer, and those dropped are those that have just grown.
    """

    name: str  # in reports
    help: str
    settings: Mapping[str, Any]
    updates: int | None = None
    least: int = 1
    growing: int = 0
    begins_sparse: bool = False  # under a random mask of the final density, instead of the whole network
    replaces_steps: bool = False  # whether a change takes the place of an optimiser step


GROWING: dict[str, Any] = {"update_from": 0.0, "update_until": UPDATE_UNTIL, "update_every": None}
GROWING |= {"distribution": "erk", "drop_fraction": 0.3}

METHODS = {
    "static": Method(
        "static",
        "a random mask that never changes",
        {"distribution": "erk"},
        begins_sparse=True,
    ),
    "set": Method(
        "SET",
        "a random mask in which each change drops the smallest weights of each layer, and grows as many at random "
        "(Mocanu et al., 2018)",
        GROWING | {"drop": "magnitude"},
        updates=100,
        least=10,
        growing=100,
        begins_sparse=True,
    ),
    "rigl": Method(
        "RigL",
        "the same, but those grow whose gradient is largest (Evci et al., ICML 2020)",
        GROWING,
        updates=100,
        least=10,
        growing=100,
        begins_sparse=True,
        replaces_steps=True,
    ),
    "gmp": Method(
        "GMP",
        "gradual magnitude pruning along a cubic schedule, by magnitude over all layers together (Zhu & Gupta, 2017)",
        {"update_from": UPDATE_FROM, "update_until": UPDATE_UNTIL, "update_every": None},
        updates=100,
    ),
    "acdc": Method(
        "AC/DC",
        "phases in which the smallest weights over all layers are dropped, and dense ones, in turn (Peste et al., "
        "NeurIPS 2021)",
        {"update_from": 0.05, "update_until": 0.85, "update_every": None},
        updates=10,
    ),
    "dpf": Method(
        "DPF",
        "gradual magnitude pruning whose dropped weights are trained on by the gradient at the sparse network, and may "
        "come back (Lin et al., ICLR 2020)",
        {"update_from": 0.0, "update_until": UPDATE_UNTIL, "update_every": None},
        updates=1000,
        least=16,
    ),
}
OPTIONS = ("update_from", "update_until", "update_every", "distribution", "drop_fraction", "drop")  # of some methods


@dataclass(frozen=True)
class SparseTrainingConfig:
    """One training whose mask changes, and the weights that its ticket is rewound to.

    Settings that are None become the method's own; they stay None where it has none.
    """

    training: TrainingConfig
    ticket: TicketConfig = field(default_factory=TicketConfig)  # what it begins with
    method: str = "gmp"  # a key of METHODS
    density: float = 0.1  # of the prunable weights, in the end
    update_from: float | None = None  # share of the steps after which the mask begins to change,
    update_until: float | None = None  # and after which it changes for the last time, or no more
    update_every: int | None = None  # steps between two changes; None: as many as the method has by default
    distribution: str | None = None  # a key of DISTRIBUTIONS (tickets/layer_quotas.py): how dense each layer begins
    drop_fraction: float | None = None  # share of the kept weights that the first change drops; it falls along a cosine
    drop: str | None = None  # one of DROPS: the smallest weights, or those of either sign that are nearest to 0
    prune_type: str = "lt"  # what the ticket's weights are: the initial ones, or (rewind_lt) those after
    rewind_epoch: int | None = REWIND_EPOCH  # this 0-based epoch, or
    rewind_iteration: int | None = None  # so many steps
    prune_classifier: bool = False
    prune_also: tuple[str, ...] | None = None  # weights of other layers than Conv2d and Linear, or "all"

    def __post_init__(self):
        for name, value in METHODS[self.method].settings.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
