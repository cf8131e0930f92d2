"""Iterative magnitude pruning with rewinding, once for all ways to choose examples and to stop.

    round k:  train the ticket -> prune a share of what it keeps -> rewind the rest -> the ticket of round k + 1

(Frankle & Carbin, ICLR 2019; rewinding: Frankle et al., ICML 2020.) A policy says which examples a round trains on; the
early stop, where it is on, ends a round once the mask that pruning would give has settled.
"""

import argparse
from dataclasses import dataclass, field

from torch import Tensor

from dataset import overlap
from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.resume import Opening
from lottery.checkpointing.run_directory import RunDirectory
from lottery.search.early_stop import EarlyStop
from lottery.search.prac_sets import Policy, RoundEnd
from lottery.search.schedule import Schedule
from lottery.tickets.invariants import Evidence, check
from lottery.training.checkpointer import SavedRun, best_weights, restore
from lottery.training.context import Workbench
from lottery.training.costs import cost_lines
from lottery.training.progress import draw_curves, epoch_line, round_lines, round_table
from lottery.training.step import copy_weights
from lottery.training.training_run import Trial, plan_lines, short_warnings, summary, watch
from models.network_state import tensors
from pruner import (
    Mask,
    Scores,
    Ticket,
    Weights,
    apply_,
    count,
    density,
    kept_after,
    magnitude,
    prune,
    random_scores,
)
from utils import RANDOM_PRUNE, InputError, RunError, generator


@dataclass
class Search:
    """A search: what it works with, and where it stands."""

    args: argparse.Namespace
    bench: Workbench
    directory: RunDirectory
    policy: Policy
    schedule: Schedule
    first: Ticket  # of round 0: the dense network, if none is given
    saved: SavedRun
    trial: Trial | None = None
    early_stop: EarlyStop | None = None
    rewound: Weights | None = None  # the weights that tickets start from, once they are known
    rounds: list[dict] = field(default_factory=list)  # a summary of each finished round

    def run(self, opening: Opening) -> None:
        """All rounds that are left; then, or when it cannot go on, the table of those that are done."""
        if opening.saved:
            self.go_on(opening)
        else:
            self.begin()
        try:
            while not self.finished:
                self.check_set()
                if not self.trial.over:
                    self.train_round()
                self.next_round()
        finally:
            self.saved.flush()
            self.tell_result()

    @property
    def finished(self) -> bool:
        return self.trial.round >= self.args.pruning_times

    def begin(self) -> None:
        """Round 0."""
        indices = self.policy.first()
        at_once = self.schedule.rewinding_step == self.schedule.round(0, len(indices))[1]
        if self.args.prune_type == "lt" or (self.args.prune_type == "rewind_lt" and at_once):
            self.keep_rewinding_weights(self.first.weights)
        self.new_trial(0, self.first, indices, before=self.first.mask)

    def new_trial(self, k: int, ticket: Ticket, indices: Tensor, before: Mask) -> None:
        """Round k is ready to begin, and on disk: its checkpoint is the ticket, within the mask that came before."""
        recipe, first_step = self.schedule.round(k, len(indices))
        self.trial = Trial(ticket, indices, recipe, k, first_step)
        self.early_stop = self.new_early_stop()
        self.policy.begin_round()
        self.bench.step.load_(ticket)
        self.check_ticket(before)
        self.save()
        self.summarize()

    def check_ticket(self, before: Mask) -> None:
        """RunError, with nothing written, if what is about to be trained is not the ticket it should be."""
        k, ticket = self.trial.round, self.trial.ticket
        evidence = Evidence(
            mask=ticket.mask,
            weights=tensors(self.bench.model),
            rewound=ticket.weights,
            untrained=True,
            kept=kept_after(k, self.args.rate, count(self.first.mask)),
            before=before,
            examples=self.trial.indices,
            training=self.bench.whole,
            validation=self.bench.split.validation,
        )
        if broken := [f"{found.law}: {found.seen}" for found in check(evidence) if found.holds is False]:
            raise RunError(f"the ticket of round {k} is not what it should be ({'; '.join(broken)}): this is a bug")

    def train_round(self) -> None:
        """Train until the schedule ends, the mask settles, or the round that this one follows ended."""
        self.tell_begin()
        for epoch, row in watch(self.trial, self.bench, self.snapshot_steps()):
            if self.rewinding_step in epoch.snapshots:
                self.keep_rewinding_weights(epoch.snapshots[self.rewinding_step])
            self.policy.observe(epoch.examples, epoch.right)
            settled = self.early_stop.settled(epoch, self.bench.step.parameters)
            ends = settled or self.schedule.ends(self.trial.round, len(self.trial.history))
            # Stopping before the rewinding weights are there would leave nothing to rewind to.
            self.trial.stopped = ends and self.rewinding_known and not self.trial.over
            row["distance"] = self.early_stop.newest
            self.bench.feedback.say(epoch_line(row, self.trial.recipe.epochs))
            self.save()
            if self.trial.stopped:
                break

    def next_round(self) -> None:
        """Prune, choose the next examples, rewind."""
        k, final = self.trial.round, copy_weights(self.bench.model)
        mask = prune(self.trial.ticket.mask, self.scores(final), self.args.rate)
        if k == 0 and self.args.prune_type == "pt":
            self.rewound = best_weights(self.directory.best(0))
        end = self.round_end(final, mask)
        indices, report = self.policy.next(end)
        sparsity = 100 * (1 - density(self.trial.ticket.mask))
        draw_curves(self.trial.history, self.directory.curves(k), f"round {k}, {sparsity:.2f} % sparse")
        passes = end.looks * len(self.bench.whole)
        self.trial.lap()  # pruning and choosing examples count as well
        report |= {"next_in_set": overlap(indices, self.trial.indices)}
        row = summary(self.trial, self.bench, passes) | self.early_stop.summary() | report
        self.rounds.append(row)
        self.tell_round(row)
        self.new_trial(
            k + 1, Ticket(mask, self.rewound, self.schedule.rewinding_step), indices, before=self.trial.ticket.mask
        )

    def scores(self, weights: Weights) -> Scores:
        mask = self.trial.ticket.mask
        if self.args.random_prune:
            return random_scores(mask, generator(self.bench.seed, self.trial.round, purpose=RANDOM_PRUNE))
        return magnitude(weights, mask)

    def round_end(self, final: Weights, mask: Mask) -> RoundEnd:
        """This round, whose training left the weights `final` and whose pruning gives `mask`, as the policy sees it."""
        predictions = self.bench.predictions
        best = self.directory.best(self.trial.round)

        def pruned() -> Tensor:
            weights = {name: value.clone() for name, value in final.items()}
            apply_(weights, mask)
            return predictions(weights)

        return RoundEnd(
            self.trial.round,
            self.trial.indices,
            best=lambda: predictions(best_weights(best)),
            final=lambda: predictions(final),
            pruned=pruned,
        )

    # --- within a round -----------------------------------------------------------------------------------------------

    def new_early_stop(self) -> EarlyStop:
        interval = self.schedule.vanilla.steps_per_epoch if self.args.eb_interval == "steps" else None
        return EarlyStop(self.args, self.trial.recipe.warmup, self.trial.ticket.mask, interval)

    def snapshot_steps(self) -> set[int]:
        """The steps of the round after which the weights are wanted."""
        steps = self.trial.recipe.epochs * self.trial.steps_per_epoch
        return {self.rewinding_step, *self.early_stop.looks(steps)} - {None}

    @property
    def rewinding_step(self) -> int | None:
        """The step of this round after which the rewinding weights are taken; None for all rounds but the first."""
        takes = self.trial.round == 0 and self.args.prune_type == "rewind_lt"
        return self.schedule.rewinding_step if takes else None

    @property
    def rewinding_known(self) -> bool:
        return self.rewound is not None or self.args.prune_type == "pt"

    def keep_rewinding_weights(self, weights: Weights) -> None:
        self.rewound = weights
        if self.args.prune_type == "rewind_lt":
            write(self.directory.rewinding(self.args.rewind_epoch, self.args.rewind_iteration), weights)

    # --- what can stop it ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        """InputError if the rewinding point is never reached, or the last pruning leaves nothing."""
        self.schedule.check()
        weights = count(self.first.mask)
        if kept_after(self.args.pruning_times, self.args.rate, weights) == 0:
            raise InputError(
                f"--pruning_times {self.args.pruning_times} at --rate {self.args.rate} leaves none of the {weights} "
                "prunable weights"
            )

    def check_set(self) -> None:
        """A round needs two examples: RunError says what to change. The ticket found so far is on disk."""
        if len(self.trial.indices) < 2:
            raise RunError(
                f"the PrAC set for round {self.trial.round} has {len(self.trial.indices)} examples "
                f"({self.policy.describe()}), at least 2 are needed; the ticket of this round is in "
                f"{self.directory.checkpoint(self.trial.round)}"
            )

    # --- on disk ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        self.saved.keep(
            self.trial,
            self.rewound,
            None if self.rewound is None else self.schedule.rewinding_step,
            rounds=self.rounds,
            policy=self.policy.state_dict(),
            early_stop=self.early_stop.state_dict(),
        )

    def summarize(self) -> None:
        self.saved.summarize(self.rounds, self.schedule.vanilla, round=self.trial.round, finished=self.finished)

    def go_on(self, opening: Opening) -> None:
        """The search as it was saved."""
        saved = opening.saved
        self.rounds, self.rewound = saved["rounds"], saved["init_weight"]
        recipe, _ = self.schedule.round(saved["state"], len(saved["sequence"]))
        self.trial = restore(opening, recipe, self.bench)
        self.saved.go_on(self.trial, self.rounds)
        self.policy.load_state_dict(saved["policy"])
        self.early_stop = self.new_early_stop()
        self.early_stop.load_state_dict(saved["early_stop"])
        self.bench.feedback.begin(sum(row["steps"] for row in self.rounds) + self.trial.steps)
        self.summarize()
        if self.finished:
            self.bench.feedback.say("this search is finished; its table again:")

    # --- what the user sees -------------------------------------------------------------------------------------------

    def tell_begin(self) -> None:
        left = self.args.pruning_times - self.trial.round
        done = sum(row["steps"] for row in self.rounds)
        self.bench.feedback.expect(done + self.trial.planned_steps * left, self.trial.describe())
        self.bench.feedback.say(*plan_lines(self.trial, self.bench))

    def tell_round(self, row: dict) -> None:
        say = self.bench.feedback.say
        say(*round_lines(row, len(self.bench.whole)), *cost_lines(self.rounds, self.schedule.vanilla))
        warnings = short_warnings(self.trial) + self.early_stop.warnings()
        say(*(f"warning: {self.trial.describe()}: {line}" for line in warnings))

    def tell_result(self) -> None:
        """The rounds that are done, and the newest ticket."""
        if not self.rounds:
            return
        ticket, sparsity = self.directory.checkpoint(self.trial.round), 1 - density(self.trial.ticket.mask)
        self.bench.feedback.say("", *round_table(self.rounds), *cost_lines(self.rounds, self.schedule.vanilla))
        self.bench.feedback.say(f"the newest ticket, {100 * sparsity:.2f} % sparse, is in {ticket}")
