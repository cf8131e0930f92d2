"""Runs that follow another one, with its sets' sizes or its steps, and what cannot be followed."""

import re
import shutil

import pytest

import pruner
from lottery.checkpointing.checkpoint import write
from lottery.search.config import LIKE_RUN, Reference
from lottery.search.reference_run import find_reference_run
from tests.helpers import (
    CONTROLLED,
    ROOT,
    STOPS,
    checkpoints,
    like_run,
    masks,
    one_sentence,
    run,
)
from utils import InputError


def test_imp_with_the_steps_of_a_prac_run_is_imp_on_a_shorter_schedule(controls):
    theirs, found = checkpoints(controls / "PrAC")[-1]["rounds"], checkpoints(controls / "steps")
    said = (controls / "said").read_text()
    for k, (row, other) in enumerate(zip(found[-1]["rounds"], theirs, strict=True)):
        assert row["set"] == 1293 and not row["stopped"]
        assert row["epochs"] == max(1, round(other["steps"] / 21))
        assert abs(row["steps"] - other["steps"]) <= 21 / 2 or row["epochs"] == 1
        assert f"round {k} has {row['epochs']} ({row['steps']} steps for {other['steps']})" in said
    lr = [[row["lr"] for row in saved["history"]] for saved in found[:2]]
    for epochs, rates in zip((row["epochs"] for row in found[-1]["rounds"]), lr, strict=True):
        drop = max(1, 3 * epochs // 6)
        assert all((rate < 0.05) == (epoch >= drop) for epoch, rate in enumerate(rates)), "milestones in proportion"


def test_a_control_is_known_by_what_its_run_did_not_by_where_that_lies(controls, tmp_path):
    shutil.copytree(controls / "PrAC", tmp_path / "moved")
    shutil.copytree(controls / "random", tmp_path / "random")
    assert "this search is finished" in run("PrAC", like_run(tmp_path / "moved", "random"), tmp_path / "random")
    run("PrAC", f"{CONTROLLED} {STOPS} --threshold 1", tmp_path / "other")
    message = r"like_run, round \d was \w{8}, is \w{8}"
    assert re.search(message, run("PrAC", like_run(tmp_path / "other", "random"), tmp_path / "random", expect=2))
    assert "members was random, is easy" in run(
        "PrAC", like_run(controls / "PrAC", "easy"), tmp_path / "random", expect=2
    )


def test_more_rounds_extend_a_control(controls, tmp_path):
    run("PrAC", f"{like_run(controls / 'PrAC', 'cet')} --pruning_times 1", tmp_path)
    run("PrAC", like_run(controls / "PrAC", "cet"), tmp_path)
    assert all(map(pruner.same, masks(tmp_path), masks(controls / "cet")))


# --- what cannot be followed ------------------------------------------------------------------------------------------

BAD_CONTROLS = [  # script, flags, what the one sentence must say; {} is a PrAC run, {folder} where other controls lie
    ("PrAC", "--like_run {}", "needs --members: one of random, easy, el2n, cet, cep, ccs"),
    ("PrAC", "--ccs_beta 0.2 --members el2n --like_run {}", "--ccs_beta 0.2 is for --members ccs: give both"),
    ("PrAC", "--ccs_beta 1 --members ccs --like_run {}", "below 1, got 1"),
    ("PrAC", "--members easy", "name that run by --like_run DIR"),
    ("PrAC", "--like_run {} --members hard", "hard"),
    ("PrAC", "--like_run nowhere --members easy", "nowhere does not exist"),
    ("PrAC", "--like_run README.md --members easy", "README.md is a file, the directory of a PrAC run is needed"),
    ("PrAC", "--like_run tests --members easy", "tests holds no run of main_PrAC_imp.py"),
    ("PrAC", "--like_run {folder}/steps --members easy", "steps holds no run of main_PrAC_imp.py"),
    ("PrAC", "--like_run {folder}/cet --members easy", "cet did not choose its sets itself"),
    ("PrAC", "--like_run {} --members easy --lr 0.01", "in more than its members: lr was 0.1, is 0"),
    ("PrAC", "--like_run {} --members easy --schedule cosine --decreasing_lr=", "schedule was step, is cosine"),
    ("PrAC", "--like_run {} --members easy --gamma 0.2", "other steps than this run would have: gamma was 0.1, is 0.2"),
    ("PrAC", "--like_run {} --members easy --nesterov", "in more than its members: nesterov was off, is on"),
    (
        "PrAC",
        "--like_run {} --members easy --optimizer adam --lr 0.1 --label_smoothing 0.1",
        "in more than its members: optimizer was sgd, is adam; label_smoothing was 0.0, is 0.1",
    ),
    ("PrAC", "--like_run {} --members easy --seed 7", "in more than its members: seed was 0, is 7"),
    ("PrAC", "--like_run {} --members cet --pruning_times 3", "has finished 2 rounds, fewer than the 3 of this search"),
    ("PrAC", "--like_run {} --members cet --prac_set {}", "--prac_set and --like_run both say"),
    (
        "PrAC",
        "--like_run {} --members cet --threshold 2 --cep none",
        "--like_run gives the sets, --threshold and --cep",
    ),
    ("PrAC", "--like_run {} --members cet --eb_eps 0.1", "--eb_eps 0.1 would end them elsewhere"),
    ("PrAC", "--like_run {} --members cet --val_fraction 0.2", "another split: val_fraction was 0.1, is 0.2"),
    (
        "PrAC",
        "--like_run {} --members cet --split_file {folder}/split.npy",
        "other data or another split: split check",
    ),
    ("PrAC", "--like_run {} --members cet --epochs 7 --batch_size 32", "epochs was 6, is 7; batch_size was 64, is 32"),
    ("imp", "--steps_of {} --batch_size 32", "other steps than this run would have: batch_size was 64, is 32"),
    ("imp", "--steps_of {} --prac_set {} --eb_eps 0.1", "--prac_set and --eb_eps would change that"),
    ("imp", "--steps_of {} --rewind_lr", "--rewind_lr would change that"),
    ("imp", "--steps_of {} --batch_selection infobatch", "--batch_selection would change that"),
    ("PrAC", "--like_run {} --members cet --batch_selection infobatch", "batch_selection was not given, is infobatch"),
    ("imp", "--steps_of {} --rewind_epoch 4", "--rewind_epoch 4 is not reached: with --steps_of round 0 has only 4 ep"),
    ("imp", "--steps_of {} --pruning_times 3", "has finished 2 rounds, fewer than the 3 of this search"),
]


@pytest.mark.parametrize("script, words, message", BAD_CONTROLS, ids=[" ".join(case[:2]) for case in BAD_CONTROLS])
def test_what_cannot_be_followed_is_one_sentence(call, controls, tmp_path, monkeypatch, script, words, message):
    monkeypatch.chdir(ROOT)
    words = words.replace("{}", str(controls / "PrAC")).replace("{folder}", str(controls))
    script = {"PrAC": "main_PrAC_imp", "imp": "main_imp"}[script]
    one_sentence(call, script, [*CONTROLLED.split(), *words.split()], tmp_path, message)


def test_a_file_that_lacks_the_epochs_of_its_round_is_no_round_to_follow(tmp_path):
    settings = {"script": "main_PrAC_imp.py"}
    write(tmp_path / "0checkpoint.pth.tar", {"state": 0, "momentum": None, "settings": settings, "sequence": [1]})
    with pytest.raises(InputError, match=r"0checkpoint\.pth\.tar is no checkpoint of a round: it does not say"):
        find_reference_run(Reference(LIKE_RUN, tmp_path), 0)


def test_members_that_the_sets_of_a_run_do_not_allow_are_one_sentence(call, tmp_path):
    """No networks chose the set."""
    short = "--epochs 1 --decreasing_lr 1 --pruning_times 1"
    run("PrAC", f"{CONTROLLED} {short} --data_prune constent --data_rate 0.3 --cep none", tmp_path / "large")
    words = f"{like_run(tmp_path / 'large', 'cep')} {short}".split()
    one_sentence(call, "main_PrAC_imp", words, tmp_path, "large has --cep none")


def test_a_control_of_sets_that_hold_everything_would_be_the_run_itself(call, tmp_path):
    short = "--epochs 1 --decreasing_lr 1 --pruning_times 1"
    run("PrAC", f"{CONTROLLED} {short} --data_prune constent --data_rate 1e-17 --cep none", tmp_path / "all")
    words = f"{like_run(tmp_path / 'all', 'random')} {short}".split()
    one_sentence(call, "main_PrAC_imp", words, tmp_path, "hold all that there is to choose from")
