"""Checks of jobs against scripts and files: whether a job can run."""

import shlex
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.cli import checks
from lottery.cli.registry import read_flags
from lottery.study.jobs import Job, Study
from utils import InputError


def check_jobs(study: Study) -> None:
    """InputError for a directory that cannot be used, and for the first job whose flags its script would refuse, whose
    directory another one uses, or that needs a ticket or a round that its predecessor does not make."""
    checks.check_save_dir(study.save_dir)
    rounds: dict[Path, int] = {}
    for job in study.jobs:
        if job.save_dir in rounds:
            raise InputError(f"two runs of the study would share {job.save_dir}: the grid needs other values")
        rounds[job.save_dir] = check_flags(job)
        needed = rounds[job.after.save_dir] if job.after else 0
        if job.prunings and job.prunings > needed:
            raise InputError(f"{job.save_dir}: no ticket after {job.prunings} prunings, the search has {needed}")
        if job.follows and rounds[job.save_dir] > needed:
            raise InputError(f"{job.save_dir}: {rounds[job.save_dir]} rounds, but the run that it follows has {needed}")


def check_flags(job: Job) -> int:
    """The rounds of a search, 0 for other scripts. InputError for flags that the script would refuse; files that the
    job's predecessor makes need not exist yet."""
    try:
        args = read_flags(job.script, job.arguments, made_later=job.flags_made_later)
    except InputError as error:
        raise InputError(f"{job.script} {shlex.join(job.flags)}: {error}") from None
    if job.script == Script.GREEDY and len(args.examples or ()) > 1:
        raise InputError(
            f"{job.save_dir}: examples = {list(args.examples)} would be {len(args.examples)} runs in one: put several "
            "sizes into [grid]"
        )
    return getattr(args, "pruning_times", 0)
