"""Names of methods whose sets or steps follow another run, and what they are compared with."""

import pytest

from lottery.cli.prac_imp import MEMBERS
from lottery.reports.comparison.methods import group_by_task
from lottery.reports.comparison.set_controls import SET_CONTROLS, has_classes_of_prac
from lottery.search.control_sets import BY_CLASS
from tests.helpers import (
    IMP,
    PRAC,
    logged,
    made,
    names,
    retrained,
)


def test_every_control_of_sets_has_a_name_and_a_claim():
    assert SET_CONTROLS.keys() == {*MEMBERS, "steps_of"}


CONTROL = PRAC | {"like_run": True, "members": "random", "like_run, round 0": "x"}


SHORTER = IMP | {"steps_of": True, "steps_of, round 0": 8}


@pytest.mark.parametrize(
    "settings, name",
    [
        (CONTROL, "PrAC, random members"),
        (CONTROL | {"members": "easy"}, "PrAC, easy members"),
        (CONTROL | {"members": "el2n", "cep": "pruned"}, "PrAC, CEP as in Algorithm 1, members by EL2N"),
        (CONTROL | {"members": "cet", "eb_eps": None}, "PrAC, no early stop, members by forgetting"),
        (CONTROL | {"members": "cep"}, "PrAC, members by CEP"),
        (SHORTER, "IMP, as many steps as PrAC"),
    ],
)
def test_controls_are_named_for_their_members(settings, name):
    assert names([made("a", settings, [90])]) == [name]


def test_controls_stay_apart_from_runs_that_know_nothing_of_them():
    others = [CONTROL, CONTROL | {"members": "cet"}, SHORTER]
    found = [made("a", settings, [90]) for settings in (PRAC, IMP, *others)]
    assert len(names(found)) == 5
    seeds = [made("a", CONTROL | {"like_run, round 0": digest}, [90], seed) for seed, digest in enumerate("xyz")]
    assert names(seeds) == ["PrAC, random members"]
    (task,), _ = logged(group_by_task, [made("a", IMP, [90]), made("a", SHORTER, [90]), retrained(SHORTER, 1, 90)])
    assert [method.name for method in task.methods if method.is_imp] == ["IMP"], "the yardstick is IMP alone"


def test_controls_whose_classes_are_those_of_prac():
    """As the searches that draw them say."""
    assert {key for key, control in SET_CONTROLS.items() if control.by_class} == set(BY_CLASS)
    assert has_classes_of_prac(CONTROL) and not has_classes_of_prac(PRAC)
    assert not has_classes_of_prac(CONTROL | {"members": "of another version"})
