"""One point of the question how much pre-training is needed: what selection finds in a network as it is.

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
    largest,
    losses_of,
    moments,
    random_mean,
    random_picks,
)
from lottery.greedy.neurons.selection import Candidates, Selection, SquaredScore, any_score, in_blocks, select
from lottery.greedy.neurons.task import LOSSES
from lottery.greedy.neurons.training import Examples, measure, measures, outputs_of
from models.mean_field import MeanField


@dataclass(frozen=True)
class Choice:
    """How to select: so many `picks` by this loss, with at most so many bytes of `memory` for hidden activations."""

    picks: int
    loss: str
    memory: int


def examine(
    network: MeanField, train: Examples, test: Examples, choice: Choice, random: np.random.Generator
) -> tuple[dict, Tensor]:
    """Select from the network, and measure what was selected, the network, and what selection has to be better than.

    Returns plain values, and the picks, (K,). Networks: `dense`, `selected`, `random` (a multiset drawn with `random`),
    `largest` (the neurons of the largest |Phi|, of which there are no more than N); each with its loss on the examples
    selected by, and accuracies in percent. `curves` has the losses and bounds after each pick.
    """
    clock, loss = time.perf_counter(), LOSSES[choice.loss]
    candidates = candidates_of(network, train.inputs, choice.memory)
    spread = moments(candidates)
    dense = measures(spread.mean, outputs_of(network, test.inputs), train, test, loss)
    selected = select_by(choice, candidates, train.targets, spread)
    others = {
        "random": random_picks(len(network), choice.picks, random).to(selected.picks.device),
        "largest": largest(spread.norms, choice.picks),
    }
    subnetworks = {name: network.subnetwork(picks) for name, picks in others.items()}
    point = {
        "dense": dense,
        "selected": measure(network.subnetwork(selected.picks), train, test, loss) | {"distinct": selected.distinct},
        **{name: measure(subnetwork, train, test, loss) for name, subnetwork in subnetworks.items()},
        "zero": {"loss": float(loss(torch.zeros_like(train.targets), train.targets))},
        "variance": float(spread.variance),
        "curves": {
            "selected": selected.losses.tolist(),
            **{name: losses_of(each, train, loss).tolist() for name, each in subnetworks.items()},
        },
        "picks": selected.picks.tolist(),
    }
    if choice.loss == "squared":
        add_theory_(point)
    return point | {"seconds": time.perf_counter() - clock}, selected.picks


def candidates_of(network: MeanField, inputs: Tensor, memory: int) -> Candidates:
    """The network's neurons on these inputs, (m, d); activations that do not fit into `memory` are recomputed."""

    def hidden(neurons: slice) -> Tensor:
        with torch.no_grad():
            return network.hidden(inputs, neurons)

    row = len(inputs) * inputs.dtype.itemsize
    return Candidates(in_blocks(hidden, len(network), row, memory), network.b.detach())


def select_by(choice: Choice, candidates: Candidates, targets: Tensor, spread: Moments) -> Selection:
    """By the squared loss in the fast way that it has, by another one in the way that all have."""
    loss = LOSSES[choice.loss]
    squared = choice.loss == "squared"
    score = SquaredScore(candidates, targets, spread.norms) if squared else any_score(targets, loss)
    return select(candidates, targets, choice.picks, score, loss)


def add_theory_(point: dict) -> None:
    """What the theory of the squared loss says: bounds and the random multiset's mean after each pick, and whether the
    bound says anything: it is vacuous where it is above the loss of the zero function."""
    dense, variance, zero = point["dense"]["loss"], point["variance"], point["zero"]["loss"]
    picks, first = len(point["picks"]), point["curves"]["selected"][0]
    bound = bound_from_dense(dense, variance, picks)
    point["curves"] |= {
        "bound": bound.tolist(),
        "bound after the first": bound_after_first(first, dense, variance, picks).tolist(),
        "random, mean": random_mean(dense, variance, picks).tolist(),
    }
    point |= {
        "bound": float(bound[-1]),
        "vacuous": float(bound[-1]) > zero,
        "informative from": first_informative(bound, zero),
    }
