"""Finished runs of main_stability.py: the line between two copies of a ticket, and its error barriers."""

from dataclasses import dataclass, field
from pathlib import Path

from lottery.checkpointing.metrics import read_summary
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script

SUMMARY = {"settings", "points", "barrier", "stable", "distance", "angle", "density", "ticket", "ticket step"}
SETTINGS = {"seed", "dataset", "arch", "epochs", "batch_size", "order_seeds"}


@dataclass(eq=False)
class StabilityRun:
    """One finished run's directory. Errors and their barriers are in percent."""

    path: Path
    settings: dict
    summary: dict
    name: str = ""  # short, and unique among the runs read together
    repeats: str | None = None  # the name of the run that is counted in its place
    notes: list[str] = field(default_factory=list)

    is_search = False
    unfinished = None  # it has a summary at its end alone

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @property
    def ticket(self) -> dict | None:
        """The origin of the ticket; None for the dense network with random weights."""
        return self.summary["ticket"]

    @property
    def step(self) -> int | None:
        """The optimiser step of the search after which the copies' starting weights were taken; None if unknown."""
        return self.summary["ticket step"]

    @property
    def density(self) -> float:
        return self.summary["density"]

    @property
    def copies_test_error(self) -> float:
        """The mean test error of the two copies, the ends of the line."""
        points = self.summary["points"]
        return (points[0]["test_error"] + points[-1]["test_error"]) / 2


def read_stability_run(directory: RunDirectory) -> StabilityRun | None:
    """The run in a directory; None if its summary.json is missing, not whole, or of another script."""
    summary = read_summary(directory.summary)
    if summary is None or not _is_whole(summary):
        return None
    return StabilityRun(directory.path, summary["settings"], summary)


def _is_whole(summary: dict) -> bool:
    try:
        settings, points = summary["settings"], summary["points"]
        return (
            settings["script"] == Script.STABILITY
            and summary.keys() >= SUMMARY
            and settings.keys() >= SETTINGS
            and {"test_error", "train_error"} <= summary["barrier"].keys()
            and all("test_error" in point for point in (points[0], points[-1]))
        )
    except (KeyError, TypeError, AttributeError, IndexError):
        return False
