"""What a study that runs prints: a line for each run that ends, and on a terminal a bar below them."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from tqdm import tqdm

from lottery.study.durations import Durations, duration, rough
from lottery.study.job_states import log_file, relative_name
from lottery.study.jobs import Job, Study
from lottery.terminal import counted

WIDTH, INDENT = 80, "    "  # columns that a line should keep to; what stands before one that goes on
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # without tqdm's estimate: runs differ in length


class StudyLog:
    """The lines and the bar of a study, and the counts in them.

    A context manager that begins with what there is to do and ends with what came of it.
    """

    def __init__(self, study: Study, waiting: Sequence[Job], slots: int, at_a_time: str):
        self.study, self.slots, self.to_run, self.at_a_time = study, slots, len(waiting), at_a_time
        self.durations, self.started = Durations(waiting), time.monotonic()
        self.done, self.failures, self.without = len(study.jobs) - len(waiting), 0, 0
        self.running = ""  # the names behind the bar
        self.bar = tqdm(total=self.total, initial=self.done, bar_format=BAR, disable=None, dynamic_ncols=True)

    @property
    def total(self) -> int:
        return len(self.study.jobs)

    def __enter__(self) -> "StudyLog":
        before = f", {self.done} of them done" if self.done else ""
        self.write(stamped(f"{counted(self.total, 'run')}{before}; {self.to_run} to run, {self.at_a_time}"))
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()
        left = self.total - self.done - self.failures - self.without
        counts = {"done": self.done, "failed": self.failures, "left out": self.without, "to run": left}
        told = ", ".join(f"{number} {state}" for state, number in counts.items() if number or state == "done")
        self.write(stamped(f"{counted(self.total, 'run')}: {told}; {duration(time.monotonic() - self.started)}"))

    def show_running(self, jobs: Iterable[Job]) -> None:
        """Name the jobs that run behind the bar, which is drawn anew once they are others."""
        names = ", ".join(map(self.name, jobs))
        if names != self.running:
            self.running = names
            self.bar.set_postfix_str(names)

    def ended(
        self, job: Job, seconds: float, failure: str | None, waiting: Iterable[Job], running: Mapping[Job, float]
    ) -> None:
        """A job has ended after so many seconds, with a failure or well; these wait, and these run since then."""
        if failure is None:
            self.done += 1
            self.durations.add(job, seconds)
            left = self.durations.remaining(waiting, running, self.slots)
            about = () if left is None else (f"about {rough(left)} left",)
            self.write_job(job, f"done in {duration(seconds)}", *about)
        else:
            self.failures += 1
            self.write_job(job, f"failed after {duration(seconds)}", *failure.split(": ", 1), log=log_file(job))

    def left_out(self, job: Job) -> None:
        """A job cannot be run, since the one that it needs has failed."""
        self.without += 1
        assert job.after is not None
        self.write_job(job, "left out", f"it needs the {job.needs} of {relative_name(job.after, job)}")

    def write_job(self, job: Job, *parts: str, log: Path | None = None) -> None:
        self.bar.update()
        number = self.done + self.failures + self.without
        self.write(*laid_out(stamped(f"{number} of {self.total}  {self.name(job)}:"), parts, log))

    def write(self, *lines: str) -> None:
        """Print lines above the bar, at once."""
        for line in lines:
            tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def name(self, job: Job) -> str:
        return name_in(self.study.save_dir, job.save_dir)


def name_in(folder: Path, path: Path) -> str:
    """The name of a run: its path below the directory of the study."""
    return str(path.relative_to(folder))


def stamped(line: str) -> str:
    """A line with the time of day before it; and the date, for studies that take longer."""
    return f"{time.strftime('%m-%d %H:%M')}  {line}"


def laid_out(head: str, parts: Iterable[str], log: Path | None = None) -> list[str]:
    """The head and the parts behind it, with commas between; one that would not fit goes to lines of its own. A log has
    its line at the end."""
    lines = [head]
    for number, part in enumerate(parts):
        joint = "," if number else ""
        if len(lines[-1]) + len(joint) + 1 + len(part) < WIDTH:
            lines[-1] += f"{joint} {part}"
        else:
            lines += fill(part)
    return [*lines, *([f"{INDENT}log: {log}"] if log else [])]


def fill(text: str) -> list[str]:
    """A text over as many indented lines as it needs; a long word, such as a path, is not broken."""
    wrapped = wrap(text, WIDTH - 1 - len(INDENT), break_long_words=False, break_on_hyphens=False)
    return [INDENT + line for line in wrapped]
