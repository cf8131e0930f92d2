"""Sparse training in reports: names, and accuracy against training FLOPs beside other tickets."""

import pytest

from lottery.reports.chapters.effort import flops_parts
from lottery.reports.comparison.cost import is_pruned_before, scoring_cost
from lottery.reports.comparison.effort import flops_lines
from lottery.reports.comparison.methods import group_by_task
from lottery.sparse_training.config import METHODS
from tests.helpers import IMP, RECIPE, TRAIN, elastic_ticket, logged, made, retrained, round_row, seeds

DST = RECIPE | {"script": "main_dst.py", "prune_type": "lt"}
SNIP = RECIPE | {"script": "main_init.py", "criterion": "snip", "ranking": "global", "iterations": 1, "step": 0}
SNIP |= {"prac_set": False, "score_examples": None, "seed": 0, "kept": 8, "prunable": 16}
LAYERS = {"conv": {"size": 16, "kept": 4, "filters": 2, "dead_filters": 0}}


def with_flops(run):
    """Half of the 100 FLOPs forward are those of conv, which keeps a quarter: 62.5 for each of 64 examples."""
    run.summary |= {"flops": {"conv": 50.0, "fc": 50.0}, "examples": {"train": 64}}
    run.rounds = [row | {"layers": LAYERS} for row in run.rounds]
    return run


def sparse(method, test, **more):
    found = made("runs", DST | {"method": method, "density": 0.25, "distribution": "erk"}, [test])
    found.rounds = [round_row(0, test, density=0.25, sparsity=0.75, **more)]
    return found


def ticket(search, test, density):
    found = made("runs", TRAIN, [test], 0, {"ticket": {"file": "f", "prunings": None, "settings": search}})
    found.rounds = [round_row(0, test, density=density, sparsity=1 - density)]
    return found


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"method": "static", "distribution": "uniform"}, "static, uniform by layer"),
        ({"method": "rigl", "distribution": "erk", "drop": None}, "RigL, ERK"),
        ({"method": "set", "distribution": "erk", "drop": "sign"}, "SET, ERK, dropped by sign"),
        ({"method": "dpf", "distribution": None}, "DPF"),
    ],
)
def test_names_say_what_a_method_is(settings, name):
    (task,), _ = logged(group_by_task, [made("runs", DST | settings | {"density": 0.1}, [80])])
    assert [method.name for method in task.methods] == [name]
    assert settings["method"] in METHODS


def test_accuracy_against_training_flops_by_hand():
    """A search of IMP in two rounds; RigL, of whose 64 examples 16 had a dense gradient, which costs 37.5 more; SNIP,
    which scored 64 examples, dense; an elastic ticket and a static mask, whose searches cost nothing here."""
    one = 3 * 62.5 * 64
    rigl, static = sparse("rigl", 85, dense_gradient_examples=16), sparse("static", 80)
    runs = [
        *seeds(IMP, [[90, 80]]),
        retrained(IMP, 2, 88),
        rigl,
        ticket(rigl.settings, 86, 0.25),
        ticket(SNIP, 82, 0.5),
        static,
        ticket(static.settings, 80, 0.25),
        elastic_ticket(IMP, 0.2, 70, arch=RECIPE["arch"]),
    ]
    (task,), _ = logged(group_by_task, [with_flops(run) for run in runs])
    found = {line.name: [(point.density, point.spent, point.accuracy) for point in line.points]
             for line in flops_lines(task)}  # fmt: skip
    assert found == {
        "RigL, ERK, as found": [(0.25, one + 37.5 * 16, 85)],
        "RigL, ERK, ticket": [(0.25, 2 * one + 37.5 * 16, 86)],
        "IMP": [(0.25, 3 * one, 88)],
        "SNIP": [(0.5, 64 * 300 + one, 82)],
        "static, ERK, as found": [(0.25, one, 80)],
        "static, ERK, ticket": [(0.25, one, 80)],
        "IMP of flat, elastic (append)": [(0.2, one, 70)],
    }
    figure, table = flops_parts(task)
    assert len(table.rows) == 7 and "training FLOPs" in figure.caption


@pytest.mark.parametrize(
    "more, spent",
    [
        ({"score_examples": 10, "iterations": 3}, 3 * 10 * 300),
        ({"criterion": "grasp"}, 2 * 64 * 300),
        ({"criterion": "synflow", "iterations": 100}, 100 * 300),
        ({"criterion": "random", "prac_set": True}, 0),
        ({"prac_set": True}, None),  # how many examples it has is not recorded
    ],
)
def test_scoring_costs_its_passes_over_examples(more, spent):
    cost = scoring_cost(with_flops(ticket(SNIP | more, 82, 0.5)))
    assert (cost.steps, cost.training_flops) == (0, spent)


@pytest.mark.parametrize("more", [{"weights": "trained"}, {"step": 1000}])
def test_what_was_trained_before_it_was_scored_is_not_free(more):
    (task,), _ = logged(group_by_task, [with_flops(ticket(SNIP | more, 82, 0.5))])
    assert not any(map(is_pruned_before, task.methods))


def test_where_all_is_found_in_rounds_steps_tell_as_much():
    (task,), _ = logged(group_by_task, [with_flops(run) for run in [*seeds(IMP, [[90, 80]]), retrained(IMP, 1, 88)]])
    assert flops_parts(task) == []
