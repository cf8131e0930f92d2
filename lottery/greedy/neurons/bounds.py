"""What theory promises of greedy selection under squared loss, and the selections it has to beat.

With L_N = l(dense network) and V = (1/N) sum_i |Phi_i - Phi_mean|^2 / m, the variance of the neurons' outputs, greedy
selection reaches (H_k = 1 + 1/2 + ... + 1/k)

    l(u_k) <= l(u_1) / k + (k - 1)/k L_N + V (H_k - 1) / (2k) <= L_N + V H_k / (2k).

Proof: the best neuron does no worse than the mean over all neurons, which is l of ((k-1) u_{k-1} + Phi_mean) / k plus
V / (2 k^2); l is convex, so k l(u_k) <= (k-1) l(u_{k-1}) + L_N + V / (2k). Summing from k = 2 on gives the first bound,
summing from k = 1 on the second. Neither may leave out V, which grows while the network is trained.

A random multiset of k neurons has mean loss L_N + V / (2k) exactly, so the bounds give no credit to the choice of
neurons. They are vacuous where they lie above l(0), the loss of a network without neurons.

Shapes: N neurons, m examples, C outputs, K picks; entry k - 1 of a (K,) vector is for k picks.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lottery.greedy.neurons.selection import Candidates, squared_norms
from lottery.greedy.neurons.task import Loss
from lottery.greedy.neurons.training import Examples
from models.mean_field import MeanField


class Moments(NamedTuple):
    """Mean and variance of the neurons' outputs."""

    mean: Tensor  # (m, C) float64: the output of the dense network
    variance: Tensor  # () float64: V
    norms: Tensor  # (N,) |Phi_i|^2, in the precision of the candidates


@torch.no_grad()
def moments(candidates: Candidates) -> Moments:
    """In one pass over the candidates."""
    total: Tensor | int = 0
    norms: list[Tensor] = []
    for block in candidates.blocks():
        total = total + (block.hidden.T @ block.weights).double()
        norms.append(squared_norms(block))
    mean: Tensor = total / len(candidates)
    # The neurons lie far from the origin, their mean near it: little precision is lost in this difference.
    variance = (torch.cat(norms).double().mean() - mean.square().sum()) / len(mean)
    return Moments(mean, variance.clamp(min=0), torch.cat(norms))


def pick_counts(picks: int) -> Tensor:
    """1, 2, ..., K as float64 (K,)."""
    return torch.arange(1, picks + 1, dtype=torch.float64)


def harmonic_numbers(picks: int) -> Tensor:
    """H_1, ..., H_K, (K,)."""
    return (1 / pick_counts(picks)).cumsum(0)


def bound_after_first(first: float, dense: float, variance: float, picks: int) -> Tensor:
    """(K,): l(u_1)/k + (k-1)/k L_N + V (H_k - 1)/(2k), from the loss of the `first` pick."""
    k = pick_counts(picks)
    return first / k + (k - 1) / k * dense + variance * (harmonic_numbers(picks) - 1) / (2 * k)


def bound_from_dense(dense: float, variance: float, picks: int) -> Tensor:
    """(K,): L_N + V H_k/(2k), known before any selection."""
    return dense + variance * harmonic_numbers(picks) / (2 * pick_counts(picks))


def first_informative(bound: Tensor, zero: float) -> int | None:
    """The number of picks at which a bound, (K,), is first no larger than the loss l(0); None if it never is."""
    informative = (bound <= zero).nonzero()
    return int(informative[0]) + 1 if len(informative) else None


def random_mean_loss(dense: float, variance: float, picks: int) -> Tensor:
    """(K,): L_N + V/(2k), the mean loss of k neurons drawn uniformly, with replacement."""
    return dense + variance / (2 * pick_counts(picks))


def random_picks(neurons: int, picks: int, random: np.random.Generator) -> Tensor:
    """A random multiset: int64 (K,), each drawn uniformly from all neurons."""
    return torch.from_numpy(random.integers(0, neurons, picks))


def largest_neurons(norms: Tensor, picks: int) -> Tensor:
    """The K neurons with the largest |Phi_i|, in falling order, ties in their own; all N if N < K."""
    return norms.argsort(descending=True, stable=True)[:picks]


@torch.no_grad()
def prefix_losses(subnetwork: MeanField, data: Examples, loss: Loss) -> Tensor:
    """float64 (K,): for every k the loss of the average of the first k of a subnetwork's K neurons."""
    total, losses = torch.zeros_like(data.targets, dtype=torch.float64), []
    for k, (activations, weights) in enumerate(zip(subnetwork.hidden(data.inputs), subnetwork.b, strict=True), 1):
        total += activations.double()[:, None] * weights.double()
        losses.append(loss(total / k, data.targets.double()))
    return torch.stack(losses)
