"""A small network out of a trained one, by greedy selection of its channels.

    for each iteration t of --prune_at:   select channels of the network as it was after t;   fine-tune;   slice

(Ye et al., ICML 2020; along the pre-training: Wolfe et al., arXiv 2108.00259.) In the files round 0 is the pre-training
of the dense network, which given weights take the place of, and round k is what was selected at the k-th iteration.
"""

import argparse
import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn

from checkpoint import read, write
from dataset import random_subset, to_input
from feedback import draw_curves, epoch_line
from flags import about, settings
from greedy import WHOLE
from greedy.channel_tables import layer_line, point_lines, result_lines
from greedy.channels import Cut, Examples, Goal, Rule, Selected, accuracy, channel_weights, cut, fold_, select
from greedy.gains import gains
from greedy.groups import layers_of, trace
from greedy.layers import Layer, asked_layers, plan
from greedy.slicing import channel_mask, check_same, describe, export, load_sliced, save_sliced, sliced
from greedy.two_layer import first_matches
from opening import Opening, begun
from precision import autocast, products
from prediction import Predictor
from pruner import Mask, Ticket, density
from recipe import Recipe, steps_per_epoch
from records import write_summary
from rundir import RunDirectory
from saved_run import SavedRun, best_weights, restore
from step import copy_weights, load_weights_
from tickets import check_ticket_data, checksum, trained_weights
from training import fit
from trial import Trial, plan_lines, summary, watch
from utils import CHANNELS, InputError, generator
from workbench import Workbench, set_up

SCRIPT = "main_channels.py"
MEBIBYTE = 2**20
MOST_EXAMPLES = 1024  # to select by, where --select_examples does not say
LAYER_BITS = 16  # of a training between two layers the number of the layer, in the number of its round


def discover(args: argparse.Namespace) -> None:
    """Set up, begin or go on, and do what is left. InputError before anything is written."""
    bench = set_up(args)
    network = trace(bench.model)
    layers = plan(layers_of(bench.model, network), asked_layers(args.layers), args.keep, args.arch)
    check_trace(network, bench)
    given, notes = given_weights(args, bench)
    iterations = iterations_of(args, bench)
    told = {"weights checksum": checksum(given)} if given else {}
    chosen = settings(args, SCRIPT, bench.contents | told)
    directory = RunDirectory(args.save_dir)
    saved = SavedRun(
        bench, directory, chosen, about(args, SCRIPT), interval=args.save_interval, tensorboard=args.tensorboard
    )
    examples = examples_of(args, bench)
    work = Discovery(args, bench, directory, saved, network, layers, iterations, given, examples)
    with begun(directory, chosen, args, inputs=[args.init_dir]) as opening, bench.feedback:
        bench.tell_set_up([*notes, *opening.notes])
        work.run(opening)


def check_trace(network: fx.GraphModule, bench: Workbench) -> None:
    """InputError if the traced network is not the network: then what was found of its layers does not hold."""
    images = to_input(bench.train.images[:4])
    with torch.no_grad(), products(bench.device, "fp32"):
        expected, got = bench.model.eval()(images), network.eval()(images)
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise InputError("the layers of this network cannot be found: its trace by torch.fx computes something else")


def given_weights(args: argparse.Namespace, bench: Workbench) -> tuple[Ticket | None, list[str]]:
    """The trained network of --init_dir, under its mask, and what there is to say about it."""
    if not args.init_dir:
        return None, []
    weights, mask, notes = trained_weights(args.init_dir, bench.model)
    notes += check_ticket_data(args.init_dir, *bench.contents.values(), bench.split.validation)
    return Ticket(mask, weights), notes


def iterations_of(args: argparse.Namespace, bench: Workbench) -> tuple[int | None, ...]:
    """When to select; (None,) for given weights. InputError for an iteration beyond the pre-training's end."""
    if args.init_dir:
        return (None,)
    end = args.epochs * steps_per_epoch(len(bench.whole), args.batch_size)
    if args.prune_at and args.prune_at[-1] > end:
        raise InputError(
            f"--prune_at {args.prune_at[-1]} is beyond the end of the pre-training: --epochs {args.epochs} are {end} "
            "iterations"
        )
    return args.prune_at or (end,)


def examples_of(args: argparse.Namespace, bench: Workbench) -> Tensor:
    """The examples of the training split to select by, int64 (n,)."""
    there, wanted = len(bench.whole), args.select_examples
    if wanted and wanted > there:
        raise InputError(f"--select_examples {wanted} is more than the {there} examples that train")
    wanted = wanted or min(MOST_EXAMPLES, there)
    return random_subset(bench.whole, wanted, generator(args.seed, purpose=CHANNELS))


@dataclass
class Discovery:
    """A run: what it works with, and where it stands."""

    args: argparse.Namespace
    bench: Workbench
    directory: RunDirectory
    saved: SavedRun
    network: fx.GraphModule  # the trace of the bench's model, on the same parameters
    layers: dict[str, Layer]
    iterations: tuple[int | None, ...]
    given: Ticket | None
    examples: Tensor  # int64 (n,) to select by
    rounds: list[dict] = field(default_factory=list)  # a row for each that is finished
    point: dict = field(default_factory=dict)  # what is known of the one that is not
    trial: Trial | None = None

    @property
    def first_round(self) -> int:
        """0, the pre-training, or 1 where there is none."""
        return 1 if self.given else 0

    @property
    def finished(self) -> bool:
        return len(self.rounds) == len(self.iterations) + 1 - self.first_round

    @property
    def iteration(self) -> int | None:
        """After how many steps of the pre-training this round selects."""
        return self.iterations[self.trial.round - 1]

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
        if self.given:
            self.begin_point(1)
            return
        ticket = Ticket(bench.dense(), copy_weights(bench.model), 0)
        self.trial = Trial(ticket, bench.whole, bench.recipe, 0)
        bench.step.load_(ticket)
        if 0 in self.iterations:
            write(self.directory.rewinding(None, 0), ticket.weights)
        self.save()  # from now on the directory is this run's

    def pretrain(self) -> None:
        """Train the dense network to its end, keeping it as it is at the iterations to select at."""
        self.train(set(self.iterations))
        self.rounds.append(summary(self.trial, self.bench) | {"end": self.measure(self.bench.model)})
        self.begin_point(1)

    def begin_point(self, k: int) -> None:
        """Round k: the dense network as it was then, with nothing dropped."""
        bench, iteration = self.bench, self.iterations[k - 1]
        weights = self.given.weights if self.given else read(self.directory.rewinding(None, iteration))
        self.trial = Trial(Ticket({}, weights, iteration), bench.whole, self.fine_tuning, k)
        load_weights_(bench.model, weights)
        self.point = {"layers": []}
        self.put_in_step()
        self.point |= {"dense": self.measure(bench.model), "right": self.right()}
        self.save()
        self.summarize()

    def select_and_tune(self) -> None:
        layers = list(self.layers.values())
        for number, layer in enumerate(layers[len(self.point["layers"]) :], len(self.point["layers"])):
            self.select_layer(number, layer)
        if "selected" not in self.point:
            self.point["selected"] = self.measure(self.bench.model)
            self.bench.feedback.say(*point_lines(self.point, self.iteration))
            self.save()
        if not self.trial.over:
            self.train(set())
        self.end_point()

    def select_layer(self, number: int, layer: Layer) -> None:
        """Select in one layer, drop its other channels, and train on a little, if that is asked for."""
        args, group = self.args, layer.group
        random = generator(args.seed, self.trial.round, number, purpose=CHANNELS)
        with self.arithmetic():
            parts, examples = self.cut(layer)
            before = accuracy(parts, examples)
            found = select(parts, examples, self.goal(number, layer, before), self.rule, random)
            counts = torch.bincount(torch.tensor(found.picks), minlength=group.channels).float()
            stays = found.reached is False and layer.budget is None
            weights = torch.ones(group.channels) if stays else channel_weights(counts, args.channel_weights)
            after = accuracy(parts, examples, weights)
        fold_(self.bench.model, group, weights)
        self.point["layers"].append(row_of(layer, found, weights, before, after))
        self.put_in_step()
        if args.layer_tuning:
            self.tune(number)
        self.bench.feedback.say(layer_line(self.point["layers"][-1]))
        self.save()

    def tune(self, number: int) -> None:
        """Train what is left, between two layers, on a part of an epoch."""
        bench, args = self.bench, self.args
        size = max(2, round(args.layer_tuning * len(bench.whole)))
        place = (self.trial.round << LAYER_BITS) + number + 1
        indices = random_subset(bench.whole, size, generator(args.seed, place, purpose=CHANNELS))
        recipe = replace(self.fine_tuning, epochs=1, milestones=())
        for _ in fit(bench.step, indices, recipe, seed=bench.seed, round=place):
            pass
        self.put_in_step()

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
        bench, trial, kept = self.bench, self.trial, self.kept()
        masked = copy.deepcopy(bench.model)
        if trial.history:
            load_weights_(masked, best_weights(self.directory.best(trial.round)))
        small = sliced(masked, self.groups, kept)
        images = to_input(bench.test.images[:128])
        row = {"round": trial.round, "epochs": len(trial.history), "density": density(trial.ticket.mask)}
        row |= {"iteration": self.iteration, **self.point, "apart": check_same(masked, small, images)}
        if trial.history:
            row["fine_tuned"] = self.measure(small)
        networks = {"before": bench.model, "after": small}
        row["gains"] = gains(networks, images, bench.step.precision)
        self.write_sliced(small, row)
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
        epochs = self.args.epochs + len(self.iterations) * self.args.fine_tune_epochs
        return epochs * self.trial.steps_per_epoch

    @property
    def fine_tuning(self) -> Recipe:
        """The learning rate drops to a tenth at one half and at three quarters."""
        epochs, lr = self.args.fine_tune_epochs, self.args.fine_tune_lr
        drops = tuple(sorted({epochs // 2, 3 * epochs // 4} - {0}))
        return replace(self.bench.recipe, epochs=epochs, milestones=drops, warmup=0, lr=lr)

    @property
    def rule(self) -> Rule:
        return Rule(self.args.repeats, self.args.candidates, self.args.channel_weights)

    @property
    def groups(self) -> list:
        return [layer.group for layer in self.layers.values()]

    def goal(self, number: int, layer: Layer, now: float) -> Goal:
        """When the selection in a layer is over. The tolerance is of the accuracy that the network has `now`, or the
        layer's part of that of the network as it was before any layer."""
        if layer.budget is not None:
            return Goal(budget=layer.budget)
        if self.args.tolerance_of == WHOLE:
            return Goal(accuracy=(1 - self.args.top1_tol * (number + 1) / len(self.layers)) * self.point["right"])
        return Goal(accuracy=(1 - self.args.top1_tol) * now)

    def arithmetic(self):
        return _Arithmetic(self.bench)

    def cut(self, layer: Layer) -> tuple[Cut, Examples]:
        """The network cut at a layer, and what lies before the cut for the examples to select by."""
        args, data = self.args, self.bench.train
        self.bench.model.eval()
        parts = cut(self.network, layer.group)

        def front(images: Tensor) -> tuple:
            return parts.front(to_input(images))

        images, labels = data.images[self.examples], data.labels[self.examples]
        return parts, Examples(front, images, labels, args.select_batch, args.memory * MEBIBYTE)

    def right(self) -> float:
        """The share of the examples to select by that the network gets right."""
        return self.bench.predictor.accuracy(self.bench.train, self.examples) / 100

    def kept(self) -> dict[str, Tensor]:
        """Which channels are kept: those of layers that were selected in, and all of the others."""
        found = {name: torch.ones(layer.group.channels, dtype=torch.bool) for name, layer in self.layers.items()}
        for row in self.point["layers"]:
            found[row["layer"]] = torch.zeros(row["channels"], dtype=torch.bool)
            found[row["layer"]][row["kept_channels"]] = True
        return found

    def mask(self) -> Mask:
        """Of the channels, and of what given weights were trained under."""
        channels = channel_mask(self.bench.model, self.groups, self.kept())
        mask = self.bench.dense() | channels
        for name, layer in (self.given.mask if self.given else {}).items():
            layer = layer.to(self.bench.device)
            mask[name] = mask[name] & layer if name in mask else layer
        return mask

    def put_in_step(self) -> None:
        """The network as it is now, under the mask, is this round's ticket."""
        self.trial.ticket = Ticket(self.mask(), copy_weights(self.bench.model), self.iteration)
        self.bench.step.load_(self.trial.ticket)
        self.trial.ticket = self.trial.ticket._replace(weights=copy_weights(self.bench.model))

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

    def save(self) -> None:
        trial = self.trial
        self.saved.keep(trial, trial.ticket.weights, trial.ticket.step, rounds=self.rounds, point=self.point)

    def write_sliced(self, small: nn.Module, row: dict) -> None:
        bench, args, (_, size, _, channels) = self.bench, self.args, self.bench.train.images.shape
        network = describe(bench.model, args.arch, args.stem, self.classes(small), channels, size)
        more = {"settings": self.saved.settings, "round": row["round"]}
        save_sliced(self.directory.sliced(row["round"]), small, self.kept(), network, more)

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

    def first(self) -> dict | None:
        """The first iterations at which the small networks are as good as the dense one at its end."""
        if self.given or not self.finished:
            return None
        return first_matches(self.rounds[1:], self.rounds[0]["end"], self.args.delta)

    def tell_result(self) -> None:
        """The table; and the export, which may be asked for of a finished run, too."""
        say = self.bench.feedback.say
        points = [row for row in self.rounds if row["round"] > 0]
        say("", *result_lines(points, self.first(), self.args.delta))
        say(f"the newest small network is in {self.directory.sliced(points[-1]['round'])}")
        if self.args.export:
            export(
                self.args.export,
                load_sliced(self.directory.sliced(points[-1]["round"])),
                to_input(self.bench.test.images[:128]),
            )
            say(f"as a program for torch.export.load it is in {self.args.export}")


class _Arithmetic:
    """Around forward passes of a selection: the run's precision, and no gradients."""

    def __init__(self, bench: Workbench):
        device, precision = bench.device, bench.step.precision
        self.contexts = torch.no_grad(), products(device, precision), autocast(device, precision)

    def __enter__(self) -> None:
        for context in self.contexts:
            context.__enter__()

    def __exit__(self, *error) -> None:
        for context in reversed(self.contexts):
            context.__exit__(*error)


def row_of(layer: Layer, found: Selected, weights: Tensor, before: float, after: float) -> dict:
    """What a selection in one layer came to; accuracies in percent of the examples selected by."""
    return {
        "layer": layer.group.producer,
        "channels": layer.group.channels,
        "kept_channels": weights.nonzero()[:, 0].tolist(),
        "picks": found.picks,
        "losses": found.losses,
        "reached": found.reached,
        "before": 100 * before,
        "after": 100 * after,
    }
