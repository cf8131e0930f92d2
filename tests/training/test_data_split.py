"""Which examples train: the share that validates, none that does, and no augmentation."""

import numpy as np
import pytest
import torch

import dataset
from dataset import split
from lottery.checkpointing.checkpoint import read
from tests.helpers import (
    REWIND,
    SAVING,
    SETTINGS,
    Killed,
    assert_same_files,
    checkpoints,
    run,
    run_killed,
)
from tests.helpers import equal_weights as equal
from verify import main as verify


@pytest.mark.parametrize("n, fraction, validation", [(1437, 0.1, 144), (50_000, 0.1, 5000), (11, 0.1, 2), (30, 0.3, 9),
                                                     (1437, 0.0, 0), (10, 0.95, 10), (7, 1e-9, 1)])  # fmt: skip
def test_the_share_that_validates_is_rounded_up(n, fraction, validation):
    """In whole numbers: 0.3 of 30 is 9, whatever the floating-point number nearest to 0.3 is."""
    found = split(torch.randperm(n).numpy(), fraction)
    assert (len(found.train), len(found.validation)) == (n - validation, validation)


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_without_validation_the_last_epoch_counts(tmp_path, monkeypatch, kind):
    flags = f"{REWIND} --epochs 4 --decreasing_lr 2,3 --pruning_times 2 --val_fraction 0 {SAVING}"
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
    assert "found with 144 examples that validate here" in out
    assert "give --val_fraction 0.0 and no --split_file, as its run had" in out
    out = run("train", f"{flags} --val_fraction 0", tmp_path / "all")
    last = read(tmp_path / "all/checkpoint.pth.tar")["history"][-1]
    assert f"test accuracy at the last epoch: {last['test']:.2f}" in out


def test_what_a_search_was_given_is_named_where_other_flags_do_not_fit_it(tmp_path):
    file = tmp_path / "split.npy"
    np.save(file, np.random.default_rng(0).permutation(1437))
    flags = f"{SETTINGS} --epochs 1 --pruning_times 1"
    run("PrAC", f"{flags} --split_file {file}", tmp_path / "search")
    had = f"--split_file {file} --val_fraction 0.1"
    ticket = tmp_path / "search/1checkpoint.pth.tar"
    given = f"{SETTINGS} --epochs 2 --init_dir {ticket} --mask_dir {ticket}"
    out = run("train", given, tmp_path / "new", expect=2)
    assert f"examples that validate here: give {had}, as its run had" in out
    out = run("imp", f"{flags} --prac_set {ticket}", tmp_path / "new", expect=2)
    assert f"or not there at all): give {had}, as its run had" in out
    out = run("PrAC", flags, tmp_path / "search", expect=2)
    assert "split checksum was" in out and f"Give the same settings ({had}) to go on" in out
    out = run("PrAC", f"{flags} --like_run {tmp_path}/search --members random", tmp_path / "new", expect=2)
    assert "another split: split checksum was" in out and f"Give --dataset digits --data data {had}, as it had" in out
    out = run("train", f"{given} --arch lenet300 --split_file {file}", tmp_path / "new", expect=2)
    assert "belongs to another network" in out and out.rstrip().endswith(
        "Its run had --dataset digits --data data --arch tests.networks:tiny"
    )


def test_images_are_trained_on_as_they_are_where_that_is_asked_for(tmp_path, monkeypatch):
    def augment(*_):
        raise Killed

    monkeypatch.setattr(dataset, "augment", augment)
    with pytest.raises(Killed):
        run("train", f"{SETTINGS} --epochs 1", tmp_path / "augmented")
    run("train", f"{SETTINGS} --epochs 2 --decreasing_lr 1 --no_augmentation", tmp_path / "not")
    out = run("train", f"{SETTINGS} --epochs 2 --decreasing_lr 1", tmp_path / "not", expect=2)
    assert "no_augmentation was on, is off" in out


def test_a_split_with_nobody_left_to_train_is_refused(tmp_path):
    out = run("imp", f"{SETTINGS} --val_fraction 0.9999", tmp_path / "new", expect=2)
    assert "leaves 0 of 1437 examples to train on" in out and not (tmp_path / "new").exists()
