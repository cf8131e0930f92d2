"""Select neurons from a network as it is, and measure the result against the network and simpler selections.

Shapes: N neurons, K of them picked, m examples of d inputs and C outputs.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lottery.greedy.neurons.bounds import (
    Moments,
    bound_after_first,
    bound_from_dense,
    first_informative,
    largest_neurons,
    moments,
    prefix_losses,
    random_mean_loss,
    random_picks,
)
from lottery.greedy.neurons.selection import (
    Candidates,
    Selection,
    SquaredScore,
    activation_blocks,
    exhaustive_score,
    select_greedily,
)
from lottery.greedy.neurons.task import LOSSES
from lottery.greedy.neurons.training import Examples, network_metrics, network_outputs, output_metrics
from models.mean_field import MeanField


@dataclass(frozen=True)
class SelectionSpec:
    """How to select: how many picks, by which loss, with how many bytes of memory for hidden activations."""

    picks: int
    loss: str
    memory: int


def evaluate_selection(
    network: MeanField, train: Examples, test: Examples, spec: SelectionSpec, random: np.random.Generator
) -> tuple[dict, Tensor]:
    """Select from the network; return measurements, as plain values for the records, and the picks, (K,).

    Measured networks: `dense`; `selected`; `random`, a multiset drawn with `random`; `largest`, the neurons with the
    largest |Phi|, at most N. Each has its loss on the training examples, by which it was selected, and accuracies in
    percent. `curves` has losses and bounds after each pick.
    """
    start, loss = time.perf_counter(), LOSSES[spec.loss]
    candidates = build_candidates(network, train.inputs, spec.memory)
    spread = moments(candidates)
    dense = output_metrics(spread.mean, network_outputs(network, test.inputs), train, test, loss)
    selected = select_neurons(spec, candidates, train.targets, spread)
    others = {
        "random": random_picks(len(network), spec.picks, random).to(selected.picks.device),
        "largest": largest_neurons(spread.norms, spec.picks),
    }
    subnetworks = {name: network.subnetwork(picks) for name, picks in others.items()}
    point = {
        "dense": dense,
        "selected": network_metrics(network.subnetwork(selected.picks), train, test, loss)
        | {"distinct": selected.distinct},
        **{name: network_metrics(subnetwork, train, test, loss) for name, subnetwork in subnetworks.items()},
        "zero": {"loss": float(loss(torch.zeros_like(train.targets), train.targets))},
        "variance": float(spread.variance),
        "curves": {
            "selected": selected.losses.tolist(),
            **{name: prefix_losses(each, train, loss).tolist() for name, each in subnetworks.items()},
        },
        "picks": selected.picks.tolist(),
    }
    if spec.loss == "squared":
        add_bounds_(point)
    return point | {"seconds": time.perf_counter() - start}, selected.picks


def build_candidates(network: MeanField, inputs: Tensor, memory: int) -> Candidates:
    """The network's neurons on inputs (m, d); activations that do not fit into `memory` bytes are recomputed."""

    def hidden(neurons: slice) -> Tensor:
        with torch.no_grad():
            return network.hidden(inputs, neurons)

    row = len(inputs) * inputs.dtype.itemsize
    return Candidates(activation_blocks(hidden, len(network), row, memory), network.b.detach())


def select_neurons(spec: SelectionSpec, candidates: Candidates, targets: Tensor, spread: Moments) -> Selection:
    """By the fast score of the squared loss, or by exhaustive evaluation for any other loss."""
    loss = LOSSES[spec.loss]
    squared = spec.loss == "squared"
    score = SquaredScore(candidates, targets, spread.norms) if squared else exhaustive_score(targets, loss)
    return select_greedily(candidates, targets, spec.picks, score, loss)


def add_bounds_(point: dict) -> None:
    """Add the bounds of the squared loss and the random multiset's mean loss after each pick, and whether the bound is
    vacuous, above the loss of the zero function."""
    dense, variance, zero = point["dense"]["loss"], point["variance"], point["zero"]["loss"]
    picks, first = len(point["picks"]), point["curves"]["selected"][0]
    bound = bound_from_dense(dense, variance, picks)
    point["curves"] |= {
        "bound": bound.tolist(),
        "bound after the first": bound_after_first(first, dense, variance, picks).tolist(),
        "random, mean": random_mean_loss(dense, variance, picks).tolist(),
    }
    point |= {
        "bound": float(bound[-1]),
        "vacuous": float(bound[-1]) > zero,
        "informative from": first_informative(bound, zero),
    }
