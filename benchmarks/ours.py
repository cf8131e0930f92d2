"""The suite's own parts, put to the same work as the plain loop: `fit`, `Evaluator`, `prune`, `Checkpointer`."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from benchmarks.cases import BATCH, EPOCHS, EXAMPLES, RATE, TRAINING, Problem, on
from benchmarks.memory import let_suite_keep_memory
from dataset import Split
from lottery.checkpointing.run_settings import RunConfig, run_settings
from lottery.search.config import EarlyStopConfig
from lottery.search.early_stop import EarlyStop
from lottery.search.prac_sets import PracSets
from lottery.training.checkpointer import Checkpointer
from lottery.training.environment import environment
from lottery.training.evaluation import Evaluator
from lottery.training.loop import finite, fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from lottery.training.training_run import TrainingRun
from pruner import Mask, Ticket, count, distance, magnitude, prune

EARLY_STOP = EarlyStopConfig(eb_eps=0.08)
DONE = EPOCHS // 2  # epochs in the history of a checkpoint: the middle of the schedule, as in the plain loop


class Ours:
    """The suite on one problem, in one precision."""

    def __init__(
        self, model: nn.Module, ticket: Ticket, problem: Problem, recipe: Recipe, device, precision: str, compile: str
    ):
        self.device, self.recipe = device, recipe
        self.model = model.to(device, memory_format=torch.channels_last)
        self.images, self.test_images = on(device, problem.train), on(device, problem.test)
        self.training, self.validation = problem.training.to(device), problem.validation.to(device)
        self.all_test = torch.arange(len(problem.test), device=device)
        self.tested = self.all_test[: problem.tested]
        self.mask = {name: layer.to(device) for name, layer in ticket.mask.items()}
        self.kept = count(self.mask)
        self.step = Step(self.model, self.images, recipe, precision=precision, compile=compile)
        self.step.load_(Ticket(self.mask, ticket.weights))
        self.evaluator = Evaluator(self.model, precision=precision)
        self.policy = new_policy(device)
        self.early_stop = EarlyStop(EARLY_STOP, round(RATE * self.kept), 0, self.mask, None, magnitude)
        self.early_stop.detector.update(0, self.mask, self.kept)
        self.rewound = copy_weights(self.model)

    def enter(self) -> None:
        """Memory as the scripts have it."""
        let_suite_keep_memory()

    def warm_up(self) -> None:
        self.train_on(self.training[:BATCH])

    def train(self) -> None:
        """One epoch with its books: who was right, and whether all weights are numbers."""
        self.policy.observe(self.training, self.train_on(self.training))
        finite(self.model)

    def train_on(self, indices: Tensor) -> Tensor:
        (epoch,) = fit(self.step, indices, self.recipe, seed=0)
        return epoch.right

    def evaluate(self) -> float:
        return self.evaluator.accuracy(self.test_images, self.all_test)

    def validate(self) -> float:
        return self.evaluator.accuracy(self.images, self.validation)

    def look_at_test(self) -> float:
        return self.evaluator.accuracy(self.test_images, self.tested)

    def next_mask(self) -> Mask:
        return prune(self.mask, magnitude(self.step.parameters, self.mask), RATE)

    def mask_distance(self) -> float:
        """Of two masks that differ in nothing, which takes as long as any two."""
        return distance(self.mask, self.mask, self.kept)

    def early_bird(self) -> bool:
        """The test after an epoch: the next mask, and its distance to the one before."""
        return self.early_stop.detector.update(EPOCHS, self.next_mask(), self.kept)

    def checkpoint(self, folder: Path, new_best: bool = False, interval: float = 0) -> None:
        """All that a search keeps of an epoch, with a second file at a new best.

        With `interval` 0 it is written at once, with math.inf only kept in memory.
        """
        split = Split(torch.arange(TRAINING), torch.arange(TRAINING, EXAMPLES))
        context = SimpleNamespace(model=self.model, step=self.step, split=split, environment=environment(self.device))
        run = RunConfig("benchmark", folder, save_interval=interval)
        Checkpointer(context, run, run_settings("benchmark", run, EARLY_STOP, contents={}), {}).save(
            self.training_run(new_best),
            self.rewound,
            0,
            rounds=[],
            policy=self.policy.state_dict(),
            early_stop=self.early_stop.state_dict(),
        )

    def training_run(self, new_best: bool) -> TrainingRun:
        """A round in the middle of its schedule, whose newest epoch is its best or not."""
        history = [row(epoch) for epoch in range(DONE)]
        history[-1 if new_best else 0]["validation"] = 100.0
        ticket, recipe = Ticket(self.mask, self.rewound), replace(self.recipe, epochs=EPOCHS)
        return TrainingRun(ticket, torch.arange(TRAINING, device=self.device), recipe, 1, history=history)


def row(epoch: int) -> dict:
    numbers = dict.fromkeys(("lr", "loss", "train", "validation", "distance", "seconds"), 0.1)
    return numbers | {"epoch": epoch, "test": None, "steps": -(-TRAINING // BATCH)}


def new_policy(device: torch.device) -> PracSets:
    """The PrAC policy with its defaults, in a sparse round: the dense network's predictions are known."""
    whole = torch.arange(TRAINING, device=device)
    policy = PracSets(whole, EXAMPLES, data_prune="zero_out", threshold=0, data_rate=RATE, cep="trained", seed=0)
    policy.dense_predictions = torch.zeros_like(whole)
    return policy
