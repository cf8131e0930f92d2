"""PrAC sets: a round worked out by hand, sets that are given, and searches on digits."""

import numpy as np
import pytest
import torch

import pruner
from lottery.search.examples import FixedSets, RoundEnd
from lottery.search.prac_sets import PracSets
from tests.helpers import REWIND, checkpoints, masks, run

WHOLE = torch.tensor([1, 2, 4, 5, 7, 8, 10, 11])  # D0: a split that is no arange; 3, 6, 9 and 0 validate
CURRENT = torch.tensor([1, 2, 4, 5, 7])  # the set of this round, k = 1


def policy(**changes):
    chosen = {"data_prune": "zero_out", "threshold": 0, "data_rate": 0.2, "cep": "trained", "seed": 0} | changes
    return PracSets(WHOLE, 12, **chosen)


def no_look():
    raise AssertionError("this policy needs no such predictions")


def round_end(k, indices, best=None, final=None, pruned=None):
    looks = {"best": best, "final": final, "pruned": pruned}
    return RoundEnd(k, indices, **{name: no_look if value is None else lambda value=value: torch.tensor(value)
                                   for name, value in looks.items()})  # fmt: skip


RIGHT = torch.tensor(  # epochs x the five examples of CURRENT
    [
        [1, 0, 1, 0, 1],
        [0, 1, 1, 0, 1],  # 1 is forgotten
        [1, 1, 1, 0, 0],  # 7 is forgotten
        [0, 1, 1, 0, 1],  # 1 again; 5 was never learned; 2 and 4 are never forgotten
    ],
    dtype=torch.bool,
)
DENSE = [0, 0, 0, 0, 0, 0, 0, 0]  # classes the best dense network gives D0 = 1 2 4 5 7 8 10 11
SPARSE = [0, 0, 2, 0, 1, 0, 0, 3]  # it and the sparse one disagree on 4, 7 and 11


def after_round_1(**changes):
    p = policy(**changes)
    p.next(round_end(0, WHOLE, best=DENSE) if changes.get("cep", "trained") == "trained" else
           round_end(0, WHOLE, final=DENSE, pruned=DENSE))  # fmt: skip
    p.begin_round()
    for right in RIGHT:
        p.observe(CURRENT, right)
    return p


def test_a_round_by_hand():
    chosen, report = after_round_1().next(round_end(1, CURRENT, best=SPARSE))
    assert chosen.tolist() == [1, 4, 5, 7, 11]  # CET = 1 5 7, CEP = 4 7 11
    assert {name: report[name] for name in ("cet", "cep", "cet_and_cep", "next_set")} == {
        "cet": 3, "cep": 3, "cet_and_cep": 1, "next_set": 5}  # fmt: skip


def test_a_report_names_examples_worth_looking_at():
    _, report = after_round_1().next(round_end(1, CURRENT, best=SPARSE))
    assert report["most_forgotten"] == [
        {"example": 5, "times": None},
        {"example": 1, "times": 2},
        {"example": 7, "times": 1},
    ]
    assert report["disagreeing"] == [
        {"example": 4, "before": 0, "after": 2},
        {"example": 7, "before": 0, "after": 1},
        {"example": 11, "before": 0, "after": 3},
    ]


def test_a_report_names_only_a_few(monkeypatch):
    monkeypatch.setattr("lottery.search.prac_sets.SHOWN", 2)
    _, report = after_round_1().next(round_end(1, CURRENT, best=SPARSE))
    assert [shown["example"] for shown in report["most_forgotten"]] == [5, 1]
    assert [shown["example"] for shown in report["disagreeing"]] == [4, 11]


def test_threshold_is_to_be_exceeded_and_never_learned_always_kept():
    chosen, _ = after_round_1(threshold=1).next(round_end(1, CURRENT, best=DENSE))
    assert chosen.tolist() == [1, 5]  # 1 twice, 7 only once, 5 never learned
    chosen, _ = after_round_1(threshold=2).next(round_end(1, CURRENT, best=DENSE))
    assert chosen.tolist() == [5]


def test_no_cep_after_the_dense_round_of_the_released_code():
    p = policy()
    p.begin_round()
    for right in RIGHT:
        p.observe(WHOLE, torch.cat([right, torch.ones(3, dtype=torch.bool)]))
    chosen, report = p.next(round_end(0, WHOLE, best=SPARSE))
    assert chosen.tolist() == [1, 5, 7] and report["cep"] == 0


def test_algorithm_1_compares_before_and_after_this_pruning_in_every_round():
    p = policy(cep="pruned")
    chosen, report = p.next(round_end(0, WHOLE, final=DENSE, pruned=SPARSE))
    assert report["cep"] == 3 and {4, 7, 11} <= set(chosen.tolist())


def test_cet_alone():
    p = policy(cep="none")
    for right in RIGHT:
        p.observe(CURRENT, right)
    assert p.next(round_end(1, CURRENT))[0].tolist() == [1, 5, 7]


def test_constent_keeps_a_fixed_share_and_adds_cep():
    chosen, report = after_round_1(data_prune="constent", data_rate=0.5).next(round_end(1, CURRENT, best=SPARSE))
    assert report["cet"] == 2  # round 2 starts with int(8 * 0.5^2) examples: never learned 5, then 1
    assert chosen.tolist() == [1, 4, 5, 7, 11]


def test_random_is_as_large_as_the_prac_set_and_drawn_from_all():
    sets = []
    for seed in range(30):
        p = after_round_1(data_prune="random", seed=seed)
        chosen, report = p.next(round_end(1, CURRENT, best=SPARSE))
        assert len(chosen) == report["next_set"] == 5
        assert set(chosen.tolist()) <= set(WHOLE.tolist())
        sets.append(tuple(chosen.tolist()))
    assert len(set(sets)) > 5
    assert {example for chosen in sets for example in chosen} == set(WHOLE.tolist())


def test_nothing_forgotten_gives_an_empty_set():
    p = policy()
    for _ in range(3):
        p.observe(WHOLE, torch.ones(8, dtype=torch.bool))
    assert p.next(round_end(0, WHOLE, best=DENSE))[0].tolist() == []


def test_policy_survives_a_resume():
    whole, resumed = after_round_1(), policy()
    resumed.load_state_dict(whole.state_dict())
    end = round_end(1, CURRENT, best=SPARSE)
    assert torch.equal(whole.next(end)[0], resumed.next(end)[0])


# --- given sets -------------------------------------------------------------------------------------------------------


def test_fixed_sets_hold_the_last_one():
    sets = [torch.tensor([1]), torch.tensor([2])]
    fixed = FixedSets(sets)
    used = [fixed.initial_set()] + [fixed.next(round_end(k, fixed.initial_set()))[0] for k in range(3)]
    assert [value.item() for value in used] == [1, 2, 2, 2]


# --- on digits --------------------------------------------------------------------------------------------------------


def test_sets_lie_in_the_training_split(runs):
    first, *others = [set(saved["sequence"].tolist()) for saved in checkpoints(runs / "PrAC")]
    assert len(first) == 1437 * 9 // 10
    for chosen in others:
        assert 0 < len(chosen) < len(first) and chosen <= first


def test_a_real_permutation_splits_training_validation_and_cep(tmp_path):
    """The 2021 code ignored the split file for CIFAR: right only because the shipped file is in order."""
    permutation = np.random.default_rng(0).permutation(1437)[:600]
    np.save(tmp_path / "split.npy", permutation)
    run("PrAC", f"{REWIND} --split_file {tmp_path / 'split.npy'}", tmp_path / "run")
    for saved in checkpoints(tmp_path / "run"):
        assert set(saved["sequence"].tolist()) <= set(permutation[:540].tolist())
    assert sorted(checkpoints(tmp_path / "run")[0]["sequence"].tolist()) == sorted(permutation[:540].tolist())


def test_the_schedule_shrinks_with_the_set(runs):
    first, *others = checkpoints(runs / "PrAC")[:3]
    for saved in others:
        planned = max(1, 8 * len(saved["sequence"]) // len(first["sequence"]))
        assert saved["epoch"] == planned or (saved["stopped"] and saved["epoch"] < planned)


def test_the_ledger_counts_what_was_run(runs):
    rows = checkpoints(runs / "PrAC")[-1]["rounds"]
    for row, saved in zip(rows, checkpoints(runs / "PrAC"), strict=False):
        assert row["steps"] == sum(epoch["steps"] for epoch in saved["history"])
        assert row["examples"] == len(saved["history"]) * len(saved["sequence"])
        assert row["forward_passes"] == 1293  # |D0|: the dense network once, then each sparse one
        assert row["cet"] + row["cep"] - row["cet_and_cep"] == row["next_set"]
    assert rows[0]["cep"] == 0


def test_a_given_set_is_searched_on_again(runs, tmp_path):
    """The directory of a PrAC run gives round k its round-k set; the same sets give the same tickets."""
    flags = f"{REWIND} --eb_eps 0.02 --prac_set {runs / 'PrAC'}"
    for script in ("PrAC", "imp"):
        run(script, flags, tmp_path / script)
        assert all(map(pruner.same, masks(tmp_path / script), masks(runs / "PrAC")))
    assert checkpoints(tmp_path / "imp")[-1]["rounds"][1]["forward_passes"] == 0


def test_a_round_that_is_added_later_has_its_own_given_set(runs, tmp_path):
    flags = f"{REWIND} --prac_epochs fixed --prac_set {runs / 'PrAC'}"
    run("imp", f"{flags} --pruning_times 2", tmp_path / "whole")
    for rounds in (1, 2):
        run("imp", f"{flags} --pruning_times {rounds}", tmp_path / "extended")
    sizes = [len(saved["sequence"]) for saved in checkpoints(runs / "PrAC")[:2]]
    assert [row["set"] for row in checkpoints(tmp_path / "extended")[-1]["rounds"]] == sizes and sizes[0] != sizes[1]
    assert all(map(pruner.same, masks(tmp_path / "whole"), masks(tmp_path / "extended")))


def test_a_set_from_a_file_is_used_from_round_0_on(runs, tmp_path):
    chosen = checkpoints(runs / "PrAC")[1]["sequence"].numpy()
    np.save(tmp_path / "set.npy", chosen)
    flags = f"{REWIND} --prac_epochs fixed --no_early_stop --prac_set {tmp_path / 'set.npy'}"
    run("PrAC", flags, tmp_path / "run")
    found = checkpoints(tmp_path / "run")
    assert all(saved["sequence"].tolist() == chosen.tolist() for saved in found)
    assert all(saved["epoch"] == 8 for saved in found[:3])


def test_a_round_0_too_short_for_the_rewinding_point_is_refused(tmp_path):
    labels_first = np.arange(40)
    np.save(tmp_path / "split.npy", np.arange(1437))
    np.save(tmp_path / "set.npy", labels_first)
    flags = f"{REWIND} --split_file {tmp_path / 'split.npy'} --prac_set {tmp_path / 'set.npy'}"
    assert "--rewind_epoch 1 is not reached" in run("PrAC", flags, tmp_path / "run", expect=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", ["--cep pruned", "--cep none", "--data_prune random", "--data_prune constant"])
def test_the_other_ways_to_choose_run_and_stay_in_the_split(tmp_path, more):
    run("PrAC", f"{REWIND} --epochs 4 --decreasing_lr 2 --no_early_stop {more}", tmp_path)
    first, *others = [set(saved["sequence"].tolist()) for saved in checkpoints(tmp_path)]
    assert all(chosen <= first for chosen in others)
    rows = checkpoints(tmp_path)[-1]["rounds"]
    assert [row["forward_passes"] for row in rows] == {"--cep pruned": [2586] * 3, "--cep none": [0] * 3}.get(
        more, [1293] * 3
    )
    if "constant" in more:
        assert rows[0]["cet"] == int(1293 * 0.8) and rows[1]["cet"] == int(1293 * 0.8**2)
