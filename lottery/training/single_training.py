"""One network's training in a directory of its own: begun or resumed, saved after each epoch, and its result."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_settings import RunConfig
from lottery.training.checkpointer import Checkpointer
from lottery.training.compile_rule import settle_compiling_
from lottery.training.context import TrainingContext
from lottery.training.costs import Vanilla
from lottery.training.loop import Epoch
from lottery.training.plots import draw_curves
from lottery.training.tables import EPOCH_COLUMNS, epoch_cells, measured_at, round_table
from lottery.training.training_run import TrainingRun, plan_lines, short_warnings, summary, train_epochs
from pruner import Mask


class SingleTraining:
    """A training of one network: a subclass says in `begin` what it begins with.

    The network of `context` must hold the initial weights of its seed. `inputs` are the files that the run reads.
    """

    def __init__(
        self, context: TrainingContext, run: RunConfig, settings: dict, about: dict, inputs: Sequence[Path | None]
    ):
        self.context, self.run_config, self.inputs = context, run, inputs
        self.checkpointer = Checkpointer(context, run, settings, about)

    def begin(self) -> TrainingRun:
        """The training at its start, its weights and mask in the step."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """What the log says before the training begins."""
        return []

    def epochs(self, training: TrainingRun) -> Iterator[tuple[Epoch, dict]]:
        return train_epochs(training, self.context)

    def observe(self, epoch: Epoch) -> None:
        """After each epoch, before it is saved."""

    @property
    def planned_steps(self) -> int:
        """The optimiser steps of an unbroken run."""
        return self.context.schedule_steps

    @property
    def dense_mask(self) -> Mask:
        """The layers that are masked, all weights kept."""
        return self.context.dense()

    def save(self, training: TrainingRun) -> None:
        self.checkpointer.save(training, training.ticket.weights, training.ticket.step)

    def row(self, training: TrainingRun) -> dict:
        """The network's row in summary.json."""
        return summary(training, self.context)

    def vanilla(self, training: TrainingRun) -> Vanilla:
        """What its cost is compared with."""
        return Vanilla(training.recipe.epochs, training.steps_per_epoch)

    def run(self) -> None:
        """Begin or resume, and train to the end of the schedule; then the curves and the table."""
        context = self.context
        with open_run(self.run_config, self.checkpointer.settings, self.inputs) as resume_point, context.progress:
            compiling = settle_compiling_(context, resume_point.saved, self.planned_steps)
            context.log_setup([*self.notes(), *compiling, *resume_point.notes])
            if resume_point.saved:
                training = self.resume(resume_point)
            else:
                training = self.begin()
                self.save(training)  # from now on the directory is this run's
            self.train(training)
            self.finish(training)

    def resume(self, resume_point: ResumePoint) -> TrainingRun:
        training = self.checkpointer.resume(resume_point, self.context.recipe, dense=self.dense_mask)
        if training.finished:
            self.context.progress.log("this training is finished; its result again:")
        return training

    def train(self, training: TrainingRun) -> None:
        progress = self.context.progress
        progress.begin(training.steps)
        progress.expect(training.planned_steps - training.steps_left_out, training.position())
        progress.log(*plan_lines(training, self.context))
        try:
            for epoch, row in self.epochs(training):
                self.observe(epoch)
                progress.log_row(EPOCH_COLUMNS, epoch_cells(row, training.recipe.epochs))
                self.save(training)
        finally:
            self.checkpointer.flush()

    def finish(self, training: TrainingRun) -> None:
        """The records, the curves and the table."""
        row, log = self.row(training), self.context.progress.log
        self.checkpointer.summarize([row], self.vanilla(training), round=0, finished=True)
        curves = self.checkpointer.directory.curves(None)
        draw_curves(training.history, curves, f"{100 * row['sparsity']:.2f} % sparse")
        log(*(f"warning: {line}" for line in short_warnings(training)), "")
        log(*round_table([row], "round"), f"test accuracy at {measured_at(row)}: {row['test']:.2f}")
        directory = self.checkpointer.directory
        log(f"the network of that epoch is in {directory.best(None)}, accuracies by epoch in {curves.name} beside it")
