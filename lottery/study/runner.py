"""The runs of a study as processes: several at a time, each with its share of the machine."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.scripts import cli_module
from lottery.study.jobs import Job, Study
from utils import InputError

ROOT = Path(__file__).parents[2]
PATIENCE = 0.2  # seconds between looks at the processes


@dataclass(frozen=True)
class Place:
    """Where a run works: a GPU, or some of the CPU's cores."""

    gpu: int
    threads: int | None = None

    @property
    def flags(self) -> list[str]:
        return ["--gpu", str(self.gpu)]

    @property
    def environment(self) -> dict[str, str]:
        return {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}


def places_of(jobs: int | None, gpus: Sequence[int] | None) -> list[Place]:
    """One on each of these GPUs (all that torch can use if None); without any, `jobs` on the CPU, one a core if None.

    InputError for a GPU that torch cannot use. If there is none to use on a machine that has one, it is said why.
    """
    if found := usable_gpus(gpus):
        return [Place(gpu) for gpu in found]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = jobs or cores
    return [Place(-1, threads_wanted() or max(1, cores // jobs)) for _ in range(jobs)]


def threads_wanted() -> int | None:
    """The OMP_NUM_THREADS that this process was given, which is then that of every run."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else None


def usable_gpus(wanted: Sequence[int] | None) -> Sequence[int]:
    """Those that are wanted, checked; all that torch can use if None."""
    if wanted is not None and not wanted:
        return []
    from lottery.training import devices

    for gpu in wanted or ():
        devices.check_gpu(gpu, cpu="--gpu without a number")
    found = devices.usable_gpus() if wanted is None else wanted
    if not found and (why := devices.why_gpu_is_unused()):
        print(f"note: the runs compute on the CPU: {why}")
    return found


def check_jobs(study: Study) -> None:
    """InputError for the first run whose flags its script would refuse, whose folder another one uses, or that needs a
    ticket or a round that will not be there."""
    rounds: dict[Path, int] = {}
    for job in study.jobs:
        if job.save_dir in rounds:
            raise InputError(f"two runs of the study would share {job.save_dir}: the grid needs other values")
        try:
            rounds[job.save_dir] = pruning_times(job)
        except InputError as error:
            raise InputError(f"{job.script} {shlex.join(job.flags)}: {error}") from None
        if job.prunings and job.prunings > rounds[job.after.save_dir]:
            raise InputError(
                f"{job.save_dir}: no ticket after {job.prunings} prunings, the search has --pruning_times "
                f"{rounds[job.after.save_dir]}"
            )
        if job.follows and rounds[job.save_dir] > rounds[job.after.save_dir]:
            raise InputError(
                f"{job.save_dir}: --pruning_times {rounds[job.save_dir]}, but the run that it follows has "
                f"{rounds[job.after.save_dir]}"
            )


def pruning_times(job: Job) -> int:
    """The rounds of a search, 0 for other scripts. InputError for flags that its script would refuse; the files that
    the job before it makes are not looked for."""
    made_later = () if job.after is None else (job.follows,) if job.follows else ("init_dir", "mask_dir")
    return getattr(cli_module(job.script).read_flags(job.words, made_later), "pruning_times", 0)


def is_done(job: Job) -> bool:
    """Whether this very job is done: the records of its run say so, or the ticket it makes, whatever device it had."""
    try:
        found = records_of(job)
        return bool(found["finished"]) and without_gpu(shlex.split(found["command"])[1:]) == [job.script, *job.words]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def records_of(job: Job) -> dict:
    """What a job has left that tells whether it is `finished` and the `command` it was. InputError, which is a
    ValueError, for a ticket that is damaged or not there."""
    if job.is_run:
        return json.loads(RunDirectory(job.save_dir).summary.read_text())
    from lottery.checkpointing.checkpoint import read

    return {"finished": True} | read(RunDirectory(job.save_dir).checkpoint(None))


def without_gpu(words: list[str]) -> list[str]:
    """A command without the flag that a place added at its end."""
    return words[:-2] if words[-2:-1] == ["--gpu"] else words


@dataclass
class Running:
    """A run that is under way, and its output on the way to a file."""

    job: Job
    place: Place
    process: subprocess.Popen


class Runner:
    """Runs the jobs of a study in order, as many at a time as there are places."""

    def __init__(self, study: Study, places: Sequence[Place]):
        self.study, self.free = study, list(places)
        self.waiting = [job for job in study.jobs if not is_done(job)]
        self.running: list[Running] = []
        self.failed: dict[Path, str] = {}  # folder of a run -> why it failed

    def run(self) -> dict[Path, str]:
        """All that is not done yet; the runs that failed, and why."""
        total = len(self.study.jobs)
        with tqdm(
            total=total, initial=total - len(self.waiting), unit="run", disable=None, dynamic_ncols=True
        ) as bar:  # a line for each run remains, in a log as well, where no bar is drawn
            try:
                while self.waiting or self.running:
                    open_run, lost = self.start()
                    if open_run:
                        bar.set_postfix_str(", ".join(self.label(each.job) for each in self.running))
                    for job in lost + self.collect():
                        bar.update()
                        bar.write(f"{self.label(job)}: {self.failed.get(job.save_dir, 'done')}")
                    time.sleep(PATIENCE)
            finally:
                self.end()
        return self.failed

    def start(self) -> tuple[bool, list[Job]]:
        """Begin what can begin: what needs another one's ticket or run once that is over. Whether there was anything,
        and what never can, since that one failed."""
        open_run, lost = False, []
        unfinished = {job.save_dir for job in self.waiting} | {each.job.save_dir for each in self.running}
        for job in list(self.waiting):
            before = job.after.save_dir if job.after else None
            if before in self.failed:
                self.waiting.remove(job)
                self.failed[job.save_dir] = f"it needs the {job.needs} of {before}, which failed"
                lost.append(job)
            elif self.free and before not in unfinished:
                self.waiting.remove(job)
                self.running.append(begin(job, self.free.pop(0)))
                open_run = True
        return open_run, lost

    def collect(self) -> list[Job]:
        """The runs that have ended since the last look; their places are free again."""
        ended = [each for each in self.running if each.process.poll() is not None]
        for each in ended:
            self.running.remove(each)
            self.free.append(each.place)
            if each.process.returncode:
                self.failed[each.job.save_dir] = last_line(log_of(each.job), each.process.returncode)
        return [each.job for each in ended]

    def end(self) -> None:
        """Ask what still runs to end, keeping its state, and wait for it."""
        for each in self.running:
            each.process.terminate()
        for each in self.running:
            each.process.wait()

    def label(self, job: Job) -> str:
        return str(job.save_dir.relative_to(self.study.save_dir))


def begin(job: Job, place: Place) -> Running:
    """Start the process; what it prints is added to a log beside its folder."""
    log_of(job).parent.mkdir(parents=True, exist_ok=True)
    device = place.flags if job.needs_device else []
    with log_of(job).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / job.script), *job.words, *device],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | place.environment,
        )
    return Running(job, place, process)


def log_of(job: Job) -> Path:
    return job.save_dir.with_name(f"{job.save_dir.name}.log")


def last_line(log: Path, status: int) -> str:
    """Why a run failed, as it said itself."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"exit status {status}: {lines[-1] if lines else 'it said nothing'}"


# --- SLURM ------------------------------------------------------------------------------------------------------------


def slurm_script(study: Study) -> str:
    """The same runs as an array script: a task is a search followed by all that needs its tickets, or one training.

    A task fails if any of its runs does, and still does all that the failed one is not needed for. One that is put back
    into the queue goes on where it was. The script holds for the directory in which it is made, from wherever it is
    submitted.
    """
    tasks = [chain(job, study) for job in study.jobs if job.after is None]
    lines = "\n".join(f"  {shlex.quote(task)}" for task in tasks)
    here = Path.cwd()
    return f"""#!/bin/bash
#SBATCH --array=0-{len(tasks) - 1}
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
    """Where a task's output goes, as a word of an #SBATCH line. In quotes every character is itself but a quote, which
    a backslash precedes; %% is a percent sign. A backslash that remains would switch the pattern off."""
    if "\\" in str(folder):
        raise InputError(f"SLURM cannot write logs to {folder}: a backslash in a name has another meaning there")
    name = str(folder).replace("%", "%%").replace('"', '\\"')
    return f'"{name}/slurm-%A_%a.log"'


def chain(job: Job, study: Study) -> str:
    """A job and, if it succeeds, those that need it, each with those that need that one, as one line of shell."""
    script = job.script if Path.cwd() == ROOT.resolve() else str(ROOT.resolve() / job.script)
    command = shlex.join(["run", "python", "-u", script, *job.words])
    following = [chain(each, study) for each in study.jobs if each.after is job]
    return f"{command} && {{ {'; '.join(following)}; }}" if following else command
