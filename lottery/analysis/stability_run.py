"""One run of main_stability.py: two copies trained as main_train.py does, then the line between them.

A copy is a run of its own in a directory of its own, and goes on as such; the measurements on the line go on from the
last one that was saved.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from dataset import random_subset
from lottery.analysis.stability import STABLE, angle, barrier, distance, interpolate, reestimate_
from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.checkpoint import checkpoint_content, read, split_state, write
from lottery.checkpointing.metrics import write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.save_timer import SaveTimer
from lottery.cli.configs import run_config, training_config
from lottery.cli.transition import about, settings
from lottery.retraining.config import RetrainingConfig
from lottery.retraining.run import TicketToTrain, TicketTraining, ticket_to_train
from lottery.training.context import TrainingContext, build_context
from lottery.training.environment import environment_changes
from lottery.training.progress import Progress
from lottery.training.step import load_weights_
from pruner import Weights
from utils import InputError, RandomStream, digest, generator

SCRIPT = "main_stability.py"
MEASURED = ("test_error", "test_loss", "train_error", "train_loss")  # at every point; errors in percent
OF_TICKET = ("density", "sparsity", "whole_density", "kept")  # of a training's row in summary.json


def measure_stability(args: argparse.Namespace, trainings: Sequence[RetrainingConfig]) -> None:
    """Set up, begin or go on, train what is not yet trained, measure. InputError before anything is trained."""
    context = build_context(training_config(args, SCRIPT))
    found = ticket_to_train(trainings[0], context)  # refused, if at all, before the directory is this run's
    directory, chosen = RunDirectory(args.save_dir), settings(args, SCRIPT, context.contents)
    copies = [RunDirectory(training.training.run.save_dir) for training in trainings]
    with open_run(run_config(args, SCRIPT), chosen, [args.init_dir, args.mask_dir], copies=copies) as resume_point:
        if not resume_point.saved:
            check_copies(copies)
        line = Line(args, context, directory, chosen)
        line.open(resume_point)
        for training in trainings:
            train_copy(training, context, found)
        line.between(*(Copy.read(training.training.run.save_dir) for training in trainings))


def check_copies(copies: Sequence[RunDirectory]) -> None:
    """InputError, before the first copy is trained, for one whose directory holds another run."""
    for copy in copies:
        if copy.checkpoints():
            raise InputError(
                f"{copy.path} holds a run that this one did not begin: choose another --save_dir, or start anew with "
                "--overwrite"
            )


def train_copy(config: RetrainingConfig, context: TrainingContext, found: TicketToTrain) -> None:
    """As main_train.py would with these settings, on data and network that are there already; its directory has been
    cleared if it was to be."""
    run = replace(config.training.run, overwrite=False)
    config = replace(config, training=replace(config.training, run=run))
    progress = Progress(run.print_freq)
    progress.log("", f"{run.save_dir.name}: order seed {config.order_seed}")
    load_weights_(context.model, context.initial(RandomStream.INITIAL_WEIGHTS))
    TicketTraining(config, replace(context, order_seed=config.order_seed, progress=progress), found).run()


@dataclass(frozen=True)
class Copy:
    """What a training came to: its last weights, zero where dropped, and its records."""

    weights: Weights
    init_step: int | None  # where in the schedule the ticket stands, if that is known
    summary: dict

    @classmethod
    def read(cls, folder: Path) -> "Copy":
        directory = RunDirectory(folder)
        content = read(directory.checkpoint(None))
        summary = json.loads(directory.summary.read_bytes())
        return cls(split_state(content["state_dict"])[0], content["init_step"], summary)

    @property
    def checksum(self) -> str:
        return digest(*(value.numpy() for _, value in sorted(self.weights.items())))


@dataclass
class Line:
    """The line between two copies, and what has been measured on it."""

    args: argparse.Namespace
    context: TrainingContext
    directory: RunDirectory
    settings: dict
    points: list[dict] = field(default_factory=list)  # in order of alpha, from 0 to 1
    ends: list[str] = field(default_factory=list)  # checksums of the copies that they are of

    def __post_init__(self):
        drawn = generator(self.args.seed, purpose=RandomStream.STATISTICS)
        self.examples = random_subset(self.context.whole, self.args.statistics_examples, drawn)
        self.save_timer = SaveTimer(self.args.save_interval)

    def open(self, resume_point: ResumePoint) -> None:
        """Begin, or go on from what was saved."""
        log = self.context.progress.log
        log(*(f"note: {note}" for note in resume_point.notes))
        if resume_point.saved:
            self.points, self.ends = resume_point.saved["points"], resume_point.saved["ends"]
            log(f"going on from {resume_point.source}: {len(self.points)} of {self.args.points} points are measured")
            log(*environment_changes(resume_point.saved["environment"], self.context.environment))
        else:
            self.save()  # from now on the directory is this run's

    def between(self, first: Copy, second: Copy) -> None:
        """Measure what has not been measured; then the records, the picture and the table."""
        ends = [first.checksum, second.checksum]
        if self.ends != ends:  # nothing is measured yet, or it was on the line between other networks
            self.points, self.ends = [], ends
        if len(self.points) < self.args.points:
            self.measure_rest(first, second)
        found = self.result(first, second)
        write_summary(self.directory.summary, self.summary(first) | found)
        draw_line(self.points, self.directory.stability_figure, title(found, first.summary["rounds"][0]["sparsity"]))
        self.context.progress.log("", *table(self.points), *sentences(found))

    def measure_rest(self, first: Copy, second: Copy) -> None:
        """The points that are missing, saved now and then, and whatever ends this."""
        progress, points = self.context.progress, self.args.points
        progress.begin(len(self.points))
        progress.expect(points, "points on the line")
        try:
            with progress:
                for place in range(len(self.points), points):
                    alpha = place / (points - 1)
                    found = self.measure(interpolate(first.weights, second.weights, alpha))
                    self.points.append({"alpha": alpha} | found)
                    progress.tick()
                    if self.save_timer.due():
                        self.save()
        finally:
            self.save()

    def measure(self, weights: Weights) -> dict[str, float]:
        """Of the network with these weights and batch-norm statistics of its own."""
        context = self.context
        load_weights_(context.model, weights)
        reestimate_(context.model, context.train, self.examples, context.recipe.batch_size, context.evaluator.precision)
        test_loss, test_error = context.evaluator.loss_and_error(context.test)
        train_loss, train_error = context.evaluator.loss_and_error(context.train, context.whole)
        return dict(zip(MEASURED, (test_error, test_loss, train_error, train_loss), strict=True))

    def result(self, first: Copy, second: Copy) -> dict:
        """What the line says of the ticket."""
        names = [name for name, _ in self.context.model.named_parameters()]
        barriers = {name: barrier([point[name] for point in self.points]) for name in MEASURED}
        return {
            "barrier": barriers,
            "stable": barriers["test_error"] < STABLE,
            "distance": distance(first.weights, second.weights, names),
            "angle": angle(first.weights, second.weights, names),
        }

    # --- what is kept ---

    def save(self) -> None:
        """The commit point. The networks are in the copies' own checkpoints."""
        content = checkpoint_content(
            {}, self.settings, points=self.points, ends=self.ends, environment=self.context.environment
        )
        write(self.directory.checkpoint(None), content)
        self.save_timer.restart()

    def summary(self, copy: Copy) -> dict:
        """The records of a finished run, without the result; the copies differ in nothing that is said of either."""
        row = copy.summary["rounds"][0]
        return {
            **about(self.args, SCRIPT),
            "settings": self.settings,
            "environment": self.context.environment,
            "examples": self.context.counts,
            "ticket": copy.summary["ticket"],
            "ticket step": copy.init_step,
            **{name: row[name] for name in OF_TICKET},
            "finished": True,
            "points": self.points,
        }


# --- what a person sees -----------------------------------------------------------------------------------------------

COLUMNS = {"alpha": ".3f", "test_error": ".2f", "test_loss": ".4f", "train_error": ".2f", "train_loss": ".4f"}


def table(points: Sequence[dict]) -> list[str]:
    """A line for each point."""
    headings = [name.replace("_", " ") for name in COLUMNS]
    lines = ["  ".join(f"{heading:>11}" for heading in headings)]
    lines += ["  ".join(f"{format(point[name], form):>11}" for name, form in COLUMNS.items()) for point in points]
    return [
        *lines,
        "errors in percent, train: on all examples trained on, not augmented; alpha 0: copy 1 after its last epoch, "
        "1: copy 2",
    ]


def sentences(found: dict) -> list[str]:
    """The result in words."""
    height, verdict = found["barrier"], "stable" if found["stable"] else "not stable"
    return [
        f"error barrier: {height['test_error']:.2f} points on test data, {height['train_error']:.2f} on training data; "
        f"loss barrier: {height['test_loss']:.4f} and {height['train_loss']:.4f}",
        f"{verdict} to the order of examples: {STABLE:g} points of test error are the limit",
        f"the copies are {found['distance']:.4f} apart (L2), at an angle of {found['angle']:.2f} degrees",
    ]


def title(found: dict, sparsity: float) -> str:
    return f"{100 * sparsity:.2f} % sparse, error barrier {found['barrier']['test_error']:.2f} points"


def draw_line(points: Sequence[dict], path: Path, heading: str) -> None:
    """Error and loss along the line, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    along = [point["alpha"] for point in points]
    for axes, kind, label in zip(panels, ("error", "loss"), ("error (%)", "cross-entropy"), strict=True):
        for data, name, color in (("test", "test", "#D55E00"), ("train", "train, not augmented", "#888888")):
            axes.plot(along, [point[f"{data}_{kind}"] for point in points], ".-", color=color, label=name)
        axes.set(xlabel="from copy 1 (0) to copy 2 (1)", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(heading)
    write_atomically(path, partial(figure.savefig, dpi=120, format="png"))
    plt.close(figure)
