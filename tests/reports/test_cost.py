"""FLOPs and steps, by hand."""

import pytest

from lottery.reports.chapters.cost import (
    BATCH_SELECTION,
    COLUMNS,
    SAVED_BY,
    cost_row,
    cost_table,
    which_ticket,
)
from lottery.reports.comparison.cost import SearchCosts, TicketCost, evaluation_flops
from lottery.reports.comparison.method_costs import MethodCost, last_shared, method_costs
from lottery.reports.comparison.methods import SEARCH, Method, group_by_task
from lottery.results.ticket_runs import Run
from lottery.training.costs import masked_flops, training_flops
from tests.helpers import IMP, PRAC, logged, made, round_row

FLOPS = {"conv.weight": 100.0, "fc.weight": 10.0, "other": 1.0}


HALF = {"conv.weight": {"size": 8, "kept": 4, "filters": 2, "dead_filters": 0}}


def test_flops_by_hand():
    """Half of conv's 100, fc and the rest whole: 61 forward; three times that for each of 64 examples."""
    sparse = round_row(1, 90, layers=HALF, forward_passes=7, epochs=2)
    assert masked_flops(FLOPS, sparse) == 61
    assert training_flops(FLOPS, sparse) == 3 * 61 * 64
    lines = [{"round": 1, "epoch": e, "test": test} for e, test in enumerate([80.0, None])]
    found = Run("r", IMP, [sparse], lines, {"flops": FLOPS, "examples": {"train": 16, "validation": 5, "test": 3}})
    assert evaluation_flops(found, sparse) == 61 * (7 + 2 * 5 + 1 * 3)
    found.epochs.pop()
    assert evaluation_flops(found, sparse) is None
    assert training_flops({}, sparse) is None and training_flops(FLOPS, round_row(1, 90)) is None


def test_costs_add_up_before_the_ticket_is_known():
    """Vanilla: 4 epochs of 2 steps. Round 1 had 3 of 8 steps: 11 of 16 to find, 19 of 24 to find and train."""
    rounds = [round_row(0, 90), round_row(1, 90, steps=3, epochs=3, epochs_planned=4, steps_per_epoch=1)]
    books = SearchCosts(Run("r", IMP, rounds)).by_round
    assert [spent.steps for spent in books] == [8, 11]
    assert [spent.density for spent in books] == [0.5, 0.25]
    assert books[1].saved == pytest.approx(1 - 11 / 16)
    assert books[1].saved_with_training == pytest.approx(1 - 19 / 24)
    assert sum(books[1].saved_by.values()) == pytest.approx(books[1].saved)


def test_what_batch_selection_saves_has_a_column_where_it_saves():
    """2 of the 8 steps of a round left out; beside it a search that selects nothing."""
    found = made("r", IMP | {"batch_selection": "infobatch"}, [90])
    found.rounds = [round_row(0, 90, steps=6, steps_left_out=2)]
    (task,), _ = logged(group_by_task, [made("r", IMP, [90]), found])
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method)]
    rows = [cost_row(cost, costs) for cost in costs]
    table = cost_table("cost", "", rows)
    parts = [column.heading for column in table.columns].index("by data")
    assert [row[parts - 1 : parts + len(SAVED_BY)] for row in table.rows] == [[0, 0, 0, 0, 0], [25, 0, 0, 0, 25]]
    without = cost_table("cost", "", rows[:1])
    assert BATCH_SELECTION not in without.columns and len(without.columns) == len(COLUMNS) - 1 == len(without.rows[0])


def test_flops_are_saved_against_the_imp_runs():
    def with_flops(settings, examples):
        found = made("r", settings, [90])
        found.rounds = [round_row(0, 90, layers=HALF, examples=examples)]
        found.summary = {"flops": FLOPS}
        return found

    (task,), _ = logged(group_by_task, [with_flops(IMP, 64), with_flops(PRAC, 16)])
    bills = [bill for method in task.by_kind(SEARCH) for bill in method_costs(method)]
    assert [cost_row(bill, bills)[-1] for bill in bills] == [None, 75.0]


def test_searches_of_other_lengths_are_compared_at_equal_density():
    """Two prunings to a quarter against one: half of the steps, where IMP took 16; no IMP run is at the eighth."""
    short = IMP | {"rate": None, "densities": [0.25, 0.125], "epochs": 2}
    found = made("r", short, [90, 89])
    found.rounds = [round_row(0, 90, density=1.0), round_row(1, 89, density=0.25, kept=16)]
    (task,), _ = logged(group_by_task, [made("r", IMP, [90, 91]), found])
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method)]
    rows = {(cost.method.name, cost.density): cost_row(cost, costs) for cost in costs}
    thorough, cheap = "IMP (epochs 4, rate 0.5)", "IMP (epochs 2, densities 0.25,0.125)"
    assert {name for name, _ in rows} == {thorough, cheap}
    saved = {key: row[-2] for key, row in rows.items()}
    assert saved == {(thorough, 0.5): None, (thorough, 0.25): None, (cheap, 0.25): 50.0, (cheap, 0.125): None}
    assert [(cost.method.name, cost.prunings) for cost in last_shared(costs)] == [(thorough, 2), (cheap, 1)]


def test_without_a_shared_density_each_last_ticket_is_shown():
    other = IMP | {"rate": None, "densities": [0.3]}
    (task,), _ = logged(group_by_task, [made("r", IMP, [90, 91]), made("r", other, [90])])
    costs = [cost for method in task.by_kind(SEARCH) for cost in method_costs(method)]
    assert sorted(cost.prunings for cost in last_shared(costs)) == [1, 2]
    assert which_ticket(last_shared(costs)) == "each method's last ticket"


@pytest.mark.parametrize(
    "density, which", [(0.046646, "the ticket with 4.67 % of the weights"), (0.0466, "each method's last ticket")]
)
def test_a_density_that_was_rounded_in_every_round_is_shared_still(density, which):
    """Six prunings by two fifths of 49,200 weights leave 2,296, 0.6 to the sixth of them is 2,295: 4.67 and 4.66 %."""
    method, spent = Method(SEARCH, "IMP", "IMP", []), (8, 64, 0, 1.0, None, None)
    found = [MethodCost(method, [TicketCost(k, kept, *spent)]) for k, kept in ((6, 0.046667), (3, density))]
    assert which_ticket(found) == which
