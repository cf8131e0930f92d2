"""Runs of gradual pruning in reports: each finds one ticket, so that a method has runs of several densities."""

import pytest
import torch

from lottery.checkpointing.checkpoint import write
from lottery.reports.chapters.layer_densities import layer_density_parts
from lottery.reports.chapters.overlap import overlap_parts
from lottery.reports.comparison.cost import evaluation_flops
from lottery.reports.comparison.effort import ticket_lines
from lottery.reports.comparison.method_costs import method_costs
from lottery.reports.comparison.methods import SEARCH, TICKETS, group_by_task
from lottery.training.costs import masked_flops, training_flops
from tests.helpers import IMP, RECIPE, TRAIN, curves, logged, made, round_row, seeds

GMP = RECIPE | {"script": "main_dst.py", "method": "gmp", "prune_type": "lt", "update_from": 0.2, "update_until": 0.77}
DENSITIES = (0.25, 0.125)


def search(density, seed, test=80, steps=8, **more):
    found = made("runs", GMP | {"density": density}, [test], seed)
    found.rounds = [round_row(0, test, density=density, sparsity=1 - density, steps=steps, **more)]
    return found


def ticket(density, seed, test):
    origin = {"file": "f", "prunings": None, "settings": GMP | {"density": density, "seed": seed}}
    found = made("runs", TRAIN, [test], seed, {"ticket": origin})
    found.rounds = [round_row(0, test, density=density, sparsity=1 - density)]
    return found


def test_runs_of_two_densities_are_one_method_and_none_repeats_another():
    runs = [search(density, seed, 80 + seed) for density in DENSITIES for seed in (0, 1)]
    (task,), notes = logged(group_by_task, runs)
    (method,) = task.by_kind(SEARCH)
    assert method.name == "GMP" and len(method.runs) == 4 and notes == []
    points = curves(runs)["GMP"].points
    assert [(point.density, point.values) for point in points] == [(d, {0: 80, 1: 81}) for d in DENSITIES]
    _, notes = logged(group_by_task, [*runs, search(0.25, 0)])
    assert len(notes) == 1 and "repeats the method and seed" in notes[0]


def test_costs_are_means_over_the_runs_of_one_density():
    (task,), _ = logged(
        group_by_task, [search(d, seed, steps=8 + 2 * seed) for d in DENSITIES[::-1] for seed in (0, 1)]
    )
    costs = method_costs(*task.by_kind(SEARCH))
    assert [(cost.density, len(cost.by_seed), cost.mean(lambda one: one.steps)) for cost in costs] == [
        (0.25, 2, 9),
        (0.125, 2, 9),
    ]


def test_a_ticket_counts_the_steps_of_its_own_search():
    runs = [search(0.25, 0, steps=8), search(0.125, 0, steps=100), ticket(0.25, 0, 90), ticket(0.125, 0, 85)]
    (task,), _ = logged(group_by_task, runs)
    assert [method.name for method in task.by_kind(TICKETS)] == ["GMP"]
    (line,) = ticket_lines(task)
    assert (line.method.name, line.points) == ("GMP", [(0.25, 16, 90, None), (0.125, 108, 85, None)])


def test_flops_by_hand():
    """Of conv's 100 on average three quarters, in the end a quarter; fc's 10 are whole: 85 forward."""
    layers = {"conv.weight": {"size": 8, "kept": 2, "filters": 2, "dead_filters": 0}}
    found = search(0.25, 0, layers=layers, mean_kept={"conv.weight": 6.0}, epochs=1)
    (row,), flops = found.rounds, {"conv.weight": 100.0, "fc.weight": 10.0}
    found.summary = {"flops": flops, "examples": {"train": 16, "validation": 5, "test": 3}}
    found.epochs = [{"round": 0, "epoch": 0, "test": 80.0}]
    assert masked_flops(flops, row) == 85 and training_flops(flops, row) == 3 * 85 * 64
    assert evaluation_flops(found, row) == 85 * (5 + 3)


def test_densities_of_layers_are_means_over_the_runs_of_one_density():
    kept = {(0.25, 0): 2, (0.25, 1): 4, (0.125, 0): 1, (0.125, 1): 1}
    layers = {
        key: {"conv": {"size": 8, "kept": number, "filters": 1, "dead_filters": 0}} for key, number in kept.items()
    }
    (task,), _ = logged(group_by_task, [search(*key, layers=layers[key]) for key in kept])
    (table,) = layer_density_parts(task, task.by_kind(SEARCH))
    assert [column.heading for column in table.columns] == ["layer", "at 25 % (%)", "at 12.5 % (%)"]
    assert table.rows == [["conv", pytest.approx(37.5), pytest.approx(12.5)]]
    assert "by remaining weights" in table.caption


def test_its_ticket_is_compared_with_those_of_searches_at_its_density(tmp_path):
    runs = [*seeds(IMP, [[90, 80]] * 2), search(0.5, 0), search(0.25, 0)]
    for run, kept in zip(runs, ([1.0, 1, 0, 0], [1.0, 0, 1, 0], [0.0, 1, 1, 0], [0.0, 1, 0, 0]), strict=True):
        run.path = tmp_path / run.name
        run.path.mkdir()
        state = {"conv.weight_orig": torch.zeros(4), "conv.weight_mask": torch.tensor(kept)}
        write(run.path / f"{1 if run.numbers_rounds else ''}checkpoint.pth.tar", {"state_dict": state})
    (task,), _ = logged(group_by_task, runs)
    *_, matrix, table = overlap_parts(task)
    a, b, gmp = (run.name for run in runs[:3])
    third = pytest.approx(100 / 3)
    assert [row[:-1] for row in table.rows] == [
        [50, a, 1, b, 1, third],
        [50, a, 1, gmp, None, third],
        [50, b, 1, gmp, None, third],
    ]
    assert "50 % of the weights" in matrix.caption
