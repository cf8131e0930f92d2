"""Gradual pruning where batch selection leaves out the last steps of an epoch, and with them steps of the schedule."""

from dataclasses import replace

import pytest

import main_dst
from lottery.checkpointing.checkpoint import read, split_state
from lottery.sparse_training.config import SparseTrainingConfig
from lottery.sparse_training.schedule import UpdateSchedule, update_schedule
from lottery.training.config import TrainingConfig
from lottery.training.recipe import Recipe
from pruner import count, size
from tests.helpers import SETTINGS, run_to
from tests.sparse_training.test_gradual_pruning import changes

SELECTING = Recipe(epochs=4, milestones=(), batch_selection="infobatch")


def test_a_change_whose_step_is_left_out_comes_with_the_next_step():
    """Epochs of ten steps, of which the last four of the second and third are left out."""
    schedule = UpdateSchedule(3, 27, 5)  # 3, 8, 13, 18, 23, 27
    taken = [*range(10), *range(10, 16), *range(20, 26), *range(30, 40)]
    assert changes(schedule, taken) == [3, 8, 13, 20, 23, 30]
    assert changes(UpdateSchedule(17, 27, 20), taken) == [20, 30], "the first one, too"
    assert changes(UpdateSchedule(6, 28, 1), taken) == [*range(6, 16), *range(20, 26), 30], "several at once"


@pytest.mark.parametrize(
    "recipe, last",
    [
        (SELECTING, 30),  # the first step of the last epoch, which may be shorter
        (replace(SELECTING, batch_selection=None), 39),
        (replace(SELECTING, selection_until=0.75), 39),  # nothing is left out of the last epoch
        (replace(SELECTING, selection_until=0.76), 30),
        (replace(SELECTING, epochs=1, milestones=()), 39),  # nor of the first
    ],
)
def test_the_last_change_is_at_a_step_that_is_taken_for_certain(recipe, last):
    config = SparseTrainingConfig(TrainingConfig(run=None, recipe=recipe), update_until=1.0)
    assert update_schedule(config, 40).last == last


@pytest.mark.parametrize("until", [0.735, 1.0])
def test_the_density_is_exact_all_the_same(tmp_path, until):
    """The last change would fall on a step that is left out: the 39th of 41 of an epoch that has fewer."""
    words = f"{SETTINGS} --epochs 4 --decreasing_lr 2,3 --warmup 0 --batch_size 32 --arch lenet300 --method gmp"
    words += f" --density 0.1 --batch_selection infobatch --update_until {until}"
    run_to(0, main_dst, *words.split(), "--save_dir", tmp_path)
    content = read(tmp_path / "checkpoint.pth.tar")
    assert content["history"][2]["steps"] < 38, "else this tests nothing"
    mask = split_state(content["state_dict"])[1]
    assert count(mask) == round(0.1 * size(mask)) == content["updates"][-1]["kept"]
    assert [row["final"] for row in content["history"]] == [False, False, False, True]
    assert content["updates"][-1]["step"] == 3 * 41
