"""Rewinding to an iteration, rewinding the learning rate with a ticket, and training on all the examples."""

import contextlib

import pytest
import torch

from dataset import split
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.training import step
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
    without_time,
)
from tests.helpers import equal_weights as equal
from verify import main as verify

STEPS = 21  # of an epoch of batches of 64 on the digits that train
AT_50 = REWIND.replace("--rewind_epoch 1", "--rewind_iteration 50")  # in the middle of the third epoch


# --- to an iteration --------------------------------------------------------------------------------------------------


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
    flags = f"{AT_50} --rewind_lr {SAVING}" + (" --eb_eps 0.02" if kind == "PrAC" else "")
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert verify([str(file) for file in tmp_path.glob("whole/*.pth.tar")]) == 0
    row = checkpoints(tmp_path / "whole")[-1]["rounds"][1]
    if kind == "imp":  # whose rounds are all on the whole split
        assert row["steps"] == row["steps_planned"] == 8 * STEPS - 50 and row["epochs"] == 6
        assert row["examples"] == 5 * 1293 + 1293 - 64 * (50 - 2 * STEPS)
    else:
        skipped = checkpoints(tmp_path / "whole")[1]["first_step"] % row["steps_per_epoch"]
        assert row["steps"] == row["epochs"] * row["steps_per_epoch"] - skipped


def test_a_run_of_the_version_before_goes_on(tmp_path, monkeypatch):
    """Its files say in epochs where a round began, and nothing of where tickets stand."""
    flags = f"{REWIND} --rewind_lr {SAVING}"
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
    ours, theirs = (read(tmp_path / name / "3checkpoint.pth.tar") for name in ("whole", "older"))
    assert equal(ours["state_dict"], theirs["state_dict"]) and theirs["init_step"] == 2 * STEPS
    assert [row["examples"] for row in ours["rounds"]] == [row["examples"] for row in theirs["rounds"]]


# --- the learning rate, with a ticket ---------------------------------------------------------------------------------


def test_a_training_from_a_rewinding_point_is_the_rest_of_the_one_it_was_taken_from(tmp_path):
    """Same weights to the bit: the schedule, warm-up and the order and augmentation of examples go on from there.

    Without momentum, which a ticket does not have.
    """
    run("imp", f"{AT_50} --pruning_times 1 --momentum 0", tmp_path / "search")
    whole = read(tmp_path / "search/0checkpoint.pth.tar")
    flags = f"{SETTINGS} --momentum 0 --init_dir {tmp_path}/search/0checkpoint.pth.tar"
    run("train", f"{flags} --rewind_lr", tmp_path / "rest")
    rest = read(tmp_path / "rest/checkpoint.pth.tar")
    assert rest["first_step"] == 50 and equal(rest["state_dict"], whole["state_dict"])
    last = without_time([row | {"distance": None} for row in whole["history"][3:]], dropping="distance")
    assert [row["loss"] for row in rest["history"][1:]] == [row["loss"] for row in last]
    run("train", flags, tmp_path / "afresh")
    afresh = read(tmp_path / "afresh/checkpoint.pth.tar")
    assert afresh["first_step"] == 0 and not equal(afresh["state_dict"], whole["state_dict"])


def test_a_ticket_that_does_not_say_where_it_stands_cannot_go_on_from_there(tmp_path, reference_checkpoint):
    quick = f"{SETTINGS} --epochs 2 --pruning_times 1"
    run("imp", f"{quick} --prune_type pt", tmp_path / "pt")
    run("imp", f"{quick} --prune_type rewind_lt --rewind_epoch 1", tmp_path / "end")
    for file in ("pt/1checkpoint.pth.tar", "end/epoch_2_rewind_weight.pt"):
        out = run("train", f"{SETTINGS} --rewind_lr --init_dir {tmp_path / file}", tmp_path / "new", expect=2)
        assert "does not say after how many optimiser steps its weights stand" in out
    end = f"--rewind_lr --init_dir {tmp_path}/end/1checkpoint.pth.tar"
    out = run("train", f"{SETTINGS} --epochs 2 {end}", tmp_path / "new", expect=2)
    assert "would begin after step 42" in out and "has only 42 optimiser steps" in out
    out = run("imp", f"{SETTINGS} --prune_type lt --rewind_lr --init_dir {tmp_path}/pt/1checkpoint.pth.tar",
              tmp_path / "new", expect=2)  # fmt: skip
    assert "does not say after how many optimiser steps" in out
    assert not (tmp_path / "new").exists()


# --- all examples train -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, fraction, validation", [(1437, 0.1, 144), (50_000, 0.1, 5000), (11, 0.1, 2), (30, 0.3, 9),
                                                     (1437, 0.0, 0), (10, 0.95, 10), (7, 1e-9, 1)])  # fmt: skip
def test_the_share_that_validates_is_rounded_up(n, fraction, validation):
    """In whole numbers: 0.3 of 30 is 9, whatever the floating-point number nearest to 0.3 is."""
    found = split(torch.randperm(n).numpy(), fraction)
    assert (len(found.train), len(found.validation)) == (n - validation, validation)


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_without_validation_the_last_epoch_counts(tmp_path, monkeypatch, kind):
    flags = f"{REWIND} --val_fraction 0 {SAVING}"
    out = run(kind, flags, tmp_path / "whole")
    assert "1437 examples train, 0 validate" in out
    for saved, best in zip(checkpoints(tmp_path / "whole"), checkpoints(tmp_path / "whole", "model_SA_best"),
                           strict=False):  # fmt: skip
        assert {row["validation"] for row in saved["history"]} == {None} == set(saved["result"]["ta"])
        assert all(row["test"] is not None for row in saved["history"])
        assert equal(best["state_dict"], saved["state_dict"]), "the best network is the last"
    for row in checkpoints(tmp_path / "whole")[-1]["rounds"]:
        assert row["best_epoch"] == row["epochs"] - 1 and row["set"] <= 1437
        assert row["test"] == checkpoints(tmp_path / "whole")[row["round"]]["history"][-1]["test"]
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every=5)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert verify([str(file) for file in tmp_path.glob("whole/*.pth.tar")]) == 0


def test_a_ticket_found_on_all_examples_is_trained_on_all(tmp_path):
    run("imp", f"{SETTINGS} --val_fraction 0 --epochs 1 --pruning_times 1", tmp_path / "search")
    ticket = tmp_path / "search/1checkpoint.pth.tar"
    flags = f"{SETTINGS} --epochs 2 --init_dir {ticket} --mask_dir {ticket}"
    out = run("train", flags, tmp_path / "new", expect=2)
    assert "found with 144 examples that validate here" in out and "--val_fraction" in out
    out = run("train", f"{flags} --val_fraction 0", tmp_path / "all")
    last = read(tmp_path / "all/checkpoint.pth.tar")["history"][-1]
    assert f"test accuracy at the last epoch: {last['test']:.2f}" in out


def test_images_are_trained_on_as_they_are_where_that_is_asked_for(tmp_path, monkeypatch):
    def augment(*_):
        raise Killed

    monkeypatch.setattr(step, "augment", augment)
    with pytest.raises(Killed):
        run("train", f"{SETTINGS} --epochs 1", tmp_path / "augmented")
    run("train", f"{SETTINGS} --epochs 2 --decreasing_lr 1 --no_augmentation", tmp_path / "not")
    out = run("train", f"{SETTINGS} --epochs 2 --decreasing_lr 1", tmp_path / "not", expect=2)
    assert "no_augmentation was True, is False" in out


def test_a_split_with_nobody_left_to_train_is_refused(tmp_path):
    out = run("imp", f"{SETTINGS} --val_fraction 0.9999", tmp_path / "new", expect=2)
    assert "leaves 0 of 1437 examples to train on" in out and not (tmp_path / "new").exists()


def test_weights_of_dropped_places_stay_zero_when_a_round_begins_in_mid_epoch(tmp_path):
    run("imp", f"{AT_50} --rewind_lr --pruning_times 2", tmp_path)
    for saved in checkpoints(tmp_path)[1:]:
        weights, mask = split_state(saved["state_dict"])
        assert mask and all((weights[name][~layer] == 0).all() for name, layer in mask.items())
    write(tmp_path / "copy.pt", {"a": torch.zeros(1)})  # what the suite writes carries its checksum
    assert read(tmp_path / "copy.pt")["a"].tolist() == [0.0]
