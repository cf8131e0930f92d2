"""Run a study: searches and trainings for every combination of methods, data, networks and seeds, then their report.

    python study.py studies/digits.toml

Runs several at a time: one on each GPU, or --jobs of them on the CPU, which share its cores. To resume a study, give
the same command again: runs that are done are skipped. A run that fails stops only those that need it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lottery.cli.configs import from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, path, positive_int
from utils import InputError


@dataclass(frozen=True)
class StudyConfig:
    """A study, and how to run it.

    It lies here, since lottery/study/ reads the flags of its runs by this package.
    """

    file: Path
    save_dir: Path | None = None  # directory of all runs, if not the one that the file says
    jobs: int | None = None  # runs at a time on the CPU; None: one for every core
    gpu: Sequence[int] | None = None  # CUDA devices; None: all that torch can use; empty: the CPU
    slurm: Path | None = None  # write this SLURM script instead of running anything
    no_report: bool = False


def parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("file", type=path, metavar="FILE.toml", help="the study; docs/studies_and_reports.md says what it may hold")
    add("--save_dir", type=path, help="directory of all runs; the one that the file says if not given")
    add(
        "--jobs",
        type=positive_int,
        help="runs at a time on the CPU, which share its cores; one for every core if not given. Each has "
        "OMP_NUM_THREADS threads if that is set",
    )
    add(
        "--gpu",
        type=count_from_0,
        nargs="*",
        help="CUDA devices to use, with one run at a time on each (0 0: two on the first); all that torch can use if "
        "not given; without a number: the CPU",
    )
    add("--slurm", type=path, metavar="FILE.sh", help="write a SLURM array script instead of running anything")
    add("--no_report", action="store_true", help="do not make the report")
    return parser


def read_config(argv: Sequence[str] | None) -> StudyConfig:
    """The flags; InputError for a --slurm file that cannot lie where it should."""
    args = parser().parse_args(argv)
    if args.slurm and not args.slurm.absolute().parent.is_dir():
        raise InputError(f"--slurm {args.slurm} cannot be written: its directory does not exist")
    return from_flags(StudyConfig, args)
