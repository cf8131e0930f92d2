"""Gradual magnitude pruning: the schedule by the paper's formula, masks, the training around them."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import convert
import main_dst
import main_init
import main_train
import verify
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.checkpointing.metrics import read_summary
from lottery.sparse_training.config import SparseTrainingConfig
from lottery.sparse_training.gradual_pruning import GradualPruning
from lottery.sparse_training.schedule import UpdateSchedule, update_schedule
from lottery.sparse_training.scheduled_updates import mean_kept
from lottery.training.config import TrainingConfig
from lottery.training.costs import training_flops
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from pruner import Ticket, count, dense, size
from tests.helpers import (
    SAVING,
    SETTINGS,
    assert_same,
    assert_same_files,
    one_sentence,
    run,
    run_in_process,
    run_killed,
    run_to,
)
from utils import InputError

RECIPE = Recipe(epochs=5, milestones=(4,), lr=0.05, batch_size=8)
SHORT = f"{SETTINGS} --epochs 3 --decreasing_lr 2"  # where it is not the training that is looked at
GMP = f"{SETTINGS} --method gmp --density 0.1 --prune_type rewind_lt --rewind_epoch 1"


def config(**changes):
    return SparseTrainingConfig(TrainingConfig(run=None), **changes)


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_densities_follow_the_papers_formula():
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, and exactly s_f in the end."""
    schedule, initial, final = UpdateSchedule(20, 75, 5), 0.9, 0.05
    for t in range(20, 76, 5):
        sparsity = (1 - final) + ((1 - initial) - (1 - final)) * (1 - (t - 20) / 55) ** 3
        assert schedule.cubic(t, initial, final) == pytest.approx(1 - sparsity, abs=1e-12)
    assert schedule.cubic(20, initial, final) == initial and schedule.cubic(75, initial, final) == final


def changes(schedule, taken):
    """After which steps the mask changes, if these are taken."""
    found = []
    for done in taken:
        if schedule.is_due(done, found[-1] if found else None):
            found.append(done)
    return found


def test_changes_are_due_at_their_steps_and_at_the_last():
    schedule = UpdateSchedule(3, 12, 4)
    assert changes(schedule, range(20)) == schedule.steps() == [3, 7, 11, 12]


def test_the_defaults_go_with_the_length_of_the_training():
    authors = update_schedule(config(), 97_656)
    assert (authors.first, authors.last, authors.every) == (19_531, 75_195, 977)
    short = update_schedule(config(), 4)
    assert (short.first, short.last, short.every) == (1, 3, 1)
    assert update_schedule(config(update_from=1.0, update_until=1.0), 10).steps() == [9]
    assert update_schedule(config(update_every=7), 100).every == 7
    assert update_schedule(config(), 100, rewinding=30).first == 30
    with pytest.raises(InputError, match="rewinding point, step 80, lies after step 77"):
        update_schedule(config(), 100, rewinding=80)
    with pytest.raises(InputError, match="at least 2 optimiser steps, got 1"):
        update_schedule(config(), 1)


# --- masks and weights ------------------------------------------------------------------------------------------------


class Recorded(GradualPruning):
    """Keeps mask and weights after each change."""

    def __init__(self, *given):
        super().__init__(*given)
        self.seen = []

    def prune_(self, step, done):
        before = copy_weights(step.model)
        super().prune_(step, done)
        self.seen.append((done, before, step.mask, copy_weights(step.model)))


@pytest.fixture(params=["sgd", "adam"])
def trained(request, tiny, images):
    """20 steps with changes after 4, 7, 10, 13, 15: the step and what was seen."""
    recipe = replace(RECIPE, optimizer=request.param, lr=0.05 if request.param == "sgd" else 0.01)
    step = Step(tiny, images, recipe)
    step.load_(Ticket(dense(tiny), copy_weights(tiny)))
    updates = Recorded(UpdateSchedule(4, 15, 3), 0.2, 1.0)
    epochs = list(fit(step, torch.arange(30), recipe, seed=1, updates=updates))
    return step, updates, epochs


def test_masks_are_nested_the_smallest_go_and_counts_are_exact(trained):
    step, updates, _ = trained
    weights, mask = size(step.mask), dense(step.model)
    for (done, before, after, _), record in zip(updates.seen, updates.records, strict=True):
        wanted = round(updates.schedule.cubic(done, 1.0, 0.2) * weights)
        assert count(after) == wanted == record["kept"] <= count(mask) == wanted + record["dropped"]
        assert all((mask[name] | ~after[name]).all() for name in mask), "nested"
        pruned = torch.cat([before[name].abs()[mask[name] & ~after[name]] for name in mask])
        kept = torch.cat([before[name].abs()[after[name]] for name in mask])
        assert not len(pruned) or pruned.max() <= kept.min()
        assert record["layers"] == {name: int(layer.sum()) for name, layer in after.items()}
        mask = after
    assert [done for done, *_ in updates.seen] == [4, 7, 10, 13, 15] and count(step.mask) == round(0.2 * weights)
    assert all((step.parameters[name][~layer] == 0).all() for name, layer in step.mask.items())


def test_between_changes_it_is_plain_masked_training_to_the_bit(trained, images):
    """From the last change on, with the momentum that was there: by a step that never changes."""
    step = trained[0]
    twin = copy.deepcopy(step.model)
    recipe = replace(RECIPE, optimizer="sgd" if isinstance(step.optimizer, torch.optim.SGD) else "adam")
    recipe = replace(recipe, lr=0.05 if recipe.optimizer == "sgd" else 0.01)
    plain = Step(twin, images, recipe)

    class Handed(GradualPruning):
        """Takes weights, mask and state over after the last change."""

        def before_step_(self, changing, done, visits):
            super().before_step_(changing, done, visits)
            if done == 15:
                plain.load_(Ticket(changing.mask, copy_weights(changing.model)))
                plain.load_momentum_(changing.momentum())
            if done >= 15:
                plain.lr.copy_(changing.lr)
                plain.model.train()
                plain(visits)
            return False

    step.load_(Ticket(dense(step.model), {name: value + 0.01 for name, value in copy_weights(twin).items()}))
    list(fit(step, torch.arange(30), recipe, seed=2, updates=Handed(UpdateSchedule(4, 15, 3), 0.2, 1.0)))
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in step.model.state_dict().items())


def test_a_weight_that_comes_back_starts_at_zero_without_momentum(tiny, images):
    step = Step(tiny, images, RECIPE)
    mask = dense(tiny)
    step.load_(Ticket(mask, copy_weights(tiny)))
    list(fit(step, torch.arange(30), replace(RECIPE, epochs=1), seed=0))
    name = "conv2.weight"
    place = step.optimizer.state[step.parameters[name]]["momentum_buffer"]
    assert (place != 0).all()
    fewer = {**mask, name: torch.zeros_like(mask[name])}
    fewer[name][:3] = True
    kept_before = step.parameters[name][:3].clone(), place[:3].clone()
    step.change_mask_(fewer)
    list(fit(step, torch.arange(30), replace(RECIPE, epochs=2), seed=0, done=4))
    step.change_mask_(mask)
    assert (step.parameters[name][3:] == 0).all() and (place[3:] == 0).all()
    assert not torch.equal(step.parameters[name][:3], kept_before[0]) and (place[:3] != 0).all()
    assert count(step.mask) == count(mask)


def test_a_change_may_take_the_place_of_a_step(tiny, images):
    class Instead:
        last = 2

        def before_step_(self, step, done, visits):
            return done == 2

    step = Step(tiny, images, RECIPE)
    step.load_(Ticket(dense(tiny), copy_weights(tiny)))
    seen = []
    step.fast_step = lambda visits: seen.append(visits)
    step.fast_step.begin_epoch = lambda: None
    list(fit(step, torch.arange(30), replace(RECIPE, epochs=1), seed=0, updates=Instead()))
    assert len(seen) == 3


def test_mean_kept_by_hand():
    """100 for 4 of 10 steps, 50 for 3, 10 for 3; and in two epochs of 5 of which the last two steps are left out, 100
    for 3 of the 6, 50 for 2, 10 for 1."""
    records = [{"step": 4, "layers": {"a": 50}}, {"step": 7, "layers": {"a": 10}}]
    assert mean_kept(records, {"a": 100}, [range(5), range(5, 10)]) == {"a": 58}
    assert mean_kept(records, {"a": 100}, [range(3), range(5, 8)]) == {"a": pytest.approx((300 + 100 + 10) / 6)}
    assert mean_kept([], {"a": 100}, [range(10)]) == {"a": 100}


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gmp") / "run"
    out = run_to(0, main_dst, *GMP.split(), "--save_dir", folder)
    (folder.parent / "out").write_text(out)
    return folder


def test_the_ticket_has_its_density_exactly_and_rewound_weights(found):
    content = read(found / "checkpoint.pth.tar")
    mask = split_state(content["state_dict"])[1]
    assert count(mask) == round(0.1 * size(mask))
    rewinding = read(found / "epoch_2_rewind_weight.pt")
    assert_same(content["init_weight"], rewinding, "rewound weights")
    assert content["init_step"] == 2 * 21 and content["momentum"] is None
    assert "89.99 % sparse" in (found.parent / "out").read_text().splitlines()[-3]


def test_the_rewound_weights_are_those_of_a_search(found, tmp_path):
    run("imp", f"{SETTINGS} --prune_type rewind_lt --rewind_epoch 1 --pruning_times 1", tmp_path)
    theirs = read(tmp_path / "1checkpoint.pth.tar")
    ours = read(found / "checkpoint.pth.tar")
    assert_same(ours["init_weight"], theirs["init_weight"], "rewound weights")
    assert ours["init_step"] == theirs["init_step"]


def test_the_best_epoch_is_one_with_the_final_mask(found):
    best, content = read(found / "model_SA_best.pth.tar"), read(found / "checkpoint.pth.tar")
    history, summary = content["history"], read_summary(found / "summary.json")
    finals = [row for row in history if row["final"]]
    assert 0 < len(finals) < len(history) and all(row["density"] == finals[0]["density"] for row in finals)
    assert [row["density"] for row in history] == sorted((row["density"] for row in history), reverse=True)
    row = summary["rounds"][0]
    assert row["best_epoch"] == max(finals, key=lambda each: each["validation"])["epoch"] == len(best["history"]) - 1
    assert_same(split_state(best["state_dict"])[1], split_state(content["state_dict"])[1], "mask")


def test_the_records_tell_every_change_and_what_was_kept_on_average(found):
    row = read_summary(found / "summary.json")["rounds"][0]
    updates = row["mask_updates"]
    assert [update["kept"] for update in updates] == sorted((update["kept"] for update in updates), reverse=True)
    assert updates[-1]["kept"] == row["kept"] and updates[-1]["layers"] == {
        name: layer["kept"] for name, layer in row["layers"].items()
    }
    flops = {name: 2.0 * layer["size"] for name, layer in row["layers"].items()}
    assert all(layer["kept"] < row["mean_kept"][name] < layer["size"] for name, layer in row["layers"].items())
    expected = 3 * row["examples"] * sum(2.0 * row["mean_kept"][name] for name in flops)
    assert training_flops(flops, row) == pytest.approx(expected)


def test_what_was_kept_on_average_counts_the_steps_that_were_taken(tmp_path):
    """Batch selection leaves out the last steps of an epoch: no step trains under the masks that fall due there."""
    run_to(0, main_dst, *f"{GMP} --update_every 1 --batch_selection infobatch".split(), "--save_dir", tmp_path)
    row = read_summary(tmp_path / "summary.json")["rounds"][0]
    history = read(tmp_path / "checkpoint.pth.tar")["history"]
    assert row["steps_left_out"] > 0
    kept, taken = {name: layer["size"] for name, layer in row["layers"].items()}, []
    updates = {update["step"]: update["layers"] for update in row["mask_updates"]}
    for epoch in history:
        for step in range(
            epoch["epoch"] * row["steps_per_epoch"], epoch["epoch"] * row["steps_per_epoch"] + epoch["steps"]
        ):
            kept = updates.get(step, kept)
            taken.append(kept)
    assert len(taken) == row["steps"]
    for name, average in row["mean_kept"].items():
        assert average == pytest.approx(sum(each[name] for each in taken) / len(taken))


def test_a_training_that_diverges_before_a_change_of_the_mask_says_so(tmp_path):
    """In the middle of an epoch, before it is known at the epoch's end."""
    flags = f"{SETTINGS} --method gmp --density 0.1 --update_from 0 --update_every 1 --lr 1e20"
    out = run_to(1, main_dst, *flags.split(), "--save_dir", tmp_path)
    assert "the weights are no longer finite numbers" in out and "Traceback" not in out


@pytest.mark.parametrize("more, every", [("", 4), ("--optimizer adam --batch_selection infobatch --update_every 5", 5)])
def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, more, every):
    """Changes fall on the first step of an epoch, too: one is after step 42 of epochs of 21."""
    from lottery.sparse_training import run as sparse_training
    from tests import helpers

    monkeypatch.setitem(helpers.SCRIPTS, "dst", main_dst)
    monkeypatch.setattr(helpers, "search", sparse_training)  # where the rewinding weights are written
    flags = f"{GMP} {SAVING} --update_from 0.25 --update_until 0.75 {more}"
    run("dst", flags, tmp_path / "whole")
    run_killed(monkeypatch, "dst", flags, tmp_path / "broken", every=every)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_its_ticket_is_verified_and_trained_by_every_rule_and_control(found, tmp_path):
    ticket = found / "checkpoint.pth.tar"
    status, out, err = run_in_process(verify, ticket, found / "model_SA_best.pth.tar")
    assert status == 0, out + err
    given = f"--init_dir {ticket} --mask_dir {ticket}"
    mask = split_state(read(ticket)["state_dict"])[1]
    for number, more in enumerate(
        ("", "--rule weight_rewinding", "--rule lr_rewinding", "--rule fine_tuning", "--control random_mask")
    ):
        run("train", f"{SHORT} {given} {more}", tmp_path / str(number))
        assert count(split_state(read(tmp_path / str(number) / "checkpoint.pth.tar")["state_dict"])[1]) == count(mask)
    assert read_summary(tmp_path / "0" / "summary.json")["ticket"]["settings"]["script"] == "main_dst.py"


def test_what_a_training_of_its_ticket_says(found, tmp_path):
    """Its mask alone is on the weights that its training began with; its trained weights are those it was pruned to."""
    ticket = found / "checkpoint.pth.tar"
    alone = run("train", f"{SHORT} --mask_dir {ticket}", tmp_path / "alone")
    assert "on the weights that its search began with, not those it was rewound to" in alone
    on = run("train", f"{SHORT} --init_dir {ticket} --mask_dir {ticket} --rule lr_rewinding", tmp_path / "on")
    assert "given: the ticket in" in on and "the round before" not in on


def test_a_ticket_that_is_not_as_dense_as_it_should_be_is_found(found, tmp_path):
    content = read(found / "checkpoint.pth.tar")
    mask = next(value for name, value in content["state_dict"].items() if name.endswith("_mask"))
    mask[tuple((mask == 0).nonzero()[0])] = 1
    content["epoch"] -= 1  # as of an epoch before the last, whose mask is the final one, too
    write(tmp_path / "checkpoint.pth.tar", content)
    status, out, _ = run_in_process(verify, tmp_path / "checkpoint.pth.tar")
    assert status == 1 and re.search(r"exact density +BROKEN", out)


def test_it_may_begin_with_a_ticket(found, tmp_path):
    ticket = found / "checkpoint.pth.tar"
    flags = f"{SHORT} --method gmp --density 0.05 --init_dir {ticket} --mask_dir {ticket}"
    run_to(0, main_dst, *flags.split(), "--save_dir", tmp_path / "run")
    before, after = (
        split_state(read(each / "checkpoint.pth.tar")["state_dict"])[1] for each in (found, tmp_path / "run")
    )
    assert count(after) == round(0.05 * size(after))
    assert all((before[name] | ~after[name]).all() for name in after)
    out = run_to(2, main_dst, *flags.replace("0.05", "0.5").split(), "--save_dir", tmp_path / "none")
    assert "--density 0.5 would keep" in out and not (tmp_path / "none").exists()


def test_a_mask_of_what_it_leaves_alone_is_refused(tmp_path):
    np.savez(tmp_path / "mask.npz", **{"fc1.weight": np.arange(300 * 64).reshape(300, 64) % 2,
                                       "fc3.weight": np.arange(1000).reshape(10, 100) % 2})  # fmt: skip
    flags = f"--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --mask_dir {tmp_path / 'mask.npz'}"
    flags = f"{flags} --method gmp --density 0.1"
    out = run_to(2, main_dst, *flags.split(), "--save_dir", tmp_path / "run")
    assert "has a mask for fc3.weight, which this search does not prune: is --prune_classifier" in out
    assert not (tmp_path / "run").exists()
    run_to(0, main_dst, *flags.split(), "--prune_classifier", "--save_dir", tmp_path / "run")


def test_from_initialisation(tmp_path):
    run_to(0, main_dst, *f"{SHORT} --method gmp --density 0.3".split(), "--save_dir", tmp_path)
    content = read(tmp_path / "checkpoint.pth.tar")
    assert content["init_step"] == 0 and not (tmp_path / "epoch_3_rewind_weight.pt").exists()


BAD = [
    ("--density 0.1", "--method"),
    ("--method sat --density 0.1", "sat.*gmp"),
    ("--method gmp", "--density"),
    ("--method gmp --density 1", "got 1"),
    ("--method gmp --density 0.1 --update_from 0.8", "--update_from 0.8 lies after --update_until 0.77"),
    ("--method gmp --density 0.1 --update_until 1.5", "from 0 to 1, got 1.5"),
    ("--method gmp --density 0.1 --update_every 0", "got 0"),
    ("--method gmp --density 0.1 --prune_type pt", "pt"),
    ("--method gmp --density 0.1 --rewind_epoch 1 --rewind_iteration 3", "give one of them"),
    ("--method gmp --density 0.1 --prune_type rewind_lt --rewind_epoch 9 --epochs 3", "smaller than --epochs 3, got 9"),
    ("--method gmp --density 0.00001 --dataset digits --arch tests.networks:tiny", "would keep 0 of"),
    ("--method gmp --density 0.1 --dataset digits --arch tests.networks:tiny --prune_type rewind_lt "
     "--rewind_iteration 999999", "the rewinding point, step 999999, lies after"),
]  # fmt: skip


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_sentence(tmp_path, words, message):
    one_sentence(lambda _, *given: run_in_process(main_dst, *given), "main_dst", words.split(), tmp_path, message)


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_mask_of_a_training_that_goes_on_is_no_ticket_yet(found, tmp_path, epochs):
    """Nor is that of one which was ended in its first epoch."""
    content = read(found / "checkpoint.pth.tar")
    content["history"] = content["history"][:epochs]
    for row in content["history"]:
        row["final"] = False
    write(tmp_path / "checkpoint.pth.tar", content)
    given = f"--init_dir {tmp_path}/checkpoint.pth.tar --mask_dir {tmp_path}/checkpoint.pth.tar"
    out = run_to(2, main_train, *f"{SHORT} {given}".split(), "--save_dir", tmp_path / "run")
    assert f"is not final: its training stands at epoch {epochs} " in out and not (tmp_path / "run").exists()
    out = run_to(2, convert, tmp_path / "checkpoint.pth.tar", "--to", "masked")
    assert f"is not final: its training stands at epoch {epochs} " in out
    like = f"--criterion magnitude --dataset digits --arch tests.networks:tiny --like {tmp_path}/checkpoint.pth.tar"
    out = run_to(2, main_init, *like.split(), "--save_dir", tmp_path / "run")
    assert f"is not final: its training stands at epoch {epochs} " in out
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth.tar"]


def test_its_ticket_leaves_and_comes_back_to_be_trained(found, tmp_path):
    """What convert.py wrote has no history that would say that the mask is final."""
    for flags, file in ([], "ticket.pt"), (["--trained"], "trained.pt"):
        run_to(0, convert, found / "checkpoint.pth.tar", "--to", "masked", *flags, "--output", tmp_path / file)
        assert "weights kept" in run_to(0, verify, tmp_path / file)
    given = f"--init_dir {tmp_path}/ticket.pt --mask_dir {tmp_path}/ticket.pt"
    run_to(0, main_train, *f"{SHORT} {given}".split(), "--save_dir", tmp_path / "run")
