"""The learning rate of each step, against torch's schedulers, whose epochs are our steps here."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR

from lottery.training.recipe import DEFAULT_LR, Recipe

EPOCHS, STEPS = 6, 4
SMOOTH = ("linear", "cosine")


def rates(recipe, steps=STEPS):
    return [recipe.lr_at(epoch, step, steps) for epoch in range(recipe.epochs) for step in range(steps)]


def torchs(lr, steps, *makers):
    """The rates of so many steps by torch's schedulers, each made of an optimiser, and at last that after them."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedulers = [make(optimizer) for make in makers]
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def falling(schedule, steps):
    """torch's scheduler that takes the rate down to 0 in so many steps."""
    if schedule == "linear":
        return lambda optimizer: LinearLR(optimizer, start_factor=1, end_factor=0, total_iters=steps)
    return lambda optimizer: CosineAnnealingLR(optimizer, T_max=steps)


@pytest.mark.parametrize("gamma", [0.1, 0.2, 1.0])
def test_drops_equal_torchs(gamma):
    recipe = Recipe(epochs=EPOCHS, milestones=(3, 5), lr=0.2, gamma=gamma)
    drops = torchs(0.2, EPOCHS * STEPS, lambda optimizer: MultiStepLR(optimizer, [3 * STEPS, 5 * STEPS], gamma))
    assert rates(recipe) == pytest.approx(drops[:-1], rel=1e-12)


@pytest.mark.parametrize("warmup", [0, 1, 2])
@pytest.mark.parametrize("schedule", SMOOTH)
def test_falling_to_0_after_the_warm_up_equals_torchs(schedule, warmup):
    recipe = Recipe(epochs=EPOCHS, warmup=warmup, lr=0.2, schedule=schedule)
    left = (EPOCHS - warmup) * STEPS
    expected = torchs(0.2, left, falling(schedule, left))
    found = rates(recipe)
    assert found[warmup * STEPS :] == pytest.approx(expected[:-1], rel=1e-9)
    assert expected[-1] == pytest.approx(0, abs=1e-12) and 0 < found[-1] < 0.2 / left * 1.01
    assert found[: warmup * STEPS] == rates(Recipe(epochs=EPOCHS, warmup=warmup, lr=0.2))[: warmup * STEPS]


@pytest.mark.parametrize("schedule", SMOOTH)
def test_a_scaled_round_falls_to_0_as_well(schedule):
    """A third of the epochs: a schedule as short, not the first third of a long one."""
    recipe = Recipe(epochs=9, warmup=3, lr=0.2, schedule=schedule)
    assert recipe.scaled(1, 3) == replace(recipe, epochs=3, warmup=1)
    assert rates(recipe.scaled(1, 3))[STEPS:] == pytest.approx(torchs(0.2, 8, falling(schedule, 8))[:-1], rel=1e-9)


@pytest.mark.parametrize("schedule", SMOOTH)
def test_epochs_of_other_lengths_fall_alike(schedule):
    """The rate is a function of the time in epochs."""
    recipe = Recipe(epochs=EPOCHS, warmup=1, schedule=schedule)
    for epoch, steps in itertools.product(range(1, EPOCHS), (2, 3, 8)):
        assert recipe.lr_at(epoch, 0, steps) == recipe.lr_at(epoch, 0, STEPS)
        assert recipe.lr_at(epoch, steps, 2 * steps) == recipe.lr_at(epoch, 1, 2)


@pytest.mark.parametrize("schedule", SMOOTH)
def test_a_warm_up_of_all_epochs_leaves_nothing_to_fall(schedule):
    recipe = Recipe(epochs=3, warmup=3, lr=0.2, schedule=schedule)
    assert rates(recipe) == rates(Recipe(epochs=3, warmup=3, lr=0.2)) and rates(recipe)[-1] == 0.2
    assert "never falls" in recipe.unused_lr() and replace(recipe, warmup=2).unused_lr() is None


def test_a_schedule_without_drops_has_no_milestones():
    """Whatever was given: what trains alike is equal, and records the same."""
    for schedule in SMOOTH:
        assert Recipe(schedule=schedule, milestones=(1, 2)) == Recipe(schedule=schedule)
        assert Recipe(schedule=schedule).milestones == ()


@pytest.mark.parametrize(
    "recipe, told",
    [
        (Recipe(), "drops at 91, 136"),
        (Recipe(milestones=()), "never drops"),
        (Recipe(gamma=0.2), "drops to 0.2 of itself at 91, 136"),
        (Recipe(schedule="linear"), "falls linearly from epoch 0 on, to 0 after the last step"),
        (Recipe(schedule="cosine", warmup=5), "falls along a cosine from epoch 5 on, to 0 after the last step"),
    ],
)
def test_the_log_says_how_the_rate_falls(recipe, told):
    assert recipe.describe_lr() == f"learning rate {told}" and recipe.unused_lr() is None


def test_the_default_rate_is_that_of_the_default_optimiser():
    assert Recipe().lr == DEFAULT_LR[Recipe().optimizer] == 0.1
