"""Greedy forward selection from a two-layer network in its mean-field form (Ye et al., ICML 2020).

The network is an average of N neurons, f(x) = (1/N) sum_i Phi_i(x) with Phi_i(x) = b_i act(a_i . x). On m examples each
neuron is a point Phi_i of R^{m x C}. Selection moves to a point u_k of their convex hull with a low loss l:

    z_0 = 0;   for k = 1 .. K:   q_k = argmin_i l((z_{k-1} + Phi_i) / k),   z_k = z_{k-1} + Phi_{q_k},   u_k = z_k / k

Every step tries all N neurons, those picked before included. The result is a multiset: a neuron picked c times has
weight c/K in the subnetwork, an average of K. No weight is trained.

Shapes: N neurons, n of them in a block, m examples, C outputs, K picks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lottery.greedy.neurons.task import Loss

CHUNK = 2**26  # bytes of candidates' outputs that are evaluated at once: enough to keep a processor busy


class Pick(NamedTuple):
    """One neuron on all examples."""

    index: Tensor  # int64 (1,)
    hidden: Tensor  # (1, m)
    weights: Tensor  # (1, C)

    @property
    def output(self) -> Tensor:
        """Phi, (m, C) float64."""
        return self.hidden.double().T * self.weights.double()


class Block(NamedTuple):
    """Consecutive neurons on all examples; Phi of the i-th is the outer product of hidden[i] and weights[i]."""

    start: int  # index of the first
    hidden: Tensor  # (n, m) activations act(a_i . x)
    weights: Tensor  # (n, C) output weights b_i

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.hidden))

    def pick(self, place: Tensor) -> Pick:
        """The neuron at (1,) `place` of this block."""
        return Pick(self.start + place, self.hidden[place], self.weights[place])


@dataclass(frozen=True)
class Candidates:
    """The N neurons on m examples, as N x m activations and N x C weights, never as N x m x C outputs.

    Each iteration over `hidden` yields the activations in blocks (n, m), in the neurons' order: it is a list of one
    tensor or, where they do not fit into memory, computes them anew (`activation_blocks`).
    """

    hidden: Iterable[Tensor]
    weights: Tensor  # (N, C)

    def __len__(self) -> int:
        return len(self.weights)

    def blocks(self) -> Iterator[Block]:
        start = 0
        for hidden in self.hidden:
            yield Block(start, hidden, self.weights[start : start + len(hidden)])
            start += len(hidden)


class RecomputedBlocks:
    """The activations of N neurons in blocks of at most `size`, computed at each iteration over them."""

    def __init__(self, compute: Callable[[slice], Tensor], neurons: int, size: int):
        self.compute, self.neurons, self.size = compute, neurons, size

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, self.neurons, self.size):
            yield self.compute(slice(start, min(start + self.size, self.neurons)))


def activation_blocks(
    compute: Callable[[slice], Tensor], neurons: int, bytes_per_neuron: int, memory: int
) -> Iterable[Tensor]:
    """The activations that `compute` gives for a range of neurons, in at most `memory` bytes: all stored if they fit,
    otherwise recomputed in blocks of at least one neuron."""
    fitting = max(1, memory // bytes_per_neuron)
    return [compute(slice(0, neurons))] if fitting >= neurons else RecomputedBlocks(compute, neurons, fitting)


# --- scores: which candidate is best ----------------------------------------------------------------------------------

# A score is a function of a step's z_{k-1}, (m, C) float64, its k, and the last pick, None at first. It returns a
# function from a block to (n,) values that rise with l((z_{k-1} + Phi_i) / k), called once per block and step.
Score = Callable[[Tensor, int, Pick | None], Callable[[Block], Tensor]]


class SquaredScore:
    """For l(u) = |u - y|^2 / (2m) with `targets` y, (m, C), and `norms` |Phi_i|^2, (N,). Use one per selection.

    |z + Phi_i - k y|^2 = |z - k y|^2 + 2 <Phi_i, z - k y> + |Phi_i|^2. The first term is the same for all candidates;
    the second is b_i . (h_i^T z - k h_i^T y), where h_i^T y is constant and a pick q adds (h_i . h_q) b_q to h_i^T z.
    So a step costs one product of (N, m) with (m,), however many outputs there are.
    """

    def __init__(self, candidates: Candidates, targets: Tensor, norms: Tensor):
        self.norms = norms
        self.hidden_targets = torch.cat([block.hidden @ targets for block in candidates.blocks()]).double()  # h_i^T y
        self.hidden_total = torch.zeros_like(self.hidden_targets)  # (N, C) h_i^T z

    def __call__(self, total: Tensor, k: int, last: Pick | None) -> Callable[[Block], Tensor]:
        def score(block: Block) -> Tensor:
            rows = block.rows
            if last is not None:
                self.hidden_total[rows] += torch.outer(block.hidden @ last.hidden[0], last.weights[0])
            products = ((self.hidden_total[rows] - k * self.hidden_targets[rows]) * block.weights).sum(1)
            return 2 * products + self.norms[rows]

        return score


def exhaustive_score(targets: Tensor, loss: Loss, chunk: int = CHUNK) -> Score:
    """For any loss: evaluates every candidate, as many at once as have their outputs in `chunk` bytes, at least one."""
    at_once = max(1, chunk // (targets.numel() * targets.dtype.itemsize))

    def step(total: Tensor, k: int, last: Pick | None) -> Callable[[Block], Tensor]:
        before = (total / k).to(targets.dtype)  # (m, C)

        def score(block: Block) -> Tensor:
            parts = zip(block.hidden.split(at_once), (block.weights / k).split(at_once), strict=True)
            return torch.cat([loss(before + h[:, :, None] * b[:, None, :], targets) for h, b in parts])

        return score

    return step


def squared_norms(block: Block) -> Tensor:
    """|Phi_i|^2 = |h_i|^2 |b_i|^2, (n,)."""
    factors = (torch.linalg.vector_norm(part, dim=1) for part in (block.hidden, block.weights))  # without a copy
    return torch.stack(list(factors)).prod(0).square()


# --- selection --------------------------------------------------------------------------------------------------------


class Selection(NamedTuple):
    """The picks in their order, and the loss l(u_k) after each."""

    picks: Tensor  # int64 (K,), indices of neurons, with repeats
    losses: Tensor  # float64 (K,)

    @property
    def distinct(self) -> int:
        return len(self.picks.unique())


@torch.no_grad()
def select_greedily(candidates: Candidates, targets: Tensor, picks: int, score: Score, loss: Loss) -> Selection:
    """Pick the candidate with the lowest score, the first among equals, `picks` times; nothing waits for the device.

    z is summed in float64; products over the examples have the precision of candidates and targets.
    """
    total, pick = torch.zeros_like(targets, dtype=torch.float64), None
    chosen, losses = [], []
    for k in range(1, picks + 1):
        pick = best_candidate(candidates, score(total, k, pick))
        total += pick.output
        chosen.append(pick.index)
        losses.append(loss(total / k, targets.double()))
    return Selection(torch.cat(chosen), torch.stack(losses))


def best_candidate(candidates: Candidates, score: Callable[[Block], Tensor]) -> Pick:
    """The candidate with the lowest score, the first among equals."""
    lowest = best = None
    for block in candidates.blocks():
        value, place = score(block).min(0, keepdim=True)  # both (1,)
        found = block.pick(place)
        if best is None:
            lowest, best = value, found
            continue
        better = value < lowest
        lowest = torch.where(better, value, lowest)
        best = Pick(*(torch.where(better, new, old) for new, old in zip(found, best, strict=True)))
    return best
