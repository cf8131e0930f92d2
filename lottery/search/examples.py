"""Which examples a round trains on: the one difference between plain IMP and PrAC.

A selection gives the first set, observes each epoch, and at the end of a round gives the next set and a report on it.
What it must remember goes into the checkpoint by `state_dict`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lottery.search.config import SearchConfig
from lottery.search.schedule import Schedule
from lottery.tickets.prac_set_files import check_sets, read_sets, set_notes
from lottery.training.checkpointer import best_weights
from lottery.training.context import TrainingContext
from lottery.training.training_run import TrainingRun
from pruner import Ticket, Weights, apply_
from utils import digest


@dataclass
class RoundEnd:
    """A finished round k: the set it trained on, and the predictions of three networks for all n0 training examples.

    Each look runs n0 examples forward; `forward_passes` counts them for the costs.
    """

    k: int
    indices: Tensor  # (n,) the set it trained on
    best: Callable[[], Tensor]  # (n0,) classes, by the network at its best epoch
    final: Callable[[], Tensor]  # by the network after its last epoch
    pruned: Callable[[], Tensor]  # by that network under the next mask
    forward_passes: int = 0

    def predict(self, network: Callable[[], Tensor]) -> Tensor:
        self.forward_passes += 1
        return network()


def round_end(training: TrainingRun, context: TrainingContext, best: Path, final: Weights, next: Ticket) -> RoundEnd:
    """A round whose training left the weights `final`, whose pruning gives the mask of the `next` ticket and whose best
    network is in the file `best`."""

    def pruned() -> Tensor:
        weights = {name: value.clone() for name, value in final.items()}
        apply_(weights, next.mask, next.basis)
        return context.predictions(weights)

    return RoundEnd(
        training.round,
        training.indices,
        best=lambda: context.predictions(best_weights(best)),
        final=lambda: context.predictions(final),
        pruned=pruned,
    )


class ExampleSelection(Protocol):
    """Which examples each round trains on.

    `settings` is what it adds to the settings that decide the results, `notes` what there is to say about it.
    """

    settings: dict
    notes: list[str]

    def initial_set(self) -> Tensor:
        """The set of round 0."""

    def begin_round(self) -> None:
        """A round begins."""

    def observe(self, indices: Tensor, right: Tensor) -> None:
        """After an epoch: `right`, bool (n,), says which of the examples `indices`, (n,), were predicted correctly."""

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        """The sorted set of round k + 1, and entries for the round's summary."""

    def set_to_begin(self, k: int, saved: Tensor) -> Tensor:
        """The set of round k, which is to begin, where a checkpoint holds `saved` as that."""

    def describe(self) -> str:
        """The flags that made the sets, and which of them would make larger ones, for an error message."""

    def state_dict(self) -> dict:
        """What a resumed run needs; goes into the checkpoint."""

    def load_state_dict(self, state: dict) -> None: ...


class FixedSets:
    """Sets that are known beforehand: round k uses the k-th, or the last one if there are fewer."""

    def __init__(self, sets: Sequence[Tensor], settings: dict | None = None, notes: Sequence[str] = ()):
        self.sets, self.settings, self.notes = list(sets), settings or {}, list(notes)

    def initial_set(self) -> Tensor:
        return self.sets[0]

    def begin_round(self) -> None: ...

    def observe(self, indices: Tensor, right: Tensor) -> None: ...

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        return self.set_of(end.k + 1), {}

    def set_of(self, k: int) -> Tensor:
        return self.sets[min(k, len(self.sets) - 1)]

    def set_to_begin(self, k: int, saved: Tensor) -> Tensor:
        return self.set_of(k)

    def describe(self) -> str:
        return "given"

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None: ...


def take_set_to_begin_(saved: dict, examples: ExampleSelection, schedule: Schedule) -> None:
    """In a checkpoint of a round that is to begin, take the set that is known for it now, and where the round then
    begins: a search that is given more rounds than before may have a set that it did not read then."""
    k, before = saved["state"], saved["sequence"]
    if saved["history"]:
        return
    found = examples.set_to_begin(k, before).to(before.device, before.dtype)
    if not torch.equal(found, before):
        saved |= {"sequence": found, "first_step": schedule.round(k, len(found))[1]}


def given_sets(config: SearchConfig, context: TrainingContext) -> FixedSets:
    """The sets of --prac_set. InputError for sets that hold other examples than those that train here."""
    here = {"dataset": config.training.data.dataset, "image_size": config.training.data.image_size, **context.contents}
    given = read_sets(config.prac_set, config.pruning.pruning_times)
    return FixedSets(
        check_sets(given, context.training_indices, here),
        settings={f"PrAC set of round {k}": digest(each.entries) for k, each in enumerate(given)},
        notes=set_notes(given, here),
    )
