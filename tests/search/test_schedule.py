"""How long each round trains: the numbers of the paper's protocol, and what small sets do to them."""

import pytest

from lottery.search.schedule import Schedule
from lottery.training.recipe import Recipe, steps_per_epoch
from utils import InputError


def schedule(**changes):
    chosen = {"prune_type": "rewind_lt", "rewind_epoch": 2, "rewind_iteration": None, "first": 45_000}
    chosen |= {"rewind_lr": False, "fixed": False}
    return Schedule(Recipe(), 45_000, **chosen | changes)


def at(iteration, **changes):
    """A schedule that rewinds to an iteration."""
    return schedule(rewind_epoch=None, rewind_iteration=iteration, **changes)


def test_every_round_on_all_examples_is_a_full_training():
    for k in range(5):
        assert schedule().round(k, 45_000) == (Recipe(), 0)


def test_a_smaller_set_has_fewer_epochs_unless_they_are_fixed():
    recipe, first = schedule().round(3, 18_161)
    assert (recipe.epochs, recipe.milestones, first) == (73, (36, 54), 0)
    assert schedule(fixed=True).round(3, 18_161) == (Recipe(), 0)


@pytest.mark.parametrize("examples, epoch", [(45_000, 3), (30_000, 2), (29_999, 1), (15_000, 1), (14_999, 0)])
def test_rewinding_the_learning_rate_begins_where_the_weights_stood(examples, epoch):
    """At floor(r * (rewind_epoch + 1)) of the scaled epochs; the dense round begins at 0."""
    assert schedule(rewind_lr=True).round(2, examples)[1] == epoch * steps_per_epoch(examples, 128)
    assert schedule(rewind_lr=True).round(0, examples)[1] == 0


def test_an_iteration_may_lie_in_mid_epoch():
    """On a smaller set it stands at the same share of the steps that as many epochs of it have."""
    assert at(1000, rewind_lr=True).round(1, 45_000)[1] == 1000
    assert at(1000, rewind_lr=True).round(1, 22_500)[1] == 1000 * 176 // (2 * 352)
    assert at(1000, rewind_lr=True, fixed=True).round(1, 22_500)[1] == 1000 * 176 // 352
    assert at(1000).round(1, 45_000)[1] == 0, "without --rewind_lr every round starts its schedule afresh"


def test_at_least_one_epoch_is_left():
    recipe, first = schedule(rewind_lr=True, rewind_epoch=181).round(1, 45_000)
    assert recipe.epochs * 352 - first == 352
    recipe, first = schedule(rewind_lr=True, rewind_epoch=100).round(1, 300)
    assert (recipe.epochs, first) == (1, 0)


def test_where_the_rewinding_weights_are_taken():
    assert schedule().rewinding_step == 3 * 352, "rewind_epoch 2 is after three epochs"
    assert schedule(first=22_500).rewinding_step == 3 * 176, "of round 0, whatever it trains on"
    assert at(1000).rewinding_step == 1000
    assert schedule(prune_type="lt").rewinding_step == 0
    assert schedule(prune_type="pt").rewinding_step is None


def test_a_given_ticket_begins_where_it_stands():
    assert schedule(prune_type="lt", rewind_lr=True, given=500).round(0, 45_000)[1] == 500
    assert schedule(prune_type="lt", rewind_lr=True, given=500).round(3, 45_000)[1] == 500
    assert schedule(rewind_lr=True, given=500).round(1, 45_000)[1] == 3 * 352
    assert schedule(prune_type="lt", given=500).round(0, 45_000)[1] == 0
    assert schedule(prune_type="lt", given=None).rewinding_step is None


def test_a_round_0_that_ends_before_the_rewinding_point_is_refused():
    with pytest.raises(InputError, match="has only 2 epochs"):
        schedule(first=700).check()
    schedule(first=700, fixed=True).check()
    schedule(first=700, prune_type="lt").check()
    at(182 * 352).check()
    with pytest.raises(InputError, match="has only 64064 optimiser steps"):
        at(182 * 352 + 1).check()
    with pytest.raises(InputError, match="would begin after step 64064"):
        schedule(prune_type="lt", rewind_lr=True, given=182 * 352).check()
    with pytest.raises(InputError, match="does not say after how many optimiser steps"):
        schedule(prune_type="lt", rewind_lr=True, given=None).check()
    with pytest.raises(InputError, match="step 400, lies before step 500"):
        at(400, rewind_lr=True, given=500).check()


def test_vanilla_is_the_papers_count():
    assert 7 * schedule().vanilla.steps == 448_448
