"""InfoBatch against a slow loop by the paper's formulas, and what it leaves of everything else."""

import copy
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dataset import augment, draw_epoch, to_input
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.metrics import read_summary
from lottery.training.batch_selection import UNSEEN, BatchSelection
from lottery.training.loop import fit
from lottery.training.progress import Progress
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step
from tests.helpers import (
    REWIND,
    SAVING,
    SETTINGS,
    assert_same,
    assert_same_files,
    checkpoints,
    pruned_ticket,
    run,
    run_killed,
)
from utils import RandomStream, generator

RECIPE = Recipe(epochs=8, milestones=(4, 6), lr=0.05, batch_size=8, batch_selection="infobatch")
SELECTED = "--batch_selection infobatch"


def by_the_paper(model, data, indices, recipe, seed):
    """Algorithm and formulas of the paper, one example after the other: which examples each epoch trains on, and its
    weighted loss over all. The model is trained in place by torch's own SGD."""
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
    )
    scores, trained, means = {}, [], []
    for epoch in range(recipe.epochs):
        draws = draw_epoch(len(indices), data.padding, data.flips, (seed, 0, epoch))
        chance = generator(seed, 0, epoch, RandomStream.BATCH_SELECTION).random(len(indices))
        mean, visits = np.mean(list(scores.values())) if scores else None, []
        for position, place in enumerate(draws.order.tolist()):
            example, weight = int(indices[place]), 1.0
            if scores and epoch < recipe.selection_until * recipe.epochs and scores[example] < mean:
                if chance[position] < recipe.selection_rate:
                    continue
                weight = 1 / (1 - recipe.selection_rate)
            visits.append((position, example, weight))
        trained.append([example for _, example, _ in visits])
        means.append(0.0)
        plan = batches(len(visits), recipe.batch_size)
        for number, batch in enumerate(plan):
            optimizer.param_groups[0]["lr"] = recipe.lr_at(epoch, number, len(plan))
            positions, examples, weights = (list(part) for part in zip(*visits[batch], strict=True))
            images = augment(
                data.images[examples], draws.top[positions], draws.left[positions], draws.flip[positions], data.padding
            )
            model.train()
            losses = F.cross_entropy(
                model(to_input(images)), data.labels[examples], label_smoothing=recipe.label_smoothing, reduction="none"
            )
            optimizer.zero_grad()
            loss = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
            (loss / len(examples)).backward()
            optimizer.step()
            means[-1] += loss.item() / len(indices)
            scores |= dict(zip(examples, losses.tolist(), strict=True))
    return trained, means


@pytest.mark.parametrize(
    "rate, until, more",
    [(0.5, 0.875, {}), (0.8, 0.5, {"label_smoothing": 0.1}), (0.5, 0.875, {"schedule": "cosine", "warmup": 3})],
)
def test_it_is_the_papers_algorithm(tiny, images, rate, until, more):
    """The learning rate of a step follows the steps that its epoch really has."""
    recipe = replace(RECIPE, selection_rate=rate, selection_until=until, **more)
    twin, indices = copy.deepcopy(tiny), torch.arange(2, 32)
    step = Step(tiny, images, recipe)
    epochs = list(fit(step, indices, recipe, seed=3))
    trained, means = by_the_paper(twin, images, indices, recipe, 3)
    assert [epoch.examples.tolist() for epoch in epochs[1:6]] == [
        examples if len(examples) < 30 else indices.tolist() for examples in trained[1:6]
    ]
    sizes = [len(epoch.examples) for epoch in epochs]
    assert sizes == [len(examples) for examples in trained] and min(sizes) < 30
    last = int(until * recipe.epochs)
    assert sizes[0] == 30 and sizes[last:] == [30] * (recipe.epochs - last), "whole at first, and in the last part"
    assert [epoch.steps for epoch in epochs] == [len(batches(size, 8)) for size in sizes]
    assert [epoch.loss for epoch in epochs] == pytest.approx(means, rel=1e-3)
    for name, value in tiny.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_the_expected_gradient_is_the_full_one():
    """The sum of weighted gradients over many draws, against that of all examples, within its standard error."""
    random = np.random.default_rng(0)
    losses, gradients = torch.from_numpy(random.exponential(size=40)).float(), random.normal(size=(40, 5))
    selection = BatchSelection(replace(RECIPE, selection_rate=0.7), 40, torch.device("cpu"))
    visits, sums, lengths = torch.stack([torch.arange(40)] * 4), [], []
    for epoch in range(4000):
        selection.losses.copy_(losses)
        kept = selection.select_(visits, (0, 0, epoch), 0.0)[0]
        sums.append((selection.weights[kept].double().numpy()[:, None] * gradients[kept]).sum(0))
        lengths.append(len(kept))
    error = np.std(sums, axis=0, ddof=1) / np.sqrt(len(sums))
    assert (np.abs(np.mean(sums, axis=0) - gradients.sum(0)) < 4 * error).all() and (error > 0).all()
    low = int((losses < losses.mean()).sum())
    assert np.mean(lengths) == pytest.approx(40 - 0.7 * low, abs=0.3)


def test_an_example_without_a_loss_is_not_left_out():
    """Nor has it a part in the mean, which would leave no loss below it here."""
    selection = BatchSelection(replace(RECIPE, selection_rate=0.99), 6, torch.device("cpu"))
    selection.losses.copy_(torch.tensor([0.1, UNSEEN, 0.1, 0.5, UNSEEN, 0.1]))
    visits = torch.stack([torch.arange(6)] * 4)
    kept = [set(selection.select_(visits, (0, 0, epoch), 0.0)[0].tolist()) for epoch in range(50)]
    assert all({1, 3, 4} <= each for each in kept) and any(each == {1, 3, 4} for each in kept)
    assert selection.weights[[1, 3, 4]].tolist() == [1, 1, 1]


def test_too_few_are_not_selected():
    selection = BatchSelection(replace(RECIPE, selection_rate=0.99), 2, torch.device("cpu"))
    selection.losses.copy_(torch.tensor([0.1, 5.0]))
    visits = torch.stack([torch.arange(2)] * 4)
    for epoch in range(20):
        assert selection.select_(visits, (0, 0, epoch), 0.0).shape[1] == 2
        assert selection.weights.tolist() in ([1, 1], [pytest.approx(100), 1])


def test_the_losses_are_those_of_the_last_visit_and_are_forgotten(tiny, images):
    step = Step(tiny, images, replace(RECIPE, epochs=1))
    ticket = pruned_ticket(tiny)
    step.load_(ticket)
    (epoch,) = fit(step, torch.arange(30), replace(RECIPE, epochs=1), seed=0)
    assert (step.selection.losses[:30] > 0).all() and (step.selection.losses[30:] == UNSEEN).all()
    assert epoch.loss == pytest.approx(float(step.selection.losses[:30].mean()), rel=1e-5)
    step.load_(ticket)
    assert (step.selection.losses == UNSEEN).all()


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    run("imp", f"{REWIND} {SELECTED}", folder)
    return folder


def test_the_ledger_counts_what_was_trained_on(selected):
    summary = read_summary(selected / "summary.json")
    for k, (row, saved) in enumerate(zip(summary["rounds"], checkpoints(selected), strict=False)):
        history = checkpoints(selected)[k]["history"]
        assert row["steps"] == sum(epoch["steps"] for epoch in history)
        assert row["examples"] == sum(epoch["examples"] for epoch in history) < 8 * row["set"]
        assert row["steps_left_out"] == 8 * row["steps_per_epoch"] - row["steps"] > 0
        assert "losses" not in saved, "of a finished round nothing needs them"
    parts, whole = summary["costs"]["saved_by"], summary["costs"]["saved"]
    assert sum(parts.values()) == pytest.approx(whole) and parts["batch selection"] == pytest.approx(whole) != 0


def test_nothing_is_left_out_before_the_rewinding_point(selected, tmp_path):
    run("imp", REWIND, tmp_path)
    assert_same(checkpoints(selected)[1]["init_weight"], checkpoints(tmp_path)[1]["init_weight"], "rewound weights")
    assert checkpoints(selected)[1]["init_step"] == checkpoints(tmp_path)[1]["init_step"]
    assert "losses" not in checkpoints(tmp_path)[0] and "steps_left_out" not in checkpoints(tmp_path)[1]["rounds"][0]
    first = checkpoints(selected)[0]["history"]
    assert (
        [row["examples"] for row in first[:2]] == [first[0]["examples"]] * 2 > [row["examples"] for row in first[2:4]]
    )


@pytest.mark.parametrize("kind, more", [("imp", "--rewind_lr"), ("PrAC", "--eb_eps 0.02 --optimizer adam")])
def test_a_killed_search_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, kind, more):
    flags = f"{REWIND} {SAVING} {SELECTED} --selection_rate 0.7 --pruning_times 2 {more}"
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every=7)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("kind", ["imp", "train"])
def test_the_progress_bar_ends_full(selected, tmp_path, monkeypatch, kind):
    """Its total is what is still planned, less what was left out, also of a run that was killed in mid-round."""
    ends: list[tuple[int, int]] = []  # of each process that trained: where its bar stands, and its total
    monkeypatch.setattr(Progress, "tick", lambda self, times=1: setattr(self, "done", self.done + times))
    monkeypatch.setattr(
        Progress, "__exit__", lambda self, *_: self.bar is not None and ends.append((self.done, self.bar.total))
    )
    flags = {"imp": f"{REWIND} --pruning_times 2", "train": f"{SETTINGS} --init_dir {selected / '1checkpoint.pth.tar'}"}
    run(kind, f"{flags[kind]} {SAVING} {SELECTED}", tmp_path / "whole")
    run_killed(
        monkeypatch, kind, f"{flags[kind]} {SAVING} {SELECTED}", tmp_path / "broken", every=3 if kind == "train" else 7
    )
    taken = read_summary(tmp_path / "whole" / "summary.json")["costs"]["steps"]
    assert len(ends) > 3 and ends[0] == ends[-1] == (taken, taken)


def test_a_killed_training_ends_where_an_unbroken_one_does(selected, tmp_path, monkeypatch):
    ticket = selected / "2checkpoint.pth.tar"
    flags = f"{SETTINGS} {SAVING} --init_dir {ticket} --mask_dir {ticket} --rewind_lr {SELECTED}"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_losses_that_are_written_late_are_those_of_their_epoch(selected, tmp_path, monkeypatch):
    """Interrupted in mid-epoch with nothing due to be saved: the last whole epoch is written, and gone on from."""
    ticket = selected / "2checkpoint.pth.tar"
    flags = f"{SETTINGS} --init_dir {ticket} --mask_dir {ticket} {SELECTED}"
    run("train", flags, tmp_path / "whole")
    with monkeypatch.context() as patch:
        steps, real = iter(range(3 * 21 + 7)), Progress.tick  # at most 21 in an epoch

        def tick(self):
            if next(steps, None) is None:
                signal.raise_signal(signal.SIGINT)
            real(self)

        patch.setattr(Progress, "tick", tick)
        run("train", f"{flags} --save_interval 3600", tmp_path / "broken", expect=128 + signal.SIGINT)
    assert read(tmp_path / "broken" / "checkpoint.pth.tar")["epoch"] >= 3
    run("train", flags, tmp_path / "broken")
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
