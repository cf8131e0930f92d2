"""The cost of finding tickets: optimiser steps, examples, seconds, and zero-aware FLOPs.

Zero-aware FLOPs are those of a machine that skips every dropped weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lottery.bases.config import SINGLE
from lottery.checkpointing.script_names import Script
from lottery.pruning_at_init.criteria import CRITERIA
from lottery.reports.comparison.methods import TICKETS, Method
from lottery.results.ticket_origins import found_ticket
from lottery.results.ticket_runs import FOREIGN, Run
from lottery.search.config import RATE
from lottery.search.pruning_plan import PruningPlan
from lottery.training.costs import (
    BACKWARD,
    Vanilla,
    masked_flops,
    saved,
    saved_by,
    saved_with_training,
    sum_or_none,
    training_flops,
)
from lottery.training.recipe import steps_per_epoch
from pruner import density
from utils import InputError


def evaluation_flops(run: Run, row: Mapping) -> float | None:
    """Forward passes that do not train: those that build PrAC sets, validation after each epoch, the test set at each
    new best epoch. None if not all epochs of the round are recorded."""
    one, counts = masked_flops(run.summary.get("flops", {}), row), run.summary.get("examples", {})
    epochs = [line for line in run.epochs if line["round"] == row["round"]]
    if one is None or len(epochs) < row["epochs"]:
        return None
    tested = sum(line.get("test") is not None for line in epochs)
    return one * (row["forward_passes"] + len(epochs) * counts["validation"] + tested * counts["test"])


@dataclass
class TicketCost:
    """What a search had spent when it had found its ticket after `prunings` prunings; None if not recorded."""

    prunings: int
    density: float
    steps: int
    examples: int
    forward_passes: int
    seconds: float
    training_flops: float | None
    evaluation_flops: float | None
    saved: float | None = None  # fraction of vanilla IMP's steps, to find the ticket
    saved_with_training: float | None = None  # the same, to find and to train it
    saved_by: dict | None = None  # parts of `saved` by cause


def no_cost(density: float) -> TicketCost:
    return TicketCost(1, density, 0, 0, 0, 0.0, training_flops=0.0, evaluation_flops=0.0)


def is_pruned_before(method: Method) -> bool:
    """Whether its tickets are those of main_init.py, pruned before any training, as they were found. Where weights had
    been trained before they were scored, it is not recorded what that took."""
    settings = method.search_settings
    untrained = settings.get("weights", "starting") == "starting" and not settings.get("step")
    return method.kind == TICKETS and settings.get("script") == Script.INIT and untrained and not method.is_altered


def scoring_cost(run: Run) -> TicketCost:
    """What main_init.py had spent on the ticket that this run trained: no optimiser step, but the passes over the
    examples that it scored, each counted as forward and backward through the dense network. How many examples a given
    PrAC set has is not recorded."""
    settings, flops = found_ticket(run)["settings"], run.summary.get("flops", {})
    criterion, examples = CRITERIA[settings["criterion"]], 1
    if criterion.looks_at_examples:
        examples = settings.get("score_examples") or run.summary.get("examples", {}).get("train")
    number = criterion.passes * settings["iterations"]
    is_known = not number or (flops and examples and not settings.get("prac_set"))
    spent = number * (examples or 0) * (1 + BACKWARD) * sum(flops.values()) if is_known else None
    return replace(no_cost(run.density), training_flops=spent, evaluation_flops=None)


class SearchCosts:
    """The costs of one search's tickets."""

    def __init__(self, run: Run):
        self.run = run

    @cached_property
    def vanilla(self) -> Vanilla | None:
        """The schedule of IMP without early stop on all the data, that savings are relative to. Older versions do not
        record it: then it follows from round 0. None if that did not train on all the data."""
        settings, first = self.run.settings, self.run.rounds[0]
        if recorded := self.run.summary.get("vanilla"):
            return Vanilla(recorded["epochs"], recorded["steps_per_epoch"])
        if self.run.script == FOREIGN or settings.get("prac_set"):
            return None
        return Vanilla(settings["epochs"], steps_per_epoch(first["set"], settings["batch_size"]))

    @cached_property
    def by_ticket(self) -> list[TicketCost]:
        """The cost of the ticket that each round leaves; empty for a run of the 2021 code. A static sparse training has
        drawn its ticket before its first step."""
        if self.run.settings.get("method") == "static":
            return [no_cost(cost.density) for cost in self.by_round]
        return self.by_round

    @cached_property
    def by_round(self) -> list[TicketCost]:
        """What was spent up to the end of each round; empty for a run of the 2021 code."""
        rounds = self.run.rounds if self.run.script != FOREIGN else []
        return [self.ticket_cost(rounds[: k + 1]) for k in range(len(rounds))]

    def ticket_cost(self, rounds: Sequence[Mapping]) -> TicketCost:
        flops = self.run.summary.get("flops", {})
        cost = TicketCost(
            prunings=len(rounds),
            density=self.ticket_density(len(rounds)),
            **{what: sum(row[what] for row in rounds) for what in ("steps", "examples", "forward_passes", "seconds")},
            training_flops=sum_or_none([training_flops(flops, row) for row in rounds]),
            evaluation_flops=sum_or_none([evaluation_flops(self.run, row) for row in rounds]),
        )
        if self.vanilla:
            cost.saved = saved(rounds, self.vanilla)
            cost.saved_with_training = saved_with_training(rounds, self.vanilla)
            cost.saved_by = saved_by(rounds, self.vanilla)
        return cost

    def ticket_density(self, k: int) -> float:
        """Of the ticket after k prunings: that of round k, or after the last round what its pruning leaves."""
        rounds = self.run.rounds
        if k < len(rounds):
            return rounds[k]["density"]
        last, kept = rounds[-1]["density"], rounds[-1]["kept"]
        if self.run.script == Script.DST:  # the mask that it trained under in the end is its ticket's
            return last
        if self.run.settings.get("block", SINGLE) != SINGLE and (found := mask_density(self.run, k)):
            return found  # rates count blocks, not weights
        plan = PruningPlan.from_settings(self.run.settings, RATE)
        return last * plan.kept_next(k - 1, kept, round(kept / last)) / kept


def mask_density(run: Run, k: int) -> float | None:
    """Of the ticket after k prunings, from its file; None where that is not there any more."""
    try:
        return density(run.mask(k))
    except InputError:
        return None


def training_row(run: Run) -> Mapping:
    """The only row of a run of main_train.py: what training a ticket cost, and its accuracy."""
    return run.rounds[0]
