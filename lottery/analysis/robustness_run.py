"""One run of main_robustness.py: networks that other runs trained, attacked on the images they were tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dataset import random_subset
from lottery.analysis.attacks import BATCH, MEASURED, robust_accuracies
from lottery.analysis.config import AttackConfig, RobustnessConfig
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.checkpointing.version import suite_version
from lottery.readers.registry import data_folder, read_recorded
from lottery.results.robustness_records import read_attacks, write_attacks
from lottery.results.run_search import find_runs
from lottery.results.runs import read_run
from lottery.results.ticket_runs import Run
from lottery.terminal import Column, counted
from lottery.tickets.load import TicketFile
from lottery.training.config import DeviceConfig, ModelConfig
from lottery.training.context import (
    fixed_normalization,
    image_spec,
    initial_model,
    test_images_on,
)
from lottery.training.devices import pick_device
from lottery.training.environment import environment, keep_freed_memory, set_determinism
from lottery.training.labelled_images import LabelledImages
from lottery.training.progress import Progress
from lottery.training.step import load_weights_
from models import ARCHITECTURES
from models.network_state import move_to_device
from utils import InputError, RandomStream, digest, generator


def prepare_device(config: DeviceConfig) -> torch.device:
    keep_freed_memory()
    device = pick_device(config.gpu)
    set_determinism(device, config.deterministic)
    return device


# --- which networks, and on which images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class AttackTarget:
    """The networks of one run, and what they are attacked on."""

    run: Run
    rows: list[dict]  # of the run's rounds: a row for each network to attack
    test: LabelledImages  # on the device
    model: nn.Module  # into which each network's weights are loaded

    def batches(self, examples: int | None) -> int:
        """Batches in an attack on one of the networks."""
        return -(-min(examples or len(self.test), len(self.test)) // BATCH)


def attack_targets(config: RobustnessConfig, device: torch.device) -> list[AttackTarget]:
    """What is to be attacked; InputError for a run without networks to attack, or whose data is not there."""
    selected = [select_networks(path, config.rounds) for path in config.runs]
    loader = TargetLoader(config.data, device)
    return [loader.load(run, rows) for run, rows in selected]


def select_networks(path: Path, rounds: Sequence[int] | None) -> tuple[Run, list[dict]]:
    """The run in a directory, and the rows of those of its networks that are to be attacked."""
    if (runs := find_runs(path)) and runs != [path]:
        raise InputError(f"{path} is a folder of {counted(len(runs), 'run')}: give them themselves, such as {runs[0]}")
    run = read_run(path)
    script = Script.named(run.settings["script"])
    if not isinstance(run, Run) or script is None or not script.trains_tickets:
        raise InputError(
            f"{path} is a run of {run.settings['script']}: those of {', '.join(SEARCHES)}, {Script.DST} and "
            f"{Script.TRAIN} have networks to attack"
        )
    rows = run.rounds
    if script.is_search and rounds is not None:
        finished = {row["round"] for row in rows}
        if missing := set(rounds) - finished:
            raise InputError(f"--rounds {min(missing)}: {path} has finished rounds 0 to {max(finished)}")
        rows = [row for row in rows if row["round"] in rounds]
    for row in rows:
        if not (file := best_network_file(run, row)).exists():
            raise InputError(f"{file} is missing: it holds the network that is to be attacked")
    return run, rows


def best_network_file(run: Run, row: dict) -> Path:
    """The network whose test accuracy is reported: at the best validation epoch, or the last one."""
    return RunDirectory(run.path).best(row["round"] if run.numbers_rounds else None)


class TargetLoader:
    """Reads each data set and builds each kind of network once, for all runs that share them."""

    def __init__(self, data: Path | None, device: torch.device):
        self.data, self.device = data, device  # `data`: the directory of the images; None: as each run recorded
        self.sources: dict[tuple, tuple[LabelledImages, dict, str]] = {}
        self.models: dict[tuple, nn.Module] = {}

    def load(self, run: Run, rows: list[dict]) -> AttackTarget:
        """With the test images that the run was measured on; InputError where the data is not what the run had."""
        settings = run.settings
        folder = data_folder(settings["dataset"], self.data, run.summary.get("data"))
        key = folder, *(settings.get(name) for name in ("dataset", "image_size", "data_in", "augmentation"))
        if key not in self.sources:
            self.sources[key] = self.read_images(settings, folder)
        test, spec, checksum = self.sources[key]
        if settings.get("data checksum", checksum) != checksum:
            here = f"those in {folder}: give its --data" if folder else f"{settings['dataset']} returns now"
            raise InputError(f"{run.path} was trained on other images than {here}")
        config = ModelConfig(
            settings["arch"], settings.get("stem", "imagenet"), settings.get("normalization", "dataset")
        )
        # A network of the user's own may keep what it drew from the seed where no file has it.
        seed = settings.get("seed", 0) if config.arch not in ARCHITECTURES else 0
        if (key, config, seed) not in self.models:
            model = initial_model(config, seed, spec | fixed_normalization(config.normalization))
            self.models[key, config, seed] = move_to_device(model, self.device)
        return AttackTarget(run, rows, test, self.models[key, config, seed])

    def read_images(self, settings: dict, folder: Path | None) -> tuple[LabelledImages, dict, str]:
        """The test images, what a network must know of them, and the checksum of the whole data set."""
        source = read_recorded(settings, folder)
        return test_images_on(self.device, source), image_spec(source), source.checksum


# --- the attacks ------------------------------------------------------------------------------------------------------


def attack_all(targets: Sequence[AttackTarget], config: RobustnessConfig, device: torch.device) -> None:
    """Attack every network, and log a table of accuracies."""
    for target in targets:
        recorded_attacks(target.run)
    progress = Progress(print_freq=1)
    progress.begin(0)
    batches = sum(len(target.rows) * target.batches(config.attack.examples) for target in targets)
    progress.expect(batches, "attacks", "batch")
    with progress:
        for target in targets:
            attack_run(target, config, device, progress)


def recorded_attacks(run: Run) -> list[dict]:
    """The attacks on a run so far; InputError if their file is damaged, since a new one would replace it."""
    file = RunDirectory(run.path).robustness
    found = read_attacks(file)
    if found is None:
        raise InputError(f"{file} is damaged: move it away or delete it, and its attacks can be made again")
    return found


def attack_run(target: AttackTarget, config: RobustnessConfig, device: torch.device, progress: Progress) -> None:
    """Attack each network of a run that has not been attacked like this before.

    robustness.json is written after each network; what it holds of other attacks is kept.
    """
    attack, file = config.attack.record(), RunDirectory(target.run.path).robustness
    rows, _ = recorded_rows(target.run, attack)
    indices = attacked_examples(config.attack, len(target.test), device)
    for row in target.rows:
        weights = TicketFile(best_network_file(target.run, row)).trained_weights(target.model)[0]
        checksum = digest(*(value.numpy() for _, value in sorted(weights.items())))
        if rows.get(row["round"], {}).get("checksum") == checksum:
            progress.tick(target.batches(config.attack.examples))
        else:
            load_weights_(target.model, weights)
            accuracies = robust_accuracies(target.model, target.test, indices, config.attack, progress.tick)
            network = {name: row[name] for name in ("round", "density", "sparsity")}
            rows[row["round"]] = network | {"checksum": checksum, "examples": len(indices)} | accuracies
            origin = {"command": config.command, "version": suite_version()}
            entry = {**origin, "attack": attack, "environment": environment(device)}
            found, others = recorded_rows(target.run, attack)  # another process may have written meanwhile
            rows = found | rows
            write_attacks(file, [*others, entry | {"rounds": [rows[k] for k in sorted(rows)]}])
        progress.log_row(COLUMNS, table_cells(target.run, rows[row["round"]]))


def recorded_rows(run: Run, attack: dict) -> tuple[dict[int, dict], list[dict]]:
    """The rows of a run's networks under this attack so far, by round, and the entries of other attacks."""
    entries = recorded_attacks(run)
    rows = {row["round"]: row for entry in entries if entry["attack"] == attack for row in entry["rounds"]}
    return rows, [entry for entry in entries if entry["attack"] != attack]


def attacked_examples(config: AttackConfig, available: int, device: torch.device) -> Tensor:
    """Indices of the test images that are attacked, drawn from the seed if not all of them are."""
    drawn = generator(config.seed, purpose=RandomStream.ATTACKS)
    return random_subset(torch.arange(available, device=device), config.examples or available, drawn)


# Of the table that grows: a row for each network, with its accuracies in percent, and whose it is.
COLUMNS = {
    "density": Column("density", ".4f"),
    **{name: Column(name, ".2f", width=6) for name in MEASURED},
    "run": Column("run", "<"),
}


def table_cells(run: Run, row: dict) -> dict[str, object]:
    name = f"{run.path}, round {row['round']}" if run.numbers_rounds else str(run.path)
    return {key: row[key] for key in ("density", *MEASURED)} | {"run": name}
