"""Runs that train networks under masks: searches, and the retraining of a ticket or of the dense network."""

from dataclasses import dataclass, field
from pathlib import Path

from lottery.checkpointing.checkpoint import read, split_ticket
from lottery.checkpointing.metrics import read_metrics, read_summary
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.results.robustness_records import read_attacks
from pruner import Mask
from utils import InputError

SETTINGS = {"seed", "dataset", "arch", "epochs", "batch_size"}  # that every run has
ROW = {"round", "density", "sparsity", "kept", "set", "validation", "test", "best_epoch", "epochs", "epochs_planned"}
ROW |= {"stopped", "steps", "steps_per_epoch", "examples", "forward_passes", "seconds"}
FOREIGN = "2021 code"  # the `script` of a directory that the 2021 code made


@dataclass(eq=False)
class Run:
    """One run's directory, of a search or of a retraining.

    `settings` always has `script`; other settings may be missing where the files do not record them.
    """

    path: Path
    settings: dict
    rounds: list[dict]  # a row for each network that was trained
    epochs: list[dict] = field(default_factory=list)  # a line for each epoch in metrics.jsonl
    summary: dict = field(default_factory=dict)  # summary.json, empty where there is none
    name: str = ""  # short, and unique among the runs read together
    repeats: str | None = None  # the name of the run that is counted in its place
    notes: list[str] = field(default_factory=list)  # what is wrong with its files, in sentences
    robustness: list[dict] = field(default_factory=list)  # the attacks in robustness.json

    @property
    def script(self) -> str:
        return self.settings["script"]

    @property
    def is_search(self) -> bool:
        return self.script in (*SEARCHES, Script.DST) or (self.script == FOREIGN and self.settings["searches"])

    @property
    def numbers_rounds(self) -> bool:
        """Whether its files are numbered by round: those of a search in rounds."""
        return self.is_search and self.script != Script.DST

    @property
    def seed(self) -> int | str:
        """Its seed. The 2021 code does not record one, so each of its directories counts as a seed of its own."""
        return self.settings.get("seed", self.name)

    @property
    def ticket(self) -> dict | None:
        """The origin of the ticket that was retrained; None for the dense network."""
        return self.summary.get("ticket")

    @property
    def density(self) -> float:
        """Of the network that was retrained, or that the search began with."""
        return self.rounds[0]["density"]

    @property
    def unfinished(self) -> str | None:
        """How far a search is; None if it is at its end."""
        planned = self.settings.get("pruning_times") if self.is_search else None
        return f"{len(self.rounds)} of {planned} rounds" if planned and len(self.rounds) < planned else None

    def mask(self, k: int | None) -> Mask:
        """The mask after k prunings, or of a run's single ticket, from its checkpoint; InputError if that cannot be
        read."""
        path = RunDirectory(self.path).checkpoint(k if self.numbers_rounds else None)
        state = read(path).get("state_dict")
        if not isinstance(state, dict):
            raise InputError(f"{path} has no state_dict")
        return split_ticket(state)[1]


def run_from_summary(directory: RunDirectory) -> Run | None:
    """The run as summary.json records it; None if there is no such file, or if it is damaged and checkpoints can be
    read in its place. InputError if it is damaged and there are none."""
    if not directory.summary.exists():
        return None
    summary = read_summary(directory.summary)
    if summary is not None and _is_whole(summary):
        return Run(directory.path, summary["settings"], summary["rounds"], summary=summary)
    if not directory.checkpoints():
        raise InputError(f"{directory.summary} is damaged, and there is no checkpoint to go by")
    return None


def _is_whole(summary: dict) -> bool:
    try:
        settings, rows = summary["settings"], summary["rounds"]
        script = Script.named(settings["script"])
        known = script is not None and script.trains_tickets
        return known and settings.keys() >= SETTINGS and all(row.keys() >= ROW for row in rows)
    except (KeyError, TypeError, AttributeError):
        return False


def add_records_(run: Run, directory: RunDirectory) -> None:
    """Add the lines of metrics.jsonl and the attacks of robustness.json, and notes on what is damaged."""
    run.epochs, broken = read_metrics(directory.metrics)
    if broken:
        lines = "1 line is" if broken == 1 else f"{broken} lines are"
        run.notes.append(f"{lines} cut or altered in metrics.jsonl, passed over.")
    attacks = read_attacks(directory.robustness)
    run.robustness = attacks or []
    if attacks is None:
        run.notes.append("robustness.json is damaged, passed over.")
