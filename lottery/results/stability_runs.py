"""Reading runs of main_stability.py: the line between two copies of a ticket."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from lottery.checkpointing.run_directory import RunDirectory

SCRIPT = "main_stability.py"
SUMMARY = {"settings", "points", "barrier", "stable", "distance", "angle", "density", "ticket", "ticket step"}
SETTINGS = {"seed", "dataset", "arch", "epochs", "batch_size", "order_seeds"}


@dataclass(eq=False)
class StabilityRun:
    """One finished run's directory. Errors and their barriers are in percent."""

    path: Path
    settings: dict
    summary: dict
    name: str = ""  # short, but another one than any other run's
    notes: list[str] = field(default_factory=list)

    searches = False

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @property
    def ticket(self) -> dict | None:
        """Where the ticket comes from; None for the dense network with random weights."""
        return self.summary["ticket"]

    @property
    def step(self) -> int | None:
        """Of the training schedule, after which the copies' starting weights stand, where that is known."""
        return self.summary["ticket step"]

    @property
    def density(self) -> float:
        return self.summary["density"]

    @property
    def ends(self) -> float:
        """The mean test error of the two copies."""
        points = self.summary["points"]
        return (points[0]["test_error"] + points[-1]["test_error"]) / 2


def stability_run(directory: RunDirectory) -> StabilityRun | None:
    """The run in a directory; None where its summary.json is not there or not whole, or another script's."""
    try:
        summary = json.loads(directory.summary.read_bytes())
        settings = summary["settings"]
        ours = settings["script"] == SCRIPT and summary.keys() >= SUMMARY and settings.keys() >= SETTINGS
        whole = ours and {"test_error", "train_error"} <= summary["barrier"].keys()
        whole = whole and all("test_error" in point for point in (summary["points"][0], summary["points"][-1]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        whole = False
    return StabilityRun(directory.path, settings, summary) if whole else None
