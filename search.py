"""Iterative magnitude pruning with rewinding, once for all ways to choose examples and to stop.

    round k:  train the ticket -> prune a share of what it keeps -> rewind the rest -> the ticket of round k + 1

(Frankle & Carbin, ICLR 2019; rewinding: Frankle et al., ICML 2020.) A policy says which examples a round trains on; the
early stop, where it is on, ends a round once the mask that pruning would give has settled.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

import feedback
import trial as trials
from checkpoint import write
from dataset import digest
from early_stop import EarlyStop
from flags import settings
from ledger import Vanilla, cost_lines
from policy import FixedSets, Policy, RoundEnd, check_sets, read_sets
from pruner import Mask, Scores, Ticket, Weights, apply_, dense, density, magnitude, prune, random_scores
from rundir import Opening, RunDirectory, open_run
from training import Epoch, Recipe, copy_weights, steps_per_epoch
from trial import Trial, watch
from utils import RANDOM_PRUNE, InputError, RunError, generator
from workbench import Workbench, set_up


def find_tickets(args: argparse.Namespace, script: str, policy_of: Callable[[Workbench], Policy]) -> None:
    """Set up, decide whether to begin or to go on, and search. InputError before anything is written."""
    bench = set_up(args)
    given = read_sets(args.prac_set, args.pruning_times) if args.prac_set else None
    policy = FixedSets(check_sets(given, bench.whole, args.prac_set)) if given else policy_of(bench)
    contents = bench.contents | ({"PrAC set checksum": digest(*given)} if given else {})
    search = Search(args, bench, RunDirectory(args.save_dir), policy, settings(args, script, contents))
    search.check_rewinding()
    search.run(
        open_run(
            search.directory,
            search.settings,
            resume=args.resume,
            checkpoint=args.checkpoint,
            overwrite=args.overwrite,
        )
    )


@dataclass
class Search:
    """A search: what it works with, and where it stands."""

    args: argparse.Namespace
    bench: Workbench
    directory: RunDirectory
    policy: Policy
    settings: dict
    trial: Trial | None = None
    early_stop: EarlyStop | None = None
    rewound: Weights | None = None  # the weights that tickets start from, once they are known
    rounds: list[dict] = field(default_factory=list)  # a summary of each finished round

    def run(self, opening: Opening) -> None:
        """All rounds that are left, then the table."""
        self.directory.make(opening)
        if opening.saved:
            self.go_on(opening)
        else:
            self.begin()
        while self.trial.round < self.args.pruning_times:
            self.check_set()
            if not self.trial.over:
                self.train_round()
            self.next_round()
        self.tell_result()

    def begin(self) -> None:
        """The dense network, as the ticket of round 0."""
        weights = copy_weights(self.bench.model)
        if self.args.prune_type == "lt":
            self.rewound = weights
        self.new_trial(0, Ticket(dense(self.bench.model), weights), self.policy.first())

    def new_trial(self, k: int, ticket: Ticket, indices: Tensor) -> None:
        """Round k is ready to begin, and on disk: its checkpoint is the ticket."""
        recipe, first_epoch = self.recipe_for(k, len(indices))
        self.trial = Trial(ticket, indices, recipe, k, epoch=first_epoch, first_epoch=first_epoch)
        self.early_stop = self.new_early_stop()
        self.policy.begin()
        trials.start(self.trial, self.bench)
        self.save()

    def train_round(self) -> None:
        """Train until the schedule ends or the mask settles."""
        self.tell_begin()
        for epoch, row in watch(self.trial, self.bench, self.wants_snapshot):
            self.keep_rewinding_weights(epoch)
            self.policy.observe(self.trial.indices, epoch.right)
            settled = self.early_stop.settled(epoch, self.bench.step.parameters)
            # Stopping before the rewinding weights are there would leave nothing to rewind to.
            self.trial.stopped = settled and self.rewinding_known
            row["distance"] = self.early_stop.newest
            trials.show_epoch(self.trial, row, self.bench)
            self.save()
            if self.trial.stopped:
                break

    def next_round(self) -> None:
        """Prune, choose the next examples, rewind."""
        k, final = self.trial.round, copy_weights(self.bench.model)
        mask = prune(self.trial.ticket.mask, self.scores(final), self.args.rate)
        if k == 0 and self.args.prune_type == "pt":
            self.rewound = trials.best_weights(self.directory.best(0))
        row = trials.summary(self.trial, self.bench) | self.early_stop.summary()
        indices, report = self.policy.next(self.round_end(final, mask, row))
        self.rounds.append(row | report)
        self.tell_round(row | report)
        trials.draw(self.trial, self.directory)
        self.new_trial(k + 1, Ticket(mask, self.rewound), indices)

    def scores(self, weights: Weights) -> Scores:
        mask = self.trial.ticket.mask
        if self.args.random_prune:
            return random_scores(mask, generator(self.bench.seed, self.trial.round, purpose=RANDOM_PRUNE))
        return magnitude(weights, mask)

    def round_end(self, final: Weights, mask: Mask, row: dict) -> RoundEnd:
        """This round as the policy sees it; each look at all examples is entered in the ledger."""

        def look(weights: Weights) -> Tensor:
            row["forward_passes"] += len(self.bench.whole)
            return trials.predictions(self.bench, weights)

        def pruned() -> Tensor:
            weights = {name: value.clone() for name, value in final.items()}
            apply_(weights, mask)
            return look(weights)

        best = self.directory.best(self.trial.round)
        return RoundEnd(
            self.trial.round,
            self.trial.indices,
            best=lambda: look(trials.best_weights(best)),
            final=lambda: look(final),
            pruned=pruned,
        )

    # --- the schedule of a round --------------------------------------------------------------------------------------

    def recipe_for(self, k: int, examples: int) -> tuple[Recipe, int]:
        """Round k's recipe on a set of `examples`, and the epoch of it to begin with.

        Epochs scale with |P| / |D0|, unless they are fixed; with --rewind_lr sparse rounds begin where the rewinding
        weights stood, and run at least one epoch.
        """
        whole = len(self.bench.whole)
        part = whole if self.args.prac_epochs == "fixed" else examples
        recipe = self.bench.recipe if part == whole else self.bench.recipe.scaled(part, whole)
        if not self.args.rewind_lr or k == 0:
            return recipe, 0
        return recipe, min(part * (self.args.rewind_epoch + 1) // whole, recipe.epochs - 1)

    def new_early_stop(self) -> EarlyStop:
        interval = self.vanilla.steps_per_epoch if self.args.eb_interval == "steps" else None
        return EarlyStop(self.args, self.trial.recipe.warmup, self.trial.ticket.mask, interval)

    def wants_snapshot(self, steps: int) -> bool:
        return steps == self.rewinding_step or self.early_stop.looks_at(steps)

    @property
    def rewinding_step(self) -> int | None:
        """The steps after which the rewinding weights are taken, in round 0 only."""
        if self.trial.round > 0 or self.args.prune_type != "rewind_lt":
            return None
        return (self.args.rewind_epoch + 1) * self.trial.steps_per_epoch

    @property
    def rewinding_known(self) -> bool:
        return self.rewound is not None or self.args.prune_type == "pt"

    def keep_rewinding_weights(self, epoch: Epoch) -> None:
        if self.rewinding_step in epoch.snapshots:
            self.rewound = epoch.snapshots[self.rewinding_step]
            write(self.directory.rewinding(self.args.rewind_epoch), self.rewound)

    @property
    def vanilla(self) -> Vanilla:
        """The yardstick of every saving."""
        return Vanilla(self.args.epochs, steps_per_epoch(len(self.bench.whole), self.args.batch_size))

    # --- what can stop it ---------------------------------------------------------------------------------------------

    def check_rewinding(self) -> None:
        """A small given set makes round 0 short: InputError if it ends before the rewinding point."""
        recipe, _ = self.recipe_for(0, len(self.policy.first()))
        if self.args.prune_type == "rewind_lt" and self.args.rewind_epoch >= recipe.epochs:
            raise InputError(
                f"--rewind_epoch {self.args.rewind_epoch} is not reached: on the given set round 0 has only "
                f"{recipe.epochs} epochs. Give a smaller one, or --prac_epochs fixed"
            )

    def check_set(self) -> None:
        """A round needs two examples: RunError says what to change. The ticket found so far is on disk."""
        if len(self.trial.indices) < 2:
            raise RunError(
                f"the PrAC set for round {self.trial.round} has {len(self.trial.indices)} examples: at --threshold "
                f"{self.args.threshold} too few were forgotten or disagreed about. Lower --threshold or train longer; "
                f"the ticket of this round is in {self.directory.checkpoint(self.trial.round)}"
            )

    # --- on disk ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        common = trials.content(self.trial, self.bench, self.settings, self.rewound)
        own = {
            "rounds": self.rounds,
            "policy": self.policy.state_dict(),
            "early_stop": self.early_stop.state_dict(),
        }
        trials.save(self.trial, self.bench, self.directory, common | own)

    def go_on(self, opening: Opening) -> None:
        """The search as it was saved."""
        saved = opening.saved
        self.bench.feedback.say(*trials.changes(saved, self.bench))
        self.rounds, self.rewound = saved["rounds"], saved["init_weight"]
        recipe, _ = self.recipe_for(saved["state"], len(saved["sequence"]))
        self.trial = trials.restore(saved, recipe, self.bench)
        self.policy.load_state_dict(saved["policy"])
        self.early_stop = self.new_early_stop()
        self.early_stop.load_state_dict(saved["early_stop"])
        self.bench.feedback.begin(sum(row["steps"] for row in self.rounds) + self.trial.steps)
        self.bench.feedback.say(f"going on from {opening.source}: round {self.trial.round}, epoch {self.trial.epoch}")

    # --- what the user sees -------------------------------------------------------------------------------------------

    def tell_begin(self) -> None:
        left = self.args.pruning_times - self.trial.round
        done = sum(row["steps"] for row in self.rounds)
        self.bench.feedback.expect(done + self.trial.planned_steps * left, self.trial.describe())
        self.bench.feedback.say(trials.plan_line(self.trial))

    def tell_round(self, row: dict) -> None:
        say = self.bench.feedback.say
        say(*feedback.round_lines(row, len(self.bench.whole)), *cost_lines(self.rounds, self.vanilla))
        warnings = trials.warnings(self.trial) + self.early_stop.warnings()
        say(*(f"warning: round {row['round']}: {line}" for line in warnings))

    def tell_result(self) -> None:
        self.bench.feedback.close()
        last, sparsity = self.directory.checkpoint(self.trial.round), 1 - density(self.trial.ticket.mask)
        self.bench.feedback.say("", *feedback.round_table(self.rounds), *cost_lines(self.rounds, self.vanilla))
        self.bench.feedback.say(f"the last ticket, {100 * sparsity:.2f} % sparse, is in {last}")
