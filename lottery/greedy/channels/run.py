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
from lottery.checkpointing.resume import Opening, begun
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.flags import about, settings
from lottery.greedy.channels.baselines import Baseline
from lottery.greedy.channels.savings import gains
from lottery.greedy.channels.selector import Selector
from lottery.greedy.channels.setup import Point, Setting, setting_of
from lottery.greedy.channels.slicing import Kept, check_same, describe, export, load_sliced, save_sliced, sliced
from lottery.greedy.channels.tables import layer_line, point_lines, result_lines, selections
from lottery.greedy.names import GREEDY
from lottery.greedy.required_pretraining import first_matches
from lottery.tickets.load import checksum
from lottery.training.checkpointer import SavedRun, best_weights, restore
from lottery.training.context import Workbench, set_up
from lottery.training.evaluation import Predictor
from lottery.training.progress import draw_curves, epoch_line
from lottery.training.recipe import Recipe
from lottery.training.step import copy_weights, load_weights_
from lottery.training.training_run import Trial, plan_lines, summary, watch
from models.network_state import copied
from pruner import Ticket, density

SCRIPT = "main_channels.py"


def discover(args: argparse.Namespace) -> None:
    """Set up, begin or go on, and do what is left. InputError before anything is written."""
    bench = set_up(args)
    setting = setting_of(args, bench)
    told = {"weights checksum": checksum(setting.given)} if setting.given else {}
    chosen = settings(args, SCRIPT, bench.contents | told)
    directory, story = RunDirectory(args.save_dir), about(args, SCRIPT) | {"weights": setting.origin}
    saved = SavedRun(bench, directory, chosen, story, interval=args.save_interval, tensorboard=args.tensorboard)
    with begun(directory, chosen, args, inputs=[args.init_dir]) as opening, bench.feedback:
        bench.tell_set_up([*setting.notes, *opening.notes])
        Discovery(args, bench, directory, saved, setting).run(opening)


@dataclass
class Discovery:
    """A run: what it works with, and where it stands."""

    args: argparse.Namespace
    bench: Workbench
    directory: RunDirectory
    saved: SavedRun
    setting: Setting
    rounds: list[dict] = field(default_factory=list)  # a row for each that is finished
    point: dict = field(default_factory=dict)  # what is known of the one that is not
    trial: Trial | None = None

    def __post_init__(self):
        self.selector = Selector(self.args, self.bench, self.setting)

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
        return self.setting.points[self.trial.round - 1]

    @property
    def beside(self) -> dict | None:
        """In the round of a baseline the row of the greedy selection that it is a baseline of."""
        if self.now.by == GREEDY:
            return None
        return next(row for row in selections(self.rounds, GREEDY) if row["iteration"] == self.now.iteration)

    # --- the work: each part is left out if it has been done ---

    def run(self, opening: Opening) -> None:
        try:
            self.go_on(opening) if opening.saved else self.begin()
            while not self.finished:
                if self.trial.round == 0:
                    self.pretrain()
                else:
                    self.select_and_tune()
            self.summarize()
            self.tell_result()
        finally:
            self.saved.flush()

    def begin(self) -> None:
        bench = self.bench
        if self.setting.given:
            self.begin_point(1)
            return
        ticket = Ticket(bench.dense(), copy_weights(bench.model), 0)
        self.trial = Trial(ticket, bench.whole, bench.recipe, 0)
        bench.step.load_(ticket)
        if 0 in self.setting.iterations:
            write(self.directory.rewinding(None, 0), ticket.weights)
        self.save()  # from now on the directory is this run's

    def pretrain(self) -> None:
        """Train the dense network to its end, keeping it as it is at the iterations to select at."""
        self.train(set(self.setting.iterations))
        self.rounds.append(summary(self.trial, self.bench) | {"end": self.measure(self.bench.model)})
        self.begin_point(1)

    def begin_point(self, k: int) -> None:
        """Round k: the dense network as it was then, with nothing dropped."""
        bench, iteration = self.bench, self.setting.points[k - 1].iteration
        weights = self.setting.given.weights if self.setting.given else read(self.directory.rewinding(None, iteration))
        self.trial = Trial(Ticket({}, weights, iteration), bench.whole, self.fine_tuning, k)
        load_weights_(bench.model, weights)
        self.point = {"layers": []}
        self.put_in_step()
        known = self.beside or {"dense": self.measure(bench.model), "right": self.selector.right()}
        self.point |= {name: known[name] for name in ("dense", "right")}
        self.save()
        self.summarize()

    def select_and_tune(self) -> None:
        for number in range(len(self.point["layers"]), len(self.setting.layers)):
            self.select_layer(number)
        if "selected" not in self.point:
            self.point["selected"] = self.measure(self.bench.model)
            self.bench.feedback.say(*point_lines(self.point, *self.now))
            self.save()
        self.trial.lap()  # selecting is not part of the first epoch
        if not self.trial.over:
            self.train(set())
        self.end_point()

    def select_layer(self, number: int) -> None:
        """Select in one layer, drop its other channels, and train on a little, if that is asked for."""
        k, greedy = self.trial.round, self.beside
        baseline = Baseline(self.now.by, len(greedy["layers"][number]["kept_channels"])) if greedy else None
        self.point["layers"].append(self.selector.select_layer(k, number, self.point["right"], baseline))
        self.put_in_step()
        if self.args.layer_tuning:
            self.selector.tune(k, number, self.fine_tuning)
            self.put_in_step()
        self.bench.feedback.say(layer_line(self.point["layers"][-1]))
        self.save()

    def train(self, snapshot_at: set[int]) -> None:
        """Train to the end of this round's schedule, saving now and then."""
        feedback, trial = self.bench.feedback, self.trial
        feedback.expect(self.steps_planned, trial.describe())
        feedback.say(*plan_lines(trial, self.bench))
        for epoch, row in watch(trial, self.bench, snapshot_at):
            for iteration, weights in epoch.snapshots.items():
                write(self.directory.rewinding(None, iteration), weights)
            feedback.say(epoch_line(row, trial.recipe.epochs))
            self.save()
        draw_curves(trial.history, self.directory.curves(trial.round), trial.describe())

    def end_point(self) -> None:
        """Slice the network that this round leaves, measure it, and begin the next one."""
        bench, trial, kept = self.bench, self.trial, self.selector.kept(self.point["layers"])
        masked = copied(bench.model)
        if trial.history:
            load_weights_(masked, best_weights(self.directory.best(trial.round)))
        small = sliced(masked, self.selector.groups, kept)
        images = to_input(bench.test.images[:128])
        row = {"round": trial.round, "epochs": len(trial.history), "density": density(trial.ticket.mask)}
        row |= {**self.now._asdict(), **self.point, "apart": check_same(masked, small, images)}
        if trial.history:
            row["fine_tuned"] = self.measure(small)
        networks = {"before": bench.model, "after": small}
        # A baseline's network is as large as that of greedy selection, and so costs as much.
        row["gains"] = self.beside["gains"] if self.beside else gains(networks, images, bench.step.precision)
        self.write_sliced(small, kept, trial.round)
        self.rounds.append(row)
        trial.lap()
        if self.finished:
            self.save()
        else:
            self.begin_point(trial.round + 1)

    # --- its parts ---

    @property
    def steps_planned(self) -> int:
        """Of all trainings, those between layers aside."""
        epochs = self.args.epochs + len(self.setting.points) * self.args.fine_tune_epochs
        return epochs * self.trial.steps_per_epoch

    @property
    def fine_tuning(self) -> Recipe:
        """The learning rate drops to a tenth at one half and at three quarters."""
        epochs, lr = self.args.fine_tune_epochs, self.args.fine_tune_lr
        drops = tuple(sorted({epochs // 2, 3 * epochs // 4} - {0}))
        return replace(self.bench.recipe, epochs=epochs, milestones=drops, warmup=0, lr=lr)

    def put_in_step(self) -> None:
        """The network as it is now, under the mask, is this round's ticket."""
        model, mask = self.bench.model, self.selector.mask(self.point["layers"])
        self.bench.step.load_(Ticket(mask, copy_weights(model)))
        self.trial.ticket = Ticket(mask, copy_weights(model), self.now.iteration)

    def measure(self, network: nn.Module) -> dict[str, float | None]:
        """Accuracies in percent, of images as they are."""
        bench = self.bench
        predictor = bench.predictor if network is bench.model else Predictor(network, bench.step.precision)
        validation = bench.split.validation
        return {
            "train": predictor.accuracy(bench.train, bench.whole),
            "validation": predictor.accuracy(bench.train, validation) if len(validation) else None,
            "test": predictor.accuracy(bench.test),
        }

    # --- what is kept ---

    def go_on(self, opening: Opening) -> None:
        """The run as it was saved."""
        saved = opening.saved
        self.rounds, self.point = saved["rounds"], saved["point"]
        recipe = self.bench.recipe if saved["state"] == 0 else self.fine_tuning
        self.trial = restore(opening, recipe, self.bench)
        before = [row for row in self.rounds if row["round"] < self.trial.round]
        self.saved.go_on(self.trial, before)
        done = sum(row["epochs"] for row in before) + len(self.trial.history)
        self.bench.feedback.begin(done * self.trial.steps_per_epoch)
        self.summarize()
        if self.finished:
            self.bench.feedback.say("this run is finished; its result again:")
        elif self.rounds and self.rounds[-1]["round"] == self.trial.round:
            self.begin_point(self.trial.round + 1)  # it was finished before --baselines were known

    def save(self) -> None:
        trial = self.trial
        self.saved.keep(trial, trial.ticket.weights, trial.ticket.step, rounds=self.rounds, point=self.point)

    def write_sliced(self, small: nn.Module, kept: Kept, k: int) -> None:
        bench, args, (_, size, _, channels) = self.bench, self.args, self.bench.train.images.shape
        network = describe(bench.model, args.arch, args.stem, self.classes(small), channels, size)
        more = {"settings": self.saved.settings, "round": k}
        save_sliced(self.directory.sliced(k), small, kept, network, more)

    @torch.no_grad()
    def classes(self, network: nn.Module) -> int:
        return network.eval()(to_input(self.bench.test.images[:2])).shape[1]

    def summarize(self) -> None:
        """Where the run stands."""
        write_summary(
            self.directory.summary,
            {
                **self.saved.about,
                "settings": self.saved.settings,
                "environment": self.bench.environment,
                "examples": self.bench.counts,
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

    def tell_result(self) -> None:
        """The table; and the export, which may be asked for of a finished run, too."""
        say = self.bench.feedback.say
        say("", *result_lines(selections(self.rounds), self.first(), self.args.delta))
        newest = self.directory.sliced(selections(self.rounds, GREEDY)[-1]["round"])
        say(f"the newest small network is in {newest}")
        if self.args.export:
            export(self.args.export, load_sliced(newest), to_input(self.bench.test.images[:128]))
            say(f"as a program for torch.export.load it is in {self.args.export}")
