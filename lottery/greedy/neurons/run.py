"""How much pre-training does a subnetwork need? A two-layer network, selected from along its pre-training.

    for each iteration t of --prune_at:   pre-train up to t;   select greedily;   fine-tune what was selected

(Wolfe et al., arXiv 2108.00259.) Selected networks are compared with the dense network at the end of its pre-training,
and with a network as small that is trained from scratch.
"""

import argparse
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dataset import random_subset
from lottery.checkpointing.checkpoint import checkpoint_content, write
from lottery.checkpointing.metrics import write_lines, write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.save_timer import SaveTimer
from lottery.cli.configs import run_config
from lottery.cli.transition import about, settings
from lottery.greedy.neurons.evaluation import Choice, examine
from lottery.greedy.neurons.tables import point_lines, table
from lottery.greedy.neurons.task import LOSSES, inputs_of, targets_of
from lottery.greedy.neurons.training import Examples, Plain, measure, train_
from lottery.greedy.required_pretraining import first_matches
from lottery.readers.registry import Source, read_source
from lottery.training.checkpointer import copied
from lottery.training.devices import pick_device, room_for
from lottery.training.environment import environment, environment_changes, keep_freed_memory, set_determinism
from lottery.training.loop import finite
from lottery.training.progress import Progress
from lottery.training.step import copy_weights, load_weights_
from models.mean_field import MeanField, initial
from utils import InputError, RandomStream, RunError, digest, generator, torch_seed

SCRIPT = "main_greedy.py"
STRETCH = 100  # iterations between looks at the clock, whether it is time to save
DENSE, SCRATCH = range(2)  # networks whose initial weights are drawn
MEBIBYTE = 2**20


def discover(args: argparse.Namespace) -> None:
    """Read the data, begin or go on, and do what is left. InputError before anything is written."""
    keep_freed_memory()
    device = pick_device(args.gpu)
    set_determinism(device, args.deterministic)
    source = read_source(args.dataset, args.data, args.image_size)
    train, test = examples_of(source, args, device)
    arrays = source.train_images, source.train_labels, source.test_images, source.test_labels
    chosen = settings(args, SCRIPT, {"data checksum": digest(*arrays)})
    directory, progress = RunDirectory(args.save_dir), Progress(args.print_freq)
    run = NeuronSelectionRun(args, directory, chosen, train, test, progress)
    with open_run(run_config(args, SCRIPT), chosen, inputs=[]) as resume_point, progress:
        progress.log(*(f"note: {note}" for note in source.notes))
        run.open(resume_point)
        run.run()


def examples_of(source: Source, args: argparse.Namespace, device: torch.device) -> tuple[Examples, Examples]:
    """The sub-data-set and the test set, on the device."""

    def prepared(images: Tensor, labels: Tensor) -> Examples:
        inputs = inputs_of(images.to(device), source.mean, source.std)
        return Examples(inputs, targets_of(labels.to(device), len(source.classes), args.target))

    indices = sub_data_set(len(source.train_labels) - source.validation, args.examples, args.seed)
    train = (torch.from_numpy(array)[indices] for array in (source.train_images, source.train_labels))
    test = (torch.from_numpy(array) for array in (source.test_images, source.test_labels))
    with room_for(f"the images of {source.name}", device):
        return prepared(*train), prepared(*test)


def sub_data_set(there: int, wanted: int | None, seed: int) -> Tensor:
    """So many of the training set's examples, all if None. A smaller set of the same seed lies in a larger one."""
    if wanted is not None and wanted > there:
        raise InputError(f"--examples {wanted} is more than the {there} examples of the training set")
    return random_subset(torch.arange(there), wanted or there, generator(seed, purpose=RandomStream.RANDOM_SET))


@dataclass
class NeuronSelectionRun:
    """A run: what it works with, and where it stands."""

    args: argparse.Namespace
    directory: RunDirectory
    settings: dict
    train: Examples
    test: Examples
    progress: Progress
    iteration: int = 0  # how long the dense network has been trained
    points: dict[int, dict] = field(default_factory=dict)  # iteration -> what was measured there
    subnetworks: dict[int, dict] = field(default_factory=dict)  # iteration -> picks, and weights as selected and tuned
    ends: dict[str, dict] = field(default_factory=dict)  # what the dense network and the one from scratch come to

    def __post_init__(self):
        args = self.args
        self.device = self.train.inputs.device
        self.network = self.fresh(args.hidden, DENSE)
        self.recipe = Plain(args.lr, args.batch_size, LOSSES[args.loss], args.seed)
        self.environment = environment(self.device) | {"deterministic": args.deterministic}
        self.save_timer = SaveTimer(args.save_interval)

    def fresh(self, neurons: int, which: int) -> MeanField:
        """A network with initial weights of its own."""
        seed = torch_seed(self.args.seed, round=which, purpose=RandomStream.INITIAL_WEIGHTS)
        inputs, outputs = self.train.inputs.shape[1], self.train.targets.shape[1]
        return initial(neurons, inputs, outputs, self.args.activation, seed).to(self.device)

    # --- the work: each part is left out if it has been done ---

    def run(self) -> None:
        args = self.args
        for iteration in args.prune_at:
            self.pretrain(iteration)
            if iteration not in self.points:
                self.select()
            if args.fine_tune and "fine_tuned" not in self.points[iteration]:
                self.fine_tune(iteration)
        self.pretrain(args.iterations)
        if "dense" not in self.ends:
            self.end("dense", self.network)
        if "scratch" not in self.ends:
            self.train_from_scratch()
        self.summarize()
        self.progress.log("", *table(self.summary()))

    def pretrain(self, until: int) -> None:
        """Train the dense network up to this iteration, saving now and then; nothing if it is there."""
        while self.iteration < until:
            stop = min(until, self.iteration + STRETCH)
            train_(self.network, self.train, range(self.iteration, stop), self.recipe, self.progress.tick)
            self.iteration = stop
            due = self.save_timer.due()
            if due or stop == until:
                self.check(self.network, f"iteration {stop} of the pre-training")
            if due:
                self.save()

    def select(self) -> None:
        """Select from the dense network as it is now."""
        args, now = self.args, self.iteration
        choice = Choice(args.neurons, args.loss, args.memory * MEBIBYTE)
        random = generator(args.seed, now, purpose=RandomStream.RANDOM_PRUNE)
        point, picks = examine(self.network, self.train, self.test, choice, random)
        self.points[now] = {"iteration": now} | point
        self.subnetworks[now] = {"picks": picks, "selected": copy_weights(self.network.subnetwork(picks))}
        self.progress.log(*point_lines(self.points[now]))
        self.save()

    def fine_tune(self, iteration: int) -> None:
        """Train what was selected at this iteration, with the batches the dense network has from there on.

        A neuron that was picked c times is c neurons here: they have equal gradients, and so stay equal.
        """
        weights = copied(self.subnetworks[iteration]["selected"])
        network = MeanField(**weights, activation=self.args.activation).to(self.device)
        steps = range(iteration, iteration + self.args.fine_tune)
        train_(network, self.train, steps, self.recipe, self.progress.tick)
        self.check(network, f"the fine-tuning of what was selected at iteration {iteration}")
        self.points[iteration]["fine_tuned"] = self.measure(network)
        self.subnetworks[iteration]["fine_tuned"] = copy_weights(network)
        self.save()

    def train_from_scratch(self) -> None:
        """A network as small as the selected ones, trained as long as the longest way to one of them."""
        network = self.fresh(self.args.neurons, SCRATCH)
        steps = range(self.args.iterations + self.args.fine_tune)
        train_(network, self.train, steps, self.recipe, self.progress.tick)
        self.check(network, "the training from scratch")
        self.end("scratch", network)

    def end(self, name: str, network: MeanField) -> None:
        self.ends[name] = self.measure(network)
        self.save()

    def measure(self, network: MeanField) -> dict:
        return measure(network, self.train, self.test, self.recipe.loss)

    def check(self, network: MeanField, what: str) -> None:
        if not finite(network):
            raise RunError(
                f"{what}: the weights are no longer finite numbers. What was found before is kept; a smaller --lr may "
                "help, in another --save_dir or with --overwrite"
            )

    # --- what is kept ---

    def open(self, resume_point: ResumePoint) -> None:
        """Begin, or go on from what was saved; tell which."""
        args, log = self.args, self.progress.log
        described = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        log(f"seed {args.seed}, {described}")
        log(f"{len(self.train.targets)} examples train, {len(self.test.targets)} test")
        log(*(f"note: {note}" for note in resume_point.notes))
        if resume_point.saved:
            self.restore(resume_point.saved)
            log(f"going on from {resume_point.source}: iteration {self.iteration}, {len(self.points)} selections done")
            log(*environment_changes(resume_point.saved["environment"], self.environment))
        else:
            self.save()  # from now on the directory is this run's
        self.progress.begin(self.steps_done)
        self.progress.expect(self.steps_planned, "iterations")

    @property
    def steps_planned(self) -> int:
        """Of all trainings."""
        args = self.args
        return 2 * args.iterations + (len(args.prune_at) + 1) * args.fine_tune

    @property
    def steps_done(self) -> int:
        tuned = sum("fine_tuned" in point for point in self.points.values())
        scratch = self.args.iterations + self.args.fine_tune if "scratch" in self.ends else 0
        return self.iteration + tuned * self.args.fine_tune + scratch

    def restore(self, saved: dict) -> None:
        load_weights_(self.network, saved["state_dict"])
        self.iteration, self.ends = saved["iteration"], saved["ends"]
        self.points, self.subnetworks = saved["points"], saved["subnetworks"]

    def save(self) -> None:
        """The checkpoint, which is the commit point, then the records that follow from it."""
        write(
            self.directory.checkpoint(None),
            checkpoint_content(
                self.network.state_dict(),
                self.settings,
                iteration=self.iteration,
                points=self.points,
                subnetworks=self.subnetworks,
                ends=self.ends,
                environment=self.environment,
            ),
        )
        self.summarize()
        self.save_timer.restart()

    def summarize(self) -> None:
        write_lines(self.directory.metrics, list(self.points.values()))
        write_summary(self.directory.summary, self.summary())

    def summary(self) -> dict:
        """Where the run stands, without the long lists."""
        points = [
            {name: value for name, value in point.items() if name not in ("curves", "picks")}
            for point in self.points.values()
        ]
        return {
            **about(self.args, SCRIPT),
            "settings": self.settings,
            "environment": self.environment,
            "examples": {"train": len(self.train.targets), "test": len(self.test.targets)},
            "finished": "scratch" in self.ends,
            "points": points,
            **self.ends,
            "delta": self.args.delta,
            "first": first_matches(points, self.ends["dense"], self.args.delta) if "dense" in self.ends else None,
        }
