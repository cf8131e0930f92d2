"""Iterative magnitude pruning with rewinding, shared by all ways to choose examples and to end a round.

    round k:  train the ticket -> prune a share of what it keeps -> rewind the rest -> the ticket of round k + 1

(Frankle & Carbin, ICLR 2019; rewinding: Frankle et al., ICML 2020.) Who does what:

    which examples a round trains on    examples.py; prac_sets.py counts forgetting (dataset.Forgetting)
    when a round may end early          early_stop.py, by the early-bird test (pruner.EarlyBird); of a control,
                                        schedule.py, where the same round of its reference run ended
    how long a round trains             schedule.py
    which weights are pruned            pruned_units.py, in which basis; `pruned` (pruning_plan.py)
    how many weights are pruned         pruning_plan.py
    what is in a checkpoint             `save` below and lottery/training/checkpointer.py; docs/runs.md lists the keys
    whether a ticket is consistent      lottery/tickets/invariants.py
    what resuming needs                 `resume` below; lottery/checkpointing/resume.py says whether a command may
"""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from dataset import overlap
from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.search import log
from lottery.search.config import SearchConfig
from lottery.search.early_stop import EarlyStop
from lottery.search.examples import ExampleSelection, round_end, take_set_to_begin_
from lottery.search.pruned_units import PrunedUnits
from lottery.search.pruning_plan import PruningPlan, pruned
from lottery.search.reference_run import ReferenceRun
from lottery.search.schedule import build_schedule, rounding_notes
from lottery.tickets.invariants import TicketFacts, check
from lottery.tickets.load import LoadedTicket
from lottery.training.checkpointer import Checkpointer, best_weights
from lottery.training.compile_rule import settle_compiling_
from lottery.training.context import TrainingContext
from lottery.training.loop import Epoch
from lottery.training.step import copy_weights
from lottery.training.training_run import TrainingRun, summary, train_epochs
from models.network_state import tensors
from pruner import Mask, Scores, Ticket, Weights, random_scores
from utils import RandomStream, RunError, generator


class ImpSearch:
    """A search: what it works with, and where it stands.

    `loaded` is the ticket of round 0, the dense network if none is given; `examples` say what each round trains on;
    `settings` decide whether a command goes on with it; `reference` is the PrAC run whose steps a control takes.
    InputError where the ticket or the basis does not fit, the rewinding point is never reached, or the last pruning
    leaves nothing.
    """

    def __init__(
        self,
        config: SearchConfig,
        context: TrainingContext,
        loaded: LoadedTicket,
        examples: ExampleSelection,
        settings: dict,
        reference: ReferenceRun | None = None,
    ):
        self.config, self.pruning, self.context, self.examples = config, config.pruning, context, examples
        self.loaded, self.initial_ticket, self.reference = loaded, context.fill_missing_masks(loaded.ticket), reference
        self.schedule = build_schedule(
            config.pruning,
            config.prac_epochs,
            context.recipe,
            whole=len(context.training_indices),
            initial=len(examples.initial_set()),
            ticket_step=loaded.ticket.step,
            reference=reference,
            vanilla_epochs=config.vanilla_epochs,
        )
        self.plan = PruningPlan.from_settings(settings, config.pruning.rate)
        self.prunes = PrunedUnits(config, context, loaded.ticket)
        self.initial_counts = self.prunes.counts(self.initial_ticket.mask)  # kept, and prunable
        about = config.training.run.about(config.training.data.data) | {"ticket": loaded.origin}
        self.checkpointer = Checkpointer(context, config.training.run, settings | examples.settings, about)
        self.directory = self.checkpointer.directory
        self.training: TrainingRun  # of this round
        self.early_stop: EarlyStop
        self.rewound: Weights | None = None  # the weights that tickets start from, once they are known
        self.rounds: list[dict] = []  # a summary of each finished round
        self.check()

    def run(self) -> None:
        """Begin or resume, and do all rounds that are left; then, or when it cannot go on, log the table of those that
        are done."""
        context, notes = self.context, log.setup_notes(self.loaded, self.examples, self.context)
        notes += [*self.plan.notes(self.initial_ticket.mask), *rounding_notes(self.schedule, self.reference)]
        run, steps = self.config.training.run, self.schedule.steps_of(self.pruning.pruning_times)
        with open_run(run, self.checkpointer.settings, self.inputs) as resume_point, context.progress:
            notes += settle_compiling_(context, resume_point.saved, steps)
            context.log_setup([*notes, *resume_point.notes])
            self.resume(resume_point) if resume_point.saved else self.begin()
            try:
                while not self.finished:
                    self.check_set()
                    if not self.training.finished:
                        self.train_round()
                    self.next_round()
            finally:
                self.checkpointer.flush()
                self.log_result()

    @property
    def finished(self) -> bool:
        return self.training.round >= self.pruning.pruning_times

    @property
    def ledger(self) -> log.Ledger:
        """What the cost of the rounds is counted by."""
        return self.schedule.vanilla, self.checkpointer.flops if self.rounds else {}

    @property
    def inputs(self) -> list[Path | None]:
        """The files and directories that the search reads."""
        return [*self.config.ticket.files, self.config.prac_set, self.reference.path if self.reference else None]

    # --- the rounds ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make round 0 ready."""
        indices = self.examples.initial_set()
        begins_at_rewinding_point = self.schedule.rewinding_step == self.schedule.round(0, len(indices))[1]
        if self.pruning.prune_type == "lt" or (self.pruning.prune_type == "rewind_lt" and begins_at_rewinding_point):
            self.keep_rewinding_weights(self.initial_ticket.weights)
        self.new_round(0, self.initial_ticket, self.initial_ticket.weights, indices, before=self.initial_ticket.mask)

    def new_round(self, k: int, ticket: Ticket, weights: Weights, indices: Tensor, before: Mask) -> None:
        """Make round k ready to begin with these weights, on disk too: its checkpoint is the ticket."""
        recipe, first_step = self.schedule.round(k, len(indices))
        self.training = TrainingRun(ticket, indices, recipe, k, first_step)
        self.early_stop = self.new_early_stop()
        self.examples.begin_round()
        self.context.step.load_(ticket._replace(weights=weights))
        self.check_ticket(before, weights)
        self.save()
        self.summarize()

    def train_round(self) -> None:
        """Train until the schedule ends, the mask settles, or the reference run's same round had ended."""
        log.round_begins(self.training, self.rounds, self.pruning.pruning_times, self.context)
        for epoch, row in self.epochs():
            if self.rewinding_step in epoch.snapshots:
                self.keep_rewinding_weights(epoch.snapshots[self.rewinding_step])
            self.examples.observe(epoch.examples, epoch.right)  # right: as predicted when trained on
            settled = self.early_stop.update(epoch, self.context.step.parameters)
            ends = settled or self.schedule.ends(self.training.round, len(self.training.history))
            # Stopping before the rewinding weights are there would leave nothing to rewind to.
            self.training.stopped = ends and self.rewinding_known and not self.training.finished
            row["distance"] = self.early_stop.newest
            log.epoch_ends(row, self.training, self.early_stop, self.context)
            self.save()
            if self.training.stopped:
                break

    def next_round(self) -> None:
        """Prune, choose the next examples, rewind."""
        k, final = self.training.round, copy_weights(self.context.model)
        self.prunes.take(self.prunes.basis(final))
        mask = pruned(self.training.ticket.mask, self.scores(final), self.next_drop, self.plan.pattern)
        if k == 0 and self.pruning.prune_type == "pt":
            self.rewound = best_weights(self.directory.best(0))
        ticket = Ticket(mask, self.rewound, self.schedule.rewinding_step, self.prunes.known)
        end = round_end(self.training, self.context, self.directory.best(k), final, ticket)
        indices, report = self.examples.next(end)
        log.draw_round(self.training, self.directory.curves(k))
        passes = end.forward_passes * len(self.context.training_indices)
        self.training.add_elapsed()  # pruning and choosing examples count as well
        report |= {"next_in_set": overlap(indices, self.training.indices)}
        self.rounds.append(summary(self.training, self.context, passes, final) | self.early_stop.summary() | report)
        log.round_ends(self.training, self.rounds, self.early_stop, self.ledger, self.context)
        weights = final if self.pruning.between == "continue" else ticket.weights
        self.new_round(k + 1, ticket, weights, indices, before=self.training.ticket.mask)

    @property
    def next_drop(self) -> int:
        """How many weights this round's pruning drops."""
        kept, size = self.prunes.counts(self.training.ticket.mask)
        return kept - self.plan.kept_next(self.training.round, kept, size)

    def scores(self, weights: Weights) -> Scores:
        """What each kept weight is worth; the lowest are pruned."""
        mask = self.training.ticket.mask
        if self.pruning.random_prune:
            random = generator(self.context.seed, self.training.round, purpose=RandomStream.RANDOM_PRUNE)
            return random_scores(self.prunes.units(mask), random)
        return self.prunes.magnitude(weights, mask)

    # --- within a round -----------------------------------------------------------------------------------------------

    def new_early_stop(self) -> EarlyStop:
        interval = self.schedule.vanilla.steps_per_epoch if self.config.early_stop.eb_interval == "steps" else None
        warmup, mask, pattern = self.training.recipe.warmup, self.training.ticket.mask, self.plan.pattern
        criterion, config = self.prunes.magnitude, self.config.early_stop
        return EarlyStop(config, self.next_drop, warmup, mask, interval, criterion, pattern)

    def snapshot_steps(self) -> set[int]:
        """The steps of the round after which the weights are wanted."""
        wanted = set(self.early_stop.comparison_steps(self.training.recipe.epochs * self.training.steps_per_epoch))
        return wanted if self.rewinding_step is None else {self.rewinding_step, *wanted}

    def epochs(self) -> Iterator[tuple[Epoch, dict]]:
        """This round's training. It leaves no example out before the weights are there that tickets are rewound to."""
        whole_until = -(-(self.rewinding_step or 0) // self.training.steps_per_epoch)
        return train_epochs(self.training, self.context, self.snapshot_steps(), whole_until)

    @property
    def rewinding_step(self) -> int | None:
        """The step of this round after which the rewinding weights are taken; None for all rounds but the first."""
        takes = self.training.round == 0 and self.pruning.prune_type == "rewind_lt"
        return self.schedule.rewinding_step if takes else None

    @property
    def rewinding_known(self) -> bool:
        return self.rewound is not None or self.pruning.prune_type == "pt"

    def keep_rewinding_weights(self, weights: Weights) -> None:
        self.rewound = weights
        if self.pruning.prune_type == "rewind_lt":
            write(self.directory.rewinding(self.pruning.rewind_epoch, self.pruning.rewind_iteration), weights)

    # --- what can stop it ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        """InputError if the rewinding point is never reached, or the last pruning leaves nothing."""
        self.schedule.check()
        self.plan.check(self.pruning.pruning_times, *self.initial_counts)

    def check_ticket(self, before: Mask, weights: Weights) -> None:
        """RunError, with nothing written, if what is about to be trained is not the ticket it should be."""
        k, ticket = self.training.round, self.training.ticket
        facts = TicketFacts(
            mask=ticket.mask,
            weights=tensors(self.context.model),
            rewound=ticket.weights,
            untrained=weights is ticket.weights,
            continued=None if weights is ticket.weights else weights,
            kept=self.plan.kept(k, *self.initial_counts),
            units=self.prunes.units(ticket.mask),
            basis=ticket.basis,
            pattern=self.plan.pattern if k else None,
            before=before,
            examples=self.training.indices,
            training=self.context.training_indices,
            validation=self.context.split.validation,
        )
        if broken := [f"{found.invariant}: {found.seen}" for found in check(facts) if found.holds is False]:
            raise RunError(f"the ticket of round {k} is not what it should be ({'; '.join(broken)}): this is a bug")

    def check_set(self) -> None:
        """RunError, which says what to change, for fewer than two examples. The ticket found so far is on disk."""
        if len(self.training.indices) < 2:
            raise RunError(
                f"the PrAC set for round {self.training.round} has {len(self.training.indices)} examples "
                f"({self.examples.describe()}), at least 2 are needed; the ticket of this round is in "
                f"{self.directory.checkpoint(self.training.round)}"
            )

    # --- on disk ------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Keep this round as it stands; `Checkpointer` says what else a checkpoint holds, and when it is written."""
        self.checkpointer.save(
            self.training,
            self.rewound,
            None if self.rewound is None else self.schedule.rewinding_step,
            rounds=self.rounds,
            policy=self.examples.state_dict(),
            early_stop=self.early_stop.state_dict(),
        )

    def summarize(self) -> None:
        vanilla, k = self.schedule.vanilla, self.training.round
        self.checkpointer.summarize(self.rounds, vanilla, round=k, finished=self.finished)

    def resume(self, resume_point: ResumePoint) -> None:
        """The search as it was saved."""
        saved = resume_point.saved
        take_set_to_begin_(saved, self.examples, self.schedule)
        self.rounds, self.rewound = saved["rounds"], saved["init_weight"]
        recipe, _ = self.schedule.round(saved["state"], len(saved["sequence"]))
        self.training = self.checkpointer.resume(resume_point, recipe, self.rounds)
        self.prunes.take(self.training.ticket.basis)
        self.examples.load_state_dict(saved["policy"])
        self.early_stop = self.new_early_stop()
        self.early_stop.load_state_dict(saved["early_stop"])
        self.context.progress.begin(sum(row["steps"] for row in self.rounds) + self.training.steps)
        self.summarize()
        if self.finished:
            self.context.progress.log("this search is finished; its table again:")

    def log_result(self) -> None:
        """Log the rounds that are done, and where the newest ticket is."""
        log.search_ends(self.training, self.rounds, self.ledger, self.config.training.run, self.context)
