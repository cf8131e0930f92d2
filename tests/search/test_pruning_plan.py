"""How many weights each pruning leaves, by a rate or by densities, and searches by either."""

import shutil

import pytest
import torch

import verify
from lottery.checkpointing.checkpoint import read, write
from lottery.checkpointing.metrics import read_summary
from lottery.search.config import PruningConfig
from lottery.search.pruning_plan import PruningPlan, prunes_alike
from pruner import count, size
from tests.helpers import (
    REWIND,
    SAVING,
    assert_same,
    assert_same_files,
    checkpoints,
    masks,
    run,
    run_in_process,
    run_killed,
)
from utils import InputError

LENET = "--dataset digits --arch lenet300 --epochs 3 --decreasing_lr 2 --batch_size 64 --gpu -1"
LENET += " --prune_type rewind_lt --rewind_epoch 0"
BASE = REWIND.replace(" --pruning_times 3", "")
LAYER = "network.0.weight"
CONTINUED = f"{REWIND} --between continue"


def test_a_plan_by_densities():
    plan = PruningPlan(None, (0.5, 0.25, 0.125))
    assert [plan.kept(k, 1000, 1000) for k in range(5)] == [1000, 500, 250, 125, 125]
    assert [plan.kept_next(k, kept, 1000) for k, kept in enumerate([1000, 500, 250])] == [500, 250, 125]
    assert PruningPlan(None, (0.3,)).kept(1, 700, 1001) == round(0.3 * 1001), "of all weights, not of those kept"
    assert plan.largest_share == 0.5


def test_a_plan_by_rate():
    plan = PruningPlan(0.2)
    assert [plan.kept(k, 1000, 5000) for k in range(4)] == [1000, 800, 640, 512]
    assert plan.kept_next(7, 640, 5000) == 512 and plan.largest_share == 0.2


def test_the_plan_of_old_files():
    assert PruningPlan.from_settings({}, 0.3) == PruningPlan(0.3)
    assert PruningPlan.from_settings({"rate": None, "densities": [0.5, 0.1]}, 0.2) == PruningPlan(None, (0.5, 0.1))


def test_in_the_library_too_densities_say_how_many_prunings_there_are():
    config = PruningConfig(densities=(0.5, 0.2))
    assert (config.pruning_times, config.rate) == (2, None)
    assert (PruningConfig().pruning_times, PruningConfig().rate) == (16, 0.2)


def test_a_plan_that_leaves_nothing_or_has_nothing_to_prune():
    with pytest.raises(InputError, match=r"--densities 0\.5,0\.0001 leaves none of the 1000"):
        PruningPlan(None, (0.5, 0.0001)).check(2, 1000, 1000)
    with pytest.raises(InputError, match=r"begins with 0\.5, but the first round has a density of 0\.4 already"):
        PruningPlan(None, (0.5, 0.1)).check(2, 400, 1000)
    with pytest.raises(InputError, match=r"0\.5,0\.4999 are both 50 of 100 weights, so that the second prunes nothing"):
        PruningPlan(None, (0.9, 0.5, 0.4999)).check(3, 100, 100)
    with pytest.raises(InputError, match=r"--pruning_times 40 at --rate 0\.9 leaves none"):
        PruningPlan(0.9).check(40, 10, 10)


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_densities_that_a_rate_gives_are_that_search_to_the_bit(tmp_path, kind):
    run(kind, f"{LENET} --rate 0.2 --pruning_times 2", tmp_path / "rate")
    run(kind, f"{LENET} --densities 0.8,0.64", tmp_path / "densities")
    pairs = zip(checkpoints(tmp_path / "rate"), checkpoints(tmp_path / "densities"), strict=True)
    for k, (a, b) in enumerate(pairs):
        for content in (a, b):
            for name in ("rate", "densities", "prunable"):
                content["settings"].pop(name, None)
            content["environment"] = content["seconds"] = None
            for row in [*content["history"], *content["rounds"]]:
                row["seconds"] = None
        assert_same(a, b, f"{k}checkpoint.pth.tar")


def test_each_mask_has_its_density_exactly(tmp_path):
    out = run("imp", f"{BASE} --densities 0.7,0.33,0.1 --eb_eps 0.5 --eb_arm none --queue_length 1", tmp_path)
    kept = [count(mask) for mask in masks(tmp_path)[1:]]
    weights = size(masks(tmp_path)[1])
    assert kept == [round(density * weights) for density in (0.7, 0.33, 0.1)]
    assert "90.00 % sparse" in out or f"{100 * (1 - kept[-1] / weights):.2f} % sparse" in out
    assert run_in_process(verify, *sorted(tmp_path.glob("*checkpoint.pth.tar")))[0] == 0


def test_more_densities_extend_a_search_others_do_not(tmp_path):
    run("imp", f"{BASE} --densities 0.7,0.33", tmp_path / "grown")
    shutil.copytree(tmp_path / "grown", tmp_path / "other")
    run("imp", f"{BASE} --densities 0.7,0.33,0.1", tmp_path / "grown")
    run("imp", f"{BASE} --densities 0.7,0.33,0.1", tmp_path / "whole")
    a, b = (read(tmp_path / name / "3checkpoint.pth.tar") for name in ("grown", "whole"))
    assert_same(a["state_dict"], b["state_dict"], "state_dict")
    out = run("imp", f"{BASE} --densities 0.7,0.3", tmp_path / "other", expect=2)
    assert "densities was 0.7,0.33, is 0.7,0.3" in out
    assert "rate was not given, is 0.2" in run("imp", f"{BASE} --pruning_times 2", tmp_path / "other", expect=2)


def test_densities_begin_below_those_of_a_given_ticket(runs, tmp_path):
    ticket = runs / "imp" / "1checkpoint.pth.tar"
    given = f"--init_dir {ticket} --mask_dir {ticket}"
    out = run("imp", f"{BASE} --densities 0.9,0.5 {given}", tmp_path / "run", expect=2)
    assert "--densities begins with 0.9" in out and not (tmp_path / "run").exists()
    run("imp", f"{BASE} --densities 0.5,0.25 {given}", tmp_path / "run")
    assert count(masks(tmp_path / "run")[2]) == round(0.25 * size(masks(tmp_path / "run")[2]))


# --- going on from trained weights between rounds -------------------------------------------------------------------


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    folder = tmp_path_factory.mktemp("continued")
    run("imp", CONTINUED, folder)
    return folder


def test_a_round_goes_on_from_trained_weights_and_writes_a_rewound_ticket(continued, runs):
    """Before the first pruning all is as in a search that rewinds; its tickets start from the same weights."""
    rounds, rewinding = checkpoints(continued), checkpoints(runs / "imp")
    assert_same(rounds[0]["state_dict"], rewinding[0]["state_dict"], "round 0")
    assert_same(rounds[1]["init_weight"], rewinding[1]["init_weight"], "rewound weights")
    assert not torch.equal(rounds[1]["state_dict"][LAYER + "_orig"], rewinding[1]["state_dict"][LAYER + "_orig"])
    last, ticket = rounds[2]["state_dict"], rounds[3]
    kept = ticket["state_dict"][LAYER + "_mask"]
    assert torch.equal(ticket["state_dict"][LAYER + "_orig"], last[LAYER + "_orig"] * kept), "as it was trained"
    assert torch.equal(ticket["state_dict"]["network.1.running_mean"], last["network.1.running_mean"])
    assert_same(ticket["init_weight"], rounds[0]["init_weight"], "rewound weights")


def test_a_round_begins_with_the_first_learning_rate_and_no_momentum(continued):
    """Its first epoch by hand: a training from the trained weights."""
    rounds = checkpoints(continued)
    assert [row["lr"] for row in rounds[1]["history"]] == [row["lr"] for row in rounds[0]["history"]]
    assert rounds[1]["first_step"] == 0


def test_its_tickets_are_verified_and_trained_by_every_rule(continued, tmp_path):
    status, out, err = run_in_process(verify, *sorted(continued.glob("*checkpoint.pth.tar")))
    assert status == 0, out + err
    flags = REWIND.split(" --prune_type")[0]
    mask = continued / "2checkpoint.pth.tar"
    starts = {}
    for rule, weights in (("weight_rewinding", 2), ("lr_rewinding", 1), ("fine_tuning", 1)):
        given = f"--init_dir {continued}/{weights}checkpoint.pth.tar --mask_dir {mask}"
        run("train", f"{flags} --rule {rule} {given}", tmp_path / rule)
        starts[rule] = read(tmp_path / rule / "checkpoint.pth.tar")["init_weight"]
    assert_same(starts["weight_rewinding"], checkpoints(continued)[2]["init_weight"], "rewound")
    assert not torch.equal(starts["lr_rewinding"][LAYER], starts["weight_rewinding"][LAYER])


def test_other_weights_than_the_trained_ones_are_found_out(continued, tmp_path):
    """In a round that has not begun: also where they are whole, finite, and zero where the mask drops."""
    shutil.copytree(continued, tmp_path / "run")
    last = tmp_path / "run" / "3checkpoint.pth.tar"
    status, out, _ = run_in_process(verify, last)
    assert status == 0 and "equal to the trained weights of the round before under the mask" in out
    content = read(last)
    content["state_dict"]["network.1.running_mean"] += 1
    write(last, content)
    status, out, _ = run_in_process(verify, last)
    assert status != 0 and "network.1.running_mean differs from the trained weights of the round before" in out
    (tmp_path / "run" / "2checkpoint.pth.tar").unlink()
    assert "starting weights                 -" in run_in_process(verify, last)[1], "nothing to compare them with"


@pytest.mark.parametrize("kind, more", [("imp", "--rewind_lr"), ("PrAC", "--eb_eps 0.02")])
def test_a_killed_continuing_search_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, kind, more):
    flags = f"{CONTINUED} {SAVING} {more}"
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every=7)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_a_run_that_records_neither_rewinds_by_its_rate(runs, tmp_path):
    shutil.copytree(runs / "imp", tmp_path / "old")
    for file in (tmp_path / "old").glob("*checkpoint.pth.tar"):
        content = read(file)
        for name in ("densities", "between", "pattern"):
            del content["settings"][name]
        write(file, content)
    assert "between was rewind, is continue" in run("imp", CONTINUED, tmp_path / "old", expect=2)
    assert "densities was not given" in run("imp", f"{BASE} --densities 0.8,0.64,0.5", tmp_path / "old", expect=2)
    assert "pattern was not given, is 2:4" in run("imp", f"{BASE} --pattern 2:4", tmp_path / "old", expect=2)
    run("imp", REWIND, tmp_path / "old")


# --- the ledger -----------------------------------------------------------------------------------------------------


def test_savings_are_counted_against_trainings_of_so_many_epochs(runs, tmp_path):
    """It changes nothing that is found, and may be given to a finished search."""
    shutil.copytree(runs / "imp", tmp_path / "run")
    before = read_summary(tmp_path / "run" / "summary.json")
    out = run("imp", f"{REWIND} --vanilla_epochs 16", tmp_path / "run")
    after = read_summary(tmp_path / "run" / "summary.json")
    steps = before["vanilla"]["steps_per_epoch"]
    assert after["vanilla"] == {"epochs": 16, "steps_per_epoch": steps} and before["vanilla"]["epochs"] == 8
    assert before["costs"]["saved"] == 0 and after["costs"]["saved"] == 0.5
    assert f"saved against vanilla IMP, 16 epochs a training: 50.00 % of its 3 x {16 * steps}" in out
    assert after["rounds"] == before["rounds"] and after["settings"] == before["settings"]


def test_the_ledger_counts_zero_aware_flops(runs):
    summary = read_summary(runs / "imp" / "summary.json")
    expected = sum(
        3
        * row["examples"]
        * sum(
            flops * (row["layers"][name]["kept"] / row["layers"][name]["size"] if name in row["layers"] else 1)
            for name, flops in summary["flops"].items()
        )
        for row in summary["rounds"]
    )
    assert summary["costs"]["training_flops"] == pytest.approx(expected)


def test_a_control_may_have_fewer_rounds_than_the_run_it_follows(tmp_path):
    flags = f"{LENET} --prac_epochs fixed"
    run("PrAC", f"{flags} --no_early_stop --densities 0.5,0.2", tmp_path / "PrAC")
    follows = f"{flags} --like_run {tmp_path / 'PrAC'} --members random"
    run("PrAC", f"{follows} --densities 0.5", tmp_path / "random")
    assert "densities was 0.5, is 0.4" in run("PrAC", f"{follows} --densities 0.4", tmp_path / "other", expect=2)
    assert "has finished 2 rounds" in run("PrAC", f"{follows} --densities 0.5,0.2,0.1", tmp_path / "other", expect=2)


RATE = {"rate": 0.2, "pruning_times": 16}
ALIKE = [  # settings of two searches, whether they prune alike; 10 prunable weights
    (RATE, RATE | {"pruning_times": 2}, True),
    (RATE, {"rate": 0.3}, False),
    (RATE, {}, True),  # not recorded
    (RATE, {"rate": None, "densities": [0.8, 0.64], "prunable": 10}, True),
    (RATE, {"rate": None, "densities": [0.8, 0.66], "prunable": 10}, False),
    (RATE, {"rate": None, "densities": [0.8], "prunable": 10, "mask_dir": True}, False),
    ({}, {"rate": None, "densities": [0.8, 0.64], "prunable": 10}, False),  # not recorded
    ({"densities": [0.5], "prunable": 10}, {"densities": [0.5, 0.2], "prunable": 10}, True),
    ({"densities": [0.5], "prunable": 10}, {"densities": [0.501, 0.2], "prunable": 10}, True),
    ({"pattern": "2:4", "rate": None}, {"pattern": "2:4", "rate": None}, True),
    ({"pattern": "2:4", "rate": None}, {"pattern": "1:4", "rate": None}, False),
    ({"pattern": "2:4", "rate": None}, {"rate": None, "densities": [0.5], "prunable": 10}, False),
    ({"densities": [0.5, 0.3], "prunable": 10}, {"densities": [0.5, 0.2], "prunable": 10}, False),
]


@pytest.mark.parametrize("a, b, alike", ALIKE)
def test_searches_prune_alike_if_their_counts_agree(a, b, alike):
    assert prunes_alike(a, b) == prunes_alike(b, a) == alike
