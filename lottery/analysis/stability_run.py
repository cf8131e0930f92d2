"""One run of main_stability.py: two copies of a ticket trained as main_train.py does, then the line between them.

Each copy is a run of its own, in a directory of its own, and resumes as such. The points on the line are saved as they
are measured, and a run that was killed measures only those that are missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataset import random_subset
from lottery import ranks
from lottery.analysis.config import StabilityConfig
from lottery.analysis.stability import STABLE, angle, barrier, distance, interpolate, reestimate_
from lottery.analysis.stability_output import MEASURED, draw_line, figure_title, points_table, result_lines
from lottery.checkpointing.checkpoint import checkpoint_content, read, split_ticket, write
from lottery.checkpointing.metrics import read_summary, write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.run_settings import run_settings
from lottery.checkpointing.save_timer import SaveTimer
from lottery.retraining.config import RetrainingConfig
from lottery.retraining.run import TicketToTrain, TicketTraining
from lottery.training.compile_rule import settle_compiling_
from lottery.training.context import TrainingContext
from lottery.training.environment import environment_changes
from lottery.training.progress import Progress
from lottery.training.step import load_weights_
from pruner import Weights
from utils import InputError, RandomStream, RunError, digest, generator

DESCRIBES_TICKET = ("density", "sparsity", "whole_density", "kept")  # of a training's row in summary.json


@dataclass(frozen=True)
class TrainedCopy:
    """A copy after its last epoch."""

    weights: Weights  # zero where dropped
    init_step: int | None  # the optimiser step at which the ticket's weights stand, if that is known
    summary: dict

    @classmethod
    def read(cls, directory: RunDirectory) -> "TrainedCopy":
        content, summary = read(directory.checkpoint(None)), read_summary(directory.summary)
        if summary is None:
            raise RunError(f"{directory.summary} is missing or damaged: the same command writes it anew")
        return cls(split_ticket(content["state_dict"])[0], content["init_step"], summary)

    @property
    def checksum(self) -> str:
        return digest(*(value.numpy() for _, value in sorted(self.weights.items())))


class StabilityRun:
    """A stability run and where it stands.

    `ticket` is what both copies train. The network of `context` must hold the initial weights of its seed.
    """

    def __init__(self, config: StabilityConfig, context: TrainingContext, ticket: TicketToTrain):
        self.config, self.context, self.ticket = config, context, ticket
        self.run_config, self.copy_configs = config.training.run, config.copy_configs()
        self.directory = RunDirectory(self.run_config.save_dir)
        self.settings = run_settings(self.run_config.script, config, contents=context.contents)
        drawn = generator(self.run_config.seed, purpose=RandomStream.STATISTICS)
        self.statistics_examples = random_subset(context.training_indices, config.statistics_examples, drawn)
        self.save_timer = SaveTimer(self.run_config.save_interval)
        self.points: list[dict] = []  # in order of alpha, from 0 to 1
        self.ends: list[str] = []  # checksums of the two copies between which the points were measured

    def run(self) -> None:
        """Begin or resume, train what is not yet trained, measure what is not yet measured. InputError, before anything
        is trained, where a directory holds another run."""
        directories = [RunDirectory(copy.training.run.save_dir) for copy in self.copy_configs]
        with open_run(self.run_config, self.settings, self.config.ticket.files, copies=directories) as resume_point:
            if not resume_point.saved:
                ranks.from_first(lambda: check_unused(directories))
            steps = len(self.copy_configs) * self.context.schedule_steps
            notes = [*settle_compiling_(self.context, resume_point.saved, steps), *resume_point.notes]
            self.context.progress.log(*(f"note: {note}" for note in notes))
            self.resume(resume_point) if resume_point.saved else self.save()  # from now on the directory is this run's
            for copy in self.copy_configs:
                self.train(copy)
            first, second = ranks.from_first(lambda: [TrainedCopy.read(each) for each in directories])
            self.measure(first, second)
            self.finish(first, second)

    def resume(self, resume_point: ResumePoint) -> None:
        saved, log = resume_point.saved, self.context.progress.log
        self.points, self.ends = saved["points"], saved["ends"]
        log(f"going on from {resume_point.source}: {len(self.points)} of {self.config.points} points are measured")
        log(*environment_changes(saved["environment"], self.context.environment))

    def train(self, copy: RetrainingConfig) -> None:
        """Train a copy as main_train.py would, on the data and the network that are loaded already."""
        progress = Progress(copy.training.run.print_freq)
        progress.log("", f"{copy.training.run.save_dir.name}: order seed {copy.order_seed}")
        load_weights_(self.context.model, self.context.initial(RandomStream.INITIAL_WEIGHTS))
        context = replace(self.context, order_seed=copy.order_seed, progress=progress)
        TicketTraining(copy, context, self.ticket).run()

    # --- the line between the copies ---

    def measure(self, first: TrainedCopy, second: TrainedCopy) -> None:
        """Measure the points that are missing; save now and then, and whatever ends this."""
        ends = [first.checksum, second.checksum]
        if self.ends != ends:  # nothing is measured yet, or it was between other networks
            self.points, self.ends = [], ends
        if len(self.points) >= self.config.points:
            return
        progress = self.context.progress
        progress.begin(len(self.points))
        progress.expect(self.config.points, "line between the copies", "point")
        try:
            with progress:
                for number in range(len(self.points), self.config.points):
                    alpha = number / (self.config.points - 1)
                    measured = self.evaluate(interpolate(first.weights, second.weights, alpha))
                    self.points.append({"alpha": alpha} | measured)
                    progress.tick()
                    if self.save_timer.due():
                        self.save()
        finally:
            self.save()

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Error and loss of the network with these weights, its batch-norm statistics re-estimated."""
        context, evaluator = self.context, self.context.evaluator
        load_weights_(context.model, weights)
        reestimate_(
            context.model, context.train, self.statistics_examples, context.recipe.batch_size, evaluator.precision
        )
        test_loss, test_error = evaluator.loss_and_error(context.test)
        train_loss, train_error = evaluator.loss_and_error(context.train, context.training_indices)
        return dict(zip(MEASURED, (test_error, test_loss, train_error, train_loss), strict=True))

    def result(self, first: TrainedCopy, second: TrainedCopy) -> dict:
        """Barriers, the verdict, and how far apart the copies are."""
        names = [name for name, _ in self.context.model.named_parameters()]
        barriers = {name: barrier([point[name] for point in self.points]) for name in MEASURED}
        return {
            "barrier": barriers,
            "stable": barriers["test_error"] < STABLE,
            "distance": distance(first.weights, second.weights, names),
            "angle": angle(first.weights, second.weights, names),
        }

    def finish(self, first: TrainedCopy, second: TrainedCopy) -> None:
        """Write summary.json and the figure, log the table and the result."""
        result = self.result(first, second)
        write_summary(self.directory.summary, self.summary(first) | result)
        title = figure_title(result, first.summary["rounds"][0]["sparsity"])
        draw_line(self.points, self.directory.stability_figure, title)
        self.context.progress.log("", *points_table(self.points), *result_lines(result))
        self.context.progress.log(f"the figure is in {self.directory.stability_figure}, all numbers in summary.json")

    # --- on disk ---

    def save(self) -> None:
        """Write the checkpoint: the points so far. The networks are in the copies' own checkpoints."""
        content = checkpoint_content(
            {}, self.settings, points=self.points, ends=self.ends, environment=self.context.environment
        )
        write(self.directory.checkpoint(None), content)
        self.save_timer.restart()

    def summary(self, copy: TrainedCopy) -> dict:
        """summary.json of a finished run without its result. Both copies record the same of the ticket."""
        row = copy.summary["rounds"][0]
        return {
            **self.run_config.about(self.config.training.data.data),
            "settings": self.settings,
            "environment": self.context.environment,
            "examples": self.context.counts,
            "ticket": copy.summary["ticket"],
            "ticket step": copy.init_step,
            **{name: row[name] for name in DESCRIBES_TICKET},
            "finished": True,
            "points": self.points,
        }


def check_unused(directories: Sequence[RunDirectory]) -> None:
    """InputError for a copy's directory that holds another run."""
    for directory in directories:
        if directory.checkpoints():
            raise InputError(
                f"{directory.path} holds a run that this one did not begin: choose another --save_dir, or start anew "
                "with --overwrite"
            )
