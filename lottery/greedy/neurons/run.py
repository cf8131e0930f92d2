"""How much pre-training does a subnetwork need? Select from a two-layer network along its pre-training.

    for each iteration t of --prune_at:   pre-train up to t;   select greedily;   fine-tune the selected network

(Wolfe et al., arXiv 2108.00259.) Selected networks are compared with the dense network at the end of its pre-training
and with an equally small network trained from scratch.
"""

from lottery.checkpointing.checkpoint import checkpoint_content, write
from lottery.checkpointing.metrics import write_lines, write_summary
from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.save_timer import SaveTimer
from lottery.greedy.neurons.config import NeuronSelectionConfig
from lottery.greedy.neurons.evaluation import SelectionSpec, evaluate_selection
from lottery.greedy.neurons.setup import NeuronSetup
from lottery.greedy.neurons.tables import result_table, selection_line
from lottery.greedy.neurons.task import LOSSES
from lottery.greedy.neurons.training import SgdRecipe, network_metrics, train_
from lottery.greedy.required_pretraining import first_matches
from lottery.terminal import counted
from lottery.training.checkpointer import copied
from lottery.training.environment import environment_changes
from lottery.training.loop import finite
from lottery.training.progress import Progress
from lottery.training.step import copy_weights, load_weights_
from models.mean_field import MeanField, initial
from utils import RandomStream, RunError, generator, torch_seed

SAVE_CHECK = 100  # iterations between checks whether it is time to save
DENSE, SCRATCH = range(2)  # networks whose initial weights are drawn, as the `round` of their seed


class NeuronSelectionRun:
    """A run of main_greedy.py: its configuration, and its state, which a checkpoint holds."""

    def __init__(self, config: NeuronSelectionConfig, setup: NeuronSetup):
        self.config, self.setup, self.pretraining = config, setup, config.pretraining
        self.directory, self.progress = RunDirectory(config.run.save_dir), Progress(config.run.print_freq)
        self.save_timer = SaveTimer(config.run.save_interval)
        self.recipe = SgdRecipe(
            self.pretraining.lr, self.pretraining.batch_size, LOSSES[self.pretraining.loss], config.run.seed
        )
        self.network = self.initial_network(self.pretraining.hidden, DENSE)
        self.iteration = 0  # of the dense network's training
        self.points: dict[int, dict] = {}  # iteration -> measurements of the selection there
        self.subnetworks: dict[int, dict] = {}  # iteration -> picks, and weights as selected and as fine-tuned
        self.ends: dict[str, dict] = {}  # metrics of the dense network and of the one from scratch, once trained

    def initial_network(self, neurons: int, which: int) -> MeanField:
        """A network with initial weights of its own, drawn from the seed."""
        seed = torch_seed(self.config.run.seed, round=which, purpose=RandomStream.INITIAL_WEIGHTS)
        inputs, outputs = self.setup.train.inputs.shape[1], self.setup.train.targets.shape[1]
        return initial(neurons, inputs, outputs, self.pretraining.activation, seed).to(self.setup.device)

    # --- the work: each part is skipped if a checkpoint has it ---

    def run(self) -> None:
        """Begin or resume, do what is left, and log the table of results. InputError before anything is written."""
        with open_run(self.config.run, self.setup.settings, inputs=[]) as resume_point, self.progress:
            self.begin_or_resume(resume_point)
            for iteration in self.config.prune_at:
                self.pretrain(iteration)
                if iteration not in self.points:
                    self.select()
                if self.config.fine_tune and "fine_tuned" not in self.points[iteration]:
                    self.fine_tune(iteration)
            self.pretrain(self.pretraining.iterations)
            if "dense" not in self.ends:
                self.finish_training("dense", self.network)
            if "scratch" not in self.ends:
                self.train_from_scratch()
            self.write_records()
            self.progress.log("", *result_table(self.summary()))

    def pretrain(self, until: int) -> None:
        """Train the dense network up to this iteration, saving from time to time."""
        while self.iteration < until:
            stop = min(until, self.iteration + SAVE_CHECK)
            train_(self.network, self.setup.train, range(self.iteration, stop), self.recipe, self.progress.tick)
            self.iteration = stop
            due = self.save_timer.due()
            if due or stop == until:
                check_finite(self.network, f"iteration {stop} of the pre-training")
            if due:
                self.save()

    def select(self) -> None:
        """Select from the dense network as it is now."""
        now = self.iteration
        spec = SelectionSpec(self.config.neurons, self.pretraining.loss, self.config.memory_bytes)
        random = generator(self.config.run.seed, now, purpose=RandomStream.RANDOM_PRUNE)
        point, picks = evaluate_selection(self.network, self.setup.train, self.setup.test, spec, random)
        self.points[now] = {"iteration": now} | point
        self.subnetworks[now] = {"picks": picks, "selected": copy_weights(self.network.subnetwork(picks))}
        self.progress.log(selection_line(self.points[now]))
        self.save()

    def fine_tune(self, iteration: int) -> None:
        """Train the network selected at this iteration, on the batches that the dense network has from there on.

        A neuron that was picked c times is c neurons here: their gradients are equal, so they stay equal.
        """
        weights = copied(self.subnetworks[iteration]["selected"])
        network = MeanField(**weights, activation=self.pretraining.activation).to(self.setup.device)
        steps = range(iteration, iteration + self.config.fine_tune)
        train_(network, self.setup.train, steps, self.recipe, self.progress.tick)
        check_finite(network, f"the fine-tuning of the network selected at iteration {iteration}")
        self.points[iteration]["fine_tuned"] = self.metrics(network)
        self.subnetworks[iteration]["fine_tuned"] = copy_weights(network)
        self.save()

    def train_from_scratch(self) -> None:
        """Train a network as small as the selected ones, for as many steps as the last of them could have had."""
        network = self.initial_network(self.config.neurons, SCRATCH)
        steps = range(self.pretraining.iterations + self.config.fine_tune)
        train_(network, self.setup.train, steps, self.recipe, self.progress.tick)
        check_finite(network, "the training from scratch")
        self.finish_training("scratch", network)

    def finish_training(self, name: str, network: MeanField) -> None:
        self.ends[name] = self.metrics(network)
        self.save()

    def metrics(self, network: MeanField) -> dict:
        return network_metrics(network, self.setup.train, self.setup.test, self.recipe.loss)

    # --- checkpoints and records ---

    def begin_or_resume(self, resume_point: ResumePoint) -> None:
        """Bring the run to its resume point, and log where it begins."""
        setup, log = self.setup, self.progress.log
        described = ", ".join(f"{name} {value}" for name, value in setup.environment.items())
        log(*(f"note: {note}" for note in setup.notes))
        log(f"seed {self.config.run.seed}, {described}")
        log(f"{len(setup.train.targets)} examples train, {len(setup.test.targets)} test")
        log(*(f"note: {note}" for note in resume_point.notes))
        if resume_point.saved:
            self.restore(resume_point.saved)
            done = counted(len(self.points), "selection")
            log(f"going on from {resume_point.source}: iteration {self.iteration}, {done} done")
            log(*environment_changes(resume_point.saved["environment"], setup.environment))
        else:
            self.save()  # from now on the directory is this run's
        self.progress.begin(self.steps_done)
        self.progress.expect(self.steps_planned, "all trainings", "iteration")

    @property
    def steps_planned(self) -> int:
        """Of all trainings."""
        return 2 * self.pretraining.iterations + (len(self.config.prune_at) + 1) * self.config.fine_tune

    @property
    def steps_done(self) -> int:
        tuned = sum("fine_tuned" in point for point in self.points.values())
        scratch = self.pretraining.iterations + self.config.fine_tune if "scratch" in self.ends else 0
        return self.iteration + tuned * self.config.fine_tune + scratch

    def restore(self, saved: dict) -> None:
        load_weights_(self.network, saved["state_dict"])
        self.iteration, self.ends = saved["iteration"], saved["ends"]
        self.points, self.subnetworks = saved["points"], saved["subnetworks"]

    def save(self) -> None:
        """Write the checkpoint, which is the commit point, then the records that follow from it."""
        content = checkpoint_content(
            self.network.state_dict(),
            self.setup.settings,
            iteration=self.iteration,
            points=self.points,
            subnetworks=self.subnetworks,
            ends=self.ends,
            environment=self.setup.environment,
        )
        write(self.directory.checkpoint(None), content)
        self.write_records()
        self.save_timer.restart()

    def write_records(self) -> None:
        write_lines(self.directory.metrics, list(self.points.values()))
        write_summary(self.directory.summary, self.summary())

    def summary(self) -> dict:
        """The state of the run, without the long lists."""
        points = [
            {name: value for name, value in point.items() if name not in ("curves", "picks")}
            for point in self.points.values()
        ]
        delta = self.config.delta
        return {
            **self.config.run.about(self.config.task.data),
            "settings": self.setup.settings,
            "environment": self.setup.environment,
            "examples": {"train": len(self.setup.train.targets), "test": len(self.setup.test.targets)},
            "finished": "scratch" in self.ends,
            "points": points,
            **self.ends,
            "delta": delta,
            "first": first_matches(points, self.ends["dense"], delta) if "dense" in self.ends else None,
        }


def check_finite(network: MeanField, what: str) -> None:
    """RunError if a weight is not finite after `what` was done."""
    if not finite(network):
        raise RunError(
            f"{what}: the weights are no longer finite numbers. What was found before is kept; a smaller --lr may "
            "help, in another --save_dir or with --overwrite"
        )
