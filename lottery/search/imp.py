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
from lottery.checkpointing.resume import ResumePoint
from lottery.checkpointing.run_directory import RunDirectory
from lottery.search.early_stop import EarlyStop
from lottery.search.prac_sets import ExampleSelection, RoundEnd
from lottery.search.schedule import Schedule
from lottery.tickets.invariants import TicketFacts, check
from lottery.training.checkpointer import Checkpointer, best_weights, restore_training
from lottery.training.context import TrainingContext
from lottery.training.costs import cost_lines
from lottery.training.progress import draw_curves, epoch_line, round_lines, round_table
from lottery.training.step import copy_weights
from lottery.training.training_run import TrainingRun, plan_lines, short_warnings, summary, train_epochs
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
class ImpSearch:
    """A search: what it works with, and where it stands."""

    args: argparse.Namespace
    context: TrainingContext
    directory: RunDirectory
    policy: ExampleSelection
    schedule: Schedule
    first: Ticket  # of round 0: the dense network, if none is given
    checkpointer: Checkpointer
    training: TrainingRun | None = None
    early_stop: EarlyStop | None = None
    rewound: Weights | None = None  # the weights that tickets start from, once they are known
    rounds: list[dict] = field(default_factory=list)  # a summary of each finished round

    def run(self, resume_point: ResumePoint) -> None:
        """All rounds that are left; then, or when it cannot go on, the table of those that are done."""
        if resume_point.saved:
            self.resume(resume_point)
        else:
            self.begin()
        try:
            while not self.finished:
                self.check_set()
                if not self.training.over:
                    self.train_round()
                self.next_round()
        finally:
            self.checkpointer.flush()
            self.log_result()

    @property
    def finished(self) -> bool:
        return self.training.round >= self.args.pruning_times

    def begin(self) -> None:
        """Round 0."""
        indices = self.policy.first()
        at_once = self.schedule.rewinding_step == self.schedule.round(0, len(indices))[1]
        if self.args.prune_type == "lt" or (self.args.prune_type == "rewind_lt" and at_once):
            self.keep_rewinding_weights(self.first.weights)
        self.new_round(0, self.first, indices, before=self.first.mask)

    def new_round(self, k: int, ticket: Ticket, indices: Tensor, before: Mask) -> None:
        """Round k is ready to begin, and on disk: its checkpoint is the ticket, within the mask that came before."""
        recipe, first_step = self.schedule.round(k, len(indices))
        self.training = TrainingRun(ticket, indices, recipe, k, first_step)
        self.early_stop = self.new_early_stop()
        self.policy.begin_round()
        self.context.step.load_(ticket)
        self.check_ticket(before)
        self.save()
        self.summarize()

    def check_ticket(self, before: Mask) -> None:
        """RunError, with nothing written, if what is about to be trained is not the ticket it should be."""
        k, ticket = self.training.round, self.training.ticket
        evidence = TicketFacts(
            mask=ticket.mask,
            weights=tensors(self.context.model),
            rewound=ticket.weights,
            untrained=True,
            kept=kept_after(k, self.args.rate, count(self.first.mask)),
            before=before,
            examples=self.training.indices,
            training=self.context.whole,
            validation=self.context.split.validation,
        )
        if broken := [f"{found.law}: {found.seen}" for found in check(evidence) if found.holds is False]:
            raise RunError(f"the ticket of round {k} is not what it should be ({'; '.join(broken)}): this is a bug")

    def train_round(self) -> None:
        """Train until the schedule ends, the mask settles, or the round that this one follows ended."""
        self.log_begin()
        for epoch, row in train_epochs(self.training, self.context, self.snapshot_steps()):
            if self.rewinding_step in epoch.snapshots:
                self.keep_rewinding_weights(epoch.snapshots[self.rewinding_step])
            self.policy.observe(epoch.examples, epoch.right)
            settled = self.early_stop.settled(epoch, self.context.step.parameters)
            ends = settled or self.schedule.ends(self.training.round, len(self.training.history))
            # Stopping before the rewinding weights are there would leave nothing to rewind to.
            self.training.stopped = ends and self.rewinding_known and not self.training.over
            row["distance"] = self.early_stop.newest
            self.context.progress.log(epoch_line(row, self.training.recipe.epochs))
            self.save()
            if self.training.stopped:
                break

    def next_round(self) -> None:
        """Prune, choose the next examples, rewind."""
        k, final = self.training.round, copy_weights(self.context.model)
        mask = prune(self.training.ticket.mask, self.scores(final), self.args.rate)
        if k == 0 and self.args.prune_type == "pt":
            self.rewound = best_weights(self.directory.best(0))
        end = self.round_end(final, mask)
        indices, report = self.policy.next(end)
        sparsity = 100 * (1 - density(self.training.ticket.mask))
        draw_curves(self.training.history, self.directory.curves(k), f"round {k}, {sparsity:.2f} % sparse")
        passes = end.looks * len(self.context.whole)
        self.training.lap()  # pruning and choosing examples count as well
        report |= {"next_in_set": overlap(indices, self.training.indices)}
        row = summary(self.training, self.context, passes) | self.early_stop.summary() | report
        self.rounds.append(row)
        self.log_round(row)
        self.new_round(
            k + 1, Ticket(mask, self.rewound, self.schedule.rewinding_step), indices, before=self.training.ticket.mask
        )

    def scores(self, weights: Weights) -> Scores:
        mask = self.training.ticket.mask
        if self.args.random_prune:
            return random_scores(mask, generator(self.context.seed, self.training.round, purpose=RANDOM_PRUNE))
        return magnitude(weights, mask)

    def round_end(self, final: Weights, mask: Mask) -> RoundEnd:
        """This round, whose training left the weights `final` and whose pruning gives `mask`, as the policy sees it."""
        predictions = self.context.predictions
        best = self.directory.best(self.training.round)

        def pruned() -> Tensor:
            weights = {name: value.clone() for name, value in final.items()}
            apply_(weights, mask)
            return predictions(weights)

        return RoundEnd(
            self.training.round,
            self.training.indices,
            best=lambda: predictions(best_weights(best)),
            final=lambda: predictions(final),
            pruned=pruned,
        )

    # --- within a round -----------------------------------------------------------------------------------------------

    def new_early_stop(self) -> EarlyStop:
        interval = self.schedule.vanilla.steps_per_epoch if self.args.eb_interval == "steps" else None
        return EarlyStop(self.args, self.training.recipe.warmup, self.training.ticket.mask, interval)

    def snapshot_steps(self) -> set[int]:
        """The steps of the round after which the weights are wanted."""
        steps = self.training.recipe.epochs * self.training.steps_per_epoch
        return {self.rewinding_step, *self.early_stop.looks(steps)} - {None}

    @property
    def rewinding_step(self) -> int | None:
        """The step of this round after which the rewinding weights are taken; None for all rounds but the first."""
        takes = self.training.round == 0 and self.args.prune_type == "rewind_lt"
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
        if len(self.training.indices) < 2:
            raise RunError(
                f"the PrAC set for round {self.training.round} has {len(self.training.indices)} examples "
                f"({self.policy.describe()}), at least 2 are needed; the ticket of this round is in "
                f"{self.directory.checkpoint(self.training.round)}"
            )

    # --- on disk ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        self.checkpointer.save(
            self.training,
            self.rewound,
            None if self.rewound is None else self.schedule.rewinding_step,
            rounds=self.rounds,
            policy=self.policy.state_dict(),
            early_stop=self.early_stop.state_dict(),
        )

    def summarize(self) -> None:
        self.checkpointer.summarize(
            self.rounds, self.schedule.vanilla, round=self.training.round, finished=self.finished
        )

    def resume(self, resume_point: ResumePoint) -> None:
        """The search as it was saved."""
        saved = resume_point.saved
        self.rounds, self.rewound = saved["rounds"], saved["init_weight"]
        recipe, _ = self.schedule.round(saved["state"], len(saved["sequence"]))
        self.training = restore_training(resume_point, recipe, self.context)
        self.checkpointer.resume(self.training, self.rounds)
        self.policy.load_state_dict(saved["policy"])
        self.early_stop = self.new_early_stop()
        self.early_stop.load_state_dict(saved["early_stop"])
        self.context.progress.begin(sum(row["steps"] for row in self.rounds) + self.training.steps)
        self.summarize()
        if self.finished:
            self.context.progress.log("this search is finished; its table again:")

    # --- what the user sees -------------------------------------------------------------------------------------------

    def log_begin(self) -> None:
        left = self.args.pruning_times - self.training.round
        done = sum(row["steps"] for row in self.rounds)
        self.context.progress.expect(done + self.training.planned_steps * left, self.training.describe())
        self.context.progress.log(*plan_lines(self.training, self.context))

    def log_round(self, row: dict) -> None:
        log = self.context.progress.log
        log(*round_lines(row, len(self.context.whole)), *cost_lines(self.rounds, self.schedule.vanilla))
        warnings = short_warnings(self.training) + self.early_stop.warnings()
        log(*(f"warning: {self.training.describe()}: {line}" for line in warnings))

    def log_result(self) -> None:
        """The rounds that are done, and the newest ticket."""
        if not self.rounds:
            return
        ticket, sparsity = self.directory.checkpoint(self.training.round), 1 - density(self.training.ticket.mask)
        self.context.progress.log("", *round_table(self.rounds), *cost_lines(self.rounds, self.schedule.vanilla))
        self.context.progress.log(f"the newest ticket, {100 * sparsity:.2f} % sparse, is in {ticket}")
