"""Run a study: searches and trainings for every combination of methods, data, networks and seeds, then their report.

    python study.py studies/digits.toml --dry_run

    python study.py studies/digits.toml

    python study.py --new mine

    python study.py studies/digits.toml --cluster slurm --cluster_options partition=gpu,time=240

Runs several at a time: one on each GPU, or --jobs of them on the CPU, which share its cores. To resume a study, give
the same command again: runs that are done are skipped, wherever the study was moved to. A run that fails stops only
those that need it. With --cluster each run is a job of a cluster.
"""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lottery.cli.checks import check_parent
from lottery.cli.cluster_options import CLUSTERS, assignments, read_options
from lottery.cli.configs import from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, path, positive_int
from utils import InputError, path_exists

SLURM_SCRIPT = b"#!/bin/bash\n#SBATCH --array="  # how a script that --slurm wrote begins
NOT_ASKED = {"new", "command_line"}  # of the flags, besides --new: nothing


@dataclass(frozen=True)
class StudyConfig:
    """A study, and how to run it.

    It lies here, since lottery/study/ reads the flags of its runs by this package.
    """

    file: Path | None  # None with `new`
    save_dir: Path | None = None  # directory of all runs, if not the one that the file says
    # Runs at a time; None: one on each GPU, or for every core of the CPU. Jobs of SLURM at a time; None: all.
    jobs: int | None = None
    gpu: Sequence[int] | None = None  # CUDA devices; None: all that torch can use; empty: the CPU
    slurm: Path | None = None  # write this SLURM script instead of running anything
    cluster: str | None = None  # hand the runs to this one of CLUSTERS, as jobs
    cluster_options: Mapping[str, str | int] = field(default_factory=dict)  # of every job, with their defaults
    no_report: bool = False
    dry_run: bool = False  # tell the state of each run, and do nothing
    commands: bool = False  # with `dry_run`: the command of each run, too
    new: Path | None = None  # write this study file to begin with, and do nothing else


def parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("file", type=path, nargs="?", metavar="FILE.toml", help="the study; docs/study_format.md says what it may hold")
    add("--dry_run", action="store_true", help="list the runs and how far each is; start nothing, write nothing")
    add("--commands", action="store_true", help="with --dry_run: the command of each run as well")
    add(
        "--new",
        type=path,
        metavar="NAME",
        help="write NAME.toml, a small study with comments to change as you like, instead of running anything",
    )
    add("--save_dir", type=path, help="directory of all runs; the one that the file says if not given")
    add(
        "--jobs",
        type=positive_int,
        help="runs at a time. On the CPU they share its cores; one for every core if not given, and each has "
        "OMP_NUM_THREADS threads if that is set. On GPUs: no more than so many, where there are more GPUs. With "
        "--cluster slurm: jobs that are queued or run at a time; all that can be if not given",
    )
    add(
        "--gpu",
        type=count_from_0,
        nargs="*",
        help="CUDA devices to use, with one run at a time on each (0 0: two on the first); all that torch can use if "
        "not given; without a number: the CPU",
    )
    add("--slurm", type=path, metavar="FILE.sh", help="write a SLURM array script instead of running anything")
    add(
        "--cluster",
        choices=CLUSTERS,
        help="make each run a job that goes on without this process: of SLURM, or of this machine (local). Needs the "
        "package submitit",
    )
    add(
        "--cluster_options",
        type=assignments,
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="with --cluster: what each job asks for, with commas or spaces between, such as "
        "partition=gpu,time=240,mem=16G. With slurm a job has an hour (time=60), after which it is queued again and "
        "goes on, gpus_per_node=1 and cpus_per_task=4 if not given; with gpus_per_node=4 a run with shards has up to "
        "four GPUs",
    )
    add("--no_report", action="store_true", help="do not make the report")
    return parser


def read_config(argv: Sequence[str] | None) -> StudyConfig:
    """The flags; InputError for those that cannot go together, and for files that cannot lie where they should."""
    args = parser().parse_args(argv)
    if args.new:
        check_new(args)
    elif not args.file:
        raise InputError("which study? Give its FILE.toml; --new NAME writes one to begin with")
    elif not path_exists("FILE.toml", args.file) and (meant := args.file.with_name(f"{args.file.name}.toml")).exists():
        raise InputError(f"{args.file} does not exist; did you mean {meant}?")
    if args.commands and not args.dry_run:
        raise InputError("--commands lists commands in a dry run: give --dry_run, too")
    if args.slurm and args.dry_run:
        raise InputError("--slurm writes a script, --dry_run writes nothing: give one of them")
    check_cluster(args)
    if args.slurm:
        check_slurm(args)
    return from_flags(StudyConfig, args)


def check_cluster(args: Namespace) -> None:
    """InputError for flags that do not go with a cluster, or only with one; fills in --cluster_options."""
    if args.cluster_options and not args.cluster:
        raise InputError("--cluster_options are those of the jobs of --cluster slurm or --cluster local: give one")
    if args.cluster and args.dry_run:
        raise InputError("--cluster starts runs, --dry_run starts nothing: give one of them")
    if args.cluster and args.slurm:
        raise InputError("--slurm writes a script to submit, --cluster submits each run itself: give one of them")
    if args.cluster == "slurm" and args.gpu is not None:
        raise InputError(
            "--gpu chooses devices of this machine; those of jobs SLURM chooses: --cluster_options gpus_per_node=1, "
            "or 0 for the CPU"
        )
    args.cluster_options = read_options(args.cluster, args.cluster_options or ()) if args.cluster else {}


def check_new(args: Namespace) -> None:
    """The new file with its ending, where there is none yet and no other flag asks for anything."""
    defaults = vars(parser().parse_args([]))
    others = [name for name, value in vars(args).items() if value != defaults[name] and name not in NOT_ASKED]
    if others:
        raise InputError(f"--new writes a file and does nothing else: leave out {shown(others[0], args)}")
    if args.new.name in ("", ".."):
        raise InputError(f"--new {args.new} is a directory: give the name of a file in it")
    if args.new.suffix != ".toml":
        args.new = args.new.with_name(f"{args.new.name}.toml")
    if os.path.lexists(args.new):
        raise InputError(f"--new {args.new} is there already and stays as it is: give another name")
    check_parent("--new", args.new)


def shown(name: str, args: Namespace) -> str:
    """A flag, or the study's file, as it was given."""
    return str(args.file) if name == "file" else f"--{name}"


def check_slurm(args: Namespace) -> None:
    """InputError for a file that cannot be written, or is no script that --slurm wrote; and for flags that choose
    devices of this machine, of which SLURM's are none."""
    if given := [f"--{name}" for name in ("gpu", "jobs") if getattr(args, name) is not None]:
        raise InputError(f"--slurm writes a script for SLURM, which chooses devices and times: leave out {given[0]}")
    file = args.slurm
    check_parent("--slurm", file)
    if file.is_dir():
        raise InputError(f"--slurm {file} is a directory, a file is needed")
    if file.exists() and not file.read_bytes().startswith(SLURM_SCRIPT):
        raise InputError(f"--slurm {file} would replace a file that is no SLURM array script: give another name")
