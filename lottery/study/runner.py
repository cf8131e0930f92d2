"""The runs of a study as processes, several at a time, one in each slot of the machine."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lottery.checkpointing.signals import shielded
from lottery.study import processes
from lottery.study.job_states import last_lines, log_file
from lottery.study.jobs import Job, Study
from lottery.study.lines import append_line
from lottery.study.log import StudyLog
from lottery.study.slots import Slot

POLL_INTERVAL = 0.2  # seconds between looks at the processes


@dataclass
class RunningJob:
    """A job whose process has been started in a slot."""

    job: Job
    slot: Slot
    process: processes.Running
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started


class Elsewhere(Protocol):
    """A cluster, which starts runs in the place of this process."""

    interval: float  # seconds between looks
    at_a_time: str  # how many runs there are at a time, in words

    def start(self, job: Job, slot: Slot) -> RunningJob: ...


class Runner:
    """Runs those jobs of a study that are `waiting`, in order, as many at a time as there are slots: as processes, or
    on a `cluster`."""

    def __init__(self, study: Study, waiting: Sequence[Job], slots: Sequence[Slot], cluster: Elsewhere | None = None):
        self.study, self.waiting, self.free = study, list(waiting), list(slots)
        self.start_job = cluster.start if cluster else start_process
        self.interval = cluster.interval if cluster else POLL_INTERVAL
        self.at_a_time = cluster.at_a_time if cluster else f"{len(slots)} at a time"
        self.running: list[RunningJob] = []
        self.failed: dict[Path, str] = {}  # a job's directory -> why it failed

    def run(self) -> dict[Path, str]:
        """Run the jobs; the directories of those that failed, and why.

        Each job that ends leaves a line, in a log file as well, where no bar is drawn. Whatever interrupts this
        terminates the processes, but not the jobs of a cluster.
        """
        with StudyLog(self.study, self.waiting, len(self.free), self.at_a_time) as log:
            try:
                while self.waiting or self.running:
                    for job in self.start():
                        log.left_out(job)
                    log.show_running([each.job for each in self.running])
                    for ended in self.collect():
                        running = {each.job: each.seconds for each in self.running}
                        log.ended(ended.job, ended.seconds, self.failed.get(ended.job.save_dir), self.waiting, running)
                    time.sleep(self.interval)
            finally:
                self.terminate()
        return self.failed

    def start(self) -> list[Job]:
        """Start jobs in the free slots, each once its predecessor is done; the jobs that never can be started, since
        their predecessor failed."""
        unstartable = []
        unfinished = {job.save_dir for job in self.waiting} | {each.job.save_dir for each in self.running}
        for job in list(self.waiting):
            before = job.after.save_dir if job.after else None
            if before in self.failed:
                self.waiting.remove(job)
                self.failed[job.save_dir] = f"it needs the {job.needs} of {before}, which failed"
                unstartable.append(job)
            elif self.free and before not in unfinished:
                with shielded():  # a job that has been started or submitted, and is not known here, would run twice
                    self.waiting.remove(job)
                    self.running.append(self.start_job(job, self.free.pop(0)))
        return unstartable

    def collect(self) -> list[RunningJob]:
        """The jobs that have ended since the last call; their slots are free again."""
        ended = [each for each in self.running if each.process.poll() is not None]
        for each in ended:
            self.running.remove(each)
            self.free.append(each.slot)
            if each.process.returncode:
                self.failed[each.job.save_dir] = record_failure(log_file(each.job), each.process.returncode)
        return ended

    def terminate(self) -> None:
        """Ask the processes that still run to save and end, and wait for them; jobs of a cluster go on."""
        for each in self.running:
            each.process.terminate()
        for each in self.running:
            each.process.wait()


def start_process(job: Job, slot: Slot) -> RunningJob:
    """Start a job; its output is appended to a log file beside its directory."""
    log_file(job).parent.mkdir(parents=True, exist_ok=True)
    device = slot.flags if job.has_gpu_flag else []
    process = processes.start([*job.command, *device], log_file(job), slot.environment)
    return RunningJob(job, slot, process)


def record_failure(log: Path, status: int) -> str:
    """The exit status and the last line of the log, which says why the job failed. The status is appended to the log,
    where a dry run finds it, if the disk has room for it: no other job is to fail for that."""
    lines = last_lines(log)
    with suppress(OSError):
        append_line(log, f"study.py: exit status {status}")
    return f"exit status {status}: {lines[-1] if lines else 'no output'}"
