"""Which examples a round trains on: the one difference between plain IMP and PrAC.

A policy is asked for the first set, watches each epoch, and at a round's end gives the next set and a report on it.
What it must remember goes into the checkpoint by `state_dict`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from checkpoint import read
from dataset import (
    Forgetting,
    check_indices,
    disagreeing,
    forgotten,
    most_forgotten,
    overlap,
    random_subset,
    read_indices,
    union,
)
from utils import RANDOM_SET, InputError, generator


@dataclass
class RoundEnd:
    """A finished round k, as a policy sees it. Each of the three looks at all n0 examples that train: (n0,) classes."""

    k: int
    indices: Tensor  # the set it trained on
    best: Callable[[], Tensor]  # by the network at its best validation epoch
    final: Callable[[], Tensor]  # by the network after its last epoch
    pruned: Callable[[], Tensor]  # by that network under the next mask


class Policy(Protocol):
    """Which examples each round trains on."""

    def first(self) -> Tensor:
        """The set of round 0."""

    def begin(self) -> None:
        """A round begins."""

    def observe(self, indices: Tensor, right: Tensor) -> None:
        """An epoch is over: for each of (n,) `indices` whether it was right when trained on, (n,) bool."""

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        """The set of round k + 1, sorted, and what to report about it."""

    def state_dict(self) -> dict:
        """What a resumed run needs."""

    def load_state_dict(self, state: dict) -> None: ...


class FixedSets:
    """Sets known beforehand: round k uses the k-th, and the last one from there on."""

    def __init__(self, sets: list[Tensor]):
        self.sets = sets

    def first(self) -> Tensor:
        return self.sets[0]

    def begin(self) -> None: ...

    def observe(self, indices: Tensor, right: Tensor) -> None: ...

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        return self.sets[min(end.k + 1, len(self.sets) - 1)], {}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None: ...


class CriticalSets:
    """The pruning-aware critical set, PrAC = CET | CEP (Zhang et al., ICML 2021, Algorithm 1).

    CET: examples of the current set forgotten more than `threshold` times (``zero_out``), or, with ``constent``, the
    int(n0 * (1 - data_rate)^(k+1)) most forgotten of them. CEP: examples of the whole training split on which two
    networks disagree: the best dense and the best sparse one of this round, none after the dense round (``trained``,
    as the authors' code does); this round's final network before and after its pruning (``pruned``, as Algorithm 1
    says); or no CEP (``none``). With ``random`` the set is as large as ``zero_out``'s, but drawn at random.
    """

    def __init__(
        self, whole: Tensor, examples: int, *, data_prune: str, threshold: int, data_rate: float, cep: str, seed: int
    ):
        self.whole, self.data_prune, self.threshold, self.data_rate = whole, data_prune, threshold, data_rate
        self.cep, self.seed, self.examples = cep, seed, examples
        self.forgetting = Forgetting(examples, whole.device)
        self.dense_predictions: Tensor | None = None

    def first(self) -> Tensor:
        return self.whole

    def begin(self) -> None:
        """A new round: forgetting is counted afresh."""
        self.forgetting = Forgetting(self.examples, self.whole.device)

    def observe(self, indices: Tensor, right: Tensor) -> None:
        self.forgetting.update(indices, right)

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        cet, cep = self._cet(end), self._cep(end)
        chosen = union(cet, cep)
        report = {"cet": len(cet), "cep": len(cep), "cet_and_cep": overlap(cet, cep), "next_set": len(chosen)}
        if self.data_prune == "random":
            chosen = random_subset(self.whole, len(chosen), generator(self.seed, end.k, purpose=RANDOM_SET))
        return chosen, report

    def _cet(self, end: RoundEnd) -> Tensor:
        events = self.forgetting.events()
        if self.data_prune == "constent":
            keep = int(len(self.whole) * (1 - self.data_rate) ** (end.k + 1))
            return most_forgotten(events, end.indices, keep)
        return forgotten(events, end.indices, self.threshold)

    def _cep(self, end: RoundEnd) -> Tensor:
        if self.cep == "pruned":
            return disagreeing(end.final(), end.pruned(), self.whole)
        if self.cep == "trained" and end.k == 0:
            self.dense_predictions = end.best()
        elif self.cep == "trained":
            return disagreeing(self.dense_predictions, end.best(), self.whole)
        return self.whole[:0]

    def state_dict(self) -> dict:
        return {"forgetting": self.forgetting.state_dict(), "dense_predictions": self.dense_predictions}

    def load_state_dict(self, state: dict) -> None:
        self.forgetting.load_state_dict(state["forgetting"])
        if state["dense_predictions"] is not None:
            self.dense_predictions = state["dense_predictions"].to(self.whole.device)


# --- sets from files --------------------------------------------------------------------------------------------------


def read_sets(path: Path, rounds: int) -> list[np.ndarray]:
    """The sets in `path`: one of each round for the directory of a PrAC run, else one for all rounds.

    InputError for a directory that has fewer rounds than are asked for, and for a file that holds no set.
    """
    if not path.is_dir():
        return [_read_set(path)]
    files = [path / f"{k}checkpoint.pth.tar" for k in range(rounds)]
    if missing := [file for file in files if not file.exists()]:
        raise InputError(
            f"--prac_set {path} has no {missing[0].name}: it holds sets of fewer rounds than --pruning_times {rounds}"
        )
    return [_read_set(file) for file in files]


def _read_set(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.sort(read_indices(path, "--prac_set"))
    content = read(path)
    if "sequence" not in content:
        raise InputError(f"--prac_set {path} holds no PrAC set: give a .npy file or a checkpoint of main_PrAC_imp.py")
    sequence = content["sequence"]
    entries = sequence.numpy() if isinstance(sequence, Tensor) else sequence
    return np.sort(check_indices(entries, f"the set in {path}"))


def check_sets(sets: list[np.ndarray], train: Tensor, path: Path) -> list[Tensor]:
    """The sets as tensors on the device; InputError for one with examples that this run does not train on."""
    known = train.cpu().numpy()
    for entries in sets:
        if strangers := int((~np.isin(entries, known)).sum()):
            raise InputError(
                f"--prac_set {path} holds {strangers} of {len(entries)} examples outside this run's training split "
                "(validation, or not there at all): was it made with another --split_file?"
            )
        if len(entries) < 2:
            raise InputError(f"--prac_set {path} has a set of {len(entries)} examples, at least 2 are needed")
    return [torch.from_numpy(entries.astype(np.int64)).to(train.device) for entries in sets]
