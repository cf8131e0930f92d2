"""How long each round of a search trains, and to which step it rewinds: numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lottery.search.config import LIKE_RUN, PruningConfig
from lottery.search.reference_run import ReferenceRun
from lottery.tickets.load import check_step
from lottery.training.costs import Vanilla
from lottery.training.recipe import Recipe, steps_per_epoch
from utils import InputError


@dataclass(frozen=True)
class Schedule:
    """The recipes of all rounds, from that of a full training on the n0 examples of D0.

    Where a training begins is counted in optimiser steps of its own schedule, from the start of epoch 0.
    """

    recipe: Recipe
    whole: int  # n0 = |D0|
    initial: int  # examples of round 0
    prune_type: str
    rewind_epoch: int | None  # the rewinding point, as an epoch or as
    rewind_iteration: int | None  # a number of steps
    rewind_lr: bool
    fixed: bool  # whether epochs stay as they are on a smaller set
    ticket_step: int | None = (
        0  # where the ticket that the search begins with stands; 0: random weights, None: not known
    )
    vanilla_epochs: int | None = None  # of the trainings that savings are counted against; None: those of `recipe`
    # Of a search that follows another run (reference_run.py), by round:
    end_epochs: tuple[int, ...] = ()  # the epochs after which it ends, or
    round_epochs: tuple[int, ...] = ()  # the epochs that its schedule has

    def round(self, k: int, examples: int) -> tuple[Recipe, int]:
        """Round k's recipe on a set P of so many examples, and the step of it to begin with.

        Epochs scale with |P| / |D0|, unless fixed or given by `round_epochs`; milestones and warm-up scale alike.
        With --rewind_lr a round begins where its weights stand: round 0 at the step of a given ticket, later rounds at
        the rewinding point, scaled in the same way. Each round runs at least one epoch.
        """
        part = self.epoch_scale(examples)
        recipe = self.recipe if part == self.whole else self.recipe.scaled(part, self.whole)
        if self.round_epochs:  # the round after the last one, which is not trained, is as the last
            recipe = self.recipe.scaled(self.round_epochs[min(k, len(self.round_epochs) - 1)], self.recipe.epochs)
        if not self.rewind_lr:
            return recipe, 0
        begin = (self.ticket_step or 0) if k == 0 else self.scaled_rewinding_step(examples)
        return recipe, min(begin, (recipe.epochs - 1) * self.steps(examples))

    def steps_of(self, rounds: int) -> int:
        """Optimiser steps of the first rounds, if none ends early or is on fewer examples than round 0."""
        planned = (self.round(k, self.initial) for k in range(rounds))
        return sum(recipe.epochs * self.steps(self.initial) - begin for recipe, begin in planned)

    def ends(self, k: int, epochs: int) -> bool:
        """Whether round k ends after so many epochs because that of the run it follows did."""
        return bool(self.end_epochs) and epochs >= self.end_epochs[k]

    def scaled_rewinding_step(self, examples: int) -> int:
        """The rewinding point in the schedule of a set of so many examples; whole epochs if it is given in epochs."""
        if self.rewind_iteration is None and self.prune_type == "rewind_lt":
            epochs = self.epoch_scale(examples) * (self.rewind_epoch + 1) // self.epoch_scale(self.initial)
            return epochs * self.steps(examples)
        steps = self.epoch_scale(examples) * self.steps(examples)
        return self.rewinding_step * steps // (self.epoch_scale(self.initial) * self.steps(self.initial))

    def epoch_scale(self, examples: int) -> int:
        """Epochs on a set of so many examples are those on D0 times part / whole."""
        return self.whole if self.fixed else examples

    def steps(self, examples: int) -> int:
        return steps_per_epoch(examples, self.recipe.batch_size)

    @property
    def rewinding_step(self) -> int | None:
        """The step of round 0 after which the weights stand that kept ones go back to; None if it is not known: that of
        its best epoch, or of a given ticket whose file does not say."""
        if self.prune_type != "rewind_lt":
            return self.ticket_step if self.prune_type == "lt" else None
        if self.rewind_iteration is not None:
            return self.rewind_iteration
        return (self.rewind_epoch + 1) * self.steps(self.initial)

    def check(self) -> None:
        """InputError if round 0 cannot begin where it should, or does not pass the rewinding point."""
        recipe, begin = self.round(0, self.initial)
        steps = recipe.epochs * self.steps(self.initial)
        if self.rewind_lr:
            check_step(self.ticket_step, steps)
        if self.prune_type != "rewind_lt":
            return
        if self.rewind_iteration is None and self.rewind_epoch >= recipe.epochs:
            with_, or_ = (
                ("with --steps_of", "") if self.round_epochs else ("on the given set", ", or --prac_epochs fixed")
            )
            raise InputError(
                f"--rewind_epoch {self.rewind_epoch} is not reached: {with_} round 0 has only {recipe.epochs} epochs. "
                f"Give a smaller one{or_}"
            )
        if self.rewinding_step > steps:
            raise InputError(
                f"--rewind_iteration {self.rewind_iteration} is not reached: round 0 has only {steps} optimiser steps"
            )
        if self.rewinding_step < begin:
            raise InputError(
                f"the rewinding point, step {self.rewinding_step}, lies before step {begin}, where the ticket of "
                "--init_dir stands and --rewind_lr begins"
            )

    @property
    def vanilla(self) -> Vanilla:
        """What savings are measured against."""
        return Vanilla(self.vanilla_epochs or self.recipe.epochs, steps_per_epoch(self.whole, self.recipe.batch_size))


def nearest_epochs(steps: Sequence[int], per_epoch: int) -> tuple[int, ...]:
    """The number of epochs of `per_epoch` steps closest to each number of steps; at least one, halves rounded up."""
    return tuple(max(1, (2 * wanted + per_epoch) // (2 * per_epoch)) for wanted in steps)


def build_schedule(
    pruning: PruningConfig,
    prac_epochs: str,
    recipe: Recipe,
    whole: int,
    initial: int,
    ticket_step: int | None,
    reference: ReferenceRun | None = None,
    vanilla_epochs: int | None = None,
) -> Schedule:
    """The schedule of a search; of one that follows a run: on sets as large its rounds end where those did, on all the
    data they have the nearest whole epochs to as many steps."""
    schedule = Schedule(
        recipe,
        whole,
        initial,
        pruning.prune_type,
        pruning.rewind_epoch,
        pruning.rewind_iteration,
        pruning.rewind_lr,
        fixed=prac_epochs == "fixed",
        ticket_step=ticket_step,
        vanilla_epochs=vanilla_epochs,
    )
    if reference is None:
        return schedule
    if reference.flag == LIKE_RUN:
        return replace(schedule, end_epochs=reference.epochs)
    return replace(schedule, round_epochs=nearest_epochs(reference.steps, schedule.vanilla.steps_per_epoch))


def rounding_notes(schedule: Schedule, reference: ReferenceRun | None) -> list[str]:
    """What rounding to whole epochs made of the steps that a search was to take."""
    if reference is None or not schedule.round_epochs:
        return []
    each = schedule.vanilla.steps_per_epoch
    rounds = enumerate(zip(schedule.round_epochs, reference.steps, strict=True))
    parts = (f"round {k} has {epochs} ({epochs * each:,} steps for {steps:,})" for k, (epochs, steps) in rounds)
    return [f"{reference}, in whole epochs of {each} steps: {', '.join(parts)}"]
