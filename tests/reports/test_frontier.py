"""The cheapest search at each density, by hand."""

import pytest

from lottery.reports.chapters.frontier import (
    COLUMNS,
    FLOPS,
    STEPS,
    frontier_parts,
    frontier_rows,
    lowest_shown,
    point_places,
    sentence,
    shown_accuracies,
)
from lottery.reports.comparison.frontier import frontiers
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.comparison.statistics import interval
from lottery.reports.document import Figure, Listing, Table
from tests.helpers import IMP, PRAC, RECIPE, logged, made, retrained, round_row, seeds

MARGIN, SEEDS = 0.5, range(5)
SHORT = IMP | {"epochs": 1}
RANDOM = IMP | {"epochs": 2, "random_prune": True}
# By search: steps of its one round, and how much its tickets at half of the weights are above 90 %.
SEARCHES = {"imp": (IMP, 80, 0.0), "prac": (PRAC, 20, 0.2), "short": (SHORT, 10, -2.0), "random": (RANDOM, 40, 0.1)}


def runs_of(settings, steps, gain, numbers=SEEDS):
    for seed in numbers:
        found = made("runs", settings, [90], seed)
        found.rounds = [round_row(0, 90, steps=steps)]
        yield found
        yield retrained(settings, 1, 90 + seed / 10 + gain, seed, seed)


def found(numbers=SEEDS, leave_out=()):
    runs = [run for name, search in SEARCHES.items() if name not in leave_out for run in runs_of(*search, numbers)]
    (task,), _ = logged(group_by_task, runs)
    return task, frontiers(task, MARGIN)


def test_a_search_is_on_the_frontier_if_none_as_cheap_is_as_accurate():
    _, (frontier,) = found()
    assert frontier.density == 0.5 and frontier.imp.name.startswith("IMP")
    assert [each.steps for each in frontier.searches] == [10, 20, 40, 80]
    assert [each.steps for each in frontier.efficient(STEPS)] == [10, 20]
    assert frontier.efficient(FLOPS) == []  # these runs recorded none


def test_the_cheapest_as_good_as_imp_passes_by_a_cheaper_one_that_is_worse():
    _, (frontier,) = found()
    best = frontier.cheapest_as_good(MARGIN)
    assert best.name == "PrAC" and frontier.saved(best, STEPS) == pytest.approx(0.75)
    assert best.steps_in_all == 20 + 8
    text = sentence(frontier, MARGIN)
    assert "is PrAC: 20 steps, 75.0 % fewer than" in text and "(68.2 % fewer with the training of the ticket)" in text
    assert text.endswith("though cheaper: 1 (1 of them worse by more than 0.5 points).")


def test_four_pairs_do_not_show_that_a_cheaper_search_is_worse():
    """Of the shortest search there are two seeds, two points below IMP."""
    runs = [run for name, search in SEARCHES.items() if name != "short" for run in runs_of(*search)]
    (task,), _ = logged(group_by_task, [*runs, *runs_of(*SEARCHES["short"], range(2))])
    (frontier,) = frontiers(task, MARGIN)
    assert sentence(frontier, MARGIN).endswith("Not shown to be as good, though cheaper: 1.")


def test_tickets_of_an_imp_whose_search_is_not_given_have_no_frontier():
    runs = [run for search in SEARCHES.values() for run in runs_of(*search)]
    (task,), _ = logged(
        group_by_task, [run for run in runs if not (run.is_search and run.settings == IMP | {"seed": run.seed})]
    )
    assert frontiers(task, MARGIN) == []


def test_four_pairs_give_no_verdict():
    _, (frontier,) = found(range(4))
    assert frontier.cheapest_as_good(MARGIN) is None
    assert sentence(frontier, MARGIN) == "At 50 % of the weights: no verdict from 4 pairs, fewer than 5."


def test_a_dearer_search_is_never_the_cheapest():
    _, (frontier,) = found(leave_out=["prac"])
    assert frontier.cheapest_as_good(MARGIN).steps == 40
    slower = SEARCHES | {"prac": (PRAC, 200, 0.2), "random": (RANDOM, 90, 0.1)}
    (task,), _ = logged(group_by_task, [run for search in slower.values() for run in runs_of(*search)])
    (frontier,) = frontiers(task, MARGIN)
    assert "no search that takes fewer steps is shown to be as good" in sentence(frontier, MARGIN)


def test_fewer_than_three_searches_and_another_batch_size_have_no_frontier():
    assert found(leave_out=["short", "random"])[1] == []
    other = SEARCHES | {"random": (RANDOM | {"batch_size": 4}, 40, 0.1)}
    (task,), _ = logged(group_by_task, [run for search in other.values() for run in runs_of(*search)])
    assert [len(frontier.searches) for frontier in frontiers(task, MARGIN)] == [3]


def test_tickets_without_a_search_cost_no_step_and_stand_left_of_all_others():
    """SNIP, which another batch size does not tell apart, and a static mask, as good as IMP."""
    snip = RECIPE | {"script": "main_init.py", "criterion": "snip", "ranking": "global", "iterations": 1, "step": 0}
    snip |= {"prac_set": False, "score_examples": None, "kept": 8, "prunable": 16, "batch_size": 7}
    static = RECIPE | {"script": "main_dst.py", "method": "static", "density": 0.5, "prune_type": "lt"}
    runs = [run for name in ("imp", "prac") for run in runs_of(*SEARCHES[name])]
    runs += [retrained(snip, 1, 88 + seed / 10, seed, seed) for seed in SEEDS]
    for seed in SEEDS:
        search = made("runs", static, [90], seed)
        search.rounds = [round_row(0, 90, steps=80, density=0.5, sparsity=0.5, kept=8)]
        runs += [search, retrained(static, 1, 90.1 + seed / 10, seed, seed)]
    for run in runs:
        run.rounds = (
            [row | {"density": 0.5, "sparsity": 0.5} for row in run.rounds] if not run.is_search else run.rounds
        )
    (task,), _ = logged(group_by_task, runs)
    (frontier,) = frontiers(task, MARGIN)
    assert {each.name: each.steps for each in frontier.searches} == {"static": 0, "SNIP": 0, "PrAC": 20, "IMP": 80}
    assert {each.name: each.steps_in_all for each in frontier.searches} == {
        "static": 8, "SNIP": 8, "PrAC": 28, "IMP": 88
    }  # fmt: skip
    assert frontier.cheapest_as_good(MARGIN).name == "static"
    assert [x for x, _ in point_places(frontier, STEPS, MARGIN)] == [10, 10, 20, 80]
    assert "log axis has no place for 0" in frontier_parts(task, MARGIN)[1].caption


def test_the_chapter_has_a_sentence_a_figure_and_a_row_for_each_search():
    task, (frontier,) = found()
    parts = frontier_parts(task, MARGIN)
    assert [type(part) for part in parts[:3]] == [Listing, Figure, Table]
    rows = frontier_rows(frontier, MARGIN)
    good, on = (
        [row[[column.heading for column in COLUMNS].index(heading)] for row in rows]
        for heading in ("as good as IMP", "on the frontier")
    )
    assert good == [False, True, True, None] and on == [True, True, False, False]
    assert frontier_parts(logged(group_by_task, seeds(IMP, [[90, 89]]))[0][0], MARGIN) == []


def test_a_wide_interval_of_two_seeds_leaves_the_points_their_room():
    """IMP's two seeds stand 0.4 points apart, so that the interval of their mean reaches 2.5 points above it."""
    _, (frontier,) = found([0, 4])
    accuracies = [each.point.mean for each in frontier.searches]
    assert interval(list(frontier.imp.point.values.values())).high > frontier.imp.point.mean + 2
    low, high = shown_accuracies(frontier.imp, accuracies, MARGIN)
    assert low < min(accuracies) and max(accuracies) < high < frontier.imp.point.mean + 2 * MARGIN


def test_a_few_searches_that_learn_nothing_stand_at_the_lower_end_but_not_half_of_all(monkeypatch):
    _, (frontier,) = found()
    assert lowest_shown(frontier, MARGIN) == frontier.imp.point.mean - 6 * MARGIN
    for name in ("prac", "random"):
        settings, steps, _ = SEARCHES[name]
        monkeypatch.setitem(SEARCHES, name, (settings, steps, -9.0))
    _, (frontier,) = found()
    assert lowest_shown(frontier, MARGIN) < min(each.point.mean for each in frontier.searches)


def test_the_interval_of_a_mean():
    """Of 1 to 5: 3 +- 2.776 * sqrt(2.5 / 5)."""
    assert interval([1, 2, 3, 4, 5]) == pytest.approx((5, 3, 3 - 1.9633, 3 + 1.9633), abs=1e-3)
    assert interval([2.0]) == (1, 2.0, None, None) and interval([]) is None
