"""The report: its statistics, names, costs and overlaps by hand; what it makes of runs good and bad."""

import base64
import csv
import json
import math
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import pytest
import torch

import report
from lottery.checkpointing.checkpoint import read, write
from lottery.reports.chapters.accuracy import accuracy_parts
from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.chapters.cost import cost_row, method_costs
from lottery.reports.chapters.example_gallery import read_images
from lottery.reports.chapters.masks import mask_distances
from lottery.reports.chapters.prac_sets import kept_share
from lottery.reports.chapters.verdict import marker_sentences
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.cost import SearchCosts, evaluation_flops, forward_flops, training_flops
from lottery.reports.comparison.masks import overlap, vanishing_layers, vanishing_reason
from lottery.reports.comparison.methods import SEARCH, TICKETS, group_by_task
from lottery.reports.comparison.statistics import Interval, holds, last_before_failure, paired, spread
from lottery.reports.comparison.verdict import statements
from lottery.reports.document import MOST_ROWS, Column, Figure, Paragraph, Report, Section, Table
from lottery.reports.html import html
from lottery.results.runs import read_runs, short_names
from lottery.results.ticket_runs import Run
from lottery.retraining.rules import RULES
from lottery.tickets.controls import CONTROLS
from tests.helpers import (
    IMP,
    PRAC,
    RECIPE,
    TRAIN,
    carried,
    control,
    logged,
    made,
    names,
    retrained,
    round_row,
    run,
    seeds,
)
from tests.helpers import REPORTED as QUICK
from utils import InputError

SEARCHING = f"{QUICK} --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2"

# --- runs without files -----------------------------------------------------------------------------------------------


def curves(runs, kind=SEARCH, margin=0.5):
    (task,), _ = logged(group_by_task, runs)
    return {curve.method.name: curve for curve in accuracy_curves(task, kind, margin)}


# --- statistics -------------------------------------------------------------------------------------------------------


def test_an_interval_of_paired_differences_by_hand():
    """Differences 1 to 5: mean 3, s = sqrt(2.5), t(4) = 2.776445; seed 9 has no partner."""
    a = {seed: 90.0 + 2 * seed for seed in range(1, 6)} | {9: 0.0}
    b = {seed: 90.0 + seed for seed in range(1, 6)}
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert paired(a, b) == pytest.approx(Interval(5, 3.0, 3 - half, 3 + half))
    assert paired({1: 3.0}, {1: 1.0}) == Interval(1, 2.0, None, None)
    assert paired({1: 3.0}, {2: 1.0}) is None


def test_two_pairs_have_a_wide_interval():
    """t(1) = 12.7062: differences 0 and 1, s = 1 / sqrt 2, half 12.7062 / 2."""
    assert paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0}) == pytest.approx(Interval(2, 0.5, 0.5 - 6.3531, 0.5 + 6.3531))


def test_spread_is_over_n_minus_1():
    assert spread([1.0, 3.0]) == (2.0, math.sqrt(2))
    assert spread([1.0]) == (1.0, None)


def test_a_verdict_needs_five_seeds_and_the_lower_end():
    assert holds(Interval(5, 1.0, -0.4, 2.4), 0.5) is True
    assert holds(Interval(5, 1.0, -0.5, 2.5), 0.5) is False
    assert holds(Interval(4, 1.0, 0.9, 1.1), 0.5) is None
    assert holds(None, 0.5) is None


def test_a_marker_stands_before_the_first_failure():
    assert last_before_failure([(0.8, True), (0.64, True), (0.5, False), (0.4, True)]) == 0.64
    assert last_before_failure([(0.8, True), (0.64, None), (0.5, True)]) == 0.8
    assert last_before_failure([(0.8, False), (0.64, True)]) is None


def test_markers_of_curves():
    """PrAC is a point below IMP from round 2 on, and IMP falls below dense in round 3; little noise."""
    noise = [0.00, 0.01, 0.02, 0.03, 0.04]
    imp = seeds(IMP, [[90 + e, 91 + e, 90.5 + e, 80 - e] for e in noise])
    prac = seeds(PRAC, [[90 + e, 91 - e, 89.5 + e, 79 + e] for e in noise])
    found = curves(imp + prac)
    assert (found["IMP"].winning, found["IMP"].equal) == (0.25, None)
    assert (found["PrAC"].winning, found["PrAC"].equal) == (0.5, 0.5)
    assert curves(imp + prac, margin=2.0)["PrAC"].winning == 0.25
    assert curves(imp[:4] + prac)["PrAC"].equal is None, "four pairs give no verdict"
    point = found["PrAC"].points[2]
    assert point.against_imp.mean == pytest.approx(-1) and point.against_dense.n == 5


def test_only_pairs_are_compared():
    imp, prac = seeds(IMP, [[90, 90]] * 3), seeds(PRAC, [[90, 89]] * 5)
    assert curves(imp + prac)["PrAC"].points[1].against_imp.n == 3


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, name",
    [
        (IMP, "IMP"),
        (IMP | {"random_prune": True}, "IMP, random pruning"),
        (IMP | {"eb_eps": 0.1, "prac_set": True}, "IMP, early stop, given set"),
        (IMP | {"init_dir": True, "mask_dir": True}, "IMP, from a ticket"),
        (PRAC | {"init_dir": True, "mask_dir": False}, "PrAC, from given weights"),
        (PRAC | {"init_dir": False, "mask_dir": True, "ticket start": "ticket"}, "PrAC, from a ticket"),
        (IMP | {"init_dir": True, "mask_dir": True, "ticket start": "other"}, "IMP, from a mask on other weights"),
        (PRAC, "PrAC"),
        (PRAC | {"data_prune": "random"}, "PrAC, random sets"),
        (PRAC | {"data_prune": "constent", "cep": "none"}, "PrAC, constent, no CEP"),
        (PRAC | {"cep": "pruned", "eb_eps": None}, "PrAC, CEP as in Algorithm 1, no early stop"),
    ],
)
def test_methods_are_named_for_what_they_do(settings, name):
    assert names([made("a", settings, [90])]) == [name]


def test_a_search_that_begins_with_a_ticket_is_another_method():
    """Also beside one of the version before, whose settings do not say that it was given nothing."""
    given = IMP | {"init_dir": True, "mask_dir": True, "ticket checksum": "1"}
    runs = [made("a", IMP, [90]), made("b", given, [80]), made("c", given | {"ticket checksum": "2", "seed": 1}, [81])]
    assert sorted(names(runs)) == ["IMP", "IMP, from a ticket"]


def test_equal_names_are_told_apart_by_what_differs():
    other = PRAC | {"eb_eps": 0.02, "decreasing_lr": [2, 3]}
    runs = [made("a", PRAC | {"decreasing_lr": [1, 2]}, [90]), made("b", other, [90]), made("c", IMP, [90])]
    assert set(names(runs)) == {"IMP", "PrAC (eb_eps 0.08, decreasing_lr 1,2)", "PrAC (eb_eps 0.02, decreasing_lr 2,3)"}


def test_seed_length_and_later_flags_make_no_method():
    runs = [made("a", PRAC, [90], 0), made("b", PRAC | {"pruning_times": 9, "new_flag": 1}, [90], 1)]
    assert names(runs) == ["PrAC"]


def test_each_seed_may_have_sets_of_its_own():
    given = [PRAC | {"prac_set": True, "PrAC set of round 0": name} for name in "ab"]
    assert names([made("a", given[0], [90], 0), made("b", given[1], [90], 1)]) == ["PrAC, given set"]
    assert len(names([made("a", given[0], [90], 0), made("b", given[1], [90], 0)])) == 2


def test_other_data_splits_and_networks_are_other_tasks():
    others = [IMP, IMP | {"data checksum": "x"}, IMP | {"split checksum": "x"}, IMP | {"arch": "vgg"}]
    tasks, notes = logged(group_by_task, [made("a", settings, [90]) for settings in others])
    assert len({task.name for task in tasks}) == 4 and "share no figure" in notes[0]


def test_a_second_run_of_the_same_seed_does_not_count():
    runs = [made("a", IMP, [90], 3), made("b", IMP, [80, 70], 3)]
    (task,), notes = logged(group_by_task, runs)
    assert task.methods[0].runs == [runs[1]] and "which alone is counted" in notes[0]


def test_a_training_made_twice_counts_once():
    """One of the same seed and ticket; another order of the examples, or another ticket, is a sample of its own, and
    those of one seed are one value."""
    runs = [retrained(IMP, 1, test) for test in (90.0, 80.0, 70.0, 60.0)]
    runs[2].settings = runs[2].settings | {"order_seed": 5}
    runs[3].settings = runs[3].settings | {"ticket checksum": "other"}
    runs[1].settings = runs[1].settings | {"order_seed": 0}  # what it is without the flag
    (task,), notes = logged(group_by_task, runs)
    assert task.by_kind(TICKETS)[0].runs == [runs[0], *runs[2:]]
    assert notes == [f"{runs[1].name} repeats the method, seed and ticket of {runs[0].name}, which alone is counted."]
    assert curves(runs, TICKETS)["IMP"].points[0].values == {0: pytest.approx(220 / 3)}
    dense = [made("d", TRAIN | {"init_dir": False, "mask_dir": False}, [test]) for test in (90.0, 80.0)]
    (task,), notes = logged(group_by_task, dense)
    assert [method.runs for method in task.methods] == [[dense[0]]] and len(notes) == 1


def test_the_dense_network_in_several_orders_is_one_value_of_its_seed():
    bare = TRAIN | {"init_dir": False, "mask_dir": False}
    dense = [made("d", bare | {"order_seed": order}, [test]) for order, test in ((1, 90.0), (2, 94.0))]
    assert curves([*dense, made("a", IMP, [80.0, 81.0])])["IMP"].dense == {0: 92.0}


def test_tickets_are_paired_by_the_seed_of_their_search():
    searches = [(IMP, s, 90.0 + s) for s in range(5)] + [(PRAC, s, 89.0 + s) for s in range(5)]
    found = curves([retrained(search, 1, test, 0, s) for search, s, test in searches], TICKETS)
    assert found["PrAC"].points[0].against_imp == Interval(5, -1.0, -1.0, -1.0)
    again = curves([retrained(search, 1, test, s, 0) for search, s, test in searches], TICKETS)
    assert again["PrAC"].points[0].against_imp == Interval(5, -1.0, -1.0, -1.0), "one ticket, five trainings"


def test_a_ticket_of_no_search_has_no_method():
    ticket = {"file": "f", "prunings": None, "settings": TRAIN}
    assert names([made("r", TRAIN, [90.0], summary={"ticket": ticket})], TICKETS) == ["tickets of unknown origin"]


def test_the_dense_network_is_main_train_where_it_is_there():
    dense = made("d", TRAIN | {"init_dir": False}, [95.0], 0)
    other = made("e", TRAIN | {"init_dir": False, "epochs": 9}, [99.0], 0)
    runs = [made("a", IMP, [90.0, 91.0], 0), made("b", IMP, [80.0, 81.0], 1)]
    assert curves([*runs, dense, other])["IMP"].dense == {0: 95.0, 1: 80.0}


# --- tickets that were altered ----------------------------------------------------------------------------------------

DEEP = IMP | {"arch": "deep"}


def deep(k, test, seed=0):
    """A retrained ticket of IMP on the network that tickets are carried to."""
    found = retrained(DEEP, k, test, seed, seed)
    found.settings = found.settings | {"arch": "deep"}
    return found


@pytest.mark.parametrize(
    "run, name",
    [
        (control(IMP, "reinit", 1, 90.0), "IMP, re-initialised"),
        (control(IMP, "random_mask", 1, 90.0), "IMP, random mask"),
        (control(PRAC, "one_shot", 1, 90.0), "PrAC, one-shot magnitude"),
        (control(IMP, "of_a_later_version", 1, 90.0), "IMP, of_a_later_version"),
        (control(IMP, None, 1, 90.0), "IMP"),
        (carried(IMP, 0.3, 90.0), "IMP of flat, elastic (append)"),
        (carried(PRAC, 0.3, 90.0, order="interpolate"), "PrAC of flat, elastic (interpolate)"),
        (carried(IMP, 0.3, 90.0, order=None), "IMP of flat, elastic (0:0;1:1,2)"),
    ],
)
def test_altered_tickets_are_named_for_what_was_done_with_them(run, name):
    assert names([run], TICKETS) == [name]


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"rule": "weight_rewinding", "rewind_lr": True}, "IMP, weight rewinding"),
        ({"rule": "lr_rewinding", "rewind_lr": True}, "IMP, learning-rate rewinding"),
        ({"rule": "fine_tuning", "rewind_lr": True}, "IMP, fine-tuned"),
        ({"rule": "fine_tuning", "control": "dense"}, "IMP, dense, fine-tuned"),
        ({"rule": "of_a_later_version"}, "IMP, of_a_later_version"),
        ({"rule": None, "rewind_lr": True}, "IMP"),
    ],
)
def test_tickets_trained_by_a_rule_are_named_for_it(settings, name):
    run = retrained(IMP, 1, 90.0)
    run.settings = run.settings | settings
    assert names([run], TICKETS) == [name]


def test_tickets_trained_by_a_rule_are_curves_of_their_own_beside_imp():
    """Runs from before there were rules are none by one. A rule that trains on from trained weights takes more steps in
    all than IMP, which is its yardstick only under the same rule."""
    plain = [retrained(IMP, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    tuned = [retrained(IMP, 1, 88.5 + seed, seed, seed) for seed in range(5)]
    for each in tuned:
        each.settings = each.settings | {"rule": "fine_tuning", "rewind_lr": True}
    found = curves(plain + tuned, TICKETS)
    assert set(found) == {"IMP", "IMP, fine-tuned"} and found["IMP"].method.is_imp
    assert found["IMP, fine-tuned"].points[0].against_imp is None
    others = [retrained(PRAC, 1, 88.0 + seed, seed, seed) for seed in range(5)]
    for each in others:
        each.settings = each.settings | {"rule": "fine_tuning", "rewind_lr": True}
    found = curves(plain + tuned + others, TICKETS)
    assert found["PrAC, fine-tuned"].points[0].against_imp == Interval(5, -0.5, -0.5, -0.5)
    assert found["IMP, fine-tuned"].method.is_imp and not found["PrAC, fine-tuned"].method.is_imp


def test_the_dense_control_of_a_ticket_gets_no_verdict():
    """It is the same network whatever the prunings, and no ticket that could win or equal."""
    runs = [control(IMP, "dense", k, 95.0 + k) for k in (1, 2)] + [retrained(IMP, 1, 90.0)]
    for each in runs[:2]:
        each.rounds = [round_row(0, each.rounds[0]["test"], density=1.0, sparsity=0.0)]
    found = curves(runs, TICKETS)
    assert [point.mean for point in found["IMP, dense"].points] == [96.5]
    (sentence,) = marker_sentences(TICKETS, list(found.values()))
    assert sentence.text.startswith("IMP, retrained")


FROM_SCRATCH = IMP | {"prune_type": "rewind_lt", "init_dir": False, "mask_dir": False, "seed": 0}
ALONE = {"init_dir": False, "mask_dir": True}  # a mask


@pytest.mark.parametrize(
    "settings, search, name",
    [
        ({"ticket start": "ticket"} | ALONE, {}, "IMP"),
        ({"ticket start": "other"}, {}, "IMP, mask on other weights"),
        ({"ticket start": "drawn", "control": "random_mask"}, {}, "IMP, re-initialised, random mask"),
        ({"ticket start": "drawn", "control": "reinit"}, {}, "IMP, re-initialised"),
        ({"ticket start": "other", "rule": "fine_tuning"}, {}, "IMP, mask on other weights, fine-tuned"),
        ({"ticket start": "unknown"}, {}, "IMP, weights unconfirmed"),
        ({}, {}, "IMP"),
        ({"init_dir": True, "mask_dir": False}, {}, "IMP, dense"),
        (ALONE | {"seed": 3}, {}, "IMP, re-initialised"),
        (ALONE, {}, "IMP, on its initial weights"),
        (ALONE, {"prune_type": "lt"}, "IMP"),
        (ALONE, {"arch": "another"}, "IMP, re-initialised"),
    ],
)
def test_a_mask_on_weights_that_are_not_its_own_is_no_ticket(settings, search, name):
    """Older runs, which do not record what they are, tell by the files that they were given."""
    run = retrained(FROM_SCRATCH | search, 1, 90.0)
    run.settings = run.settings | settings
    assert names([run], TICKETS) == [name]


def test_weights_drawn_afresh_are_the_control_that_they_amount_to():
    """Beside the yardstick, of which they are none, and with what it shows that tickets do better."""
    tickets = [retrained(FROM_SCRATCH, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    others = [retrained(FROM_SCRATCH, 1, 80.0 + seed, seed, seed) for seed in range(5)]
    for each in others:
        each.settings = each.settings | {"ticket start": "drawn"}
    (task,), _ = logged(group_by_task, tickets + others)
    method = next(method for method in task.by_kind(TICKETS) if method.is_altered)
    assert (method.control, method.base, method.is_imp) == ("reinit", "IMP", False)
    (found,) = statements(accuracy_curves(task, TICKETS, 0.5), 0.5)
    assert found.words == "its starting weights matter"


def test_weights_alone_are_no_dense_network_of_the_seed():
    """Whatever they are: those of a search, or of a file that says nothing, as epoch_3_rewind_weight.pt."""
    alone = TRAIN | {"init_dir": True, "mask_dir": False}
    unknown = made("w", alone, [99.0], summary={"ticket": {"file": "f", "prunings": None, "settings": None}})
    older = made("x", alone, [98.0], seed=1)  # of which only a checkpoint is left
    found = curves([unknown, older, *seeds(IMP, [[90.0, 91.0]] * 2)])
    assert found["IMP"].dense == {0: 90.0, 1: 90.0}
    assert names([unknown, older], TICKETS) == ["tickets of unknown origin, dense"]


def test_a_mask_on_other_weights_stays_one_when_it_is_carried():
    run = carried(IMP, 0.3, 90.0)
    run.summary["ticket"]["source"]["start"] = "other"
    assert names([run], TICKETS) == ["IMP, mask on other weights of flat, elastic (append)"]


def test_a_ticket_that_was_carried_twice_says_so():
    run = carried(IMP, 0.3, 90.0)
    again = {"script": "main_elastic.py", "source_arch": "deep", "order": "interpolate", "block_mapping": ""}
    run.summary = {"ticket": {"file": "h", "prunings": None, "settings": again, "source": run.ticket}}
    run.settings = run.settings | {"control": "random_mask"}
    assert names([run], TICKETS) == ["IMP of flat, elastic (append) of deep, elastic (interpolate), random mask"]


def test_controls_are_methods_and_neither_the_yardstick_nor_the_dense_network():
    """Runs that are older than the flag have no such setting."""
    tickets = [retrained(IMP, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    controls = [control(IMP, "random_mask", 1, 87.0 + seed, seed) for seed in range(5)]
    found = curves(controls + tickets, TICKETS)
    assert set(found) == {"IMP", "IMP, random mask"}
    assert found["IMP, random mask"].points[0].against_imp == Interval(5, -3.0, -3.0, -3.0)
    assert found["IMP"].points[0].against_imp is None
    assert found["IMP"].method.is_imp and not found["IMP, random mask"].method.is_imp
    (task,), _ = logged(group_by_task, controls + tickets)
    assert task.search_names == ["IMP", "IMP, random mask"], "each has a colour of its own"


def test_elastic_tickets_are_compared_with_imp_at_the_nearest_sparsity_seed_by_seed():
    """IMP at 50, 25 and 12.5 %. Each elastic ticket has a density of its own; their mean is 28 %, nearest to 25."""
    imp = [deep(k, 90.0 - k + seed, seed) for k in (1, 2, 3) for seed in range(5)]
    elastic = [carried(IMP, 0.26 + 0.01 * seed, 87.0 + seed, seed) for seed in range(5)]
    found = curves(imp + elastic, TICKETS)
    (point,) = found["IMP of flat, elastic (append)"].points
    assert point.density == pytest.approx(0.28) and point.prunings == 2
    assert point.imp_density == 0.25 and point.against_imp == Interval(5, -1.0, -1.0, -1.0)
    assert point.against_near_imp == point.against_imp
    assert curves(imp + elastic, TICKETS, margin=1.5)["IMP of flat, elastic (append)"].equal == point.density
    assert found["IMP"].method.is_imp and not found["IMP of flat, elastic (append)"].method.is_imp


def test_no_verdict_rests_on_densities_that_are_far_apart():
    imp = [deep(3, 90.0, seed) for seed in range(5)]
    elastic = [carried(IMP, 0.16, 95.0, seed) for seed in range(5)]
    found = curves(imp + elastic, TICKETS)["IMP of flat, elastic (append)"]
    (point,) = found.points
    assert point.against_imp.mean == 5.0 and point.imp_density == 0.125
    assert point.against_near_imp is None and found.equal is None
    near = [carried(IMP, 0.15, 95.0, seed) for seed in range(5)]
    assert curves(imp + near, TICKETS)["IMP of flat, elastic (append)"].equal == 0.15


def test_elastic_tickets_are_in_the_task_of_the_network_they_were_carried_to():
    runs = [*seeds(IMP, [[90, 91]]), deep(1, 80.0), carried(IMP, 0.3, 70.0)]
    tasks, _ = logged(group_by_task, runs)
    assert {task.name: [method.name for method in task.methods] for task in tasks} == {
        "digits, tiny": ["IMP"],
        "digits, deep": ["IMP", "IMP of flat, elastic (append)"],
    }


def test_the_table_of_elastic_tickets_and_controls_by_hand():
    """Networks flat and deep. Rows: where tickets come from; the ticket after one pruning has no controls."""
    flat = IMP | {"arch": "flat"}
    runs = [retrained(flat, 2, 90.0 + 2 * seed, seed, seed) for seed in (0, 1)]
    runs += [retrained(flat, 1, 99.0), control(flat, "reinit", 2, 80.0)]
    for each in runs:
        each.settings = each.settings | {"arch": "flat"}
    runs += [made("r", flat, [95.0]), deep(2, 91.0), carried(IMP, 0.28, 89.0), carried(IMP, 0.30, 91.0, seed=1)]
    tasks, _ = logged(group_by_task, runs)
    _, figure, table, beside = altered_ticket_parts(tasks, 0.5)
    assert figure.name == "altered-tickets-1"
    assert [column.heading for column in table.columns] == ["tickets", "prunings", "flat", "deep"]
    assert table.rows == [
        ["dense network", None, "95.00 (1)", None],
        ["IMP", 2, "91.00 ± 1.41 at 25.00 % (2)", "91.00 at 25.00 % (1)"],
        ["IMP, re-initialised", 2, "80.00 at 25.00 % (1)", None],
        ["IMP of flat, elastic (append)", 2, None, "90.00 ± 1.41 at 29.00 % (2)"],
    ]
    assert list(beside.items) == [
        "deep: IMP of flat, elastic (append), 29.00 % of the weights: 90.00 ± 1.41; minus IMP at 25.00 %: "
        "-2.00 points (one pair)."
    ]
    assert altered_ticket_parts(logged(group_by_task, seeds(IMP, [[90, 91]]))[0], 0.5) == []


# --- tickets that were found at once, before training -----------------------------------------------------------------

AT_ONCE = RECIPE | {"script": "main_init.py", "criterion": "snip", "ranking": "global", "iterations": 1, "step": 0}
AT_ONCE |= {"prac_set": False, "score_examples": None, "kept": 16, "prunable": 64, "density": 0.25}


def found_at_once(test, seed=0, kept=16, **more):
    """A training of a ticket that main_init.py made."""
    found = made("runs", TRAIN, [test], seed)
    settings = AT_ONCE | {"seed": seed, "kept": kept, "density": kept / 64} | more
    found.summary = {"ticket": {"file": "f", "prunings": None, "settings": settings}}
    found.rounds = [round_row(0, test, density=kept / 64, sparsity=1 - kept / 64)]
    return found


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "SNIP"),
        ({"iterations": 10}, "SNIP, 10 iterations"),
        ({"criterion": "synflow", "iterations": 100}, "SynFlow"),
        ({"criterion": "synflow", "iterations": 1}, "SynFlow, 1 iteration"),
        ({"criterion": "grasp", "prac_set": True}, "GraSP, given set"),
        ({"score_examples": 128}, "SNIP, 128 examples"),
        ({"criterion": "random", "ranking": "erk"}, "random mask, ERK"),
        ({"criterion": "random", "ranking": "uniform"}, "random mask, uniform by layer"),
        ({"criterion": "magnitude", "step": 1000}, "one-shot magnitude at step 1000"),
        ({"step": None}, "SNIP at given weights"),
        ({"step": 10, "weights": "trained"}, "SNIP at trained weights"),
        ({"step": 0, "weights": "starting", "inverted": False}, "SNIP"),
        ({"inverted": True, "iterations": 10}, "SNIP, inverted, 10 iterations"),
    ],
)
def test_tickets_found_at_once_are_named_for_how(settings, name):
    assert names([found_at_once(90.0, **settings)], TICKETS) == [name]


def test_tickets_found_at_once_are_one_method_at_all_densities_beside_imp():
    """The seeds pair with those of the search, whatever seed the training has."""
    imp = [retrained(IMP, k, 92.0 - k + seed, seed, seed) for k in (1, 2) for seed in range(5)]
    snip = [found_at_once(89.0 - 1 / kept + seed, seed, kept) for kept in (16, 32) for seed in range(5)]
    other = [found_at_once(80.0, seed, step=1000, iterations=10) for seed in range(5)]
    found = curves(imp + snip + other, TICKETS)
    assert set(found) == {"IMP", "SNIP", "SNIP at step 1000, 10 iterations"}
    dense, sparse = found["SNIP"].points
    assert (dense.density, sparse.density) == (0.5, 0.25)
    assert sparse.against_imp.mean == pytest.approx(-1 - 1 / 16) and sparse.against_imp.n == 5
    assert not found["SNIP"].method.is_imp and not found["SNIP"].method.is_altered


def test_inverted_and_trained_tickets_are_no_older_ones():
    """Which do not say that they are neither; those that do are the same method as they."""
    runs = [found_at_once(80.0), found_at_once(81.0, seed=1, inverted=False, weights="starting")]
    runs += [found_at_once(70.0, inverted=True, weights="starting"), found_at_once(75.0, weights="trained")]
    (task,), _ = logged(group_by_task, runs)
    found = {method.name: len(method.runs) for method in task.by_kind(TICKETS)}
    assert found == {"SNIP": 2, "SNIP, inverted": 1, "SNIP at trained weights": 1}


def test_tickets_found_at_once_and_their_controls_and_carried_ones_by_density():
    """Two densities are two rows; those of a carried ticket do not run together."""
    runs = [found_at_once(90.0, kept=16), found_at_once(93.0, kept=32)]
    controls = [found_at_once(80.0, kept=16), found_at_once(83.0, kept=32)]
    for each in controls:
        each.settings = each.settings | {"control": "reinit"}
    far = [carried(IMP, 0.28, 70.0, k=None), carried(IMP, 0.55, 73.0, k=None)]
    for each, kept in zip(far, (16, 32), strict=True):
        each.summary["ticket"]["source"]["settings"] = AT_ONCE | {"kept": kept, "seed": 0, "arch": "flat"}
    _, _, table, _ = altered_ticket_parts(logged(group_by_task, runs + controls + far)[0], 0.5)
    assert [column.heading for column in table.columns] == ["tickets", "prunings", "tiny", "deep"]
    assert table.rows == [
        ["dense network", None, None, None],
        ["SNIP", None, "93.00 at 50.00 % (1)", None],
        ["SNIP, re-initialised", None, "83.00 at 50.00 % (1)", None],
        ["SNIP of flat, elastic (append)", None, None, "73.00 at 55.00 % (1)"],
        ["SNIP", None, "90.00 at 25.00 % (1)", None],
        ["SNIP, re-initialised", None, "80.00 at 25.00 % (1)", None],
        ["SNIP of flat, elastic (append)", None, None, "70.00 at 28.00 % (1)"],
    ]


# --- cost -------------------------------------------------------------------------------------------------------------

FLOPS = {"conv.weight": 100.0, "fc.weight": 10.0, "other": 1.0}
HALF = {"conv.weight": {"size": 8, "kept": 4, "filters": 2, "dead_filters": 0}}


def test_flops_by_hand():
    """Half of conv's 100, fc and the rest whole: 61 forward; three times that for each of 64 examples."""
    sparse = round_row(1, 90, layers=HALF, forward_passes=7, epochs=2)
    assert forward_flops(FLOPS, sparse) == 61
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


def test_flops_are_saved_against_the_imp_runs():
    def with_flops(settings, examples):
        found = made("r", settings, [90])
        found.rounds = [round_row(0, 90, layers=HALF, examples=examples)]
        found.summary = {"flops": FLOPS}
        return found

    (task,), _ = logged(group_by_task, [with_flops(IMP, 64), with_flops(PRAC, 16)])
    bills = [bill for method in task.by_kind(SEARCH) for bill in method_costs(method)]
    assert [cost_row(bill, bills)[-1] for bill in bills] == [None, 75.0]


# --- masks and sets ---------------------------------------------------------------------------------------------------


def test_overlap_by_hand():
    """Layer a: {0, 1} and {1, 2} of 4; b: {0} and {0} of 2. Both 2, either 4; by chance 1 + 1/2 of 6 - 1.5."""
    one = {"a": torch.tensor([1, 1, 0, 0]).bool(), "b": torch.tensor([1, 0]).bool()}
    two = {"a": torch.tensor([0, 1, 1, 0]).bool(), "b": torch.tensor([1, 0]).bool()}
    assert overlap(one, two) == (0.5, 1.5 / 4.5)
    assert overlap(one, one).share == 1


@pytest.mark.parametrize(
    "size, kept, filters, words",
    [
        (1000, 0, 4, "nothing of it is left"),
        (1000, 9, 4, "fewer than 1%"),
        (100, 3, 4, "fewer than one for each of its 4 filters"),
        (1000, 10, 4, None),
        (100, 4, 4, None),
    ],
)
def test_layers_that_are_about_to_vanish(size, kept, filters, words):
    found = vanishing_reason({"size": size, "kept": kept, "filters": filters, "dead_filters": 0})
    assert (words in found) if words else found is None


def test_a_vanishing_layer_is_told_once_for_a_method_with_its_first_round():
    layers = [{"conv": {"size": 100, "kept": kept, "filters": 8, "dead_filters": 0}} for kept in (50, 7, 3)]
    found = Run("r", IMP, [round_row(k, 90, layers=layer) for k, layer in enumerate(layers)])
    (sentence,) = vanishing_layers("IMP", [Run("q", IMP, found.rounds[:1]), found, Run("p", IMP, found.rounds[2:])])
    assert sentence.startswith("IMP: conv is about to vanish in 2 of 3 runs, first in round 1: 7 of 100 weights")


def test_how_much_of_a_set_stays():
    runs = [
        Run("r", PRAC, [round_row(0, 90, next_set=8, next_in_set=6)]),
        Run("q", PRAC, [round_row(0, 90, next_set=4, next_in_set=1)]),
    ]
    assert kept_share(runs, 0) == 50
    assert kept_share([Run("r", PRAC, [round_row(0, 90)])], 0) is None


def test_distances_without_epochs_come_from_the_row():
    found = Run("r", PRAC, [round_row(0, 90, distances=[0.3, 0.1], interval=None)])
    assert mask_distances(found, found.rounds[0]) == [(1, 0.3), (2, 0.1)]
    found.epochs = [{"round": 0, "epoch": 5, "distance": 0.2}, {"round": 1, "epoch": 5, "distance": 0.9}]
    assert mask_distances(found, found.rounds[0]) == [(5, 0.2)]


# --- documents --------------------------------------------------------------------------------------------------------


def test_html_is_escaped_and_numbers_are_written():
    table = Table("t", "a < b", [Column("x & y", ".2f"), Column("ok")], [[1.005, True], [None, False]])
    text = html(Report("<r>", [Section("S", "s", [Paragraph("1 < 2", warns=True), table])]))
    assert "&lt;r&gt;" in text and "1 &lt; 2" in text and "x &amp; y" in text and "a &lt; b" in text
    assert '<td class="number">–</td><td class="number">no</td>' in text


def test_a_long_table_is_in_its_file_alone():
    table = Table("t", "Long.", [Column("x", "d")], [[12345]] * (MOST_ROWS + 1))
    text = html(Report("r", [Section("S", "s", [table])]))
    assert "12345" not in text and f"{MOST_ROWS + 1:,} rows are in <code>tables/t.csv" in text
    assert table.csv().count(b"12345") == MOST_ROWS + 1


def test_short_names_are_unique(tmp_path):
    paths = [tmp_path / "a" / "lt", tmp_path / "b" / "lt"]
    assert short_names(paths) == ["a/lt", "b/lt"]
    assert short_names(paths[:1]) == ["lt"]


# --- end to end -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of IMP and PrAC, random pruning, the dense network, two retrained tickets."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run("imp", f"{SEARCHING} --seed {seed}", folder / f"imp_{seed}")
        run("PrAC", f"{SEARCHING} --eb_eps 0.05 --seed {seed}", folder / f"PrAC_{seed}")
    run("imp", f"{SEARCHING} --random_prune", folder / "random_0")
    run("train", QUICK, folder / "dense_0")
    for kind in ("imp", "PrAC"):
        ticket = folder / f"{kind}_0" / "1checkpoint.pth.tar"
        run("train", f"{QUICK} --init_dir {ticket} --mask_dir {ticket}", folder / f"retrain_{kind}")
    return folder


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """The report of all of them."""
    output = tmp_path_factory.mktemp("out") / "report"
    assert report.main([*map(str, sorted(runs.iterdir())), "--output", str(output)]) == 0
    return output


class Page(HTMLParser):
    """The resources that a page names, its anchors and links."""

    def __init__(self, text):
        super().__init__()
        self.resources, self.links, self.anchors = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.resources += [found[name] for name in ("src", "data", "srcset") if name in found]
        (self.resources if tag == "link" else self.links).extend([found["href"]] if "href" in found else [])
        self.anchors += [found["id"]] if "id" in found else []
        assert tag != "script"


def test_the_page_needs_no_other_file(whole):
    text = (whole / "report.html").read_text()
    page = Page(text)
    assert len(page.resources) > 8
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.resources)
    plain = re.sub('base64,[^"]+', "", text)
    assert "http" not in plain and "url(" not in plain and "@import" not in plain
    for source in page.resources:
        drawn = base64.b64decode(source.partition("base64,")[2]).decode()
        assert all(link.startswith(("#", "data:")) for link in re.findall('href="([^"]*)"', drawn))
    assert len(page.links) >= 5 and {link.removeprefix("#") for link in page.links} <= set(page.anchors)


def test_the_page_holds_every_number_of_the_tables(whole):
    text = unescape((whole / "report.html").read_text())
    rows = list(csv.DictReader((whole / "tables" / "accuracy-1.csv").open()))
    assert {row["method"] for row in rows} == {"IMP", "IMP, random pruning", "PrAC", "dense network"}
    for row in rows:
        cells = [f"{float(row[name]):.2f}" for name in ("remaining (%)", "sparsity (%)")]
        cells += [row["seeds"], f"{float(row['test (%)']):.2f}"]
        assert "".join(f'<td class="number">{cell}</td>' for cell in cells) in text


def test_numbers_are_those_of_the_runs(runs, whole):
    rows = list(csv.DictReader((whole / "tables" / "accuracy-1.csv").open()))
    summaries = [json.loads((runs / f"PrAC_{seed}" / "summary.json").read_text()) for seed in (0, 1)]
    (mine,) = [
        r for r in rows if (r["networks"], r["method"]) == ("search", "PrAC") and float(r["remaining (%)"]) < 100
    ]
    assert float(mine["test (%)"]) == pytest.approx(sum(s["rounds"][1]["test"] for s in summaries) / 2)
    retrained = json.loads((runs / "retrain_PrAC" / "summary.json").read_text())["rounds"][0]["test"]
    (ticket,) = [r for r in rows if (r["networks"], r["method"]) == ("retrained", "PrAC")]
    assert float(ticket["test (%)"]) == pytest.approx(retrained) and ticket["seeds"] == "1"
    (cost,) = [r for r in csv.DictReader((whole / "tables" / "cost-1.csv").open()) if r["method"] == "PrAC"]
    assert float(cost["steps"]) == sum(s["costs"]["steps"] for s in summaries) / 2
    assert float(cost["saved: find (%)"]) == pytest.approx(50 * sum(s["costs"]["saved"] for s in summaries))
    (total,) = [r for r in csv.DictReader((whole / "tables" / "effort-1.csv").open()) if r["method"] == "PrAC"]
    assert float(total["steps in all"]) == summaries[0]["rounds"][0]["steps"] + 3 * 21


def test_every_chapter_is_there_with_its_pictures(whole):
    text = (whole / "report.html").read_text()
    for title in ("Accuracy", "Cost", "Masks", "Overlap of tickets", "PrAC sets", "Runs"):
        assert f"<h2>{title}</h2>" in text
    pictures = {file.stem for file in (whole / "figures").glob("*.png")}
    assert pictures == {file.stem for file in (whole / "figures").glob("*.svg")}
    for name in ("accuracy-search-1", "accuracy-tickets-1", "cost-1", "effort-1", "sets-1", "overlap-1", "layers-1-1"):
        assert name in pictures
    assert any(name.startswith("gallery-most-forgotten") for name in pictures)
    assert any(name.startswith("distance") for name in pictures)
    markdown = (whole / "report.md").read_text()
    assert {match[1] for match in re.finditer(r"\(figures/(.+?)\.png\)", markdown)} == pictures
    assert "python main_PrAC_imp.py --dataset digits" in markdown and "python main_imp.py" in text


def test_few_seeds_give_no_verdict(whole):
    assert "no verdict against the dense network from 2 pairs" in (whole / "report.html").read_text()


def test_a_report_is_replaced_and_other_files_stay(runs, tmp_path):
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    assert report.main([str(runs / "dense_0"), "--output", str(tmp_path)]) == 0
    assert "old" not in (tmp_path / "report.html").read_text() and (tmp_path / "mine.txt").exists()


def test_older_runs_and_reference_runs_are_read_from_checkpoints(runs, tmp_path, reference_checkpoint):
    for name in ("PrAC_0", "retrain_PrAC", "dense_0"):
        shutil.copytree(runs / name, tmp_path / name)
        (tmp_path / name / "summary.json").unlink()
    found, _ = logged(read_runs, [tmp_path / name for name in ("PrAC_0", "retrain_PrAC", "dense_0")])
    fresh, _ = logged(read_runs, [runs / name for name in ("PrAC_0", "retrain_PrAC", "dense_0")])
    for old, new in zip(found, fresh, strict=True):
        known = [{key: row.get(key) for key in ("density", "test", "best_epoch", "steps", "set")} for row in new.rounds]
        assert [{key: row.get(key) for key in known[0]} for row in old.rounds] == known
    assert found[1].ticket["prunings"] == 1, "told by the checksum of the ticket"
    foreign, notes = logged(read_runs, [reference_checkpoint("prac").parent])
    assert foreign[0].rounds[0]["test"] == pytest.approx(28.9999985) and foreign[0].rounds[0]["best_epoch"] == 3
    assert foreign[0].rounds[0]["density"] == pytest.approx(0.8, abs=1e-5) and "2021 code" in notes[0]


def test_runs_without_validation_are_reported_as_they_ended(runs, tmp_path, capsys):
    """Their test accuracy is the last epoch's; from summary.json, and from checkpoints where there is none."""
    for name in ("imp_0", "imp_1", "retrain_imp", "dense_0"):
        shutil.copytree(runs / name, tmp_path / name)
        file = tmp_path / name / "summary.json"
        summary = json.loads(file.read_text())
        rounds = [row | {"validation": None, "test": 77.0 + row["round"]} for row in summary["rounds"]]
        examples = summary["examples"] | {"validation": 0}
        file.write_text(json.dumps(summary | {"rounds": rounds, "examples": examples}))
        metrics = tmp_path / name / "metrics.jsonl"
        lines = [json.loads(line) | {"validation": None} for line in metrics.read_text().splitlines()]
        metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = tmp_path / "dense_0" / "checkpoint.pth.tar"
    content = read(file)
    history = [line | {"validation": None, "test": None} for line in content["history"]]
    history[-1]["test"] = 66.0
    write(file, content | {"history": history})
    (tmp_path / "dense_0" / "summary.json").unlink()
    given = sorted(map(str, tmp_path.iterdir()))
    assert report.main([*given, "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / "tables" / "accuracy-1.csv").open()))
    found = {(row["networks"], row["method"], round(float(row["remaining (%)"]))): row["test (%)"] for row in rows}
    assert found == {
        ("search", "IMP", 100): "77.0",
        ("search", "IMP", 80): "78.0",
        ("retrained", "IMP", 80): "77.0",
        ("dense", "dense network", 100): "66.0",
    }
    networks = list(csv.DictReader((tmp_path / "out" / "tables" / "networks.csv").open()))
    assert {row["validation"] for row in networks} == {""}
    (dense,) = [row for row in networks if row["run"] == "dense_0"]
    assert dense["best epoch"] == "2" and dense["test"] == "66.0"


def test_bad_directories_are_named_and_the_rest_is_reported(runs, tmp_path, reference_checkpoint, capsys):
    empty, cut, damaged, going = (tmp_path / name for name in ("empty", "cut", "damaged", "going"))
    empty.mkdir()
    shutil.copytree(runs / "PrAC_0", cut)
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"round": 1, "epo')
    shutil.copytree(runs / "imp_0", damaged)
    file = damaged / "2checkpoint.pth.tar"
    file.write_bytes(file.read_bytes()[:-200])
    summary = json.loads((damaged / "summary.json").read_text())
    summary["rounds"][1].pop("steps")
    (damaged / "summary.json").write_text(json.dumps(summary))
    shutil.copytree(runs / "imp_1", going)
    summary = json.loads((going / "summary.json").read_text())
    (going / "summary.json").write_text(json.dumps(summary | {"finished": False, "rounds": summary["rounds"][:1]}))
    young = tmp_path / "young"
    shutil.copytree(runs / "dense_0", young)
    (young / "summary.json").unlink()
    content = read(young / "checkpoint.pth.tar")
    write(young / "checkpoint.pth.tar", content | {"epoch": 1, "history": content["history"][:1]})
    foreign = reference_checkpoint("imp").parent
    given = [empty, tmp_path / "nowhere", cut, cut, damaged, going, young, foreign]
    assert report.main([*map(str, given), "--output", str(tmp_path / "out")]) == 0
    told, text = capsys.readouterr().err, unescape((tmp_path / "out" / "report.html").read_text())
    for sentence in (
        f"{empty} holds no run",
        "nowhere does not exist",
        "1 line is cut or altered in metrics.jsonl",
        "is given twice",
        "summary.json is damaged; its checkpoints are used",
        "2checkpoint.pth.tar is no checkpoint, or a damaged one",
        "still going, or stopped before its end: 1 of 2 rounds are done",
        "is not finished: 1 of 3 epochs",
        "made by the 2021 code",
        "share no figure",
    ):
        assert sentence in told, sentence
        assert sentence in text, sentence


def test_a_damaged_mask_leaves_the_other_overlaps(runs, tmp_path, capsys):
    shutil.copytree(runs / "imp_0", tmp_path / "imp_0")
    (tmp_path / "imp_0" / "1checkpoint.pth.tar").write_bytes(b"none")
    given = [tmp_path / "imp_0", runs / "imp_1", runs / "PrAC_1"]
    assert report.main([*map(str, given), "--output", str(tmp_path / "out")]) == 0
    assert "its ticket is compared with none" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / "tables" / "overlap-1.csv").open()))
    assert len(rows) == 1 and "imp_0" not in rows[0]["ticket"] + rows[0]["other ticket"]


def test_nothing_readable_is_an_error(tmp_path, capsys):
    assert report.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "there is no run to report" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert report.main([str(tmp_path), "--margin", "-1"]) == 2
    assert report.main([]) == 2


def test_an_output_that_is_a_file_is_refused(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert report.main([str(runs / "dense_0"), "--output", str(tmp_path / "file" / "report")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_images_that_are_not_those_of_the_runs_are_not_shown(runs, tmp_path):
    found, _ = logged(read_runs, [runs / "PrAC_0"])
    for change, words in ({"data checksum": "00"}, "holds other images"), ({"dataset": "cifar10"}, "CIFAR10 is not in"):
        found[0].settings = found[0].settings | change
        (task,), _ = logged(group_by_task, found)
        with pytest.raises(InputError, match=words):
            read_images(task, task.methods, tmp_path / "data")
        assert not (tmp_path / "data").exists()


def test_many_altered_tickets_are_left_out_of_the_figure_of_methods():
    """A line each for nine kinds could not be told apart; all of them are in the table."""
    kinds = [{"control": name} for name in CONTROLS] + [{"rule": name} for name in RULES]
    runs = [retrained(search, 1, 90.0) for search in (IMP, PRAC)]
    for kind in [*kinds, {"control": "dense", "rule": "fine_tuning"}]:
        runs.append(retrained(IMP, 1, 88.0))
        runs[-1].settings = runs[-1].settings | kind
    (task,), _ = logged(group_by_task, runs)
    parts = accuracy_parts(task, 1, 0.5)
    (figure,) = [part for part in parts if isinstance(part, Figure)]
    words = [text for text in figure.svg.decode().splitlines() if "<!--" in text]
    assert any("PrAC (1 seed)" in text for text in words) and not any("random mask" in text for text in words)
    assert figure.caption.endswith("are in a chapter of their own.")
    assert len({row[1] for part in parts if isinstance(part, Table) for row in part.rows}) == 10
    assert task.search_names[:2] == ["IMP", "PrAC"], "colours that are told apart are theirs"


def test_logs_beside_runs_and_tickets_alone_are_no_long_list(tmp_path):
    """A shell's runs/* has them all."""
    ticket = {"format": 3, "settings": {"script": "main_init.py"}}
    for number in range(5):
        (tmp_path / f"snip_{number}").mkdir()
        write(tmp_path / f"snip_{number}" / "checkpoint.pth.tar", ticket)
        (tmp_path / f"snip_{number}.log").write_text("done")
    (tmp_path / "alone.log").write_text("of no run")
    runs, notes = logged(read_runs, sorted(tmp_path.iterdir()))
    assert runs == [] and len(notes) == 2
    assert notes[0] == f"{tmp_path / 'alone.log'} is no directory; left out."
    assert (
        notes[1].startswith(f"{tmp_path / 'snip_0'}, ") and " and 2 more each holds a ticket of main_init" in notes[1]
    )


def test_an_elastic_ticket_is_no_run(tmp_path, call):
    """It is named, and the rest of the report is made."""
    search = "--dataset digits --arch res14s --epochs 1 --decreasing_lr 1 --pruning_times 1 --prune_type lt".split()
    assert call("main_imp", *search, "--save_dir", tmp_path / "imp")[0] == 0
    ticket = tmp_path / "imp" / "1checkpoint.pth.tar"
    words = ["--source_arch", "res14s", "--target_arch", "res20s", "--init_dir", ticket, "--mask_dir", ticket]
    assert call("main_elastic", *words, "--save_dir", tmp_path / "elastic")[0] == 0
    status, _, err = call("report", tmp_path / "imp", tmp_path / "elastic", "--output", tmp_path / "report")
    assert status == 0 and "holds a ticket of main_elastic.py, no run" in err
