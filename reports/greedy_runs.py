"""Reading runs of main_greedy.py: what was selected along the pre-training of a two-layer network."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from records import read_metrics
from rundir import RunDirectory
from utils import InputError

SCRIPT = "main_greedy.py"
SUMMARY = {"settings", "examples", "points", "finished", "delta"}
SETTINGS = {"seed", "dataset", "hidden", "prune_at", "neurons", "fine_tune", "loss"}
NETWORKS = {"dense", "selected", "random", "largest"}  # that are measured at every selection
CURVES = {"selected", "random", "largest"}  # whose losses are known after every pick
MEASURED = {"loss", "train", "test"}


@dataclass(eq=False)
class GreedyRun:
    """One run's directory. Accuracies are in percent, losses on the examples trained on."""

    path: Path
    settings: dict
    points: list[dict]  # what each selection found, in order of iterations; with its `curves` where they are known
    summary: dict
    name: str = ""  # short, but another one than any other run's
    notes: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Neurons of the dense network."""
        return self.settings["hidden"]

    @property
    def examples(self) -> int:
        """Size of the sub-data-set."""
        return self.summary["examples"]["train"]

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @property
    def delta(self) -> float:
        """Points below the fully pre-trained dense network that the run was told are good enough."""
        return self.summary["delta"]

    def end(self, network: str) -> dict | None:
        """The "dense" network at the end of its pre-training, or that from "scratch"; None while it is not there."""
        return self.summary.get(network)


def greedy_run(directory: RunDirectory) -> GreedyRun | None:
    """The run in a directory; None where its summary.json is not whole, or another script's.

    InputError before the first selection: there is nothing to show.
    """
    try:
        summary = json.loads(directory.summary.read_bytes())
        whole = summary["settings"]["script"] == SCRIPT and _is_whole(summary)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        return None
    if not summary["points"]:
        raise InputError(f"{directory.path} has no finished selection yet")
    curves, notes = _curves(directory)
    points = [
        point | ({"curves": curves[point["iteration"]]} if point["iteration"] in curves else {})
        for point in summary["points"]
    ]
    return GreedyRun(directory.path, summary["settings"], points, summary, notes=notes + _unfinished(summary))


def _is_whole(summary: dict) -> bool:
    ends = [summary[network] for network in ("dense", "scratch") if network in summary]
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


def _unfinished(summary: dict) -> list[str]:
    """A sentence if the run is not at its end, which its process may be on the way to."""
    if summary["finished"]:
        return []
    done, planned = len(summary["points"]), len(summary["settings"]["prune_at"])
    return [f"still going, or stopped before its end: {done} of {planned} selections are done and shown."]
