"""submitit's executors, which submit jobs, for the runs of a study."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lottery.cli.cluster_options import with_gpus
from lottery.study.processes import ROOT

TIMEOUTS = 1000  # times that submitit queues a job again whose time is over
NO_END = 10 * 365 * 24 * 60  # minutes, for jobs of this machine, which submitit would end after two of them
SUBMITITS = ("time", "signal_delay_s", "cpus_per_task")  # options that submitit itself reads; others are SLURM's alone


def slurm_executor(folder: Path, options: Mapping[str, str | int]) -> Any:
    """For SLURM. A job is one task, whose step has as many CPUs as the job, and SLURM may queue it again."""
    import submitit

    own = {name: value for name, value in options.items() if name in SUBMITITS}
    executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS, python=python_command())
    executor.update_parameters(
        **own,
        nodes=1,
        ntasks_per_node=1,
        wckey=None,
        stderr_to_stdout=True,
        srun_args=[f"--cpus-per-task={options['cpus_per_task']}"],
        additional_parameters=slurm_alone(options),
    )
    return executor


def slurm_alone(options: Mapping[str, str | int]) -> dict[str, str | int | bool]:
    """The options that submitit does not know, by SLURM's names."""
    others = {name: value for name, value in options.items() if name not in SUBMITITS}
    if others.get("gpus_per_node") == "0":
        del others["gpus_per_node"]  # which SLURM refuses where it knows of no GPU
    return {"requeue": True, **others}


def ask_for_gpus_(executor: Any, options: Mapping[str, str | int], count: int) -> None:
    """The next job is given so many GPUs of SLURM, where they can be counted."""
    executor.update_parameters(additional_parameters=slurm_alone(with_gpus(options, count)))


def local_executor(folder: Path, options: Mapping[str, str | int]) -> Any:
    """For processes of this machine, that have no end but that of their time, if there is one."""
    import submitit

    executor = submitit.LocalExecutor(folder, max_num_timeout=TIMEOUTS, python=python_command())
    minutes = options.get("time", NO_END)
    executor.update_parameters(timeout_min=minutes, signal_delay_s=options["signal_delay_s"], stderr_to_stdout=True)
    return executor


def python_command() -> str:
    """How a job starts Python, which has to find this package from wherever the study was started."""
    paths = [str(ROOT.resolve()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return shlex.join(["env", f"PYTHONPATH={os.pathsep.join(paths)}", sys.executable])


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Within it the environment is not that of a job of SLURM, if this process is part of one: a job that is submitted
    would take its parent's memory and CPUs for its own."""
    before = dict(os.environ)
    for name in before if "SLURM_JOB_ID" in before else ():
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name != "SLURM_CONF":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Processes that start within it get no signals of the terminal, Ctrl-C and that it was closed, and keep neither it
    nor this process's output open, which another one may be reading to its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with to_nothing(0), to_nothing(1), to_nothing(2):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def to_nothing(number: int) -> Iterator[None]:
    """Within it, this file descriptor leads to nothing."""
    before, nothing = os.dup(number), os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, number)
        yield
    finally:
        os.dup2(before, number)
        for each in (before, nothing):
            os.close(each)
