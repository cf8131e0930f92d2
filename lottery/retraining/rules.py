"""Rules for training a pruned network again: from which weights, and at which learning rates.

A schedule has T steps. The weights after step t are those that a search rewinds to, the weights after step T the
trained ones, by which it prunes. Each rule spends T - t steps on what pruning has left (Renda, Frankle & Carbin,
"Comparing Rewinding and Fine-tuning in Neural Network Pruning", ICLR 2020):

                             weights         learning rates
    weight rewinding         after step t    of the steps t to T
    learning-rate rewinding  after step T    of the steps t to T
    fine-tuning              after step T    of step T alone

All of them see the same examples in the same order, those of the steps t to T, so that nothing else tells them apart.
A further rule is one entry in `RULES`. Importing this module does not import torch.
"""

from dataclasses import replace
from typing import NamedTuple

from lottery.training.recipe import Recipe
from utils import InputError


class Rule(NamedTuple):
    """A rule for training a pruned network again."""

    name: str  # in a report, after the name of the ticket's method
    help: str
    starts_from_trained: bool  # with the trained weights, instead of those of step t
    constant_lr: bool  # at the last learning rate of the schedule


RULES = {
    "weight_rewinding": Rule(
        "weight rewinding", "the weights of step t, the learning rates of the steps t to T", False, False
    ),
    "lr_rewinding": Rule(
        "learning-rate rewinding", "the trained weights, the learning rates of the steps t to T", True, False
    ),
    "fine_tuning": Rule("fine-tuned", "the trained weights, the learning rate of the last step", True, True),
}


def takes_trained(rule: str | None) -> bool:
    """Whether a training begins with trained weights; without a rule it does not."""
    return rule is not None and RULES[rule].starts_from_trained


def check_schedule(rule: str | None, schedule: str) -> None:
    """InputError for a rule that trains at the last learning rate of a schedule that ends at 0."""
    if rule is not None and RULES[rule].constant_lr and schedule != "step":
        raise InputError(
            f"--rule {rule} trains at the last learning rate of the schedule, which is 0 with --schedule {schedule}: "
            "it goes with --schedule step"
        )


def recipe_under(rule: str | None, recipe: Recipe) -> Recipe:
    """The recipe with the learning rates of a rule, unchanged without one; it has as many steps, counted as before.

    InputError for a constant rate under a schedule that ends at 0.
    """
    check_schedule(rule, recipe.schedule)
    if rule is None or not RULES[rule].constant_lr:
        return recipe
    return replace(recipe, lr=recipe.lr_at(recipe.epochs - 1, 0, 1), milestones=(), warmup=0)
