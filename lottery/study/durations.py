"""How long runs of a study take, and from that what remains of it."""

import re
import shlex
from collections.abc import Iterable, Mapping
from statistics import mean

from lottery.checkpointing.run_directory import RunDirectory
from lottery.study.jobs import Job

Method = tuple[str | None, ...]  # what runs that take equally long have in common


def method(job: Job) -> Method:
    """What a job has in common with those that differ from it in the seed alone, or in which ticket is trained."""
    flags = re.sub(r"--seed \S+", "", shlex.join(job.flags))
    return (job.script, flags, job.follows)


class Durations:
    """The seconds that runs of each method have taken in this process.

    A job that an earlier process has begun counts for nothing: it has less to do.
    """

    def __init__(self, waiting: Iterable[Job]):
        self.begun = {job.save_dir for job in waiting if RunDirectory(job.save_dir).files()}
        self.seconds: dict[Method, list[float]] = {}

    def add(self, job: Job, seconds: float) -> None:
        if job.save_dir not in self.begun:
            self.seconds.setdefault(method(job), []).append(seconds)

    def remaining(self, waiting: Iterable[Job], running: Mapping[Job, float], slots: int) -> float | None:
        """The seconds that the jobs which wait, and those which have been running for so many seconds, will take on so
        many slots: the means of their methods, spread over the slots, but no less than the longest of them. None unless
        all methods are known, and where nothing is left to do."""
        left = [self.expected(job, 0) for job in waiting]
        left += [self.expected(job, seconds) for job, seconds in running.items()]
        known = [seconds for seconds in left if seconds is not None]
        return max(sum(known) / slots, *known, 0) if known and len(known) == len(left) else None

    def expected(self, job: Job, elapsed: float) -> float | None:
        """The seconds that are left of a job; None if no run of its method has ended yet."""
        known = self.seconds.get(method(job))
        return max(0.0, mean(known) - elapsed) if known else None


def duration(seconds: float) -> str:
    """A time in two units at most: 45 s, 2 min 28 s, 1 h 5 min, 2 d 3 h."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    for large, small, in_small, limit in (("min", "s", 1, 60), ("h", "min", 60, 24)):
        whole, rest = divmod(round(seconds / in_small), 60)
        if whole < limit:
            return f"{whole} {large} {rest} {small}"
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))


def rough(seconds: float) -> str:
    """A time as an estimate is told: 40 s, 12 min, 3.5 h, 2 d 3 h."""
    if seconds < 95:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 95 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else duration(seconds)
