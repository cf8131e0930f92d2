"""Greedy forward selection from a two-layer network in its mean-field form (Ye et al., ICML 2020).

The network is an average of N neurons, f(x) = (1/N) sum_i Phi_i(x) with Phi_i(x) = b_i act(a_i . x). On m examples the
neurons are N points Phi_i of R^{m x C}. Selection walks to a point u_k of their convex hull that has a low loss l:

    z_0 = 0;   for k = 1 .. K:   q_k = argmin_i l((z_{k-1} + Phi_i) / k),   z_k = z_{k-1} + Phi_{q_k},   u_k = z_k / k

over all N neurons in every step, those that have been picked before included. So the result is a multiset: a neuron
that was picked c times has weight c/K in the subnetwork, an average of K. No weight is changed.

Shapes: N neurons, n of them in a block, m examples, C outputs, K picks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from greedy.task import Loss

CHUNK = 2**26  # bytes of outputs that candidates are tried with at once: large enough to keep a processor busy


class Block(NamedTuple):
    """Some neurons on all examples; Phi of the i-th is the outer product of hidden[i] and outward[i]."""

    start: int  # number of the first
    hidden: Tensor  # (n, m) activations act(a_i . x)
    outward: Tensor  # (n, C) weights b_i

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.hidden))

    def output(self, place: Tensor) -> Tensor:
        """Phi, (m, C) float64, of the neuron at (1,) `place` of this block."""
        return self.hidden[place].double().T * self.outward[place].double()


@dataclass(frozen=True)
class Candidates:
    """The N neurons on m examples, as N x m activations and N x C weights, never as N x m x C outputs.

    `hidden` gives blocks (n, m) of the activations, all neurons in their order, each time it is gone through: a list
    with one tensor, or something that computes them anew (`in_blocks`) where they do not fit into memory.
    """

    hidden: Iterable[Tensor]
    outward: Tensor  # (N, C)

    def __len__(self) -> int:
        return len(self.outward)

    def blocks(self) -> Iterator[Block]:
        start = 0
        for hidden in self.hidden:
            yield Block(start, hidden, self.outward[start : start + len(hidden)])
            start += len(hidden)


class Recomputed:
    """Blocks of at most `size` of N neurons' activations, computed whenever they are gone through."""

    def __init__(self, compute: Callable[[slice], Tensor], neurons: int, size: int):
        self.compute, self.neurons, self.size = compute, neurons, size

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, self.neurons, self.size):
            yield self.compute(slice(start, min(start + self.size, self.neurons)))


def in_blocks(compute: Callable[[slice], Tensor], neurons: int, bytes_per_neuron: int, memory: int) -> Iterable[Tensor]:
    """The activations `compute` gives for a range of neurons, in at most `memory` bytes: all of them kept if they fit,
    else blocks that are computed anew each time, of one neuron at least."""
    fitting = max(1, memory // bytes_per_neuron)
    return [compute(slice(0, neurons))] if fitting >= neurons else Recomputed(compute, neurons, fitting)


# --- scores: which candidate is the best ------------------------------------------------------------------------------

# Of a step, z_{k-1} (m, C) float64 and k, makes block -> (n,): l((z_{k-1} + Phi_i) / k), or what rises with it.
Score = Callable[[Tensor, int], Callable[[Block], Tensor]]


def squared_score(targets: Tensor, norms: Tensor) -> Score:
    """For l(u) = |u - y|^2 / (2m) with `targets` y, (m, C), and `norms` |Phi_i|^2, (N,).

    |z + Phi_i - k y|^2 = |z - k y|^2 + 2 <Phi_i, z - k y> + |Phi_i|^2, of which the first term is the same for all and
    the second is b_i . (h_i^T (z - k y)): all candidates cost one product of (N, m) with (m, C).
    """

    def step(total: Tensor, k: int) -> Callable[[Block], Tensor]:
        residual = (total - k * targets).to(targets.dtype)  # (m, C)

        def score(block: Block) -> Tensor:
            products = ((block.hidden @ residual) * block.outward).sum(1)  # (n,) <Phi_i, z - k y>
            return 2 * products + norms[block.rows]

        return score

    return step


def any_score(targets: Tensor, loss: Loss, chunk: int = CHUNK) -> Score:
    """For any loss: tries every candidate, as many at once as have their outputs in `chunk` bytes, but one at least."""
    at_once = max(1, chunk // (targets.numel() * targets.dtype.itemsize))

    def step(total: Tensor, k: int) -> Callable[[Block], Tensor]:
        before = (total / k).to(targets.dtype)  # (m, C)

        def score(block: Block) -> Tensor:
            parts = zip(block.hidden.split(at_once), (block.outward / k).split(at_once), strict=True)
            return torch.cat([loss(before + h[:, :, None] * b[:, None, :], targets) for h, b in parts])

        return score

    return step


def squared_norms(block: Block) -> Tensor:
    """|Phi_i|^2 = |h_i|^2 |b_i|^2, (n,)."""
    factors = (torch.linalg.vector_norm(part, dim=1) for part in (block.hidden, block.outward))  # without a copy
    return torch.stack(list(factors)).prod(0).square()


# --- selection --------------------------------------------------------------------------------------------------------


class Selection(NamedTuple):
    """What was picked, in its order, and the loss l(u_k) after each pick."""

    picks: Tensor  # int64 (K,), numbers of neurons, with repeats
    losses: Tensor  # float64 (K,)

    @property
    def distinct(self) -> int:
        return len(self.picks.unique())


@torch.no_grad()
def select(candidates: Candidates, targets: Tensor, picks: int, score: Score, loss: Loss) -> Selection:
    """Pick so many times the candidate with the lowest score, of equals the first; nothing waits for the device.

    z is summed in float64; the scores have the precision of the targets, which is that of the candidates.
    """
    total = torch.zeros_like(targets, dtype=torch.float64)
    chosen, losses = [], []
    for k in range(1, picks + 1):
        number, output = best(candidates, score(total, k))
        total += output
        chosen.append(number)
        losses.append(loss(total / k, targets.double()))
    return Selection(torch.cat(chosen), torch.stack(losses))


def best(candidates: Candidates, score: Callable[[Block], Tensor]) -> tuple[Tensor, Tensor]:
    """The candidate with the lowest score, the first of equals: its number, (1,), and its output Phi, (m, C)."""
    lowest = None
    for block in candidates.blocks():
        value, place = score(block).min(0, keepdim=True)  # both (1,)
        number, output = block.start + place, block.output(place)
        if lowest is None:
            lowest, winner, its_output = value, number, output
            continue
        better = value < lowest
        lowest, winner = torch.where(better, value, lowest), torch.where(better, number, winner)
        its_output = torch.where(better, output, its_output)
    return winner, its_output
