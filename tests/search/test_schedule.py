"""How long each round trains and where it begins: the numbers of the paper's protocol, small sets, and runs."""

import contextlib

import pytest

from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.search.schedule import Schedule
from lottery.training.recipe import Recipe, steps_per_epoch
from tests.helpers import (
    REWIND,
    SAVING,
    SETTINGS,
    Killed,
    assert_same_files,
    checkpoints,
    kill_at,
    run,
    run_killed,
)
from tests.helpers import equal_weights as equal
from utils import InputError
from verify import main as verify


def schedule(**changes):
    chosen = {"prune_type": "rewind_lt", "rewind_epoch": 2, "rewind_iteration": None, "initial": 45_000}
    chosen |= {"rewind_lr": False, "fixed": False}
    return Schedule(Recipe(), 45_000, **chosen | changes)


def at(iteration, **changes):
    """A schedule that rewinds to an iteration."""
    return schedule(rewind_epoch=None, rewind_iteration=iteration, **changes)


def test_every_round_on_all_examples_is_a_full_training():
    for k in range(5):
        assert schedule().round(k, 45_000) == (Recipe(), 0)


def test_a_smaller_set_has_fewer_epochs_unless_they_are_fixed():
    recipe, first = schedule().round(3, 18_161)
    assert (recipe.epochs, recipe.milestones, first) == (73, (36, 54), 0)
    assert schedule(fixed=True).round(3, 18_161) == (Recipe(), 0)


@pytest.mark.parametrize("examples, epoch", [(45_000, 3), (30_000, 2), (29_999, 1), (15_000, 1), (14_999, 0)])
def test_rewinding_the_learning_rate_begins_where_the_weights_stood(examples, epoch):
    """At floor(r * (rewind_epoch + 1)) of the scaled epochs; the dense round begins at 0."""
    assert schedule(rewind_lr=True).round(2, examples)[1] == epoch * steps_per_epoch(examples, 128)
    assert schedule(rewind_lr=True).round(0, examples)[1] == 0


@pytest.mark.parametrize("examples, epochs", [(20_000, 3), (10_000, 1), (40_000, 6)])
def test_a_search_that_begins_on_a_smaller_set_rewinds_within_the_schedule_of_that(examples, epochs):
    """Its weights stand after three of the 80 epochs on 20 000 examples, wherever those of all the data would."""
    given = schedule(rewind_lr=True, initial=20_000)
    assert given.round(1, examples)[1] == epochs * steps_per_epoch(examples, 128)
    if examples == 20_000:
        assert given.round(1, examples)[1] == given.rewinding_step


def test_an_iteration_may_lie_in_mid_epoch():
    """On a smaller set it stands at the same share of the steps that as many epochs of it have."""
    assert at(1000, rewind_lr=True).round(1, 45_000)[1] == 1000
    assert at(1000, rewind_lr=True).round(1, 22_500)[1] == 1000 * 176 // (2 * 352)
    assert at(1000, rewind_lr=True, fixed=True).round(1, 22_500)[1] == 1000 * 176 // 352
    assert at(1000).round(1, 45_000)[1] == 0, "without --rewind_lr every round starts its schedule afresh"


def test_at_least_one_epoch_is_left():
    recipe, first = schedule(rewind_lr=True, rewind_epoch=181).round(1, 45_000)
    assert recipe.epochs * 352 - first == 352
    recipe, first = schedule(rewind_lr=True, rewind_epoch=100).round(1, 300)
    assert (recipe.epochs, first) == (1, 0)


def test_where_the_rewinding_weights_are_taken():
    assert schedule().rewinding_step == 3 * 352, "rewind_epoch 2 is after three epochs"
    assert schedule(initial=22_500).rewinding_step == 3 * 176, "of round 0, whatever it trains on"
    assert at(1000).rewinding_step == 1000
    assert schedule(prune_type="lt").rewinding_step == 0
    assert schedule(prune_type="pt").rewinding_step is None


def test_a_given_ticket_begins_where_it_stands():
    assert schedule(prune_type="lt", rewind_lr=True, ticket_step=500).round(0, 45_000)[1] == 500
    assert schedule(prune_type="lt", rewind_lr=True, ticket_step=500).round(3, 45_000)[1] == 500
    assert schedule(rewind_lr=True, ticket_step=500).round(1, 45_000)[1] == 3 * 352
    assert schedule(prune_type="lt", ticket_step=500).round(0, 45_000)[1] == 0
    assert schedule(prune_type="lt", ticket_step=None).rewinding_step is None


def test_a_round_0_that_ends_before_the_rewinding_point_is_refused():
    with pytest.raises(InputError, match="has only 2 epochs"):
        schedule(initial=700).check()
    schedule(initial=700, fixed=True).check()
    schedule(initial=700, prune_type="lt").check()
    at(182 * 352).check()
    with pytest.raises(InputError, match="has only 64064 optimiser steps"):
        at(182 * 352 + 1).check()
    with pytest.raises(InputError, match="would begin after step 64064"):
        schedule(prune_type="lt", rewind_lr=True, ticket_step=182 * 352).check()
    with pytest.raises(InputError, match="does not say after how many optimiser steps"):
        schedule(prune_type="lt", rewind_lr=True, ticket_step=None).check()
    with pytest.raises(InputError, match="step 400, lies before step 500"):
        at(400, rewind_lr=True, ticket_step=500).check()


def test_vanilla_is_the_papers_count():
    assert 7 * schedule().vanilla.steps == 448_448


# --- rewinding to an iteration, in runs -------------------------------------------------------------------------------

STEPS = 21  # of an epoch of batches of 64 on the digits that train
AT_50 = REWIND.replace("--rewind_epoch 1", "--rewind_iteration 50")  # in the middle of the third epoch


def test_an_iteration_at_an_epochs_end_is_that_epoch(tmp_path):
    run("imp", f"{REWIND} --pruning_times 1", tmp_path / "epoch")
    run("imp", f"{AT_50} --rewind_iteration {2 * STEPS} --pruning_times 1", tmp_path / "iteration")
    epoch, iteration = read(tmp_path / "epoch/1checkpoint.pth.tar"), read(tmp_path / "iteration/1checkpoint.pth.tar")
    assert equal(epoch["init_weight"], iteration["init_weight"]) and equal(epoch["state_dict"], iteration["state_dict"])
    assert epoch["init_step"] == iteration["init_step"] == 2 * STEPS
    assert (tmp_path / f"iteration/iteration_{2 * STEPS}_rewind_weight.pt").exists()


def test_iteration_0_is_the_initialisation(tmp_path):
    run("imp", f"{SETTINGS} --epochs 1 --pruning_times 1 --prune_type rewind_lt --rewind_iteration 0", tmp_path / "0")
    run("imp", f"{SETTINGS} --epochs 1 --pruning_times 1 --prune_type lt", tmp_path / "lt")
    initial = read(tmp_path / "lt/1checkpoint.pth.tar")["init_weight"]
    assert equal(read(tmp_path / "0/1checkpoint.pth.tar")["init_weight"], initial)
    assert equal(read(tmp_path / "0/iteration_0_rewind_weight.pt"), initial)


@pytest.mark.parametrize("kind, every", [("imp", 5), ("PrAC", 4)])
def test_a_killed_search_that_begins_rounds_in_mid_epoch_ends_where_an_unbroken_one_does(
    tmp_path, monkeypatch, kind, every
):
    flags = f"{AT_50} --epochs 5 --decreasing_lr 3,4 --pruning_times 2 --rewind_lr {SAVING}"
    flags += " --eb_eps 0.02" if kind == "PrAC" else ""
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert verify([str(file) for file in tmp_path.glob("whole/*.pth.tar")]) == 0
    for saved in checkpoints(tmp_path / "whole")[1:]:
        weights, mask = split_state(saved["state_dict"])
        assert mask and all((weights[name][~layer] == 0).all() for name, layer in mask.items())
    row = checkpoints(tmp_path / "whole")[-1]["rounds"][1]
    if kind == "imp":  # whose rounds are all on the whole split
        assert row["steps"] == row["steps_planned"] == 5 * STEPS - 50 and row["epochs"] == 3
        assert row["examples"] == 2 * 1293 + 1293 - 64 * (50 - 2 * STEPS)
    else:
        skipped = checkpoints(tmp_path / "whole")[1]["first_step"] % row["steps_per_epoch"]
        assert row["steps"] == row["epochs"] * row["steps_per_epoch"] - skipped


def test_a_run_of_the_version_before_goes_on(tmp_path, monkeypatch):
    """Its files say in epochs where a round began, and nothing of where tickets stand."""
    flags = f"{REWIND} --rewind_lr --pruning_times 2 {SAVING}"
    run("imp", flags, tmp_path / "whole")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        kill_at(patch, 25)  # in round 1, which began with epoch 2
        run("imp", flags, tmp_path / "older")
    file = tmp_path / "older/1checkpoint.pth.tar"
    content = read(file)
    assert content["first_step"] == 2 * STEPS and content["history"]
    content = {key: value for key, value in content.items() if key not in ("first_step", "init_step")}
    content["history"] = [{key: value for key, value in row.items() if key != "examples"} for row in content["history"]]
    content["rounds"] = [{key: row[key] for key in row if key != "steps_planned"} for row in content["rounds"]]
    write(file, content | {"first_epoch": 2})
    best = tmp_path / "older/1model_SA_best.pth.tar"
    history = content["history"][: len(read(best)["history"])]
    write(best, read(best) | {"history": history})
    run("imp", flags, tmp_path / "older")
    ours, theirs = (read(tmp_path / name / "2checkpoint.pth.tar") for name in ("whole", "older"))
    assert equal(ours["state_dict"], theirs["state_dict"]) and theirs["init_step"] == 2 * STEPS
    assert [row["examples"] for row in ours["rounds"]] == [row["examples"] for row in theirs["rounds"]]
