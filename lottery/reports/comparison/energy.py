"""How few coefficients hold the energy of the weights in the basis of a search, before its training and after.

The energy of coefficients is their squared norm, in an orthonormal basis that of the weights. A basis is compact for
weights whose largest coefficients hold most of it: pruning by |c| then moves them little.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lottery.bases.basis import basis_in
from lottery.bases.config import CANONICAL
from lottery.checkpointing.checkpoint import read, split_ticket
from lottery.checkpointing.run_directory import RunDirectory
from lottery.reports.comparison.methods import Method
from lottery.results.ticket_runs import FOREIGN, Run
from pruner import Weights
from utils import InputError

DIGITS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
SHARES = (*(round(digit * 10**power, 6) for power in (-3, -2, -1) for digit in DIGITS), 1.0)  # of the coefficients


class Energy(NamedTuple):
    """The share of the squared norm in the largest coefficients, for each share of them asked for."""

    rewound: list[float]  # of the rewinding weights
    trained: list[float]  # of the weights that round 0 leaves


@dataclass(frozen=True)
class Compaction:
    """A basis, the search that stands for it, and the energy of each of its runs whose checkpoints can be read."""

    method: Method
    energies: list[Energy]
    problems: list[str]  # of the other runs, in sentences

    @property
    def mean(self) -> Energy:
        return Energy(
            *(list(map(statistics.fmean, zip(*each, strict=True))) for each in zip(*self.energies, strict=True))
        )


def compactions(methods: Sequence[Method], shares: Sequence[float] = SHARES) -> list[Compaction]:
    """One for each basis, of its first search in rounds; none unless there are two bases."""
    firsts: dict[tuple, Method] = {}
    for method in methods:
        if method.runs[0].numbers_rounds and method.runs[0].script != FOREIGN:
            firsts.setdefault(basis_key(method.settings), method)
    return [compaction(method, shares) for method in firsts.values()] if len(firsts) > 1 else []


def basis_key(settings: Mapping) -> tuple:
    return settings.get("basis", CANONICAL), tuple(settings.get("basis_axes") or ())


def compaction(method: Method, shares: Sequence[float]) -> Compaction:
    found = Compaction(method, [], [])
    for run in method.runs:
        try:
            found.energies.append(energy(run, shares))
        except InputError as error:
            found.problems.append(f"{run.name}: {error}")
    return found


def energy(run: Run, shares: Sequence[float]) -> Energy:
    """Of the weights of a search, in its basis; InputError if the checkpoints of its first two rounds cannot be read,
    or round 0 did not train the dense network."""
    first, second = (RunDirectory(run.path).checkpoint(k) for k in (0, 1))
    if not (first.exists() and second.exists()):
        raise InputError("the checkpoints of its first two rounds are not there; its energy is left out.")
    dense, pruned = read(first), read(second)
    trained, given = split_ticket(dense["state_dict"])
    if given:
        raise InputError("it began with a ticket, not with the dense network; its energy is left out.")
    names, basis = list(split_ticket(pruned["state_dict"])[1]), basis_in(pruned)

    def shares_of(weights: Weights) -> list[float]:
        return energy_shares(
            basis.coefficients(weights, names) if basis else {name: weights[name] for name in names}, shares
        )

    return Energy(shares_of(pruned["init_weight"]), shares_of(trained))


def energy_shares(coefficients: Mapping[str, Tensor], shares: Sequence[float]) -> list[float]:
    """The share of the squared norm that the largest coefficients of all layers together hold, for each of these shares
    of their number, rounded to one at least. Ranked over all layers, as a search prunes."""
    squares = torch.cat([values.double().square().reshape(-1) for values in coefficients.values()])
    sums = squares.sort(descending=True).values.cumsum(0)
    places = [max(1, round(share * len(sums))) - 1 for share in shares]
    return (sums[places] / sums[-1].clamp(min=torch.finfo(torch.float64).tiny)).tolist()
