"""Searches, end to end on digits: the laws that every run obeys, whatever it finds.

The runs use a small network with batch norm, momentum, learning-rate drops and random augmentation, so that a resumed
run that forgot any of these would show.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import read, split_state
from lottery.training import checkpointer
from lottery.training.progress import Progress
from tests.helpers import (
    REWIND,
    ROOT,
    SAVING,
    SETTINGS,
    Killed,
    assert_same,
    assert_same_files,
    checkpoints,
    kill_at,
    masks,
    run,
    run_killed,
    without_time,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One finished search of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    run("imp", REWIND, folder / "imp")
    run("PrAC", f"{REWIND} --eb_eps 0.02", folder / "PrAC")
    return folder


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


# --- PrAC sets --------------------------------------------------------------------------------------------------------


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


def test_a_set_from_a_file_is_used_from_round_0_on(runs, tmp_path):
    chosen = checkpoints(runs / "PrAC")[1]["sequence"].numpy()
    np.save(tmp_path / "set.npy", chosen)
    run("PrAC", f"{REWIND} --prac_epochs fixed --prac_set {tmp_path / 'set.npy'}", tmp_path / "run")
    found = checkpoints(tmp_path / "run")
    assert all(saved["sequence"].tolist() == chosen.tolist() for saved in found)
    assert all(saved["epoch"] == 8 for saved in found[:3] if not saved["stopped"])


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


# --- early stop -------------------------------------------------------------------------------------------------------


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


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, every", [("imp", 5), ("PrAC", 3)])
def test_a_killed_search_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch, kind, every):
    """Killed before every few writes, over and over: at the start, at rewinding, between best and checkpoint."""
    flags = f"{REWIND} {SAVING}" + (" --eb_eps 0.02" if kind == "PrAC" else "")
    run_killed(monkeypatch, kind, flags, tmp_path, every)
    assert_same_files(tmp_path, runs / kind)


def test_a_killed_training_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch):
    ticket = runs / "PrAC" / "2checkpoint.pth.tar"
    flags = f"{SETTINGS} {SAVING} --init_dir {ticket} --mask_dir {ticket}"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("end, left", [(signal.SIGINT, 3), (signal.SIGTERM, 3), (None, 0)])
def test_an_interrupted_run_keeps_its_whole_epochs_a_killed_one_what_was_saved(runs, tmp_path, monkeypatch, end, left):
    """In the middle of the fourth epoch, with nothing due to be saved; all end as an unbroken run does."""
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        steps = iter(range(3 * 21 + 7))  # of 21 in an epoch
        real = Progress.tick

        def tick(self):
            if next(steps, None) is None:
                if end:
                    os.kill(os.getpid(), end)
                patch.setattr(checkpointer.Checkpointer, "flush", lambda self: None)  # nothing is done any more
                raise Killed
            real(self)

        patch.setattr(Progress, "tick", tick)
        out = run("imp", f"{REWIND} --save_interval 3600", tmp_path, expect=128 + (end or 0))
        assert "To go on: python main_imp.py --dataset digits" in out
    assert read(tmp_path / "0checkpoint.pth.tar")["epoch"] == left
    assert left == 0 or (tmp_path / "0model_SA_best.pth.tar").exists()
    run("imp", REWIND, tmp_path)
    assert_same_files(tmp_path, runs / "imp")


def test_what_is_kept_in_memory_is_not_what_trains_on(tmp_path, monkeypatch):
    """Files written late hold the weights of their own epoch: saving seldom or always leaves the same files."""
    for interval in (0, 3600):
        run("PrAC", f"{REWIND} --eb_eps 0.02 --pruning_times 1 --save_interval {interval}", tmp_path / str(interval))
    assert_same_files(tmp_path / "0", tmp_path / "3600")


def test_more_rounds_extend_a_finished_search(runs, tmp_path):
    run("PrAC", f"{REWIND} --eb_eps 0.02 --pruning_times 2", tmp_path)
    run("PrAC", f"{REWIND} --eb_eps 0.02", tmp_path)
    found = checkpoints(tmp_path)
    assert len(found) == 4
    assert_same(found[3]["state_dict"], checkpoints(runs / "PrAC")[3]["state_dict"], "3checkpoint")


def test_resume_from_a_checkpoint_elsewhere(runs, tmp_path):
    out = run("PrAC", f"{REWIND} --eb_eps 0.02 --resume --checkpoint {runs / 'PrAC' / '2checkpoint.pth.tar'}", tmp_path)
    assert "going on from" in out
    assert_same(read(tmp_path / "3checkpoint.pth.tar")["state_dict"],
                checkpoints(runs / "PrAC")[3]["state_dict"], "3checkpoint")  # fmt: skip


def test_a_missing_best_network_is_said_before_work_begins(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        kill_at(patch, 6)
        run("imp", f"{REWIND} {SAVING}", tmp_path)
    (tmp_path / "0model_SA_best.pth.tar").unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "0model_SA_best.pth.tar is missing" in run("imp", REWIND, tmp_path, expect=2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damaged", ["3checkpoint", "2model_SA_best"])
def test_damage_is_named_and_the_newest_whole_checkpoint_goes_on(runs, tmp_path, damaged):
    shutil.copytree(runs / "imp", tmp_path / "imp")
    files = [tmp_path / "imp" / f"{name}.pth.tar" for name in {damaged, "3checkpoint"}]
    for file in files:
        file.write_bytes(file.read_bytes()[:5000])
    out = run("imp", REWIND, tmp_path / "imp")
    assert "3checkpoint.pth.tar is no checkpoint, or a damaged one; what came before it is used" in out
    assert (f"{damaged}.pth.tar is no checkpoint" in out) and f"from {tmp_path / 'imp' / str(3 - len(files))}" in out
    assert_same_files(tmp_path / "imp", runs / "imp")


def test_a_flipped_bit_is_damage_as_well(runs, tmp_path):
    shutil.copytree(runs / "PrAC", tmp_path / "PrAC")
    file = tmp_path / "PrAC" / "3checkpoint.pth.tar"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3] ^= 16
    file.write_bytes(whole)
    assert "3checkpoint.pth.tar is damaged: its checksum does not match" in run(
        "PrAC", f"{REWIND} --eb_eps 0.02", tmp_path / "PrAC"
    )
    assert_same_files(tmp_path / "PrAC", runs / "PrAC")


MISPLACED = [  # files that are gone, the file that is wrong, what is in it, what is said
    ("", "3checkpoint", "imp/1checkpoint", "another file under this name: it was written as 1checkpoint.pth.tar"),
    ("3checkpoint", "2checkpoint", "imp/2model_SA_best", "it was written as 2model_SA_best.pth.tar"),
    ("3checkpoint", "2model_SA_best", "imp/2checkpoint", "is not the best network of this run's 2checkpoint.pth.tar"),
    ("3checkpoint", "2model_SA_best", "imp/1model_SA_best", "is not the best network of this run's"),
    ("3checkpoint", "2model_SA_best", "PrAC/2model_SA_best", "is not the best network of this run's"),
]


@pytest.mark.parametrize("gone, file, other, message", MISPLACED)
def test_a_whole_file_in_the_wrong_place_is_damage(runs, tmp_path, gone, file, other, message):
    """Its checksum holds; gone on from, it would end in other tickets without a word."""
    shutil.copytree(runs / "imp", tmp_path / "imp")
    if gone:
        (tmp_path / "imp" / f"{gone}.pth.tar").unlink()
    shutil.copy(runs / f"{other}.pth.tar", tmp_path / "imp" / f"{file}.pth.tar")
    assert message in run("imp", REWIND, tmp_path / "imp")
    assert_same_files(tmp_path / "imp", runs / "imp")


def test_a_best_network_of_the_2021_code_is_not_this_runs(runs, tmp_path, reference_checkpoint):
    shutil.copytree(runs / "imp", tmp_path / "imp")
    (tmp_path / "imp" / "3checkpoint.pth.tar").unlink()
    shutil.copy(reference_checkpoint("imp"), tmp_path / "imp" / "2model_SA_best.pth.tar")
    assert "2model_SA_best.pth.tar is not the best network" in run("imp", REWIND, tmp_path / "imp")
    assert_same_files(tmp_path / "imp", runs / "imp")


def test_nothing_whole_is_a_clear_error(runs, tmp_path):
    (tmp_path / "0checkpoint.pth.tar").write_bytes((runs / "imp" / "0checkpoint.pth.tar").read_bytes()[:-1])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = run("imp", REWIND, tmp_path, expect=2)
    assert "its end is missing, or not its own, and there is no whole checkpoint before it: --overwrite" in out
    assert "its end is missing" in run(
        "imp", f"{REWIND} --resume --checkpoint {next(iter(before))}", tmp_path, expect=2
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_without_its_checksum_is_not_gone_on_from(runs, tmp_path):
    torch.save(read(runs / "imp" / "3checkpoint.pth.tar"), tmp_path / "3checkpoint.pth.tar")
    assert "has lost its checksum" in run("imp", REWIND, tmp_path, expect=2)


def test_a_second_run_in_the_same_directory_is_refused_while_the_first_lives(runs, tmp_path):
    shutil.copytree(runs / "imp", tmp_path / "imp")
    code = (
        "import sys, time, pathlib; from lottery.checkpointing import run_directory as there\n"
        "directory = there.RunDirectory(pathlib.Path(sys.argv[1]))\n"
        "with there.occupied(directory): print('here', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "imp")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        for script in ("imp", "PrAC", "train"):
            flags = SETTINGS if script == "train" else REWIND
            assert "another run is at work in" in run(script, flags, tmp_path / "imp", expect=2)
            assert "another run is at work in" in run(script, f"{flags} --overwrite", tmp_path / "imp", expect=2)
        other.kill()
    assert "this search is finished" in run("imp", REWIND, tmp_path / "imp"), "a dead one's lock is taken over"
    assert_same_files(tmp_path / "imp", runs / "imp")


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


def test_a_finished_run_shows_its_table_again_and_changes_nothing(runs):
    before = {path: path.stat().st_mtime_ns for path in (runs / "imp").iterdir()}
    out = run("imp", REWIND, runs / "imp")
    assert "this search is finished" in out and "the newest ticket, 48.8" in out
    assert {path: path.stat().st_mtime_ns for path in (runs / "imp").iterdir()} == before


def test_other_settings_are_refused_and_named(runs):
    out = run("imp", f"{REWIND} --lr 0.3 --rate 0.1", runs / "imp", expect=2)
    assert "lr was 0.1, is 0.3" in out and "rate was 0.2, is 0.1" in out
    assert "script was main_imp.py, is main_PrAC_imp.py" in run("PrAC", REWIND, runs / "imp", expect=2)
    assert "pruning_times was 3, is 2" in run("imp", f"{REWIND} --pruning_times 2", runs / "imp", expect=2)


def test_another_precision_is_another_run(tmp_path):
    flags = f"{SETTINGS} --epochs 2 --pruning_times 1 --decreasing_lr 1"
    run("imp", f"{flags} --precision bf16", tmp_path)
    assert "precision bf16" in run("imp", f"{flags} --precision bf16", tmp_path)
    assert "precision was bf16, is auto" in run("imp", flags, tmp_path, expect=2)


def test_overwrite_starts_anew(tmp_path):
    run("imp", f"{SETTINGS} --epochs 2 --pruning_times 2", tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    run("imp", f"{SETTINGS} --epochs 1 --pruning_times 1 --overwrite", tmp_path)
    assert len(checkpoints(tmp_path)) == 2 and checkpoints(tmp_path)[0]["epoch"] == 1
    assert (tmp_path / "notes.txt").exists()


def test_a_reference_checkpoint_cannot_be_continued(tmp_path, reference_checkpoint):
    path = reference_checkpoint("imp")
    out = run("imp", f"{REWIND} --resume --checkpoint {path}", tmp_path / "new", expect=2)
    assert "not written by this suite" in out
    assert "not written by this suite" in run("imp", REWIND, path.parent, expect=2)


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
