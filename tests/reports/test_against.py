"""report.py --against: every method minus the one that is named."""

import csv

import pytest

import report
from lottery.reports.chapters.against import against_parts
from lottery.reports.comparison.against import check_names, standing
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.comparison.statistics import Interval
from lottery.reports.document import Listing, Paragraph, Table
from tests.helpers import IMP, PRAC, init_ticket, logged, made, retrained, run
from tests.helpers import REPORTED as QUICK
from utils import InputError


def task_of(runs):
    (task,), _ = logged(group_by_task, runs)
    return task


def tickets(search, test, count=5):
    """Tickets after one pruning, half a point apart from seed to seed, with a tenth of noise."""
    return [retrained(search, 1, test + seed / 2 + 0.1 * (seed % 2), seed, seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("n", "low", "high", "verdict"),
    [
        (5, 0.1, 0.9, "better"),
        (5, -0.4, 0.9, "as good"),
        (5, -0.4, -0.1, "as good"),
        (5, -0.6, -0.1, "worse"),
        (5, -0.6, 0.1, "not shown"),
        (4, 0.1, 0.9, None),
        (1, None, None, None),
    ],
)
def test_an_interval_says_how_two_methods_stand(n, low, high, verdict):
    assert standing(Interval(n, 0.0, low, high), margin=0.5) == verdict


def test_all_methods_are_compared_with_one_that_is_no_reference_otherwise():
    """PrAC is named; IMP is two points above it, its random pruning three below, with the same seeds."""
    runs = tickets(PRAC, 90) + tickets(IMP, 92) + tickets(IMP | {"random_prune": True}, 87, count=4)
    (table,) = against_parts(task_of(runs), ["PrAC"], 0.5)
    assert isinstance(table, Table)
    assert [(row[0], row[2], row[3], round(row[4], 6), row[-1]) for row in table.rows] == [
        ("IMP", 50.0, 5, 2.0, "better"),
        ("IMP, random pruning", 50.0, 4, -3.0, None),
    ]


def test_densities_that_differ_by_rounding_are_one():
    others = tickets(IMP | {"random_prune": True}, 92)
    for ticket in others:
        ticket.rounds[0] |= {"density": 0.5001, "sparsity": 0.4999}
    (table,) = against_parts(task_of(tickets(PRAC, 90) + others), ["PrAC"], 0.5)
    assert [row[0] for row in table.rows] == ["IMP, random pruning"]


def blocks(search, densities, test):
    """Searches that prune filters, and so to densities of their own, and their tickets: two points lower each round."""
    for seed in range(5):
        settings = search | {"block": "filter"}
        tests = [test - 2 * k + seed / 2 for k in range(len(densities))]
        found = made("runs", settings, tests, seed)
        for each, density in zip(found.rounds, densities, strict=True):
            each |= {"density": density + seed / 1000 * (density < 1), "sparsity": 1 - density}
        yield found
        for k in range(1, len(densities)):
            ticket = retrained(settings, k, tests[k], seed, seed)
            ticket.rounds[0] |= {"density": densities[k] + seed / 1000, "sparsity": 1 - densities[k]}
            yield ticket


def test_searches_that_prune_blocks_are_compared_round_by_round():
    densities = [1, 0.5, 0.25, 0.125]
    runs = [*blocks(PRAC, densities, 90), *blocks(IMP, densities, 92)]
    (table,) = against_parts(task_of(runs), ["PrAC, filters"], 0.5)
    assert [round(row[2]) for row in table.rows] == [50, 25, 13, 50, 25, 13]
    assert [round(row[4], 6) for row in table.rows] == [2.0] * 6


def test_blocks_by_another_plan_are_compared_at_equal_densities_alone():
    """Each round of the second prunes twice as far: after one round it has what the first has after two."""
    runs = [*blocks(PRAC, [1, 0.5, 0.25], 90), *blocks(IMP | {"rate": 0.75}, [1, 0.25, 0.0625], 92)]
    (table,) = against_parts(task_of(runs), ["PrAC, filters"], 0.5)
    assert [(round(row[2]), round(row[4], 6)) for row in table.rows] == [(25, 4.0)] * 2


def test_what_was_trained_otherwise_is_named_and_not_compared():
    others = tickets(IMP, 92)
    for ticket in others:
        ticket.settings = ticket.settings | {"epochs": 5}
    title, listing = against_parts(task_of(tickets(PRAC, 90) + others), ["PrAC"], 0.5)
    assert isinstance(title, Paragraph) and isinstance(listing, Listing)
    assert listing.items == ["IMP, retrained: trained otherwise than PrAC (epochs)."]


def test_nothing_in_common_is_said():
    (text,) = against_parts(task_of([*tickets(PRAC, 90), init_ticket(80, seed=7)]), ["PrAC"], 0.5)
    assert text.text == "No other method has a seed and a density in common with PrAC."


def test_a_name_that_no_method_has_lists_those_there_are():
    task = task_of(tickets(PRAC, 90) + tickets(IMP, 92))
    check_names(["IMP", "PrAC"], [task])
    with pytest.raises(InputError, match=r"--against 'PraC' is no method .* 'IMP', 'PrAC'; did you mean PrAC\?"):
        check_names(["IMP", "PraC"], [task])


def test_the_report_has_a_chapter_of_them(tmp_path, capsys):
    search = f"{QUICK} --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2"
    run("imp", search, tmp_path / "runs" / "imp")
    run("imp", f"{search} --random_prune", tmp_path / "runs" / "random")
    command = [str(tmp_path / "runs"), "--output", str(tmp_path / "report")]
    assert report.main([*command, "--against", "dense network"]) == 2
    assert "'IMP', 'IMP, random pruning'" in capsys.readouterr().err and not (tmp_path / "report").exists()
    assert report.main([*command, "--against", "IMP, random pruning"]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "(#differences-from-imp-random-pruning)" in page and '<a id="differences-from-imp-random-pruning">' in page
    (file,) = (tmp_path / "report" / "tables").glob("differences_from_imp_random_pruning_*.csv")
    (row,) = csv.DictReader(file.open())
    assert row["method"] == "IMP" and float(row["remaining (%)"]) < 100 and row["pairs"] == "1" and not row["verdict"]
