"""What theory promises of greedy selection under squared loss, and selections it has to be better than.

With L_N = l(dense network) and V = (1/N) sum_i |Phi_i - Phi_mean|^2 / m, the variance of the neurons, greedy selection
reaches (H_k = 1 + 1/2 + ... + 1/k)

    l(u_k) <= l(u_1) / k + (k - 1)/k L_N + V (H_k - 1) / (2k) <= L_N + V H_k / (2k).

Proof: the best neuron does not do worse than the mean over all neurons, which is
l of ((k-1) u_{k-1} + Phi_mean) / k plus V / (2 k^2); l is convex, so
k l(u_k) <= (k-1) l(u_{k-1}) + L_N + V / (2k). Summed up, that is the first bound; with k = 1 from the beginning, the
second. Neither may leave V away, which grows while the network is trained.

A random multiset of k neurons has mean loss L_N + V / (2k) exactly: the bounds give the choice of neurons no credit.
They are vacuous where they lie above l(0), what a network of no neurons has.

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
    """Mean and spread of the neurons' outputs."""

    mean: Tensor  # (m, C) float64: the output of the dense network
    variance: Tensor  # () float64: V
    norms: Tensor  # (N,) |Phi_i|^2, in the precision of the candidates


@torch.no_grad()
def moments(candidates: Candidates) -> Moments:
    total, norms = 0, []
    for block in candidates.blocks():
        total = total + (block.hidden.T @ block.outward).double()
        norms.append(squared_norms(block))
    mean, norms = total / len(candidates), torch.cat(norms)
    # The mean lies near the origin, beside which the neurons are far out: little is lost in this difference.
    variance = (norms.double().mean() - mean.square().sum()) / len(mean)
    return Moments(mean, variance.clamp(min=0), norms)


def counts(picks: int) -> Tensor:
    """1, 2, ..., K as float64 (K,)."""
    return torch.arange(1, picks + 1, dtype=torch.float64)


def harmonic(picks: int) -> Tensor:
    """H_1, ..., H_K, (K,)."""
    return (1 / counts(picks)).cumsum(0)


def bound_after_first(first: float, dense: float, variance: float, picks: int) -> Tensor:
    """(K,): l(u_1)/k + (k-1)/k L_N + V (H_k - 1)/(2k), which knows the loss of the first pick."""
    k = counts(picks)
    return first / k + (k - 1) / k * dense + variance * (harmonic(picks) - 1) / (2 * k)


def bound_from_dense(dense: float, variance: float, picks: int) -> Tensor:
    """(K,): L_N + V H_k/(2k), known before anything is selected."""
    return dense + variance * harmonic(picks) / (2 * counts(picks))


def first_informative(bound: Tensor, zero: float) -> int | None:
    """From how many picks on a bound, (K,), is no longer above the loss of the zero function; None if it always is."""
    informative = (bound <= zero).nonzero()
    return int(informative[0]) + 1 if len(informative) else None


def random_mean(dense: float, variance: float, picks: int) -> Tensor:
    """(K,): L_N + V/(2k), the mean loss of k neurons drawn independently, each with the same chance."""
    return dense + variance / (2 * counts(picks))


def random_picks(neurons: int, picks: int, random: np.random.Generator) -> Tensor:
    """A random multiset: int64 (K,), each drawn from all neurons."""
    return torch.from_numpy(random.integers(0, neurons, picks))


def largest(norms: Tensor, picks: int) -> Tensor:
    """The K neurons with the largest |Phi_i|, the largest first, of equals the first; all N if there are fewer."""
    return norms.argsort(descending=True, stable=True)[:picks]


@torch.no_grad()
def losses_of(subnetwork: MeanField, data: Examples, loss: Loss) -> Tensor:
    """float64 (K,): for every k the loss of the average of the first k of a subnetwork's K neurons."""
    total, losses = torch.zeros_like(data.targets, dtype=torch.float64), []
    for k, (activations, weights) in enumerate(zip(subnetwork.hidden(data.inputs), subnetwork.b, strict=True), 1):
        total += activations.double()[:, None] * weights.double()
        losses.append(loss(total / k, data.targets.double()))
    return torch.stack(losses)
