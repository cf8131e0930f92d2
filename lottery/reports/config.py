"""Settings of report.py, as a frozen dataclass. Importing this module does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReportConfig:
    """Runs to compare, and where the report goes."""

    runs: Sequence[Path]  # directories of runs
    output: Path = Path("report")  # directory of the report
    margin: float = 0.5  # points of test accuracy by which a ticket may fall short and still count as equal
    against: Sequence[str] = ()  # names of methods, as in the report, that all others are compared with
    data: Path | None = None  # directory of the images, if not the one that the runs recorded
