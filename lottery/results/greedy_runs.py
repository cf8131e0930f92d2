"""Runs of greedy selection, and how those of main_greedy.py (neurons of a two-layer network) are read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lottery.checkpointing.metrics import read_metrics, read_summary
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script
from lottery.results.not_reportable import NotFinished

SUMMARY = {"settings", "examples", "points", "finished", "delta"}
SETTINGS = {"seed", "dataset", "hidden", "prune_at", "neurons", "fine_tune", "loss"}
NETWORKS = {"dense", "selected", "random", "largest"}  # measured at every selection
CURVES = {"selected", "random", "largest"}  # networks with a loss after every pick
FINAL = ("dense", "scratch")  # networks measured at the end of their training
MEASURED = {"loss", "train", "test"}


class NeuronSweep(NamedTuple):
    """The settings that a sweep over selections of neurons varies, the seed aside."""

    width: int  # neurons of the dense network
    examples: int  # of the sub-data-set


@dataclass(eq=False)
class GreedyRun:
    """One run's directory, of main_greedy.py or of main_channels.py. Accuracies are in percent.

    A point holds what was measured at one iteration of the pre-training, by the name of the network: "dense",
    "selected" and so on. `final` holds the measurements of networks at the end of their training, as far as they are
    finished: "dense" and, of main_greedy.py, "scratch".
    """

    path: Path
    settings: dict
    summary: dict
    swept: Any  # the settings that its sweep varies: a NeuronSweep or a ChannelSweep, by script
    points: list[dict]  # in order of iterations
    final: dict[str, dict]
    done: int  # finished selections
    planned: int
    name: str = ""  # short, and unique among the runs read together
    repeats: str | None = None  # the name of the run that is counted in its place
    notes: list[str] = field(default_factory=list)

    @property
    def unfinished(self) -> str | None:
        """How far it is; None if it is at its end."""
        return None if self.summary["finished"] else f"{self.done} of {self.planned} selections"

    @property
    def script(self) -> str:
        return self.settings["script"]

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    def is_complete(self, network: str) -> bool:
        """Whether the network was measured at every planned iteration."""
        return sum(network in point for point in self.points) == len(self.settings["prune_at"] or [None])

    @property
    def delta(self) -> float:
        """--delta: a network at most so many points below the fully pre-trained dense one is good enough."""
        return self.summary["delta"]


def whole_summary(directory: RunDirectory, script: Script, is_whole: Callable[[dict], bool]) -> dict | None:
    """The run's summary.json; None if it is missing, not whole, or of another script."""
    summary = read_summary(directory.summary)
    try:
        return summary if summary and summary["settings"]["script"] == script and is_whole(summary) else None
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def read_greedy_run(directory: RunDirectory) -> GreedyRun | None:
    """The run of main_greedy.py in a directory; None if its summary.json is missing, not whole, or of another script.

    Losses are those on the training examples; a point has the `curves` of losses after every pick where metrics.jsonl
    has them. `NotFinished` before the first selection.
    """
    summary = whole_summary(directory, Script.GREEDY, _is_whole)
    if summary is None:
        return None
    if not summary["points"]:
        raise NotFinished(directory.path, "has no finished selection yet")
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
        NeuronSweep(settings["hidden"], summary["examples"]["train"]),
        points,
        final={network: summary[network] for network in FINAL if network in summary},
        done=len(points),
        planned=len(settings["prune_at"]),
        notes=notes,
    )


def _is_whole(summary: dict) -> bool:
    final = [summary[network] for network in FINAL if network in summary]
    measured = [point[network] for point in summary["points"] for network in NETWORKS] + final
    return (
        summary.keys() >= SUMMARY
        and summary["settings"].keys() >= SETTINGS
        and "train" in summary["examples"]
        and all({"iteration", "zero"} <= point.keys() for point in summary["points"])
        and all(each.keys() >= MEASURED for each in measured)
    )


def _curves(directory: RunDirectory) -> tuple[dict[int, dict], list[str]]:
    """The losses after each pick by iteration, and a note if some cannot be read."""
    lines, broken = read_metrics(directory.metrics, ("iteration",))
    found = {line["iteration"]: line.get("curves") for line in lines}
    known = {when: curves for when, curves in found.items() if isinstance(curves, dict) and curves.keys() >= CURVES}
    cut = broken + len(lines) - len(known)
    number = "1 line is" if cut == 1 else f"{cut} lines are"
    return known, [f"{number} cut or altered in metrics.jsonl: losses after each pick are missing."] if cut else []
