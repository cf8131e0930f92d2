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

from lottery.greedy.neurons.task import Loss

CHUNK = 2**26  # bytes of outputs that candidates are tried with at once: large enough to keep a processor busy


class Pick(NamedTuple):
    """One neuron on all examples."""

    number: Tensor  # int64 (1,)
    hidden: Tensor  # (1, m)
    outward: Tensor  # (1, C)

    @property
    def output(self) -> Tensor:
        """Phi, (m, C) float64."""
        return self.hidden.double().T * self.outward.double()


class Block(NamedTuple):
    """Some neurons on all examples; Phi of the i-th is the outer product of hidden[i] and outward[i]."""

    start: int  # number of the first
    hidden: Tensor  # (n, m) activations act(a_i . x)
    outward: Tensor  # (n, C) weights b_i

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.hidden))

    def pick(self, place: Tensor) -> Pick:
        """The neuron at (1,) `place` of this block."""
        return Pick(self.start + place, self.hidden[place], self.outward[place])


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

# Of a step, z_{k-1} (m, C) float64, k, and the last pick, None at first, makes a function that gives for a block (n,)
# l((z_{k-1} + Phi_i) / k), or what rises with it. In each step it is called once for every block.
Score = Callable[[Tensor, int, Pick | None], Callable[[Block], Tensor]]


class SquaredScore:
    """For l(u) = |u - y|^2 / (2m) with `targets` y, (m, C), and `norms` |Phi_i|^2, (N,); good for one selection.

    |z + Phi_i - k y|^2 = |z - k y|^2 + 2 <Phi_i, z - k y> + |Phi_i|^2, of which the first term is the same for all and
    the second is b_i . (h_i^T z - k h_i^T y). There h_i^T y stays as it is, and a pick q adds (h_i . h_q) b_q to
    h_i^T z: all candidates cost one product of (N, m) with (m,), however many outputs there are.
    """

    def __init__(self, candidates: Candidates, targets: Tensor, norms: Tensor):
        self.norms = norms
        self.towards = torch.cat([block.hidden @ targets for block in candidates.blocks()]).double()  # (N, C) h_i^T y
        self.reached = torch.zeros_like(self.towards)  # (N, C) h_i^T z

    def __call__(self, total: Tensor, k: int, last: Pick | None) -> Callable[[Block], Tensor]:
        def score(block: Block) -> Tensor:
            rows = block.rows
            if last is not None:
                self.reached[rows] += torch.outer(block.hidden @ last.hidden[0], last.outward[0])
            products = ((self.reached[rows] - k * self.towards[rows]) * block.outward).sum(1)
            return 2 * products + self.norms[rows]

        return score


def any_score(targets: Tensor, loss: Loss, chunk: int = CHUNK) -> Score:
    """For any loss: tries every candidate, as many at once as have their outputs in `chunk` bytes, but one at least."""
    at_once = max(1, chunk // (targets.numel() * targets.dtype.itemsize))

    def step(total: Tensor, k: int, last: Pick | None) -> Callable[[Block], Tensor]:
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

    z is summed in float64; products over the examples have the precision of the candidates, which the targets share.
    """
    total, pick = torch.zeros_like(targets, dtype=torch.float64), None
    chosen, losses = [], []
    for k in range(1, picks + 1):
        pick = best(candidates, score(total, k, pick))
        total += pick.output
        chosen.append(pick.number)
        losses.append(loss(total / k, targets.double()))
    return Selection(torch.cat(chosen), torch.stack(losses))


def best(candidates: Candidates, score: Callable[[Block], Tensor]) -> Pick:
    """The candidate with the lowest score, the first of equals."""
    lowest = winner = None
    for block in candidates.blocks():
        value, place = score(block).min(0, keepdim=True)  # both (1,)
        found = block.pick(place)
        if winner is None:
            lowest, winner = value, found
            continue
        better = value < lowest
        lowest = torch.where(better, value, lowest)
        winner = Pick(*(torch.where(better, new, old) for new, old in zip(found, winner, strict=True)))
    return winner
