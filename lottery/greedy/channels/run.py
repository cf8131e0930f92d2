"""A small network out of a trained one, by greedy selection of its channels.

    for each iteration t of --prune_at:   select channels of the network as it was after t;   fine-tune;   slice

(Ye et al., ICML 2020; along the pre-training: Wolfe et al., arXiv 2108.00259.) In the files round 0 is the pre-training
of the dense network, which given weights take the place of, and round k is what was selected at the k-th iteration. As
many rounds follow for each of --baselines, in which the same is done with other channels.
"""

import argparse
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from dataset import to_input
from lottery.checkpointing.checkpoint import read, write
from lottery.checkpointing.metrics import write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.configs import run_config, training_config
from lottery.cli.transition import about, settings
from lottery.greedy.channels.baselines import Baseline
from lottery.greedy.channels.savings import gains
from lottery.greedy.channels.selector import Selector
from lottery.greedy.channels.setup import Point, Setting, setting_of
from lottery.greedy.channels.slicing import Kept, check_same, describe, export, load_sliced, save_sliced, sliced
from lottery.greedy.channels.tables import layer_line, point_lines, result_lines, selections
from lottery.greedy.names import GREEDY
from lottery.greedy.required_pretraining import first_matches
from lottery.tickets.load import checksum
from lottery.training.checkpointer import Checkpointer, best_weights
from lottery.training.context import TrainingContext, build_context
from lottery.training.evaluation import Evaluator
from lottery.training.plots import draw_curves
from lottery.training.recipe import Recipe
from lottery.training.step import copy_weights, load_weights_
from lottery.training.tables import epoch_line
from lottery.training.training_run import TrainingRun, plan_lines, summary, train_epochs
from models.network_state import copy_network
from pruner import Ticket, density

SCRIPT = "main_channels.py"


def discover(args: argparse.Namespace) -> None:
    """Set up, begin or go on, and do what is left. InputError before anything is written."""
    context = build_context(training_config(args, SCRIPT), order_seed=None)
    setting = setting_of(args, context)
    told = {"weights checksum": checksum(setting.given)} if setting.given else {}
    chosen = settings(args, SCRIPT, context.contents | told)
    directory, story = RunDirectory(args.save_dir), about(args, SCRIPT) | {"weights": setting.origin}
    checkpointer = Checkpointer(context, run_config(args, SCRIPT), chosen, story)
    with open_run(run_config(args, SCRIPT), chosen, inputs=[args.init_dir]) as resume_point, context.progress:
        context.log_setup([*setting.notes, *resume_point.notes])
        ChannelSelectionRun(args, context, directory, checkpointer, setting).run(resume_point)


@dataclass
class ChannelSelectionRun:
    """A run: what it works with, and where it stands."""

    args: argparse.Namespace
    context: TrainingContext
    directory: RunDirectory
    checkpointer: Checkpointer
    setting: Setting
    rounds: list[dict] = field(default_factory=list)  # a row for each that is finished
    point: dict = field(default_factory=dict)  # what is known of the one that is not
    training: TrainingRun | None = None

    def __post_init__(self):
        self.selector = Selector(self.args, self.context, self.setting)

    @property
    def first_round(self) -> int:
        """0, the pre-training, or 1 where there is none."""
        return 1 if self.setting.given else 0

    @property
    def finished(self) -> bool:
        return len(self.rounds) == len(self.setting.points) + 1 - self.first_round

    @property
    def now(self) -> Point:
        """What this round selects from, and by what."""
        return self.setting.points[self.training.round - 1]

    @property
    def beside(self) -> dict | None:
        """In the round of a baseline the row of the greedy selection that it is a baseline of."""
        if self.now.by == GREEDY:
            return None
        return next(row for row in selections(self.rounds, GREEDY) if row["iteration"] == self.now.iteration)

    # --- the work: each part is left out if it has been done ---

    def run(self, resume_point: ResumePoint) -> None:
        try:
            self.resume(resume_point) if resume_point.saved else self.begin()
            while not self.finished:
                if self.training.round == 0:
                    self.pretrain()
                else:
                    self.select_and_tune()
            self.summarize()
            self.log_result()
        finally:
            self.checkpointer.flush()

    def begin(self) -> None:
        context = self.context
        if self.setting.given:
            self.begin_point(1)
            return
        ticket = Ticket(context.dense(), copy_weights(context.model), 0)
        self.training = TrainingRun(ticket, context.whole, context.recipe, 0)
        context.step.load_(ticket)
        if 0 in self.setting.iterations:
            write(self.directory.rewinding(None, 0), ticket.weights)
        self.save()  # from now on the directory is this run's

    def pretrain(self) -> None:
        """Train the dense network to its end, keeping it as it is at the iterations to select at."""
        self.train(set(self.setting.iterations))
        self.rounds.append(summary(self.training, self.context) | {"end": self.measure(self.context.model)})
        self.begin_point(1)

    def begin_point(self, k: int) -> None:
        """Round k: the dense network as it was then, with nothing dropped."""
        context, iteration = self.context, self.setting.points[k - 1].iteration
        weights = self.setting.given.weights if self.setting.given else read(self.directory.rewinding(None, iteration))
        self.training = TrainingRun(Ticket({}, weights, iteration), context.whole, self.fine_tuning, k)
        load_weights_(context.model, weights)
        self.point = {"layers": []}
        self.put_in_step()
        known = self.beside or {"dense": self.measure(context.model), "right": self.selector.right()}
        self.point |= {name: known[name] for name in ("dense", "right")}
        self.save()
        self.summarize()

    def select_and_tune(self) -> None:
        for number in range(len(self.point["layers"]), len(self.setting.layers)):
            self.select_layer(number)
        if "selected" not in self.point:
            self.point["selected"] = self.measure(self.context.model)
            self.context.progress.log(*point_lines(self.point, *self.now))
            self.save()
        self.training.lap()  # selecting is not part of the first epoch
        if not self.training.over:
            self.train(set())
        self.end_point()

    def select_layer(self, number: int) -> None:
        """Select in one layer, drop its other channels, and train on a little, if that is asked for."""
        k, greedy = self.training.round, self.beside
        baseline = Baseline(self.now.by, len(greedy["layers"][number]["kept_channels"])) if greedy else None
        self.point["layers"].append(self.selector.select_layer(k, number, self.point["right"], baseline))
        self.put_in_step()
        if self.args.layer_tuning:
            self.selector.tune(k, number, self.fine_tuning)
            self.put_in_step()
        self.context.progress.log(layer_line(self.point["layers"][-1]))
        self.save()

    def train(self, snapshot_at: set[int]) -> None:
        """Train to the end of this round's schedule, saving now and then."""
        progress, training = self.context.progress, self.training
        progress.expect(self.steps_planned, training.describe())
        progress.log(*plan_lines(training, self.context))
        for epoch, row in train_epochs(training, self.context, snapshot_at):
            for iteration, weights in epoch.snapshots.items():
                write(self.directory.rewinding(None, iteration), weights)
            progress.log(epoch_line(row, training.recipe.epochs))
            self.save()
        draw_curves(training.history, self.directory.curves(training.round), training.describe())

    def end_point(self) -> None:
        """Slice the network that this round leaves, measure it, and begin the next one."""
        context, training, kept = self.context, self.training, self.selector.kept(self.point["layers"])
        masked = copy_network(context.model)
        if training.history:
            load_weights_(masked, best_weights(self.directory.best(training.round)))
        small = sliced(masked, self.selector.groups, kept)
        images = to_input(context.test.images[:128])
        row = {"round": training.round, "epochs": len(training.history), "density": density(training.ticket.mask)}
        row |= {**self.now._asdict(), **self.point, "apart": check_same(masked, small, images)}
        if training.history:
            row["fine_tuned"] = self.measure(small)
        networks = {"before": context.model, "after": small}
        # A baseline's network is as large as that of greedy selection, and so costs as much.
        row["gains"] = self.beside["gains"] if self.beside else gains(networks, images, context.step.precision)
        self.write_sliced(small, kept, training.round)
        self.rounds.append(row)
        training.lap()
        if self.finished:
            self.save()
        else:
            self.begin_point(training.round + 1)

    # --- its parts ---

    @property
    def steps_planned(self) -> int:
        """Of all trainings, those between layers aside."""
        epochs = self.args.epochs + len(self.setting.points) * self.args.fine_tune_epochs
        return epochs * self.training.steps_per_epoch

    @property
    def fine_tuning(self) -> Recipe:
        """The learning rate drops to a tenth at one half and at three quarters."""
        epochs, lr = self.args.fine_tune_epochs, self.args.fine_tune_lr
        drops = tuple(sorted({epochs // 2, 3 * epochs // 4} - {0}))
        return replace(self.context.recipe, epochs=epochs, milestones=drops, warmup=0, lr=lr)

    def put_in_step(self) -> None:
        """The network as it is now, under the mask, is this round's ticket."""
        model, mask = self.context.model, self.selector.mask(self.point["layers"])
        self.context.step.load_(Ticket(mask, copy_weights(model)))
        self.training.ticket = Ticket(mask, copy_weights(model), self.now.iteration)

    def measure(self, network: nn.Module) -> dict[str, float | None]:
        """Accuracies in percent, of images as they are."""
        context = self.context
        evaluator = context.evaluator if network is context.model else Evaluator(network, context.step.precision)
        validation = context.split.validation
        return {
            "train": evaluator.accuracy(context.train, context.whole),
            "validation": evaluator.accuracy(context.train, validation) if len(validation) else None,
            "test": evaluator.accuracy(context.test),
        }

    # --- what is kept ---

    def resume(self, resume_point: ResumePoint) -> None:
        """The run as it was saved."""
        saved = resume_point.saved
        self.rounds, self.point = saved["rounds"], saved["point"]
        recipe = self.context.recipe if saved["state"] == 0 else self.fine_tuning
        before = [row for row in self.rounds if row["round"] < saved["state"]]
        self.training = self.checkpointer.resume(resume_point, recipe, before)
        done = sum(row["epochs"] for row in before) + len(self.training.history)
        self.context.progress.begin(done * self.training.steps_per_epoch)
        self.summarize()
        if self.finished:
            self.context.progress.log("this run is finished; its result again:")
        elif self.rounds and self.rounds[-1]["round"] == self.training.round:
            self.begin_point(self.training.round + 1)  # it was finished before --baselines were known

    def save(self) -> None:
        training = self.training
        self.checkpointer.save(
            training, training.ticket.weights, training.ticket.step, rounds=self.rounds, point=self.point
        )

    def write_sliced(self, small: nn.Module, kept: Kept, k: int) -> None:
        context, args, (_, size, _, channels) = self.context, self.args, self.context.train.images.shape
        network = describe(context.model, args.arch, args.stem, self.classes(small), channels, size)
        more = {"settings": self.checkpointer.settings, "round": k}
        save_sliced(self.directory.sliced(k), small, kept, network, more)

    @torch.no_grad()
    def classes(self, network: nn.Module) -> int:
        return network.eval()(to_input(self.context.test.images[:2])).shape[1]

    def summarize(self) -> None:
        """Where the run stands."""
        write_summary(
            self.directory.summary,
            {
                **self.checkpointer.about,
                "settings": self.checkpointer.settings,
                "environment": self.context.environment,
                "examples": self.context.counts,
                "finished": self.finished,
                "rounds": self.rounds,
                "delta": self.args.delta,
                "first": self.first(),
            },
        )

    def first(self) -> dict[str, dict] | None:
        """The first iterations at which the small networks are as good as the dense one at its end, for each way to
        select channels."""
        if self.setting.given or not self.finished:
            return None
        end, delta = self.rounds[0]["end"], self.args.delta
        ways = dict.fromkeys(point.by for point in self.setting.points)
        return {by: first_matches(selections(self.rounds, by), end, delta) for by in ways}

    def log_result(self) -> None:
        """The table; and the export, which may be asked for of a finished run, too."""
        log = self.context.progress.log
        log("", *result_lines(selections(self.rounds), self.first(), self.args.delta))
        newest = self.directory.sliced(selections(self.rounds, GREEDY)[-1]["round"])
        log(f"the newest small network is in {newest}")
        if self.args.export:
            export(self.args.export, load_sliced(newest), to_input(self.context.test.images[:128]))
            log(f"as a program for torch.export.load it is in {self.args.export}")
