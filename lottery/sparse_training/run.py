"""One training in which the mask changes: the search of main_dst.py, whose ticket is the last mask, rewound."""

from collections.abc import Iterator
from dataclasses import replace

from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.resume import ResumePoint
from lottery.checkpointing.run_settings import run_settings
from lottery.sparse_training.alternating_compression import AlternatingCompression
from lottery.sparse_training.config import METHODS, SparseTrainingConfig
from lottery.sparse_training.drop_and_grow import GradientGrowth, RandomGrowth, random_mask
from lottery.sparse_training.gradual_pruning import GradualPruning
from lottery.sparse_training.pruning_with_feedback import PruningWithFeedback
from lottery.sparse_training.schedule import interval_before, update_schedule
from lottery.sparse_training.scheduled_updates import FixedMask, ScheduledUpdates, mean_kept
from lottery.terminal import counted
from lottery.tickets.given_masks import check_pruned_layers
from lottery.tickets.layer_quotas import DISTRIBUTIONS
from lottery.tickets.load import LoadedTicket
from lottery.tickets.ticket_file import check_weight_mask
from lottery.training.context import TrainingContext
from lottery.training.loop import Epoch
from lottery.training.network_notes import classifier_setting, network_notes
from lottery.training.recipe import steps_per_epoch
from lottery.training.single_training import SingleTraining
from lottery.training.tables import retraining_lines
from lottery.training.training_run import TrainingRun, summary, train_epochs
from pruner import Mask, Ticket, Weights, count, density, size, whole
from utils import InputError


class SparseTraining(SingleTraining):
    """The training: what it begins with, how its mask changes, and the weights that its ticket starts from.

    InputError where the rewinding point is never reached, or there is nothing to prune.
    """

    def __init__(self, config: SparseTrainingConfig, context: TrainingContext, loaded: LoadedTicket):
        self.config, self.loaded, self.method = config, loaded, METHODS[config.method]
        if loaded.ticket.basis:
            check_weight_mask(loaded.files.mask, single=True)
        check_pruned_layers(config.ticket.mask_dir, loaded.ticket.mask, list(context.dense()))
        self.initial = context.fill_missing_masks(loaded.ticket)
        self.steps_per_epoch = steps_per_epoch(len(context.training_indices), context.recipe.batch_size)
        self.steps = context.recipe.epochs * self.steps_per_epoch
        self.check()
        if self.method.begins_sparse:
            self.initial = self.initial._replace(mask=first_mask(config, self.initial.mask))
        rewinding = self.rewinding_step if config.prune_type == "rewind_lt" else None
        self.updates = mask_updates(config, self.steps, rewinding or 0, self.initial.mask)
        self.rewound: Weights | None = self.initial.weights if config.prune_type == "lt" else None
        run = config.training.run
        contents = context.contents | loaded.settings(loaded.ticket, with_step=False)
        contents |= classifier_setting(context.model)
        super().__init__(
            context,
            run,
            run_settings(run.script, config, contents=contents),
            run.about(config.training.data.data) | {"ticket": loaded.origin},
            inputs=config.ticket.files,
        )

    def check(self) -> None:
        kept, weights = count(self.initial.mask), size(self.initial.mask)
        if not 0 < round(self.config.density * weights) < kept:
            raise InputError(
                f"--density {self.config.density} would keep {round(self.config.density * weights)} of the {kept} "
                "weights that there are to begin with: it must leave some, and prune some"
            )

    @property
    def rewinding_step(self) -> int | None:
        """The optimiser step after which the weights stand that the ticket is rewound to; None if a given ticket does
        not say."""
        if self.config.prune_type == "lt":
            return self.initial.step
        if self.config.rewind_iteration is not None:
            return self.config.rewind_iteration
        return (self.config.rewind_epoch + 1) * self.steps_per_epoch

    def notes(self) -> list[str]:
        model, kept = self.context.model, counted(round(self.config.density * size(self.initial.mask)), "weight")
        spread = self.config.distribution and DISTRIBUTIONS[self.config.distribution].name
        end = f"; {kept} at any time, {spread}" if self.method.begins_sparse else f", down to {kept}"
        plan = f"{self.method.name}: {self.updates.describe(self.steps)}{end}"
        loaded = [*self.loaded.description, *self.loaded.notes]
        return [*loaded, *network_notes(model, self.context.prune_classifier), plan]

    def begin(self) -> TrainingRun:
        if self.rewinding_step == 0 and self.rewound is None:
            self.keep_rewinding_weights(self.initial.weights)
        self.context.step.load_(self.initial)
        self.updates.begin_(self.context.step)
        ticket = Ticket(self.initial.mask, self.rewound or {}, self.rewinding_step)
        return TrainingRun(ticket, self.context.training_indices, self.context.recipe)

    @property
    def dense_mask(self) -> Mask:
        return whole(self.initial.mask)

    def resume(self, resume_point: ResumePoint) -> TrainingRun:
        self.rewound = resume_point.saved["init_weight"]
        records = list(resume_point.saved["updates"])
        every = resume_point.saved.get("update_every")
        every = every or interval_before(self.config, self.steps, [record["step"] for record in records])
        if every and every != self.updates.schedule.every:
            self.updates = mask_updates(replace(self.config, update_every=every), self.steps, 0, self.initial.mask)
        self.updates.records = records
        training = super().resume(resume_point)
        if not training.finished:
            self.updates.begin_(self.context.step)
            self.updates.load_(self.context.step, resume_point.saved)
        return training

    def epochs(self, training: TrainingRun) -> Iterator[tuple[Epoch, dict]]:
        wanted = set() if self.rewound is not None else {self.rewinding_step}
        return train_epochs(training, self.context, wanted, whole_until=self.whole_until, updates=self.updates)

    @property
    def whole_until(self) -> int:
        """The epoch up to which no example is left out: that of the rewinding point."""
        rewinds = self.config.prune_type == "rewind_lt"
        return -(-self.rewinding_step // self.steps_per_epoch) if rewinds else 0

    def observe(self, epoch: Epoch) -> None:
        if self.rewound is None and self.rewinding_step in epoch.snapshots:
            self.keep_rewinding_weights(epoch.snapshots[self.rewinding_step])

    def keep_rewinding_weights(self, weights: Weights) -> None:
        self.rewound = weights
        write(self.checkpointer.directory.rewinding(self.config.rewind_epoch, self.config.rewind_iteration), weights)

    def save(self, training: TrainingRun) -> None:
        step = None if self.rewound is None else self.rewinding_step
        state = ({} if training.finished else self.updates.state()) | self.interval()
        self.checkpointer.save(training, self.rewound, step, updates=list(self.updates.records), **state)

    def interval(self) -> dict:
        """The steps between two changes of the mask, where it changes."""
        return {} if self.config.method == "static" else {"update_every": self.updates.schedule.every}

    def finish(self, training: TrainingRun) -> None:
        super().finish(training)
        ticket = self.checkpointer.directory.checkpoint(None)
        sparsity = 100 * (1 - density(training.ticket.mask))
        self.context.progress.log(f"the ticket, {sparsity:.2f} % sparse, is in {ticket}")
        self.context.progress.log(*retraining_lines(self.run_config.retraining_command(ticket)))

    def row(self, training: TrainingRun) -> dict:
        """That of any training, with every change of the mask, and what was kept on average while it trained."""
        initial = {name: int(layer.sum()) for name, layer in self.initial.mask.items()}
        begins = [row["epoch"] * self.steps_per_epoch for row in training.history]
        taken = [range(begin, begin + row["steps"]) for begin, row in zip(begins, training.history, strict=True)]
        kept = mean_kept(self.updates.records, initial, taken)
        found = summary(training, self.context) | {"mean_kept": kept, "mask_updates": self.updates.records}
        dense = self.updates.dense_gradient_examples(found["examples"])
        return found | ({"dense_gradient_examples": dense} if dense else {})


def first_mask(config: SparseTrainingConfig, whole: Mask) -> Mask:
    """The random mask that a sparse training begins with."""
    kept = round(config.density * size(whole))
    return random_mask(whole, kept, DISTRIBUTIONS[config.distribution], config.training.run.seed)


def mask_updates(config: SparseTrainingConfig, steps: int, rewinding: int, mask: Mask) -> ScheduledUpdates:
    """How the mask changes in a training of so many steps that begins under `mask`, but not before the step
    `rewinding`. InputError if there is no step for it."""
    if config.method == "static":
        return FixedMask()
    schedule = update_schedule(config, steps, rewinding)
    if METHODS[config.method].begins_sparse:
        growth = {"set": RandomGrowth, "rigl": GradientGrowth}[config.method]
        return growth(schedule, config.drop_fraction, config.drop or "magnitude", config.training.run.seed)
    if config.method == "gmp":
        return GradualPruning(schedule, config.density, density(mask))
    return {"acdc": AlternatingCompression, "dpf": PruningWithFeedback}[config.method](schedule, config.density, mask)
