"""One run of main_robustness.py: networks that other runs trained, attacked on the images they were tested on."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from dataset import Images, random_subset
from lottery.analysis.attacks import BATCH, MEASURED, Threat, robust_accuracies
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.scripts import SEARCHES
from lottery.cli.configs import command
from lottery.readers.registry import read_source
from lottery.results.robustness_records import read_attacks, write_attacks
from lottery.results.runs import read_run
from lottery.results.ticket_runs import Run
from lottery.tickets.load import TicketFile
from lottery.training.context import image_spec
from lottery.training.devices import pick_device, room_for
from lottery.training.environment import environment, keep_freed_memory, set_determinism
from lottery.training.progress import Progress
from lottery.training.step import load_weights_
from models import build_model
from pruner import Weights
from utils import InputError, RandomStream, digest, generator

SCRIPT = "main_robustness.py"


def measure_robustness(args: argparse.Namespace) -> None:
    """Attack the networks of every run and write what is found into its directory. InputError, before any attack, for
    a run that has no network to attack or whose data is not there."""
    keep_freed_memory()
    device = pick_device(args.gpu)
    set_determinism(device, False)
    runs = [attacked_run(path, args.rounds) for path in args.runs]
    targets = Targets(args, device)
    jobs = [Job(run, rows, *targets.of(run)) for run, rows in runs]
    progress = Progress(print_freq=1)
    progress.begin(0)
    progress.expect(sum(job.batches(args.examples) for job in jobs), "batches attacked")
    with progress:
        progress.log(heading())
        for job in jobs:
            attack_run(job, args, device, progress)


def attacked_run(path: Path, rounds: Sequence[int] | None) -> tuple[Run, list[dict]]:
    """The run in a directory, and the rows of those of its networks that are to be attacked."""
    run = read_run(path)
    if not isinstance(run, Run) or run.script not in {*SEARCHES, "main_train.py"}:
        script = run.settings["script"]
        raise InputError(f"{path} is a run of {script}: those of {', '.join(sorted(SEARCHES))} and main_train.py "
                         "have networks to attack")  # fmt: skip
    rows = [row for row in run.rounds if not run.is_search or rounds is None or row["round"] in rounds]
    there = {row["round"] for row in run.rounds}
    if missing := set(rounds or ()) - there if run.is_search else None:
        raise InputError(f"--rounds {min(missing)}: {path} has finished rounds 0 to {max(there)}")
    for row in rows:
        if not (file := best_file(run, row)).exists():
            raise InputError(f"{file} is missing: it holds the network that is to be attacked")
    return run, rows


def best_file(run: Run, row: dict) -> Path:
    """The network whose test accuracy is reported: at the best validation epoch, or the last one."""
    return RunDirectory(run.path).best(row["round"] if run.is_search else None)


class Targets:
    """The test images that runs were measured on, each data set read once, and networks for them."""

    def __init__(self, args: argparse.Namespace, device: torch.device):
        self.args, self.device = args, device
        self.sources: dict[tuple, tuple[Images, dict, str]] = {}
        self.models: dict[tuple, nn.Module] = {}

    def of(self, run: Run) -> tuple[Images, nn.Module]:
        """The test images and a network of the run's kind; InputError where the data is not what the run had."""
        settings = run.settings
        folder = self.args.data or Path(run.summary.get("data", "data"))
        key = settings["dataset"], folder, settings.get("image_size")
        if key not in self.sources:
            source = read_source(*key, download=False)
            arrays = (source.train_images, source.train_labels, source.test_images, source.test_labels)
            with room_for(f"the test images of {source.name}", self.device):
                test = Images(*(torch.from_numpy(array).to(self.device) for array in arrays[2:]))
            self.sources[key] = test, image_spec(source), digest(*arrays)
        test, form, checksum = self.sources[key]
        if settings.get("data checksum", checksum) != checksum:
            raise InputError(f"{run.path} was trained on other images than those in {folder}: give its --data")
        return test, self.network(key, settings["arch"], settings.get("stem", "imagenet"), form)

    def network(self, data: tuple, arch: str, stem: str, form: dict) -> nn.Module:
        """The same one for all runs of its kind: each network's weights are loaded into it when their turn comes."""
        key = data, arch, stem
        if key not in self.models:
            model = build_model(arch, stem=stem, **form)
            self.models[key] = model.to(self.device, memory_format=torch.channels_last)
        return self.models[key]


@dataclass(frozen=True)
class Job:
    """The networks of one run, and what they are attacked on."""

    run: Run
    rows: list[dict]
    test: Images
    model: nn.Module

    def batches(self, examples: int | None) -> int:
        """Of all its networks; those that are known already are passed at once."""
        return len(self.rows) * self.batches_each(examples)

    def batches_each(self, examples: int | None) -> int:
        return -(-min(examples or len(self.test), len(self.test)) // BATCH)

    def networks(self) -> Iterator[tuple[dict, Weights]]:
        for row in self.rows:
            yield row, TicketFile(best_file(self.run, row)).trained_weights(self.model)[0]


def attack_run(job: Job, args: argparse.Namespace, device: torch.device, progress: Progress) -> None:
    """Each of the run's networks that has not been attacked like this before; the records, which keep what came of
    other attacks, grow by one at a time."""
    file, attack = RunDirectory(job.run.path).robustness, attack_of(args)
    drawn = generator(args.seed, purpose=RandomStream.ATTACKS)
    indices = random_subset(torch.arange(len(job.test), device=device), args.examples or len(job.test), drawn)
    threat = Threat(args.eps, args.pgd_steps, args.pgd_step_size)
    before = read_attacks(file) or []  # a damaged file is replaced
    others = [found for found in before if found["attack"] != attack]
    known = {row["round"]: row for found in before if found["attack"] == attack for row in found["rounds"]}
    for row, weights in job.networks():
        checksum = digest(*(value.numpy() for _, value in sorted(weights.items())))
        if known.get(row["round"], {}).get("checksum") != checksum:
            load_weights_(job.model, weights)
            found = robust_accuracies(job.model, job.test, indices, threat, args.seed, progress.tick)
            told = {name: row[name] for name in ("round", "density", "sparsity")}
            known[row["round"]] = told | {"checksum": checksum, "examples": len(indices)} | found
            made = {"command": command(args, SCRIPT), "attack": attack, "environment": environment(device)}
            made |= {"rounds": [known[k] for k in sorted(known)]}
            write_attacks(file, [*others, made])
        else:
            progress.tick(job.batches_each(args.examples))
        progress.log(line(job.run, known[row["round"]]))


def attack_of(args: argparse.Namespace) -> dict:
    """What decides the result, beside the networks and the images."""
    return {
        "eps": str(args.eps),
        "pgd_steps": args.pgd_steps,
        "pgd_step_size": str(args.pgd_step_size),
        "examples": args.examples,
        "seed": args.seed,
    }


def heading() -> str:
    return "  ".join(f"{name:>7}" for name in ("density", *MEASURED)) + "  run"


def line(run: Run, row: dict) -> str:
    """A network: accuracies in percent."""
    where = f"{run.path}, round {row['round']}" if run.is_search else str(run.path)
    cells = [f"{row['density']:.4f}", *(f"{row[name]:.2f}" for name in MEASURED)]
    return "  ".join(f"{cell:>7}" for cell in cells) + f"  {where}"
