"""How long each round of a search trains, and where it rewinds to."""

import argparse
from dataclasses import dataclass

from ledger import Vanilla
from recipe import Recipe, steps_per_epoch
from utils import InputError


@dataclass(frozen=True)
class Schedule:
    """The recipes of all rounds, from that of a full training on the n0 examples of D0."""

    recipe: Recipe
    whole: int  # n0 = |D0|
    prune_type: str
    rewind_epoch: int
    rewind_lr: bool
    fixed: bool  # whether epochs stay as they are on a smaller set

    @classmethod
    def from_flags(cls, args: argparse.Namespace, recipe: Recipe, whole: int) -> "Schedule":
        return cls(recipe, whole, args.prune_type, args.rewind_epoch, args.rewind_lr, args.prac_epochs == "fixed")

    def round(self, k: int, examples: int) -> tuple[Recipe, int]:
        """Round k's recipe on a set P of so many examples, and the epoch of it to begin with.

        Epochs scale with |P| / |D0|, unless they are fixed; with --rewind_lr sparse rounds begin where the rewinding
        weights stood, and run at least one epoch.
        """
        part = self.whole if self.fixed else examples
        recipe = self.recipe if part == self.whole else self.recipe.scaled(part, self.whole)
        if not self.rewind_lr or k == 0:
            return recipe, 0
        return recipe, min(part * (self.rewind_epoch + 1) // self.whole, recipe.epochs - 1)

    def rewinding_step(self, k: int, examples: int) -> int | None:
        """The steps of round k after which the rewinding weights are taken; None for all rounds but the dense one."""
        if k > 0 or self.prune_type != "rewind_lt":
            return None
        return (self.rewind_epoch + 1) * steps_per_epoch(examples, self.recipe.batch_size)

    def check(self, examples: int) -> None:
        """InputError if round 0, on so many examples, ends before the rewinding point."""
        recipe, _ = self.round(0, examples)
        if self.prune_type == "rewind_lt" and self.rewind_epoch >= recipe.epochs:
            raise InputError(
                f"--rewind_epoch {self.rewind_epoch} is not reached: on the given set round 0 has only "
                f"{recipe.epochs} epochs. Give a smaller one, or --prac_epochs fixed"
            )

    @property
    def vanilla(self) -> Vanilla:
        """The yardstick of every saving."""
        return Vanilla(self.recipe.epochs, steps_per_epoch(self.whole, self.recipe.batch_size))
