"""Optimiser steps saved against vanilla IMP: by hand, and the paper's own number."""

import pytest

from lottery.training.costs import Vanilla, cost_lines, saved, saved_by, saved_with_training
from lottery.training.recipe import Recipe, steps_per_epoch


def test_its_schedule_and_saving_by_hand():
    """5 of 8 examples, batches of 2, 16 epochs: 10 epochs of ceil(5/2) - 1 = 2 steps; stopped after 7."""
    recipe = Recipe(epochs=16, milestones=(8, 12), batch_size=2).scaled(5, 8)
    assert (recipe.epochs, recipe.milestones) == (10, (5, 7))
    assert (steps_per_epoch(8, 2), steps_per_epoch(5, 2)) == (4, 2)  # the fifth joins the batch before it
    vanilla = Vanilla(16, 4)
    rounds = [
        {"steps": 64, "steps_per_epoch": 4, "epochs_planned": 16, "epochs": 16},
        {"steps": 14, "steps_per_epoch": 2, "epochs_planned": 10, "epochs": 7},
    ]
    assert saved(rounds, vanilla) == pytest.approx(1 - 78 / 128)
    assert saved_with_training(rounds, vanilla) == pytest.approx(1 - 142 / 192)
    parts = saved_by(rounds, vanilla)
    assert parts == pytest.approx({"data": 32 / 128, "schedule": 12 / 128, "early stop": 6 / 128})
    assert sum(parts.values()) == pytest.approx(saved(rounds, vanilla))


def test_the_papers_saving_is_reproduced_from_its_counts():
    """Figure 8: 72k steps against 448k = 7 x 182 x 352 for the 79.03 % ticket, 83.93 % saved."""
    rounds = [{"steps": 72_000 / 7}] * 7
    assert Vanilla(182, 352).steps * 7 == 448_448
    assert 100 * saved(rounds, Vanilla(182, 352)) == pytest.approx(83.93, abs=0.05)


ROUND = {"steps": 64, "steps_per_epoch": 4, "epochs_planned": 16, "epochs": 16, "examples": 128, "forward_passes": 0,
         "seconds": 2.0}  # fmt: skip


def test_what_is_vanilla_imp_itself_saves_nothing_and_its_steps_are_told():
    assert cost_lines([ROUND, ROUND], Vanilla(16, 4), {}) == [
        "spent so far: 128 optimiser steps, 256 examples, 4 s",
        "steps to find the ticket: 128, as many as vanilla IMP takes; to find and train it: 192",
    ]


def test_savings_are_told_with_the_parts_that_there_are():
    shorter = ROUND | {"steps": 32, "epochs": 8, "forward_passes": 1}
    spent, saving = cost_lines([ROUND, shorter], Vanilla(16, 4), {})
    assert "96 optimiser steps, 256 examples, 1 extra forward pass, 4 s" in spent
    assert saving == (
        "saved against vanilla IMP, 16 epochs a training: 25.00 % of its 2 x 64 steps to find the ticket (early stop "
        "25.00 %), 16.67 % of 3 x 64 to find and train it"
    )
