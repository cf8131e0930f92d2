"""When rounds of a search on digits stop early."""

import numpy as np

from tests.helpers import (
    REWIND,
    SETTINGS,
    checkpoints,
    run,
)


def test_the_early_stop_ends_a_round_once_distances_are_small(tmp_path):
    out = run("imp", f"{REWIND} --eb_eps 0.3 --eb_arm none --queue_length 2 --pruning_times 1", tmp_path)
    (saved, _) = checkpoints(tmp_path)
    # masks after epochs 0, 1, 2, 3; distances at 1, 2, 3; recorded from epoch 2 on, since warm-up lasts one epoch
    assert saved["stopped"] and saved["epoch"] == 4
    assert "stopped early after 4 of 8 epochs" in out


def test_it_does_not_stop_before_the_rewinding_weights_are_there(tmp_path):
    flags = f"{SETTINGS} --warmup 0 --prune_type rewind_lt --rewind_epoch 5 --pruning_times 1"
    run("imp", f"{flags} --eb_eps 0.9 --eb_arm none --queue_length 1", tmp_path)
    assert checkpoints(tmp_path)[0]["epoch"] == 6 and (tmp_path / "epoch_6_rewind_weight.pt").exists()


def test_a_stop_that_never_armed_is_said(tmp_path):
    out = run("imp", f"{SETTINGS} --epochs 3 --eb_eps 0.9 --pruning_times 1", tmp_path)
    assert "never armed" in out and "--eb_eps 0.9" in out
    assert checkpoints(tmp_path)[0]["epoch"] == 3


def test_comparing_every_so_many_steps_sees_fewer_masks_on_a_small_set(tmp_path):
    chosen = np.sort(np.random.default_rng(1).permutation(1437)[:1000])
    np.save(tmp_path / "split.npy", chosen)  # 900 train
    flags = f"{SETTINGS} --split_file {tmp_path / 'split.npy'} --eb_eps 0.02 --pruning_times 1 --prac_epochs fixed"
    np.save(tmp_path / "set.npy", np.sort(chosen[:450]))
    for interval, distances in {"epoch": 7, "steps": 3}.items():  # 8 epochs of half the steps
        run("imp", f"{flags} --prac_set {tmp_path / 'set.npy'} --eb_interval {interval}", tmp_path / interval)
        row = checkpoints(tmp_path / interval)[-1]["rounds"][0]
        assert row["epochs"] == 8 and len(row["distances"]) == distances + (interval == "steps" and 8 * 8 // 15 - 4)
