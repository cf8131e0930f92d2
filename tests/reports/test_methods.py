"""Which runs are one method on one task."""

import pytest

from lottery.reports.chapters.accuracy import pairing_warnings
from lottery.reports.chapters.run_list import repeats_table
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.methods import SEARCH, TICKETS, group_by_task
from lottery.reports.comparison.verdict import statements
from tests.helpers import (
    FROM_SCRATCH,
    IMP,
    PRAC,
    TRAIN,
    curves,
    deep,
    elastic_ticket,
    init_ticket,
    logged,
    made,
    names,
    retrained,
    seeds,
)


def test_a_search_that_begins_with_a_ticket_is_another_method():
    """Also beside one of the version before, whose settings do not say that it was given nothing."""
    given = IMP | {"init_dir": True, "mask_dir": True, "ticket checksum": "1"}
    runs = [made("a", IMP, [90]), made("b", given, [80]), made("c", given | {"ticket checksum": "2", "seed": 1}, [81])]
    assert sorted(names(runs)) == ["IMP", "IMP, from a ticket"]


def test_equal_names_are_distinguished_by_what_differs():
    other = PRAC | {"eb_eps": 0.02, "decreasing_lr": [2, 3]}
    runs = [made("a", PRAC | {"decreasing_lr": [1, 2]}, [90]), made("b", other, [90]), made("c", IMP, [90])]
    assert set(names(runs)) == {"IMP", "PrAC (eb_eps 0.08, decreasing_lr 1,2)", "PrAC (eb_eps 0.02, decreasing_lr 2,3)"}


def test_seed_length_and_later_flags_make_no_method():
    runs = [made("a", PRAC, [90], 0), made("b", PRAC | {"pruning_times": 9, "new_flag": 1}, [90], 1)]
    assert names(runs) == ["PrAC"]


LATER_RECIPE = {"schedule": "step", "gamma": 0.1, "nesterov": False, "optimizer": "sgd", "label_smoothing": 0.0}


@pytest.mark.parametrize(
    "change, plain, other",
    [
        ({"schedule": "cosine"}, "schedule step", "schedule cosine"),
        ({"gamma": 0.2}, "gamma 0.1", "gamma 0.2"),
        ({"optimizer": "adam", "lr": 0.001}, "lr 0.1, optimizer sgd", "lr 0.001, optimizer adam"),
        ({"nesterov": True}, "nesterov False", "nesterov True"),
        ({"label_smoothing": 0.1}, "label_smoothing 0.0", "label_smoothing 0.1"),
    ],
)
@pytest.mark.parametrize("recorded", [LATER_RECIPE, {}], ids=["of today", "from before there were such flags"])
def test_another_recipe_is_another_method_which_its_name_says(recorded, change, plain, other):
    old, new = IMP | {"lr": 0.1}, IMP | {"lr": 0.1} | LATER_RECIPE
    runs = [made("a", old | recorded, [90]), made("b", new | change, [80]), made("c", new, [91], seed=1)]
    assert names(runs) == [f"IMP ({plain})", f"IMP ({other})"]
    (task,), _ = logged(group_by_task, runs)
    first, second = task.methods
    assert [run.name for run in first.runs] == [runs[0].name, runs[2].name] and not first.same_recipe(second)


def test_a_schedule_without_drops_has_none_in_its_name():
    smooth = IMP | LATER_RECIPE | {"schedule": "linear", "decreasing_lr": []}
    runs = [made("a", IMP | {"decreasing_lr": [1, 2]}, [90]), made("b", smooth, [90])]
    assert names(runs) == ["IMP (decreasing_lr 1,2, schedule step)", "IMP (schedule linear)"]


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


def test_a_ticket_of_no_search_has_no_method():
    ticket = {"file": "f", "prunings": None, "settings": TRAIN}
    assert names([made("r", TRAIN, [90.0], summary={"ticket": ticket})], TICKETS) == ["tickets of unknown origin"]


def test_weights_drawn_afresh_are_the_control_that_they_amount_to():
    """Beside the reference, of which they are none, and with what it shows that tickets do better."""
    tickets = [retrained(FROM_SCRATCH, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    others = [retrained(FROM_SCRATCH, 1, 80.0 + seed, seed, seed) for seed in range(5)]
    for each in others:
        each.settings = each.settings | {"ticket start": "drawn"}
    (task,), _ = logged(group_by_task, tickets + others)
    method = next(method for method in task.by_kind(TICKETS) if method.is_altered)
    assert (method.control, method.base, method.is_imp) == ("reinit", "IMP", False)
    (found,) = statements(accuracy_curves(task, TICKETS, 0.5), 0.5)
    assert found.words == "its starting weights matter"


def test_elastic_tickets_are_in_the_task_of_the_network_they_were_made_for():
    runs = [*seeds(IMP, [[90, 91]]), deep(1, 80.0), elastic_ticket(IMP, 0.3, 70.0)]
    tasks, _ = logged(group_by_task, runs)
    assert {task.name: [method.name for method in task.methods] for task in tasks} == {
        "digits, tiny": ["IMP"],
        "digits, deep": ["IMP", "IMP of flat, elastic (append)"],
    }


def test_inverted_and_trained_tickets_are_no_older_ones():
    """Which do not say that they are neither; those that do are the same method as they."""
    runs = [init_ticket(80.0), init_ticket(81.0, seed=1, inverted=False, weights="starting")]
    runs += [init_ticket(70.0, inverted=True, weights="starting"), init_ticket(75.0, weights="trained")]
    (task,), _ = logged(group_by_task, runs)
    found = {method.name: len(method.runs) for method in task.by_kind(TICKETS)}
    assert found == {"SNIP": 2, "SNIP, inverted": 1, "SNIP at trained weights": 1}


DENSITIES = IMP | {"rate": None, "pruning_times": 2, "densities": [0.5, 0.25], "prunable": 64}


def test_densities_that_come_to_the_counts_of_a_rate_are_the_same_method():
    """Half of 64 weights and half again; a longer list goes on as another seed's shorter one."""
    longer = DENSITIES | {"densities": [0.5, 0.25, 0.0625]}
    assert names([made("a", DENSITIES, [90, 90], 1), made("b", IMP, [90, 90], 0)]) == ["IMP"]
    both = names([made("a", IMP, [90, 90]), made("b", longer, [90, 90])])
    assert both == ["IMP (rate 0.5)", "IMP (densities 0.5,0.25,0.0625)"]
    third = made("c", IMP | {"rate": 0.1}, [90])
    found = names([made("a", DENSITIES, [90]), made("b", longer, [90], 1), third])
    assert sorted(found) == ["IMP (densities 0.5,0.25,0.0625)", "IMP (rate 0.1)"]


def test_a_search_that_continues_has_no_equal_during_the_search():
    """Its networks are trained for longer than IMP's; its tickets, retrained, are compared with IMP's."""
    goes_on, name = IMP | {"between": "continue"}, "IMP, no rewinding between rounds"
    runs = [*seeds(IMP, [[90, 90]] * 5), *seeds(goes_on, [[90, 92]] * 5)]
    assert all(point.against_imp is None and point.against_dense is None for point in curves(runs)[name].points)
    notes = [note.text for note in pairing_warnings({SEARCH: [curves(runs)[name]]})]
    assert len(notes) == 1 and notes[0].startswith(f"{name}: during the search its networks are trained for longer")
    tickets = [retrained(settings, 1, 90, seed, seed) for settings in (IMP, goes_on) for seed in range(5)]
    assert curves([*runs, *tickets], TICKETS)[name].points[0].against_imp.n == 5


def test_several_repeats_are_one_note_and_rows_of_a_table():
    searches = [made("runs", IMP, [90, 80][:rounds]) for rounds in (1, 2, 1)]
    trainings = [retrained(IMP, 1, test) for test in (90, 91)]
    for run, name in zip((*searches, *trainings), "abcde", strict=True):
        run.name = name
    _, notes = logged(group_by_task, [*searches, *trainings])
    assert notes == [
        "2 runs repeat the method and seed of another (in brackets), which alone is counted: a (b), c (b).",
        "e repeats the method, seed and ticket of d, which alone is counted.",
    ]
    table = repeats_table([run for run in (*searches, *trainings) if run.repeats])
    assert table.rows == [["a", "0", "b"], ["c", "0", "b"], ["e", "0", "d"]]
    logged(group_by_task, searches[:1])
    assert searches[0].repeats is None
