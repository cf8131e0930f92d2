"""Controls for PrAC sets: their members by hand, and runs beside the one that they follow."""

import numpy as np
import pytest
import torch

from dataset import el2n, highest, random_by_class
from lottery.cli.prac_imp import MEMBERS
from lottery.reports.chapters.prac_sets import prac_set_parts
from lottery.reports.comparison.methods import group_by_task
from lottery.results.runs import read_runs
from lottery.search.control_sets import ControlSets, can_differ
from lottery.search.examples import RoundEnd
from lottery.search.prac_sets import PracSets
from lottery.search.schedule import nearest_epochs
from lottery.training.evaluation import Evaluator
from tests.helpers import (
    CONTROLLED,
    SAVING,
    assert_same_files,
    checkpoints,
    like_run,
    logged,
    run,
    run_killed,
)

# --- members by hand --------------------------------------------------------------------------------------------------

WHOLE = torch.tensor([1, 2, 4, 5, 7, 8, 10, 11])  # D0; 0, 3, 6 and 9 validate
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 2, 2, 1, 1])  # of D0: 0 0 1 1 0 2 1 1
LIKE = torch.tensor([1, 4, 5])  # the set that is followed: one of class 0, two of class 1
CURRENT = torch.tensor([1, 2, 4, 7])  # this control's own set of the round before


def policy(members, like=LIKE, errors=None, early=1, seed=0, cep="trained"):
    own = PracSets(WHOLE, 12, data_prune="zero_out", threshold=0, data_rate=0.2, cep=cep, seed=seed)
    return ControlSets([WHOLE, like, like], members, own, LABELS, early, errors, seed)


def round_end(k=1, **looks):
    parts = {name: lambda name=name: torch.tensor(looks[name]) for name in ("best", "final", "pruned")}
    return RoundEnd(k, CURRENT, **parts)


def draws(members, **changes):
    """What many seeds choose."""
    return [policy(members, seed=seed, **changes).next(round_end()) for seed in range(40)]


def test_random_members_have_the_classes_of_the_set_and_come_from_all():
    found = draws("random")
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 7, 4, 5, 10, 11}
    for chosen, report in found:
        assert LABELS[chosen].sort().values.tolist() == [0, 1, 1]
        assert report["next_set"] == report["as_members"] == 3 and report["filled"] == report["cut"] == 0
        assert report["in_run_set"] == len({1, 4, 5} & set(chosen.tolist()))


def test_easy_members_are_those_that_the_set_leaves_out():
    for chosen, report in draws("easy"):
        assert set(chosen.tolist()) <= {2, 7, 10, 11} and report["in_run_set"] == 0
        assert LABELS[chosen].sort().values.tolist() == [0, 1, 1]


def test_another_class_fills_up_what_the_class_of_easy_members_lacks():
    """Three of the four examples of class 1 are in the set: one is left, and the others come from 0 and 2."""
    found = draws("easy", like=torch.tensor([4, 5, 10]))
    assert all(11 in chosen and len(chosen) == 3 for chosen, _ in found)
    assert all(report["as_members"] == 1 and report["filled"] == 2 for _, report in found)
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 7, 8, 11}


def test_a_set_of_most_examples_has_all_easy_members_and_some_of_its_own():
    """Five of eight examples are in the set, and the three others in each of its controls."""
    found = draws("easy", like=torch.tensor([1, 4, 5, 10, 11]))
    assert all({2, 7, 8} <= set(chosen.tolist()) and len(set(chosen.tolist())) == 5 for chosen, _ in found)
    assert all(report["as_members"] == 1 and report["in_run_set"] == 2 for _, report in found), "one of class 0"
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 4, 5, 7, 8, 10, 11}


def test_members_by_error_are_those_of_the_dense_network_early():
    errors = iter([torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.0, 0.0])])
    control = policy("el2n", errors=lambda: next(errors), early=2)
    for _ in range(3):  # epochs of round 0: the errors are taken after the second, and once
        assert (control.errors is not None) == (control.epochs >= 2)
        control.observe(WHOLE, torch.ones(8, dtype=torch.bool))
    looks = []
    for k in (0, 1):
        end = round_end(k)
        assert control.next(end)[0].tolist() == [2, 5, 8]
        control.begin_round()
        looks.append(end.forward_passes)
    assert looks == [1, 0], "the forward passes are in the books of round 0"


RIGHT = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]], dtype=torch.bool)


def test_members_by_forgetting_are_of_the_runs_own_set_filled_at_random():
    """1 is forgotten twice, 2 never learned, 4 forgotten once, 7 never forgotten; the others were not trained on."""
    for keep, certain in {1: {2}, 2: {1, 2}, 3: {1, 2, 4}, 5: {1, 2, 4}}.items():
        fillings = set()
        for seed in range(40):
            control = policy("cet", like=WHOLE[:keep], seed=seed)
            control.begin_round()
            for right in RIGHT:
                control.observe(CURRENT, right)
            chosen, report = control.next(round_end())
            assert certain <= set(chosen.tolist()) and len(chosen) == keep
            assert (report["as_members"], report["filled"]) == (len(certain), keep - len(certain))
            assert report["cut"] == 3 - len(certain)
            fillings |= set(chosen.tolist()) - certain
        assert fillings == ({5, 7, 8, 10, 11} if keep == 5 else set())


DENSE, SPARSE = [0] * 8, [0, 0, 2, 0, 1, 0, 0, 3]  # they disagree on 4, 7 and 11


@pytest.mark.parametrize("keep, own, filled, cut", [(2, 2, 0, 1), (3, 3, 0, 0), (5, 3, 2, 0)])
def test_members_by_cep_are_cut_or_filled_at_random(keep, own, filled, cut):
    choices = set()
    for seed in range(30):
        control = policy("cep", like=WHOLE[:keep], seed=seed)
        control.next(round_end(0, best=DENSE))
        chosen, report = control.next(round_end(1, best=SPARSE))
        assert len({4, 7, 11} & set(chosen.tolist())) == own == report["as_members"]
        assert (len(chosen), report["filled"], report["cut"]) == (keep, filled, cut)
        choices.add(tuple(chosen.tolist()))
    assert len(choices) > 2 or keep == 3


def test_members_by_cep_are_random_after_the_dense_round_unless_it_is_algorithm_1():
    assert policy("cep").next(round_end(0, best=DENSE))[1]["filled"] == 3
    chosen, report = policy("cep", cep="pruned").next(round_end(0, final=DENSE, pruned=SPARSE))
    assert chosen.tolist() == [4, 7, 11] and report["filled"] == 0


def test_equals_are_drawn_from_all_of_them_whatever_their_place():
    indices, scores = torch.arange(100), torch.zeros(100)
    scores[50] = 1
    means = [highest(indices, scores, 10, np.random.default_rng(seed)).double().mean() for seed in range(50)]
    assert 45 < torch.stack(means).mean() < 54, "not the first ones, which may all be of one class"
    assert all(50 in highest(indices, scores, 10, np.random.default_rng(seed)) for seed in range(50))


def test_drawing_by_class_against_a_slow_loop():
    """Of each class as many as asked for, or all there are; so many in all; sorted, each once."""
    random = np.random.default_rng(0)
    for seed in range(50):
        labels = torch.from_numpy(random.integers(0, 4, 60))
        pool = torch.from_numpy(np.sort(random.permutation(60)[:40]))
        counts = random.multinomial(20, random.dirichlet(np.ones(4))).tolist()
        chosen = random_by_class(pool, labels, counts, np.random.default_rng(seed)).tolist()
        assert len(chosen) == 20 and chosen == sorted(set(chosen)) and set(chosen) <= set(pool.tolist())
        for label, wanted in enumerate(counts):
            there = sum(int(labels[i]) == label for i in pool.tolist())
            assert sum(int(labels[i]) == label for i in chosen) >= min(wanted, there)


def test_el2n_by_hand():
    """softmax (0.7, 0.2, 0.1), label 1: the length of (0.7, -0.8, 0.1); sure and right 0, sure and wrong sqrt 2."""
    logits = torch.tensor([[0.7, 0.2, 0.1], [1.0, 1e-9, 1e-9], [1.0, 1e-9, 1e-9]]).log()
    expected = torch.tensor([0.7**2 + 0.8**2 + 0.1**2, 0.0, 2.0]).sqrt()
    torch.testing.assert_close(el2n(logits, torch.tensor([1, 0, 2])), expected, atol=1e-6, rtol=1e-6)


def test_errors_and_classes_are_of_the_same_predictions(tiny, images):
    chosen = torch.tensor([3, 7, 20, 39])
    evaluator = Evaluator(tiny)
    errors, right = evaluator.el2n(images, chosen), evaluator(images, chosen) == images.labels[chosen]
    tiny.eval()
    with torch.no_grad():
        logits = tiny(images.images[chosen].permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(errors, el2n(logits, images.labels[chosen]))
    assert (errors[right] < 1).all() and (errors[~right] > 0.5**0.5).all()


@pytest.mark.parametrize("steps, epochs", [(0, 1), (9, 1), (14, 1), (15, 2), (24, 2), (25, 3), (200, 20)])
def test_the_nearest_epochs(steps, epochs):
    assert nearest_epochs([steps], 10) == (epochs,)


def test_a_set_of_all_examples_has_no_other_members():
    """Of random ones also a set of all examples of its classes; errors and forgetting may choose from other classes."""
    of_classes_0_and_2 = torch.tensor([1, 2, 7, 8])
    for members, like, others in [
        ("random", LIKE, True),
        ("random", of_classes_0_and_2, False),
        ("el2n", of_classes_0_and_2, True),
        ("random", WHOLE, False),
        ("easy", WHOLE, False),
        ("easy", LIKE, True),
    ]:
        assert can_differ(members, like, WHOLE, LABELS) == others
        if not others:
            assert all(set(chosen.tolist()) == set(like.tolist()) for chosen, _ in draws(members, like=like))


# --- on digits -------------------------------------------------------------------------------------------------------


def test_a_control_has_the_sizes_steps_and_ends_of_its_run_and_other_members(controls):
    followed = checkpoints(controls / "PrAC")
    rows = followed[-1]["rounds"]
    assert all(row["stopped"] for row in rows) and rows[1]["set"] < rows[0]["set"], "or it proves little"
    same = ("set", "epochs", "epochs_planned", "steps", "steps_per_epoch", "examples", "stopped", "kept")
    chosen = {}
    for members in MEMBERS:
        found = checkpoints(controls / members)
        assert len(found) == 3 and found[0]["sequence"].tolist() == followed[0]["sequence"].tolist()
        for ours, theirs in zip(found[-1]["rounds"], rows, strict=True):
            assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
            assert ours["as_members"] + ours["filled"] == ours["next_set"] == theirs["next_set"]
        for ours, theirs in zip(found, followed, strict=True):
            assert [row["lr"] for row in ours["history"]] == [row["lr"] for row in theirs["history"]]
            assert set(ours["sequence"].tolist()) <= set(followed[0]["sequence"].tolist())
        chosen[members] = tuple(tuple(saved["sequence"].tolist()) for saved in found[1:])
    assert len(set(chosen.values())) == len(MEMBERS)


def test_random_and_easy_members_have_the_classes_of_their_runs_sets(controls):
    for members, shared in (("random", None), ("easy", 0)):
        for ours, theirs in zip(checkpoints(controls / members)[1:], checkpoints(controls / "PrAC")[1:], strict=True):
            row, set_ = ours["rounds"][-1], set(theirs["sequence"].tolist())
            assert row["in_run_set"] == len(set_ & set(ours["sequence"].tolist())) and row["in_run_set"] in (
                [shared] if shared is not None else range(1, len(set_))
            )
        rows = checkpoints(controls / members)[-1]["rounds"], checkpoints(controls / "PrAC")[-1]["rounds"]
        for before, ours, theirs in zip(rows[0], rows[0][1:], rows[1][1:], strict=False):
            if not before.get("filled"):  # classes of which the set that is drawn then had too few examples
                assert ours["class_counts"] == theirs["class_counts"]


def test_the_forward_passes_of_a_control_are_in_its_books(controls):
    passes = {members: [row["forward_passes"] for row in checkpoints(controls / members)[-1]["rounds"]]
              for members in MEMBERS}  # fmt: skip
    assert passes == {
        "random": [0, 0],
        "easy": [0, 0],
        "el2n": [1293, 0],
        "cet": [0, 0],
        "cep": [1293, 1293],
        "ccs": [1293, 0],
    }


@pytest.mark.parametrize("more", ["--precision bf16", "--weights {}/0checkpoint.pth.tar"])
def test_a_control_differs_from_its_run_in_nothing_but_its_members(controls, tmp_path, more):
    flags = f"{like_run(controls / 'PrAC', 'random')} {more.format(controls / 'PrAC')}"
    out = " ".join(run("PrAC", flags, tmp_path / "run", expect=2).split())
    assert "would differ from this run in more than its members" in out


@pytest.mark.parametrize("kind", ["el2n", "cep", "ccs", "steps"])
def test_a_killed_control_ends_where_an_unbroken_one_does(controls, tmp_path, monkeypatch, kind):
    """Also where scores are taken in mid-round and needed in later ones."""
    flags = f"{CONTROLLED} --steps_of {controls / 'PrAC'}" if kind == "steps" else like_run(controls / "PrAC", kind)
    run_killed(monkeypatch, "imp" if kind == "steps" else "PrAC", f"{flags} {SAVING}", tmp_path / "run", every=5)
    assert_same_files(tmp_path / "run", controls / kind)


def test_the_chapter_on_sets_has_those_of_a_run_and_of_its_controls(controls):
    found, notes = logged(read_runs, [controls / "easy", controls / "PrAC", controls / "steps"])
    (task,), more = logged(group_by_task, found)
    assert not notes and not more
    figure, table, *_ = prac_set_parts(task, None)
    rows = checkpoints(controls / "PrAC")[-1]["rounds"]
    sizes = [row["next_set"] for row in rows]
    assert [(row[0], row[1], row[7]) for row in table.rows] == [
        (name, k, size)
        for name in ("PrAC, fixed epochs", "PrAC, easy members, fixed epochs")
        for k, size in enumerate(sizes)
    ]
    assert table.rows[0][4] == rows[0]["cet"] and table.rows[2][4] is None, "a control has no CET"
    assert figure.caption.startswith("What each round left")
