"""Training a ticket on the rest of the schedule that it was taken from."""

import pytest

from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.metrics import read_summary
from tests.helpers import (
    REWIND,
    SETTINGS,
    run,
    without_time,
)
from tests.helpers import equal_weights as equal

AT_50 = REWIND.replace("--rewind_epoch 1", "--rewind_iteration 50")  # in the middle of the third epoch


@pytest.mark.parametrize("schedule", ["step", "linear", "cosine"])
def test_a_training_from_a_rewinding_point_is_the_rest_of_the_one_it_was_taken_from(tmp_path, schedule):
    """Same weights to the bit: the schedule, warm-up and the order and augmentation of examples go on from there.

    Without momentum, which a ticket does not have.
    """
    plain = f"--momentum 0 --schedule {schedule}"
    run("imp", f"{AT_50} --pruning_times 1 {plain}", tmp_path / "search")
    whole = read(tmp_path / "search/0checkpoint.pth.tar")
    flags = f"{SETTINGS} {plain} --init_dir {tmp_path}/search/0checkpoint.pth.tar"
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


def test_a_dense_control_that_is_given_again_counts_the_same_layers(tmp_path):
    """Its mask of ones is in no file; the classifier's is one of them."""
    quick = f"{SETTINGS} --epochs 2"
    run("imp", f"{quick} --pruning_times 1 --prune_type lt --prune_classifier", tmp_path / "search")
    ticket = tmp_path / "search/1checkpoint.pth.tar"
    flags = f"{quick} --init_dir {ticket} --mask_dir {ticket} --control dense"
    found = []
    for _ in range(2):
        run("train", flags, tmp_path / "dense")
        found.append(read_summary(tmp_path / "dense/summary.json")["rounds"][-1])
    assert found[0]["layers"] == found[1]["layers"] and found[0]["kept"] == found[1]["kept"]
    assert len(found[0]["layers"]) == 3
