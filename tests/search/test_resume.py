"""Searches that are killed, interrupted, damaged or called again: they end bit for bit as an unbroken run does."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from lottery.checkpointing.checkpoint import read, write
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
    run,
    run_killed,
)

ONE_PRUNING = f"{REWIND} --pruning_times 1"


@pytest.fixture(scope="module")
def one_pruning(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_pruning")
    run("imp", ONE_PRUNING, folder)
    return folder


@pytest.mark.parametrize("kind, every", [("imp", 5), ("PrAC", 3)])
def test_a_killed_search_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch, kind, every):
    """Killed before every few writes, over and over: at the start, at rewinding, between best and checkpoint."""
    flags = f"{REWIND} {SAVING}" + (" --eb_eps 0.02" if kind == "PrAC" else "")
    run_killed(monkeypatch, kind, flags, tmp_path, every)
    assert_same_files(tmp_path, runs / kind)


FALLING = "--schedule cosine --label_smoothing 0.1"
ADAM = f"--optimizer adam {FALLING}"


@pytest.mark.parametrize("kind, flags", [("PrAC", "--schedule linear --nesterov"), ("PrAC", ADAM), ("imp", ADAM)])
def test_a_killed_search_by_another_recipe_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, kind, flags):
    """On PrAC sets, whose rounds are shorter and end near 0 as well, with a round that begins in mid-schedule."""
    flags = f"{REWIND} {SAVING} --pruning_times 2 --rewind_lr --eb_eps 0.0001 {flags}"
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every=7)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    first, second, _ = checkpoints(tmp_path / "whole")
    assert second["first_step"] > 0 and (len(second["sequence"]) < len(first["sequence"])) == (kind == "PrAC")
    assert all(0 < saved["history"][-1]["lr"] < saved["history"][0]["lr"] / 5 for saved in (first, second))


@pytest.mark.parametrize("flags", [FALLING, ADAM])
def test_a_killed_training_by_another_recipe_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch, flags):
    ticket = runs / "imp" / "2checkpoint.pth.tar"
    flags = f"{SETTINGS} {SAVING} --init_dir {ticket} --mask_dir {ticket} {flags}"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_a_run_that_records_no_recipe_was_trained_by_sgd_with_drops(runs, tmp_path):
    """Runs of code that had no other recipe go on by the same command, and by no other."""
    shutil.copytree(runs / "imp", tmp_path / "old")
    for file in (tmp_path / "old").glob("*checkpoint.pth.tar"):
        content = read(file)
        for name in ("schedule", "gamma", "nesterov", "optimizer", "label_smoothing"):
            del content["settings"][name]
        write(file, content)
    assert "optimizer was sgd, is adam" in run("imp", f"{REWIND} --optimizer adam --lr 0.1", tmp_path / "old", expect=2)
    run("imp", f"{REWIND} --pruning_times 4", tmp_path / "old")
    run("imp", f"{REWIND} --pruning_times 4", tmp_path / "new")
    assert_same(checkpoints(tmp_path / "old")[4], checkpoints(tmp_path / "new")[4], "4checkpoint.pth.tar")


def test_a_killed_training_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch):
    ticket = runs / "PrAC" / "2checkpoint.pth.tar"
    flags = f"{SETTINGS} {SAVING} --init_dir {ticket} --mask_dir {ticket}"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("end, left", [(signal.SIGINT, 3), (signal.SIGTERM, 3), (None, 0)])
def test_an_interrupted_run_keeps_its_whole_epochs_a_killed_one_what_was_saved(
    one_pruning, tmp_path, monkeypatch, end, left
):
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
        out = run("imp", f"{ONE_PRUNING} --save_interval 3600", tmp_path, expect=128 + (end or 0))
        assert "To go on: python main_imp.py --dataset digits" in out
    assert read(tmp_path / "0checkpoint.pth.tar")["epoch"] == left
    assert left == 0 or (tmp_path / "0model_SA_best.pth.tar").exists()
    run("imp", ONE_PRUNING, tmp_path)
    assert_same_files(tmp_path, one_pruning)


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


def test_resume_from_an_earlier_checkpoint_of_its_own_goes_on_from_the_newest(runs, tmp_path):
    """The command that a run was resumed by resumes it again; the rounds that are there are not trained once more."""
    shutil.copytree(runs / "imp", tmp_path / "imp")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "imp").glob("*.pth.tar")}
    out = run("imp", f"{REWIND} --resume --checkpoint {tmp_path / 'imp' / '1checkpoint.pth.tar'}", tmp_path / "imp")
    assert "1checkpoint.pth.tar is not the newest here" in " ".join(out.split()) and "this search is finished" in out
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "imp").glob("*.pth.tar")} == before
    (tmp_path / "imp" / "3checkpoint.pth.tar").unlink()
    (tmp_path / "imp" / "2checkpoint.pth.tar").unlink()
    run("imp", f"{REWIND} --resume --checkpoint {tmp_path / 'imp' / '1checkpoint.pth.tar'}", tmp_path / "imp")
    assert_same_files(tmp_path / "imp", runs / "imp")


def test_resume_from_a_copy_of_an_earlier_checkpoint_goes_on_from_the_newest(runs, tmp_path):
    """Whatever it is called; from the copy where the run's own are no further, or damaged."""
    folder = tmp_path / "imp"
    shutil.copytree(runs / "imp", folder)
    copy = shutil.copy(folder / "1checkpoint.pth.tar", folder / "kept.pth.tar")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.pth.tar")}
    command = f"{REWIND} --resume --checkpoint {copy}"
    out = run("imp", command, folder)
    assert "kept.pth.tar is not the newest here" in " ".join(out.split()) and "this search is finished" in out
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.pth.tar")} == before
    for number in (3, 2):
        (folder / f"{number}checkpoint.pth.tar").unlink()
    (folder / "1checkpoint.pth.tar").write_bytes(b"damaged")
    assert "going on from" in (out := run("imp", command, folder)) and "is not the newest" not in out
    assert_same(read(folder / "3checkpoint.pth.tar")["state_dict"],
                checkpoints(runs / "imp")[3]["state_dict"], "3checkpoint")  # fmt: skip


def test_records_whose_checkpoints_are_gone_are_not_written_over(runs, tmp_path):
    shutil.copytree(runs / "imp", tmp_path / "imp", ignore=shutil.ignore_patterns("*checkpoint.pth.tar"))
    before = {path: path.read_bytes() for path in (tmp_path / "imp").iterdir()}
    for flags in ("", f"--resume --checkpoint {runs / 'imp' / '2checkpoint.pth.tar'}"):
        out = run("imp", f"{REWIND} {flags}", tmp_path / "imp", expect=2)
        assert "holds the records of a run and none of its checkpoints" in " ".join(out.split())
    assert {path: path.read_bytes() for path in (tmp_path / "imp").iterdir()} == before
    run("imp", f"{REWIND} --overwrite", tmp_path / "imp")
    assert_same_files(tmp_path / "imp", runs / "imp")


def test_a_finished_run_shows_its_table_again_and_changes_nothing(runs):
    before = {path: path.stat().st_mtime_ns for path in (runs / "imp").iterdir()}
    out = run("imp", REWIND, runs / "imp")
    assert "this search is finished" in out and "the newest ticket, 48.8" in out
    assert {path: path.stat().st_mtime_ns for path in (runs / "imp").iterdir()} == before


# --- damaged and misplaced files --------------------------------------------------------------------------------------


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


# --- runs that are not this one ---------------------------------------------------------------------------------------


def test_a_second_run_in_the_same_directory_is_refused_while_the_first_lives(runs, tmp_path):
    shutil.copytree(runs / "imp", tmp_path / "imp")
    code = (
        "import sys, time, pathlib; from lottery.checkpointing import run_directory as there\n"
        "directory = there.RunDirectory(pathlib.Path(sys.argv[1]))\n"
        "with there.locked(directory): print('here', flush=True); time.sleep(600)"
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


def test_other_settings_are_refused_and_named(runs):
    out = run("imp", f"{REWIND} --lr 0.3 --rate 0.1", runs / "imp", expect=2)
    assert "lr was 0.1, is 0.3" in out and "rate was 0.2, is 0.1" in out
    assert "holds a run of main_imp.py: give another --save_dir" in run("PrAC", REWIND, runs / "imp", expect=2)
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
