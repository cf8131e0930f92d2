"""One selection and its measurements, on CPU and GPU."""

import itertools

import numpy as np
import pytest
import torch

from lottery.greedy.names import TARGETS
from lottery.greedy.neurons.bounds import (
    moments,
)
from lottery.greedy.neurons.evaluation import SelectionSpec, build_candidates, evaluate_selection
from lottery.greedy.neurons.selection import (
    SquaredScore,
    exhaustive_score,
    select_greedily,
)
from lottery.greedy.neurons.task import LOSSES, squared
from lottery.greedy.neurons.training import (
    Examples,
    SgdRecipe,
    network_metrics,
    train_,
)
from models.mean_field import initial
from tests.helpers import needs_cuda


@pytest.mark.parametrize("target, loss", list(itertools.product(TARGETS, LOSSES)))
def test_a_point_says_what_its_networks_do(digits, target, loss):
    train, test = digits("train", target), digits("test", target)
    network = initial(60, train.inputs.shape[1], train.targets.shape[1], "relu", seed=0)
    measured_by = LOSSES[loss]
    train_(network, train, range(60), SgdRecipe(0.2, 64, measured_by, seed=0))
    point, picks = evaluate_selection(network, train, test, SelectionSpec(70, loss, 2**30), np.random.default_rng(0))
    assert point["picks"] == picks.tolist() and point["selected"]["distinct"] == len(set(point["picks"]))
    assert point["dense"] == pytest.approx(network_metrics(network, train, test, measured_by), abs=1e-4)
    selected = network_metrics(network.subnetwork(picks), train, test, measured_by)
    assert {name: point["selected"][name] for name in selected} == selected
    curves = point["curves"]
    assert {len(curves[name]) for name in curves if name != "largest"} == {70} and len(curves["largest"]) == 60
    for name in ("selected", "random", "largest"):
        assert curves[name][-1] == pytest.approx(point[name]["loss"], abs=1e-5)
    assert point["selected"]["loss"] < min(point[name]["loss"] for name in ("random", "largest", "zero"))
    assert ("bound" in point) == (loss == "squared")
    if loss == "squared":
        below = np.array(curves["selected"]) <= np.array(curves["bound after the first"])
        assert below.all() and point["bound"] == curves["bound"][-1]
        assert point["vacuous"] == (point["bound"] > point["zero"]["loss"])


@needs_cuda
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_selects_as_the_cpu_does(digits, loss):
    data = digits("train", "halves")
    data = Examples(data.inputs.double(), data.targets.double())
    network = initial(80, data.inputs.shape[1], 1, "relu", seed=0).double()
    found = {}
    for device in ("cpu", "cuda"):
        inputs, targets = (part.to(device) for part in data)
        candidates = build_candidates(network.to(device), inputs, 20 * len(inputs) * 8)
        norms, measured_by = moments(candidates).norms, LOSSES[loss]
        score = (
            SquaredScore(candidates, targets, norms) if loss == "squared" else exhaustive_score(targets, measured_by)
        )
        found[device] = select_greedily(candidates, targets, 30, score, measured_by).picks.tolist()
    assert found["cpu"] == found["cuda"]


@needs_cuda
def test_nothing_waits_for_the_gpu_within_a_training_or_a_selection(digits):
    data = Examples(*(part.cuda() for part in digits("train", "classes")))
    network = initial(80, data.inputs.shape[1], 10, "relu", seed=0).cuda()
    candidates = build_candidates(network, data.inputs, 20 * len(data.inputs) * 4)
    score, ticks = SquaredScore(candidates, data.targets, moments(candidates).norms), []

    def first_tick():  # the batches have been sent
        ticks.append(torch.cuda.set_sync_debug_mode("error"))

    try:
        train_(network, data, range(30), SgdRecipe(0.2, 64, squared, seed=0), first_tick)
        select_greedily(candidates, data.targets, 20, score, squared)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(ticks) == 30
