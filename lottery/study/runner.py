"""The runs of a study as processes, several at a time, one in each slot of the machine."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lottery.study.job_checks import is_done
from lottery.study.jobs import Job, Study
from lottery.study.slots import Slot

ROOT = Path(__file__).parents[2]  # where the scripts are
POLL_INTERVAL = 0.2  # seconds between looks at the processes


@dataclass
class RunningJob:
    """A job whose process has been started in a slot."""

    job: Job
    slot: Slot
    process: subprocess.Popen


class Runner:
    """Runs the jobs of a study in order, as many at a time as there are slots."""

    def __init__(self, study: Study, slots: Sequence[Slot]):
        self.study, self.free = study, list(slots)
        self.waiting = [job for job in study.jobs if not is_done(job)]
        self.running: list[RunningJob] = []
        self.failed: dict[Path, str] = {}  # a job's directory -> why it failed

    def run(self) -> dict[Path, str]:
        """Run all jobs that are not done; the directories of those that failed, and why.

        Each job that ends leaves a line, in a log file as well, where no bar is drawn. Whatever interrupts this
        terminates the processes.
        """
        total = len(self.study.jobs)
        with tqdm(total=total, initial=total - len(self.waiting), unit="run", disable=None, dynamic_ncols=True) as bar:
            try:
                while self.waiting or self.running:
                    any_started, unstartable = self.start()
                    if any_started:
                        bar.set_postfix_str(", ".join(self.label(each.job) for each in self.running))
                    for job in unstartable + self.collect():
                        bar.update()
                        bar.write(f"{self.label(job)}: {self.failed.get(job.save_dir, 'done')}")
                    time.sleep(POLL_INTERVAL)
            finally:
                self.terminate()
        return self.failed

    def start(self) -> tuple[bool, list[Job]]:
        """Start jobs in the free slots, each once its predecessor is done; whether any was started, and the jobs that
        never can be, since their predecessor failed."""
        any_started, unstartable = False, []
        unfinished = {job.save_dir for job in self.waiting} | {each.job.save_dir for each in self.running}
        for job in list(self.waiting):
            before = job.after.save_dir if job.after else None
            if before in self.failed:
                self.waiting.remove(job)
                self.failed[job.save_dir] = f"it needs the {job.needs} of {before}, which failed"
                unstartable.append(job)
            elif self.free and before not in unfinished:
                self.waiting.remove(job)
                self.running.append(start_process(job, self.free.pop(0)))
                any_started = True
        return any_started, unstartable

    def collect(self) -> list[Job]:
        """The jobs that have ended since the last call; their slots are free again."""
        ended = [each for each in self.running if each.process.poll() is not None]
        for each in ended:
            self.running.remove(each)
            self.free.append(each.slot)
            if each.process.returncode:
                self.failed[each.job.save_dir] = failure(log_file(each.job), each.process.returncode)
        return [each.job for each in ended]

    def terminate(self) -> None:
        """Ask the processes that still run to save and end, and wait for them."""
        for each in self.running:
            each.process.terminate()
        for each in self.running:
            each.process.wait()

    def label(self, job: Job) -> str:
        return str(job.save_dir.relative_to(self.study.save_dir))


def start_process(job: Job, slot: Slot) -> RunningJob:
    """Start a job; its output is appended to a log file beside its directory."""
    log_file(job).parent.mkdir(parents=True, exist_ok=True)
    device = slot.flags if job.has_gpu_flag else []
    with log_file(job).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / job.script), *job.arguments, *device],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | slot.environment,
        )
    return RunningJob(job, slot, process)


def log_file(job: Job) -> Path:
    return job.save_dir.with_name(f"{job.save_dir.name}.log")


def failure(log: Path, status: int) -> str:
    """The exit status and the last line of the log, which says why the job failed."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"exit status {status}: {lines[-1] if lines else 'no output'}"
