"""A study as a SLURM array script."""

import shlex
from pathlib import Path

from lottery.study.jobs import Job, Study
from lottery.study.processes import ROOT
from utils import InputError


def slurm_script(study: Study) -> str:
    """An array script with a task for each search and all that needs its tickets, or for a single training.

    A task fails if any of its runs does, but still does all that does not need the failed one. A task that is requeued
    resumes where it was. The script belongs to the current directory, from wherever it is submitted. InputError for a
    directory to which SLURM cannot write logs.
    """
    tasks = [task_command(job, study) for job in study.jobs if job.after is None]
    lines = "\n".join(f"  {shlex.quote(task)}" for task in tasks)
    here = Path.cwd()
    return f"""#!/bin/bash
#SBATCH --array=0-{len(tasks) - 1}
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={log_pattern(here / study.save_dir)}

cd {shlex.quote(str(here))} || exit 1  # where study.py wrote this, with the environment active

status=0  # of the task: that of the first of its runs that failed
run() {{
  "$@" && return
  local failed=$?
  [ "$status" -ne 0 ] || status=$failed
  case $failed in 130|143) exit "$failed" ;; esac  # ended by a signal: so is the task
  return "$failed"
}}

runs=(
{lines}
)
task=${{SLURM_ARRAY_TASK_ID:?submit this file with sbatch}}
eval "${{runs[$task]:?there is no task of this number}}"
exit "$status"
"""


def log_pattern(folder: Path) -> str:
    """The pattern of the tasks' log files, as a word of an #SBATCH line.

    In quotes every character stands for itself but the quote, which needs a backslash before it; %% is a percent sign.
    Any other backslash would switch the pattern off: InputError.
    """
    if "\\" in str(folder):
        raise InputError(f"SLURM cannot write logs to {folder}: a backslash in a name has another meaning there")
    name = str(folder).replace("%", "%%").replace('"', '\\"')
    return f'"{name}/slurm-%A_%a.log"'


def task_command(job: Job, study: Study) -> str:
    """A line of shell that runs a job and, if it succeeds, all jobs that need it, and so on."""
    script = job.script if Path.cwd() == ROOT.resolve() else str(ROOT.resolve() / job.script)
    command = shlex.join(["run", "python", "-u", script, *job.arguments])
    following = [task_command(each, study) for each in study.jobs if each.after is job]
    return f"{command} && {{ {'; '.join(following)}; }}" if following else command
