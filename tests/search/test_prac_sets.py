"""Which examples: a round of PrAC worked out by hand, and sets that are given."""

import numpy as np
import pytest
import torch

from lottery.search.examples import FixedSets, RoundEnd
from lottery.search.prac_sets import PracSets
from lottery.tickets.prac_set_files import check_sets, read_sets
from lottery.training.costs import Vanilla, saved, saved_by, saved_with_training
from lottery.training.recipe import Recipe, steps_per_epoch
from utils import InputError

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


def test_its_schedule_and_saving_by_hand():
    """5 of 8 examples, batches of 2, 16 epochs: 10 epochs of ceil(5/2) - 1 = 2 steps; stopped after 7."""
    recipe = Recipe(epochs=16, milestones=(8, 12), batch_size=2).scaled(5, 8)
    assert (recipe.epochs, recipe.milestones) == (10, (5, 7))
    assert (steps_per_epoch(8, 2), steps_per_epoch(5, 2)) == (4, 2)  # the fifth joins the batch before it
    vanilla = Vanilla(16, 4)
    rounds = [
        {"steps": 64, "steps_per_epoch": 4, "epochs_planned": 16, "epochs": 16},
        {"steps": 14, "steps_per_epoch": 2, "epochs_planned": 10, "epochs": 7},
    ]
    assert saved(rounds, vanilla) == pytest.approx(1 - 78 / 128)
    assert saved_with_training(rounds, vanilla) == pytest.approx(1 - 142 / 192)
    parts = saved_by(rounds, vanilla)
    assert parts == pytest.approx({"data": 32 / 128, "schedule": 12 / 128, "early stop": 6 / 128})
    assert sum(parts.values()) == pytest.approx(saved(rounds, vanilla))


def test_the_papers_saving_is_reproduced_from_its_counts():
    """Figure 8: 72k steps against 448k = 7 x 182 x 352 for the 79.03 % ticket, 83.93 % saved."""
    rounds = [{"steps": 72_000 / 7}] * 7
    assert Vanilla(182, 352).steps * 7 == 448_448
    assert 100 * saved(rounds, Vanilla(182, 352)) == pytest.approx(83.93, abs=0.05)


# --- given sets -------------------------------------------------------------------------------------------------------


def test_fixed_sets_hold_the_last_one():
    sets = [torch.tensor([1]), torch.tensor([2])]
    fixed = FixedSets(sets)
    used = [fixed.first()] + [fixed.next(round_end(k, fixed.first()))[0] for k in range(3)]
    assert [value.item() for value in used] == [1, 2, 2, 2]


def test_a_set_with_examples_outside_the_split_is_refused(tmp_path):
    np.save(tmp_path / "set.npy", np.array([1, 2, 3, 9]))
    sets = read_sets(tmp_path / "set.npy", rounds=5)
    with pytest.raises(InputError, match="2 of 4 examples outside"):
        check_sets(sets, WHOLE, tmp_path / "set.npy")


def test_a_directory_with_too_few_rounds_is_refused(tmp_path):
    with pytest.raises(InputError, match="0checkpoint"):
        read_sets(tmp_path, rounds=2)


def test_a_set_in_a_2021_checkpoint_is_read(reference_checkpoint):
    (given,) = read_sets(reference_checkpoint("prac"), rounds=3)
    assert len(given.entries) == 890 and (np.diff(given.entries) > 0).all() and given.settings is None


def test_a_checkpoint_without_a_set_is_refused(reference_checkpoint):
    with pytest.raises(InputError, match="holds no PrAC set"):
        read_sets(reference_checkpoint("imp"), rounds=3)
