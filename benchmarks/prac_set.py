"""The PrAC set of a round, from who was right in each of its epochs and two networks' predictions.

ours counts forgetting epoch by epoch, as `Forgetting` does while a round trains, then takes CET, CEP and their union.
plain fills a float64 table of examples x epochs, epoch by epoch, and does the rest in NumPy, without a Python loop over
the examples.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import CLASSES, EPOCHS, EXAMPLES
from dataset import Forgetting, disagreeing, forgotten, union

THRESHOLD = 0


class Case(NamedTuple):
    """E epochs of n examples: who was right, and the classes that two networks give."""

    right: Tensor  # bool (E, n)
    dense: Tensor  # int64 (n,)
    sparse: Tensor  # int64 (n,)


def random_evidence(device: torch.device, epochs: int = EPOCHS, examples: int = EXAMPLES) -> Case:
    """Examples of different difficulty, few of them forgotten often; the networks disagree about one in fifty."""
    random = torch.Generator().manual_seed(0)
    difficulty = torch.rand(examples, generator=random) ** 64
    right = torch.rand(epochs, examples, generator=random) >= difficulty
    dense = torch.randint(CLASSES, (examples,), generator=random)
    sparse = torch.where(torch.rand(examples, generator=random) < 0.02, (dense + 1) % CLASSES, dense)
    return Case(*(part.to(device) for part in (right, dense, sparse)))


def ours(evidence: Case) -> Tensor:
    whole = torch.arange(evidence.right.shape[1], device=evidence.right.device)
    forgetting = Forgetting(len(whole), whole.device)
    for right in evidence.right:
        forgetting.update(whole, right)
    cet = forgotten(forgetting.events(), whole, THRESHOLD)
    return union(cet, disagreeing(evidence.dense, evidence.sparse, whole))


def plain(right: np.ndarray, dense: np.ndarray, sparse: np.ndarray) -> np.ndarray:
    """The same of a case in NumPy's arrays."""
    table = np.zeros(right.T.shape)
    for epoch, now in enumerate(right):
        table[:, epoch] = now
    events = (np.diff(table, axis=1) < 0).sum(1)
    cet = np.flatnonzero((events > THRESHOLD) | (table.sum(1) == 0))
    return np.union1d(cet, np.flatnonzero(dense != sparse))
