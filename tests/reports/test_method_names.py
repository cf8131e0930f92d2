"""What methods are called: searches, altered tickets, tickets pruned at initialization."""

import pytest

from lottery.reports.comparison.methods import TICKETS
from tests.helpers import FROM_SCRATCH, IMP, PRAC, control, elastic_ticket, init_ticket, made, names, retrained


@pytest.mark.parametrize(
    "settings, name",
    [
        (IMP, "IMP"),
        (IMP | {"pattern": "2:4", "rate": None}, "IMP, 2:4"),
        (PRAC | {"pattern": "1:4", "rate": None, "data_prune": "random"}, "PrAC, 1:4, random sets"),
        (IMP | {"basis": "dct", "basis_axes": ["in"], "block": "weight"}, "IMP, dct (in)"),
        (PRAC | {"basis": "svd", "basis_axes": ["out"], "block": "row"}, "PrAC, svd, rows"),
        (IMP | {"basis": "canonical", "basis_axes": None, "block": "filter"}, "IMP, filters"),
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


@pytest.mark.parametrize(
    "run, name",
    [
        (control(IMP, "reinit", 1, 90.0), "IMP, re-initialised"),
        (control(IMP, "random_mask", 1, 90.0), "IMP, random mask"),
        (control(PRAC, "one_shot", 1, 90.0), "PrAC, one-shot magnitude"),
        (control(IMP, "of_a_later_version", 1, 90.0), "IMP, of_a_later_version"),
        (control(IMP, None, 1, 90.0), "IMP"),
        (elastic_ticket(IMP, 0.3, 90.0), "IMP of flat, elastic (append)"),
        (elastic_ticket(PRAC, 0.3, 90.0, order="interpolate"), "PrAC of flat, elastic (interpolate)"),
        (elastic_ticket(IMP, 0.3, 90.0, order=None), "IMP of flat, elastic (0:0;1:1,2)"),
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


def test_a_mask_on_other_weights_stays_one_when_it_is_transferred():
    run = elastic_ticket(IMP, 0.3, 90.0)
    run.summary["ticket"]["source"]["start"] = "other"
    assert names([run], TICKETS) == ["IMP, mask on other weights of flat, elastic (append)"]


def test_a_ticket_that_was_transferred_twice_says_so():
    run = elastic_ticket(IMP, 0.3, 90.0)
    again = {"script": "main_elastic.py", "source_arch": "deep", "order": "interpolate", "block_mapping": ""}
    run.summary = {"ticket": {"file": "h", "prunings": None, "settings": again, "source": run.ticket}}
    run.settings = run.settings | {"control": "random_mask"}
    assert names([run], TICKETS) == ["IMP of flat, elastic (append) of deep, elastic (interpolate), random mask"]


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "SNIP"),
        ({"pattern": "2:4"}, "SNIP, 2:4"),
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
def test_tickets_pruned_at_init_are_named_for_how(settings, name):
    assert names([init_ticket(90.0, **settings)], TICKETS) == [name]
