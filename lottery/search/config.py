"""Settings of a search for tickets; fields have the names of the flags.

Importing this module does not import torch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from lottery.bases.config import BasisConfig
from lottery.checkpointing.run_settings import NOT_RECORDED, WHETHER_GIVEN
from lottery.tickets.config import REWIND_EPOCH, TicketConfig
from lottery.training.config import TrainingConfig
from utils import InputError

PRUNING_TIMES, RATE = 16, 0.2  # where neither these nor densities are given
EPS = 0.08  # mask distance of the early stop of main_PrAC_imp.py
CCS_BETA = 0.1  # share of the hardest examples that `members` ccs leaves out
LIKE_RUN, STEPS_OF = "like_run", "steps_of"  # flags that name a finished PrAC run to follow
# Settings that made the sets of a run and ended its rounds: a control records those of the run.
SET_SETTINGS = tuple("data_prune threshold data_rate cep eb_eps queue_length eb_interval eb_arm".split())
SET_SETTINGS += ("no_early_stop",)


class Reference(NamedTuple):
    """The finished PrAC run that a control follows, and the flag that names it: `LIKE_RUN` or `STEPS_OF`."""

    flag: str
    path: Path


@dataclass(frozen=True)
class PruningConfig:
    """Rounds of training, pruning and rewinding (Frankle & Carbin, ICLR 2019; Frankle et al., ICML 2020)."""

    pruning_times: int = PRUNING_TIMES  # rounds: trainings, each followed by a pruning
    rate: float | None = RATE  # share of the kept weights that a round prunes; None with
    densities: tuple[float, ...] | None = None  # the density of the prunable weights after each pruning
    pattern: str | None = None  # "2:4": one pruning, to 2 of every 4 consecutive input weights (lottery/patterns.py)
    prune_type: str = "lt"  # what kept weights go back to: lt, rewind_lt or pt
    rewind_epoch: int | None = REWIND_EPOCH  # rewind_lt: the 0-based epoch after which weights are kept, or
    rewind_iteration: int | None = None  # the optimiser steps of round 0 after which they are
    prune_classifier: bool = False
    prune_also: tuple[str, ...] | None = None  # weights of other layers than Conv2d and Linear, or "all"
    between: str = "rewind"  # a round begins with the rewound weights, or goes on from the trained ones (continue)
    rewind_lr: bool = False  # whether a round begins in the schedule where its weights stand
    random_prune: bool = False  # a control: prune at random

    def __post_init__(self) -> None:
        """Densities say how many prunings there are, a pattern that there is one; both leave a rate nothing to say."""
        if self.densities and self.pattern:
            raise InputError("densities and pattern both say how much is pruned: give one of them")
        if self.pattern:
            object.__setattr__(self, "pruning_times", 1)
            object.__setattr__(self, "rate", None)
        if self.densities:
            object.__setattr__(self, "pruning_times", len(self.densities))
            object.__setattr__(self, "rate", None)


@dataclass(frozen=True)
class EarlyStopConfig:
    """The early-bird test of a round (You et al., ICLR 2020); off without `eb_eps`."""

    eb_eps: float | None = None  # mask distance below which the mask counts as settled
    queue_length: int = 5  # distances in a row that must be below it
    eb_interval: str = "epoch"  # compare masks after every epoch, or after an epoch's `steps` on all the data
    eb_arm: str = "exceed"  # count distances from the first above eb_eps on, or (none) from the start


@dataclass(frozen=True)
class SearchConfig:
    """A search: what trains, what it begins with, how it prunes and when a round ends."""

    training: TrainingConfig
    ticket: TicketConfig = field(default_factory=TicketConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)
    basis: BasisConfig = field(default_factory=BasisConfig)
    early_stop: EarlyStopConfig = field(default_factory=EarlyStopConfig)
    prac_set: Annotated[Path | None, WHETHER_GIVEN] = None  # search on this set, or on those of this PrAC run
    prac_epochs: str = "scaled"  # epochs on a set P of the training split D0: times |P|/|D0|, or (fixed) unchanged
    # Epochs of the trainings of vanilla IMP that savings are counted against; None: as many as here.
    vanilla_epochs: Annotated[int | None, NOT_RECORDED] = None

    @property
    def reference(self) -> Reference | None:
        """The run that this search follows, if it is a control."""
        return None


@dataclass(frozen=True)
class ImpConfig(SearchConfig):
    """A search of main_imp.py: on all examples, or on given sets."""

    steps_of: Annotated[Path | None, WHETHER_GIVEN] = None  # train each round for as many steps as this PrAC run's

    @property
    def reference(self) -> Reference | None:
        return Reference(STEPS_OF, self.steps_of) if self.steps_of else None


@dataclass(frozen=True)
class PracConfig(SearchConfig):
    """A search of main_PrAC_imp.py: each round on the PrAC set that the one before it left."""

    early_stop: EarlyStopConfig = field(default_factory=lambda: EarlyStopConfig(eb_eps=EPS))
    data_prune: str = "zero_out"  # how CET is chosen: zero_out, constent or random
    threshold: int = 0  # forgetting events to be exceeded
    data_rate: float = 0.2  # constent: share of the examples dropped in a round
    cep: str = "trained"  # which two networks disagree: trained, pruned or none
    no_early_stop: bool = False
    like_run: Annotated[Path | None, WHETHER_GIVEN] = None  # a control: sets as large as those of this PrAC run
    members: str | None = None  # which examples they hold: random, easy, el2n, cet, cep or ccs (control_sets.py)
    ccs_beta: float | None = None  # of ccs: share of the hardest examples that are left out; None: `CCS_BETA`

    def __post_init__(self) -> None:
        """Rounds of a control end where those of its run ended."""
        if self.no_early_stop or self.like_run:
            object.__setattr__(self, "early_stop", replace(self.early_stop, eb_eps=None))
        if self.members == "ccs" and self.ccs_beta is None:
            object.__setattr__(self, "ccs_beta", CCS_BETA)

    @property
    def reference(self) -> Reference | None:
        return Reference(LIKE_RUN, self.like_run) if self.like_run else None
