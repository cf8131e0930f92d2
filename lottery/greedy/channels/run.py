"""A small network out of a trained one, by greedy selection of its channels.

    for each iteration t of --prune_at:   select channels of the network as it was after t;   fine-tune;   slice

(Ye et al., ICML 2020; along the pre-training: Wolfe et al., arXiv 2108.00259.) In the files, round 0 is the
pre-training of the dense network, absent if weights are given, and round k the selection at the k-th iteration. As many
rounds follow for each of --baselines, which select other channels and do all else alike.
"""

from dataclasses import replace

from torch import nn

from dataset import to_input
from lottery.channels.slicing import (
    check_equivalent,
    export_program,
    load_sliced,
    network_arguments,
    save_sliced,
    slice_network,
)
from lottery.checkpointing.checkpoint import read, write
from lottery.checkpointing.metrics import write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.greedy.channels.baselines import Baseline
from lottery.greedy.channels.config import ChannelSelectionConfig
from lottery.greedy.channels.savings import inference_costs
from lottery.greedy.channels.selector import LayerSelector
from lottery.greedy.channels.setup import ChannelSetup, SelectionRound
from lottery.greedy.channels.tables import layer_line, result_table, selection_line, selection_rows
from lottery.greedy.names import GREEDY
from lottery.greedy.required_pretraining import first_matches
from lottery.training.checkpointer import Checkpointer, best_weights
from lottery.training.compile_rule import settle_compiling_
from lottery.training.context import TrainingContext
from lottery.training.evaluation import Evaluator
from lottery.training.plots import draw_curves
from lottery.training.recipe import Recipe, steps_per_epoch
from lottery.training.step import copy_weights, load_weights_
from lottery.training.tables import EPOCH_COLUMNS, epoch_cells
from lottery.training.training_run import TrainingRun, plan_lines, summary, train_epochs
from models.network_state import copy_network
from pruner import Ticket, density

MEASURED_IMAGES = 128  # that sliced networks are compared and timed on


class ChannelSelectionRun:
    """A run of main_channels.py: its configuration, and its state, which a checkpoint holds."""

    def __init__(self, config: ChannelSelectionConfig, context: TrainingContext, setup: ChannelSetup):
        self.config, self.context, self.setup = config, context, setup
        run, data = config.training.run, config.training.data
        about = run.about(data.data) | {"weights": setup.origin}
        self.checkpointer = Checkpointer(context, run, setup.settings, about)
        self.directory = self.checkpointer.directory
        self.selector = LayerSelector(config, context, setup)
        self.rounds: list[dict] = []  # a row per finished round
        self.row: dict = {}  # of the selection in progress
        self.training: TrainingRun  # of this round

    @property
    def first_round(self) -> int:
        """0, the pre-training, or 1 if there is none."""
        return 1 if self.setup.given else 0

    @property
    def finished(self) -> bool:
        return len(self.rounds) == len(self.setup.rounds) + 1 - self.first_round

    @property
    def selection(self) -> SelectionRound:
        """The selection of this round, from 1 on."""
        return self.setup.rounds[self.training.round - 1]

    @property
    def greedy_row(self) -> dict | None:
        """In a baseline's round, the row of the greedy selection at the same iteration."""
        if self.selection.by == GREEDY:
            return None
        rows = selection_rows(self.rounds, GREEDY)
        return next(row for row in rows if row["iteration"] == self.selection.iteration)

    # --- the work: each part is skipped if a checkpoint has it ---

    def run(self) -> None:
        """Begin or resume, do what is left, and log the table of results. InputError before anything is written."""
        run, inputs = self.config.training.run, [self.config.init_dir]
        with open_run(run, self.checkpointer.settings, inputs) as resume_point, self.context.progress:
            compiling = settle_compiling_(self.context, resume_point.saved, self.steps_planned)
            self.context.log_setup([*self.setup.notes, *compiling, *resume_point.notes])
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
        if self.setup.given:
            self.begin_selection(1)
            return
        ticket = Ticket(context.dense(), copy_weights(context.model), 0)
        self.training = TrainingRun(ticket, context.training_indices, context.recipe, 0)
        context.step.load_(ticket)
        if 0 in self.setup.iterations:
            write(self.directory.rewinding(None, 0), ticket.weights)
        self.save()  # from now on the directory is this run's

    def pretrain(self) -> None:
        """Train the dense network to its end, saving its weights at the iterations to select at."""
        self.train(self.setup.iterations)
        end = accuracies(self.context.model, self.context)
        self.rounds.append(summary(self.training, self.context) | {"end": end})
        self.begin_selection(1)

    def begin_selection(self, k: int) -> None:
        """Make round k ready to begin: the dense network of its iteration, with nothing dropped."""
        context, iteration = self.context, self.setup.rounds[k - 1].iteration
        weights = self.setup.given.weights if self.setup.given else read(self.directory.rewinding(None, iteration))
        self.training = TrainingRun(Ticket({}, weights, iteration), context.training_indices, self.fine_tuning, k)
        load_weights_(context.model, weights)
        self.row = {"layers": []}
        self.load_ticket()
        known = self.greedy_row or {
            "dense": accuracies(context.model, context),
            "right": self.selector.correct_share(),
        }
        self.row |= {name: known[name] for name in ("dense", "right")}
        self.save()
        self.summarize()

    def select_and_tune(self) -> None:
        for number in range(len(self.row["layers"]), len(self.setup.layers)):
            self.select_layer(number)
        if "selected" not in self.row:
            self.row["selected"] = accuracies(self.context.model, self.context)
            self.context.progress.log(selection_line(self.row, *self.selection))
            self.save()
        self.training.add_elapsed()  # the time of the selection is not part of the first epoch's
        if not self.training.finished:
            self.train(set())
        self.finish_selection()

    def select_layer(self, number: int) -> None:
        """Select in one layer, drop its other channels, and train for --layer_tuning of an epoch."""
        k, greedy = self.training.round, self.greedy_row
        baseline = Baseline(self.selection.by, len(greedy["layers"][number]["kept_channels"])) if greedy else None
        self.row["layers"].append(self.selector.select_layer(k, number, self.row["right"], baseline))
        self.load_ticket()
        if self.config.selection.layer_tuning:
            self.selector.tune_layer(k, number, self.fine_tuning)
            self.load_ticket()
        self.context.progress.log(layer_line(self.row["layers"][-1]))
        self.save()

    def train(self, snapshot_at: set[int]) -> None:
        """Train to the end of this round's schedule, saving from time to time, and the weights at these iterations."""
        progress, training = self.context.progress, self.training
        progress.expect(self.steps_planned, training.position())
        progress.log(*plan_lines(training, self.context))
        for epoch, row in train_epochs(training, self.context, snapshot_at):
            for iteration, weights in epoch.snapshots.items():
                write(self.directory.rewinding(None, iteration), weights)
            progress.log_row(EPOCH_COLUMNS, epoch_cells(row, training.recipe.epochs))
            self.save()
        draw_curves(training.history, self.directory.curves(training.round), training.describe())

    def finish_selection(self) -> None:
        """Slice and measure the network of this round, and begin the next one."""
        context, training, kept = self.context, self.training, self.selector.kept_channels(self.row["layers"])
        masked = copy_network(context.model)
        if training.history:
            load_weights_(masked, best_weights(self.directory.best(training.round)))
        small = slice_network(masked, self.selector.groups, kept)
        images = to_input(context.test.at(slice(MEASURED_IMAGES)))
        row: dict = {"round": training.round, "epochs": len(training.history), "density": density(training.ticket.mask)}
        row |= {**self.selection._asdict(), **self.row, "apart": check_equivalent(masked, small, images)}
        if training.history:
            row["fine_tuned"] = accuracies(small, context)
        networks = {"before": context.model, "after": small}
        # A baseline's network has the size of the greedy selection's, and so its costs.
        greedy = self.greedy_row
        row["gains"] = greedy["gains"] if greedy else inference_costs(networks, images, context.step.precision)
        arguments = network_arguments(context.model, self.config.training.model, images)
        more = {"settings": self.checkpointer.settings, "round": training.round}
        save_sliced(self.directory.sliced(training.round), small, kept, arguments, more)
        self.rounds.append(row)
        training.add_elapsed()
        if self.finished:
            self.save()
        else:
            self.begin_selection(training.round + 1)

    # --- its parts ---

    @property
    def steps_planned(self) -> int:
        """Of all trainings but those after layers."""
        pretraining = 0 if self.setup.given else self.config.training.recipe.epochs
        epochs = pretraining + len(self.setup.rounds) * self.config.fine_tune_epochs
        return epochs * steps_per_epoch(len(self.context.training_indices), self.context.recipe.batch_size)

    @property
    def fine_tuning(self) -> Recipe:
        """The recipe with the learning rate dropping to a tenth at one half and at three quarters."""
        epochs, lr = self.config.fine_tune_epochs, self.config.fine_tune_lr
        drops = tuple(sorted({epochs // 2, 3 * epochs // 4} - {0}))
        recipe = replace(self.context.recipe, epochs=epochs, warmup=0, lr=lr)
        return replace(recipe, schedule="step", milestones=drops, gamma=0.1)

    def load_ticket(self) -> None:
        """Make the network as it is now, under the mask of the layers done, this round's ticket."""
        model, mask = self.context.model, self.selector.mask(self.row["layers"])
        self.context.step.load_(Ticket(mask, copy_weights(model)))
        self.training.ticket = Ticket(mask, copy_weights(model), self.selection.iteration)

    # --- checkpoints and records ---

    def resume(self, resume_point: ResumePoint) -> None:
        saved = resume_point.saved
        self.rounds, self.row = saved["rounds"], saved["point"]
        recipe = self.context.recipe if saved["state"] == 0 else self.fine_tuning
        finished = [row for row in self.rounds if row["round"] < saved["state"]]
        self.training = self.checkpointer.resume(resume_point, recipe, finished)
        epochs = sum(row["epochs"] for row in finished) + len(self.training.history)
        self.context.progress.begin(epochs * self.training.steps_per_epoch)
        self.summarize()
        if self.finished:
            self.context.progress.log("this run is finished; its result again:")
        elif self.rounds and self.rounds[-1]["round"] == self.training.round:
            self.begin_selection(self.training.round + 1)  # it was finished by a version without --baselines

    def save(self) -> None:
        training = self.training
        self.checkpointer.save(
            training, training.ticket.weights, training.ticket.step, rounds=self.rounds, point=self.row
        )

    def summarize(self) -> None:
        """Write summary.json."""
        write_summary(
            self.directory.summary,
            {
                **self.checkpointer.about,
                "settings": self.checkpointer.settings,
                "environment": self.context.environment,
                "examples": self.context.counts,
                "finished": self.finished,
                "rounds": self.rounds,
                "delta": self.config.delta,
                "first": self.first_matches(),
            },
        )

    def first_matches(self) -> dict[str, dict] | None:
        """For each method, the first iterations at which its networks are as good as the fully trained dense one."""
        if self.setup.given or not self.finished:
            return None
        end, methods = self.rounds[0]["end"], dict.fromkeys(each.by for each in self.setup.rounds)
        return {by: first_matches(selection_rows(self.rounds, by), end, self.config.delta) for by in methods}

    def log_result(self) -> None:
        """Log the table, and write the export, which may be asked for of a finished run."""
        log = self.context.progress.log
        log("", *result_table(selection_rows(self.rounds), self.first_matches(), self.config.delta))
        newest = self.directory.sliced(selection_rows(self.rounds, GREEDY)[-1]["round"])
        log(f"the newest small network is in {newest}")
        if self.config.export:
            images = to_input(self.context.test.at(slice(MEASURED_IMAGES)))
            export_program(self.config.export, load_sliced(newest), images)
            log(f"as a program for torch.export.load it is in {self.config.export}")


def accuracies(network: nn.Module, context: TrainingContext) -> dict[str, float | None]:
    """Accuracies in percent on the images as they are; `validation` is None without a validation set."""
    evaluator = context.evaluator if network is context.model else Evaluator(network, context.step.precision)
    validation = context.split.validation
    return {
        "train": evaluator.accuracy(context.train, context.training_indices),
        "validation": evaluator.accuracy(context.train, validation) if len(validation) else None,
        "test": evaluator.accuracy(context.test),
    }
