"""Benchmark of one network: the plain loop, the authors' of 2021, the suite, the convolutions alone, lower bounds."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks import cases, jobs, prac_epoch
from benchmarks.authors import Authors
from benchmarks.convolutions import Alone, Convolution, record
from benchmarks.floors import Work, floors, work
from benchmarks.memory import let_suite_keep_memory
from benchmarks.ours import Ours
from benchmarks.plain import Plain
from lottery.training.evaluation import batch_size
from lottery.training.timing import interleave, rate_report, timed_task

AUTHORS = "the 2021 code's way"

Task = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What holds for all networks of a run."""

    device: torch.device
    precisions: tuple[str, ...]
    examples: int
    repeats: int
    workers: int
    compile: bool


def measure(name: str, setting: Setting, rates: dict, folder: Path) -> dict:
    """All about one network; writes checkpoints into `folder`."""
    contest = Contest(name, setting, rates)
    plain, ours = contest.contestants["plain"], contest.contestants[f"ours {setting.precisions[0]}"]
    network_jobs = jobs.network_jobs(plain, ours, folder)
    return {
        "examples": contest.problem.trained,
        "work": {phase: counted._asdict() for phase, counted in contest.work.items()},
        "training": contest.training(),
        "evaluation": contest.evaluation(),
        "jobs": jobs.measure(network_jobs, setting.device, setting.repeats),
        "epoch": prac_epoch.measure(contest.contestants, contest.problem, folder, setting.repeats),
    }


class Contest:
    """A network and all that is compared on it."""

    def __init__(self, name: str, setting: Setting, rates: dict):
        case, self.setting, self.rates = cases.NETWORKS[name], setting, rates
        self.model = cases.build(case)
        self.problem = cases.problem(cases.examples_for(case, setting.examples, setting.device))
        self.work: dict[str, Work] = {
            "training": work(self.model, training=True),
            "evaluation": work(self.model, training=False),
        }
        self.contestants = {name: make() for name, make in makers(self.model, self.problem, setting).items()}

    def training(self) -> dict:
        """Images a second while training, and how many the floors allow."""
        tasks = {name: self.task(each, each.train, each.warm_up) for name, each in self.contestants.items()}
        return self.speeds("training", tasks, cases.BATCH, Alone.train, cases.TRAINING)

    def evaluation(self) -> dict:
        """The same for evaluation; the convolutions alone take images in the suite's batches."""
        tasks = {name: self.task(each, each.evaluate, each.validate) for name, each in self.contestants.items()}
        batch = batch_size(cases.on(self.setting.device, self.problem.test))
        return self.speeds("evaluation", tasks, batch, Alone.evaluate, cases.TEST)

    def task(self, contestant: Plain | Ours, run: Task, warm_up: Task) -> Callable[[], float]:
        """`run`, with memory as this contestant has it, and some work for it to settle after the other one's."""

        def prepare() -> None:
            contestant.enter()
            warm_up()

        return timed_task(run, self.setting.device, prepare)

    def speeds(self, phase: str, tasks: dict, batch: int, job: Callable[[Alone, int], None], epoch: int) -> dict:
        """The contestants and the convolutions alone in turn, these in batches of `batch`; then the floors.

        `epoch` is the number of images in a full-sized one.
        """
        examples = self.problem.trained
        batch = min(batch, examples)
        batches = examples // batch
        layers = recorded_convolutions(self.model, batch)
        alone = {f"convolutions {name}": self.alone(layers, name, job, batches) for name in self.setting.precisions}
        times = interleave(tasks | alone, self.setting.repeats)
        images = dict.fromkeys(tasks, examples) | dict.fromkeys(alone, batches * batch)
        bounds = floors(self.work[phase], self.rates, self.setting.precisions, epoch)
        return {name: rate_report(seconds, images[name], epoch) for name, seconds in times.items()} | bounds

    def alone(
        self, layers: list[Convolution], precision: str, job: Callable[[Alone, int], None], batches: int
    ) -> Callable[[], float]:
        convolutions = Alone(layers, precision, self.setting.device)
        return timed_task(partial(job, convolutions, batches), self.setting.device, let_suite_keep_memory)


def makers(model: nn.Module, problem: cases.Problem, setting: Setting) -> dict[str, Callable[[], Plain | Ours]]:
    """Who takes part, each still to be made: the plain loop, the authors' of 2021 and the suite on copies of one
    network, under one mask.

    The suite works as its scripts do by default; on CUDA also operation by operation, and with --compile compiled.
    """
    ticket, recipe, device = cases.pruned_ticket(model), cases.recipe(), setting.device
    made: dict[str, Callable[[], Plain | Ours]] = {
        "plain": lambda: Plain(copy.deepcopy(model), ticket, problem, recipe, device, setting.workers),
        AUTHORS: lambda: Authors(copy.deepcopy(model), ticket, problem, recipe, device, setting.workers),
    }

    def ours(precision: str, compile: str) -> Ours:
        return Ours(copy.deepcopy(model), ticket, problem, recipe, device, precision, compile)

    for precision in setting.precisions:
        for variant, compile in compile_variants(setting).items():
            made[f"ours {precision}{variant}"] = partial(ours, precision, compile)
    return made


def compile_variants(setting: Setting) -> dict[str, str]:
    """Suffix of the contestant's name -> its --compile."""
    variants = {"": "auto"}
    if setting.device.type == "cuda":
        variants[", eager"] = "off"
    if setting.compile:
        variants[", compiled"] = "on"
    return variants


def recorded_convolutions(model: nn.Module, batch: int) -> list[Convolution]:
    """The network's convolutions, recorded on a copy that holds no data."""
    images = torch.empty(batch, cases.CHANNELS, cases.SIZE, cases.SIZE, device="meta")
    return record(copy.deepcopy(model).to("meta"), images)
