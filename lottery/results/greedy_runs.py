"""Runs of greedy selection; and reading those of main_greedy.py, of neurons of a two-layer network."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lottery.checkpointing.metrics import read_metrics
from lottery.checkpointing.run_directory import RunDirectory
from utils import InputError

SCRIPT = "main_greedy.py"
SUMMARY = {"settings", "examples", "points", "finished", "delta"}
SETTINGS = {"seed", "dataset", "hidden", "prune_at", "neurons", "fine_tune", "loss"}
NETWORKS = {"dense", "selected", "random", "largest"}  # that are measured at every selection
CURVES = {"selected", "random", "largest"}  # whose losses are known after every pick
ENDS = ("dense", "scratch")
MEASURED = {"loss", "train", "test"}


class Neurons(NamedTuple):
    """What selections of neurons differ in beside the seed."""

    width: int  # neurons of the dense network
    examples: int  # of the sub-data-set


@dataclass(eq=False)
class GreedyRun:
    """One run's directory, of main_greedy.py or of main_channels.py. Accuracies are in percent.

    A point is what was measured at one iteration of the pre-training: of each network by its name, and more. `ends` has
    what the "dense" network, and others, come to in the end, as far as that is there.
    """

    path: Path
    settings: dict
    summary: dict
    place: tuple  # what it differs in from others of its sweep beside the seed
    points: list[dict]  # in order of iterations
    ends: dict[str, dict]
    done: int  # selections
    planned: int
    name: str = ""  # short, but another one than any other run's
    notes: list[str] = field(default_factory=list)

    def __post_init__(self):
        if not self.summary["finished"]:  # which its process may be on the way to
            told = f"{self.done} of {self.planned} selections are done and shown"
            self.notes.append(f"still going, or stopped before its end: {told}.")

    @property
    def script(self) -> str:
        return self.settings["script"]

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    def has(self, network: str) -> bool:
        """Whether the network was measured at every iteration that it is to be selected at."""
        return sum(network in point for point in self.points) == len(self.settings["prune_at"] or [None])

    @property
    def delta(self) -> float:
        """Points below the fully pre-trained dense network that the run was told are good enough."""
        return self.summary["delta"]


def summary_of(directory: RunDirectory, script: str, is_whole: Callable[[dict], bool]) -> dict | None:
    """The run's summary.json; None where it is not whole, or another script's."""
    try:
        summary = json.loads(directory.summary.read_bytes())
        return summary if summary["settings"]["script"] == script and is_whole(summary) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def greedy_run(directory: RunDirectory) -> GreedyRun | None:
    """The run of main_greedy.py in a directory; None where its summary.json is not whole, or another script's.

    Losses are on the examples trained on; points have their `curves` where they are known. InputError before the first
    selection: there is nothing to show.
    """
    summary = summary_of(directory, SCRIPT, _is_whole)
    if summary is None:
        return None
    if not summary["points"]:
        raise InputError(f"{directory.path} has no finished selection yet")
    curves, notes = _curves(directory)
    points = [
        point | ({"curves": curves[point["iteration"]]} if point["iteration"] in curves else {})
        for point in summary["points"]
    ]
    settings = summary["settings"]
    return GreedyRun(
        directory.path,
        settings,
        summary,
        Neurons(settings["hidden"], summary["examples"]["train"]),
        points,
        ends={network: summary[network] for network in ENDS if network in summary},
        done=len(points),
        planned=len(settings["prune_at"]),
        notes=notes,
    )


def _is_whole(summary: dict) -> bool:
    ends = [summary[network] for network in ENDS if network in summary]
    measured = [point[network] for point in summary["points"] for network in NETWORKS] + ends
    return (
        summary.keys() >= SUMMARY
        and summary["settings"].keys() >= SETTINGS
        and "train" in summary["examples"]
        and all({"iteration", "zero"} <= point.keys() for point in summary["points"])
        and all(each.keys() >= MEASURED for each in measured)
    )


def _curves(directory: RunDirectory) -> tuple[dict[int, dict], list[str]]:
    """The losses after each pick, by iteration; and a sentence if some cannot be read."""
    lines, broken = read_metrics(directory.metrics, ("iteration",))
    found = {line["iteration"]: line.get("curves") for line in lines}
    known = {when: curves for when, curves in found.items() if isinstance(curves, dict) and curves.keys() >= CURVES}
    cut = broken + len(lines) - len(known)
    told = "1 line is" if cut == 1 else f"{cut} lines are"
    return known, [f"{told} cut or altered in metrics.jsonl: losses after each pick are missing."] if cut else []
