"""What study.py is asked for, as a frozen dataclass. Importing this module does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StudyConfig:
    """A study, and how to run it."""

    file: Path
    save_dir: Path | None = None  # directory of all runs, if not the one that the file says
    jobs: int | None = None  # runs at a time on the CPU; None: one for every core
    gpu: Sequence[int] | None = None  # CUDA devices; None: all that torch can use; empty: the CPU
    slurm: Path | None = None  # write this SLURM script instead of running anything
    no_report: bool = False
