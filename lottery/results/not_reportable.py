"""Directories that hold no run, or none that is far enough for a report."""

from pathlib import Path

from lottery.checkpointing.script_names import Script
from utils import InputError


class NotReportable(InputError):
    """A directory of `script` that holds nothing a report can show, and why."""

    def __init__(self, path: Path, script: str):
        super().__init__(f"{path} {why_not_reportable(script)}")
        self.path, self.script = path, script

    @property
    def is_ticket(self) -> bool:
        """Whether it is a ticket alone, which other runs train."""
        known = Script.named(self.script)
        return known is not None and known.only_makes_ticket


def why_not_reportable(script: str) -> str:
    """What the directory of this script, without a whole summary.json, holds instead of a run."""
    if script in (Script.GREEDY, Script.CHANNELS):
        return f"holds a run of {script} without a whole summary.json: the command that made the run writes it anew"
    if script == Script.STABILITY:
        return f"holds a run of {script} that is not at its end: the same command goes on with it"
    return f"holds a ticket of {script}, no run: give the run that trained it"


class NotFinished(InputError):
    """A run in which no network has been trained to its end yet; `state` is what it does or has, as a predicate."""

    def __init__(self, path: Path, state: str):
        super().__init__(f"{path} {state}")
