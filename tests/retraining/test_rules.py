"""Rules for training a ticket again: which weights, which learning rates, how many steps; what goes with them."""

import json
import re

import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.retraining.rules import RULES, recipe_under, takes_trained
from lottery.training.recipe import Recipe
from tests.helpers import SAVING, SETTINGS, assert_same_files, run, run_killed
from tests.helpers import equal_weights as equal
from utils import InputError
from verify import main as verify

EPOCHS, STEPS, REWOUND = 3, 21, 30  # steps of an epoch of batches of 64; the rewinding point, in the second epoch
SHORT = SETTINGS.replace("--epochs 8 --decreasing_lr 4,6", f"--epochs {EPOCHS} --decreasing_lr 2")
TRAINED = [name for name in RULES if takes_trained(name)]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """0 is the trained dense network, 1 a trained ticket, 2 a ticket whose training has not begun."""
    folder = tmp_path_factory.mktemp("rules") / "search"
    run("imp", f"{SHORT} --prune_type rewind_lt --rewind_iteration {REWOUND} --pruning_times 2 --rate 0.4", folder)
    return folder


def given(search, weights, mask):
    return f"--init_dir {search}/{weights}checkpoint.pth.tar --mask_dir {search}/{mask}checkpoint.pth.tar"


def trained(flags, folder, expect=0):
    out = run("train", f"{SHORT} {flags}", folder, expect)
    return out if expect else read(folder / "checkpoint.pth.tar")


def by_hand(search, folder):
    """A ticket file whose starting weights are the trained dense network's, and stand, as it says, at the rewinding
    point: what --rewind_lr makes of it is written down elsewhere than the rules are."""
    ticket, dense = read(search / "1checkpoint.pth.tar"), read(search / "0checkpoint.pth.tar")
    folder.mkdir()
    write(folder / "ticket.pth.tar", ticket | {"init_weight": split_state(dense["state_dict"])[0]})
    return f"--init_dir {folder}/ticket.pth.tar --mask_dir {folder}/ticket.pth.tar"


# --- the rates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe, last",
    [
        (Recipe(epochs=10, milestones=(4, 8), lr=0.1), 0.1 * 0.1**2),
        (Recipe(epochs=10, milestones=(4, 8), lr=0.1, gamma=0.5), 0.1 * 0.5**2),
        (Recipe(epochs=10, milestones=(4, 10, 20), lr=0.1), 0.1 * 0.1),
        (Recipe(epochs=10, milestones=(), warmup=10, lr=0.3), 0.3),
        (Recipe(epochs=10, milestones=(), warmup=2, lr=0.3), 0.3),
    ],
)
def test_fine_tuning_keeps_to_the_last_learning_rate(recipe, last):
    tuned = recipe_under("fine_tuning", recipe)
    rates = {tuned.lr_at(epoch, step, 5) for epoch in range(recipe.epochs) for step in range(5)}
    assert rates == {last} == {recipe.lr_at(recipe.epochs - 1, 4, 5)}
    assert (tuned.epochs, tuned.batch_size, tuned.momentum) == (recipe.epochs, recipe.batch_size, recipe.momentum)
    assert all(recipe_under(rule, recipe) == recipe for rule in (None, "weight_rewinding", "lr_rewinding"))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_fine_tuning_needs_a_schedule_that_does_not_end_at_0(tmp_path, search, schedule):
    out = trained(f"{given(search, 0, 1)} --schedule {schedule} --rule fine_tuning", tmp_path / "run", expect=2)
    assert re.search(f"--rule fine_tuning .* is 0 with --schedule {schedule}: it goes with --schedule step", out)
    assert trained(f"{given(search, 0, 1)} --schedule {schedule} --rule lr_rewinding", tmp_path / "run")


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_that_ends_at_0_leaves_nothing_to_fine_tune_with(schedule):
    recipe = Recipe(epochs=10, schedule=schedule)
    with pytest.raises(InputError, match=f"which is 0 with --schedule {schedule}: it goes with --schedule step"):
        recipe_under("fine_tuning", recipe)
    assert all(recipe_under(rule, recipe) == recipe for rule in (None, "weight_rewinding", "lr_rewinding"))


# --- each rule --------------------------------------------------------------------------------------------------------


def test_weight_rewinding_is_rewind_lr(search, tmp_path):
    rule = trained(f"{given(search, 1, 1)} --rule weight_rewinding", tmp_path / "rule")
    flag = trained(f"{given(search, 1, 1)} --rewind_lr", tmp_path / "flag")
    assert rule["first_step"] == REWOUND and equal(rule["state_dict"], flag["state_dict"])
    before = trained(f"{given(search, 0, 1)} --rule weight_rewinding", tmp_path / "before")
    assert equal(before["state_dict"], rule["state_dict"]), "every round has the same rewound weights"


@pytest.mark.parametrize("rule", TRAINED)
def test_a_rule_trains_the_trained_weights_under_the_mask_for_the_steps_that_are_left(search, tmp_path, rule):
    """To the bit what a ticket with these starting weights becomes, on the schedule written out by hand."""
    found = trained(f"{given(search, 0, 1)} --rule {rule}", tmp_path / "rule")
    dense, ticket = read(search / "0checkpoint.pth.tar"), read(search / "1checkpoint.pth.tar")
    assert equal(found["init_weight"], dense["state_dict"]) and not equal(found["init_weight"], ticket["init_weight"])
    assert pruner.same(split_state(found["state_dict"])[1], split_state(ticket["state_dict"])[1])
    assert sum(row["steps"] for row in found["history"]) == EPOCHS * STEPS - REWOUND
    rates = [row["lr"] for row in found["history"]]
    expected = {"lr_rewinding": [0.1, 0.01], "fine_tuning": [0.01] * 2}[rule]
    assert rates == pytest.approx(expected)
    flat = f"--lr {rates[-1]!r} --warmup 0 --decreasing_lr 99" if rule == "fine_tuning" else ""
    twin = trained(f"{by_hand(search, tmp_path / 'hand')} --rewind_lr {flat}", tmp_path / "twin")
    assert equal(found["state_dict"], twin["state_dict"])
    assert [row["loss"] for row in found["history"]] == [row["loss"] for row in twin["history"]]


@pytest.mark.parametrize("rule", TRAINED)
def test_a_killed_training_by_a_rule_ends_where_an_unbroken_one_does(search, tmp_path, monkeypatch, rule):
    """The ticket after two prunings, on the weights it was pruned from."""
    flags = f"{SHORT} {SAVING} {given(search, 1, 2)} --rule {rule}"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert verify([str(file) for file in tmp_path.glob("whole/*.pth.tar")]) == 0
    start, before = (read(file)["init_weight"] for file in (tmp_path / "whole/checkpoint.pth.tar",
                                                            search / "1checkpoint.pth.tar"))  # fmt: skip
    assert not equal(start, before)
    assert equal(start, split_state(read(search / "1checkpoint.pth.tar")["state_dict"])[0])


def test_what_was_done_is_said_and_recorded_and_nothing_else_goes_on_with_it(search, tmp_path):
    flags = f"{SHORT} {given(search, 0, 1)}"
    out = run("train", f"{flags} --rule lr_rewinding", tmp_path / "run")
    assert f"note: --rule lr_rewinding: {RULES['lr_rewinding'].help}; 33 steps after step t = 30 of T = 63" in out
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["rule"] == {
        "name": "lr_rewinding", "file": f"{search}/0checkpoint.pth.tar", "weights": "trained", "first_step": 30,
        "steps": 33,
    }  # fmt: skip
    assert summary["ticket"]["prunings"] == 1 and summary["settings"]["ticket step"] == 30
    assert summary["settings"]["rule"] == read(tmp_path / "run/checkpoint.pth.tar")["settings"]["rule"]
    assert "this training is finished" in run("train", f"{flags} --rule lr_rewinding", tmp_path / "run")
    for other in ("--rule fine_tuning", "--rule weight_rewinding", "--rewind_lr", ""):
        assert "rule was lr_rewinding, is" in run("train", f"{flags} {other}", tmp_path / "run", expect=2)


def test_a_run_from_before_there_were_rules_is_no_run_by_one(search, tmp_path):
    flags = f"{given(search, 1, 1)} --rewind_lr"
    trained(flags, tmp_path)
    for name in ("checkpoint", "model_SA_best"):
        content = read(tmp_path / f"{name}.pth.tar")
        settings = {key: value for key, value in content["settings"].items() if key != "rule"}
        write(tmp_path / f"{name}.pth.tar", content | {"settings": settings})
    assert "this training is finished" in run("train", f"{SHORT} {flags}", tmp_path)
    assert "rule was not given, is weight_rewinding" in trained(
        f"{given(search, 1, 1)} --rule weight_rewinding", tmp_path, 2
    )


def test_rules_follow_each_other(search, tmp_path):
    """What a rule has trained is pruned and trained by a rule again: it begins at the same step."""
    trained(f"{given(search, 0, 1)} --rule lr_rewinding", tmp_path / "first")
    file = tmp_path / "first/checkpoint.pth.tar"
    flags = f"--init_dir {file} --mask_dir {search}/2checkpoint.pth.tar --rule lr_rewinding"
    again = trained(flags, tmp_path / "second")
    assert again["first_step"] == read(file)["first_step"] == REWOUND
    assert equal(again["init_weight"], split_state(read(file)["state_dict"])[0])


def test_a_new_classifier_stands_on_trained_weights(search, tmp_path):
    found = trained(f"{given(search, 0, 1)} --rule fine_tuning --new_classifier", tmp_path / "new")
    dense = read(search / "0checkpoint.pth.tar")["state_dict"]
    new = [name for name, value in found["init_weight"].items() if not torch.equal(value, dense[name])]
    assert new == ["network.8.weight", "network.8.bias"]


# --- with controls ----------------------------------------------------------------------------------------------------


def test_dense_fine_tuning_is_that_of_the_trained_network(search, tmp_path):
    control = trained(f"{given(search, 0, 2)} --control dense --rule fine_tuning", tmp_path / "control")
    plain = trained(f"--init_dir {search}/0checkpoint.pth.tar --rule fine_tuning", tmp_path / "plain")
    assert split_state(control["state_dict"])[1] == {} and equal(control["state_dict"], plain["state_dict"])
    assert equal(control["init_weight"], read(search / "0checkpoint.pth.tar")["state_dict"])


def test_the_largest_trained_weights_are_the_ticket_of_the_first_pruning(search, tmp_path):
    """--control one_shot prunes the weights that the search pruned, and as many."""
    found = trained(f"{given(search, 0, 1)} --control one_shot --rule fine_tuning", tmp_path / "run")
    ticket = split_state(read(search / "1checkpoint.pth.tar")["state_dict"])[1]
    assert pruner.same(split_state(found["state_dict"])[1], ticket)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_weights_that_the_mask_has_been_trained_with_are_told(search, tmp_path):
    """The same file twice, as other trainings take it; the round before has what a rule begins with."""
    pair = f"--init_dir {search}/{{}}checkpoint.pth.tar --mask_dir {search}/1checkpoint.pth.tar --rule lr_rewinding"
    said = run("train", f"{SHORT} {pair.format(1)}", tmp_path / "same")
    assert "1checkpoint.pth.tar was trained under this very mask" in said
    assert "this very mask" not in run("train", f"{SHORT} {pair.format(0)}", tmp_path / "before")


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--rule fine_tuning", "--rule fine_tuning begins where the weights of --init_dir stand: give it"),
        ("{0} --rule fine_tuning --rewind_lr", "--rewind_lr is --rule weight_rewinding, got --rule fine_tuning"),
        ("{0} {m1} --rule lr_rewinding --control reinit", "--control reinit draws others: give one of them"),
        ("{1} {m1} --rule weight_rewinding --control reinit", "--control reinit draws others: give one of them"),
        ("{2} {m2} --rule lr_rewinding", "holds no trained weights: the training it is for has not begun"),
        ("{1} --rule lr_rewinding", "no trained values for 547 weights that are kept here"),
        ("{1} {m2} --rule fine_tuning --control random_mask", "zero at 63 % of where the ticket.s mask drops them"),
        ("{1} {m2} --rule fine_tuning --control dense", "zero at 63 % of where the ticket.s mask drops them"),
        ("{1} {m1} --rule fine_tuning --control dense", "needs the dense ones"),
        ("{rewound} {m1} --rule fine_tuning", "--rule fine_tuning: --init_dir does not say after how many optimiser"),
        ("{0} {m1} --rule lr_rewinding --epochs 1", "--rule lr_rewinding would begin after step 30.*has only 21"),
        ("{0} --rule retraining", "weight_rewinding.*lr_rewinding.*fine_tuning"),
    ],
)  # fmt: skip
def test_what_no_rule_can_train_is_one_sentence(search, tmp_path, flags, message):
    files = {"rewound": f"--init_dir {search}/iteration_{REWOUND}_rewind_weight.pt"}
    files |= {f"m{k}": f"--mask_dir {search}/{k}checkpoint.pth.tar" for k in range(3)}
    words = flags.format(*(f"--init_dir {search}/{k}checkpoint.pth.tar" for k in range(3)), **files)
    out = trained(words, tmp_path / "new", expect=2)
    assert len(out.splitlines()) == 1 and re.search(message, out), out
    assert not (tmp_path / "new").exists()


def test_trained_weights_of_another_round_than_the_mask_was_pruned_from_are_told(search, tmp_path):
    told = "has the trained weights of round 0, and the mask in "
    out = run("train", f"{SHORT} {given(search, 0, 2)} --rule lr_rewinding", tmp_path / "two")
    assert told in out and "2checkpoint.pth.tar was pruned from those of round 1" in out
    assert "has the trained weights of round" not in run(
        "train", f"{SHORT} {given(search, 0, 1)} --rule lr_rewinding", tmp_path / "one"
    )


def test_weights_of_a_training_that_is_not_at_its_end_are_told(search, tmp_path):
    content = read(search / "0checkpoint.pth.tar")
    write(tmp_path / "half.pth.tar", content | {"momentum": []})
    out = run("train", f"{SHORT} --init_dir {tmp_path}/half.pth.tar --rule fine_tuning", tmp_path / "run")
    assert "half.pth.tar is of a training that has not come to its end" in out
    out = run("train", f"{SHORT} {given(search, 0, 1)} --rule fine_tuning", tmp_path / "whole")
    assert "has not come to its end" not in out
