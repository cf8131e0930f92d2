"""IMP and PrAC searches on digits, end to end: what holds of the files of every run.

The runs use a small network with batch norm, momentum, learning-rate drops and random augmentation, so that a resumed
run that forgot any of these would show.
"""

import itertools
import shutil

import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import read, split_state
from lottery.training.progress import Progress
from tests.helpers import (
    REWIND,
    SAVING,
    SETTINGS,
    checkpoints,
    masks,
    run,
    without_time,
)

# --- masks and rewinding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_masks_are_nested_with_exact_counts(runs, kind):
    found = masks(runs / kind)
    assert len(found) == 4 and found[0] == {}
    kept = 3 * 8 * 9 + 8 * 16 * 9
    for before, mask in itertools.pairwise(found):
        assert pruner.count(mask) == (kept := kept - round(0.2 * kept))
        assert all((layer <= before.get(name, layer)).all() for name, layer in mask.items())


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_every_ticket_starts_from_the_same_rewound_weights(runs, kind):
    rewound = read(runs / kind / "epoch_2_rewind_weight.pt")
    for saved in checkpoints(runs / kind):
        assert saved["init_weight"].keys() == rewound.keys()
        assert all(torch.equal(value, rewound[name]) for name, value in saved["init_weight"].items())


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_kept_weights_start_a_round_equal_to_the_rewinding_weights(runs, kind):
    """The last file is a ticket that has not been trained yet; batch-norm statistics are rewound, too."""
    saved = checkpoints(runs / kind)[-1]
    weights, mask = split_state(saved["state_dict"])
    for name, value in weights.items():
        expected = saved["init_weight"][name] * mask.get(name, True)
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_dropped_weights_are_zero_in_every_file(runs, kind):
    for saved in checkpoints(runs / kind) + checkpoints(runs / kind, "model_SA_best"):
        for key, value in saved["state_dict"].items():
            if key.endswith("_orig"):
                assert (value[saved["state_dict"][key.replace("_orig", "_mask")] == 0] == 0).all()


def test_rewinding_weights_are_those_after_that_many_epochs(runs, tmp_path):
    """rewind_epoch 1 is after two epochs: a run that ends there, on the same schedule, has the same weights."""
    run("train", SETTINGS.replace("--epochs 8", "--epochs 2"), tmp_path)
    trained = read(tmp_path / "checkpoint.pth.tar")["state_dict"]
    rewound = read(runs / "imp" / "epoch_2_rewind_weight.pt")
    assert all(torch.equal(trained[name], value) for name, value in rewound.items())


def test_dense_training_is_round_0_of_a_search(runs, tmp_path):
    run("train", SETTINGS, tmp_path)
    dense, round_0 = read(tmp_path / "checkpoint.pth.tar"), checkpoints(runs / "imp")[0]
    assert without_time(dense["history"]) == without_time(
        [row | {"distance": None} for row in round_0["history"]], dropping="distance"
    )


def test_lt_goes_back_to_the_initial_weights(tmp_path):
    run("imp", f"{SETTINGS} --epochs 3 --prune_type lt --pruning_times 2", tmp_path)
    first, *_, last = checkpoints(tmp_path)
    run("imp", f"{SETTINGS} --epochs 1 --prune_type lt --pruning_times 1", tmp_path / "again")
    initial = checkpoints(tmp_path / "again")[0]["init_weight"]
    for saved in (first, last):
        assert all(torch.equal(value, initial[name]) for name, value in saved["init_weight"].items())


def test_pt_goes_back_to_the_best_dense_network(tmp_path):
    run("imp", f"{SETTINGS} --epochs 3 --prune_type pt --pruning_times 2", tmp_path)
    best = read(tmp_path / "0model_SA_best.pth.tar")["state_dict"]
    for saved in checkpoints(tmp_path)[1:]:
        assert all(torch.equal(value, best[name]) for name, value in saved["init_weight"].items())


def test_random_pruning_does_not_look_at_magnitudes(tmp_path):
    flags = f"{SETTINGS} --epochs 2 --pruning_times 1"
    found = {}
    for name, more in {"magnitude": "", "random": "--random_prune", "other": "--random_prune --seed 1"}.items():
        run("imp", f"{flags} {more}", tmp_path / name)
        found[name] = masks(tmp_path / name)[1]
    assert len({pruner.count(mask) for mask in found.values()}) == 1
    assert not pruner.same(found["random"], found["magnitude"])
    assert not pruner.same(found["random"], found["other"])


def test_rewind_lr_runs_the_rest_of_the_schedule(runs, tmp_path):
    run("imp", f"{REWIND} --rewind_lr --pruning_times 2", tmp_path)
    later = checkpoints(tmp_path)[1]["history"]
    assert [row["epoch"] for row in later] == [2, 3, 4, 5, 6, 7]
    assert [row["lr"] for row in later] == [row["lr"] for row in checkpoints(runs / "imp")[1]["history"]][2:]


def test_a_directory_that_vanishes_is_one_sentence(tmp_path, monkeypatch):
    steps = iter(range(30))
    real = Progress.tick

    def tick(self):
        if next(steps, None) is None:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
        real(self)

    monkeypatch.setattr(Progress, "tick", tick)
    out = run("imp", f"{REWIND} {SAVING}", tmp_path / "run", expect=1)
    complaints = [line for line in out.splitlines() if line.startswith("main_imp.py: ")]
    assert len(complaints) == 1 and "cannot be written (No such file or directory)" in complaints[0]


# --- runs that cannot go on -------------------------------------------------------------------------------------------


def test_an_empty_set_stops_the_run_and_keeps_the_ticket(tmp_path):
    flags = f"{REWIND} --data_prune constent --data_rate 0.9999 --cep none"
    out = run("PrAC", flags, tmp_path, expect=1)
    assert "the PrAC set for round 1 has 0 examples" in out and "--data_rate 0.9999" in out
    assert "sparsity" in out, "the table of the rounds that are done"
    (_, mask) = masks(tmp_path)
    assert pruner.count(mask) == 1094
    assert "for round 1 has 0 examples" in run("PrAC", flags, tmp_path, expect=1), "again the same"


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    out = run("imp", f"{SETTINGS} --warmup 0 --lr 1e30", tmp_path, expect=1)
    assert "round 0, epoch" in out and "the loss is" in out
    assert "round 0, epoch" in run("imp", f"{SETTINGS} --warmup 0 --lr 1e30", tmp_path, expect=1), "again the same"


def test_short_rounds_and_late_milestones_are_said(tmp_path):
    out = run("imp", f"{SETTINGS} --epochs 3 --pruning_times 1 --batch_size 512", tmp_path)
    assert "only 9 optimiser steps" in out and "never drops at 4, 6" in out
