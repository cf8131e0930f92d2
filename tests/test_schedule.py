"""How long each round trains: the numbers of the paper's protocol, and what small sets do to them."""

import pytest

from recipe import Recipe
from schedule import Schedule
from utils import InputError


def schedule(**changes):
    chosen = {"prune_type": "rewind_lt", "rewind_epoch": 2, "rewind_lr": False, "fixed": False} | changes
    return Schedule(Recipe(), 45_000, **chosen)


def test_every_round_on_all_examples_is_a_full_training():
    for k in range(5):
        assert schedule().round(k, 45_000) == (Recipe(), 0)


def test_a_smaller_set_has_fewer_epochs_unless_they_are_fixed():
    recipe, first = schedule().round(3, 18_161)
    assert (recipe.epochs, recipe.milestones, first) == (73, (36, 54), 0)
    assert schedule(fixed=True).round(3, 18_161) == (Recipe(), 0)


@pytest.mark.parametrize("examples, first", [(45_000, 3), (30_000, 2), (29_999, 1), (15_000, 1), (14_999, 0)])
def test_rewinding_the_learning_rate_begins_where_the_weights_stood(examples, first):
    """At floor(r * (rewind_epoch + 1)) of the scaled epochs; the dense round begins at 0."""
    assert schedule(rewind_lr=True).round(2, examples)[1] == first
    assert schedule(rewind_lr=True).round(0, examples)[1] == 0


def test_at_least_one_epoch_is_left():
    recipe, first = schedule(rewind_lr=True, rewind_epoch=181).round(1, 45_000)
    assert recipe.epochs - first == 1
    recipe, first = schedule(rewind_lr=True, rewind_epoch=100).round(1, 300)
    assert (recipe.epochs, first) == (1, 0)


def test_rewind_epoch_2_is_after_three_epochs():
    assert schedule().rewinding_step(0, 45_000) == 3 * 352
    assert schedule().rewinding_step(1, 45_000) is None
    assert schedule(prune_type="lt").rewinding_step(0, 45_000) is None


def test_a_round_0_that_ends_before_the_rewinding_point_is_refused():
    with pytest.raises(InputError, match="has only 2 epochs"):
        schedule().check(700)
    schedule(fixed=True).check(700)
    schedule(prune_type="lt").check(700)


def test_vanilla_is_the_papers_count():
    assert 7 * schedule().vanilla.steps == 448_448
