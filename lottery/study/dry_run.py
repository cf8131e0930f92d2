"""A dry run: every run of a study with its state, and nothing else done."""

import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lottery.study.job_states import JobState, State, job_states
from lottery.study.jobs import Study
from lottery.study.log import INDENT, laid_out, name_in
from lottery.terminal import counted

HEAD = max(map(len, State))  # columns of the longest state


def dry_run(study: Study, commands: bool = False) -> list[str]:
    """The lines that tell the state of each run, with its command below it if asked for, and how many there are of each
    state."""
    states = job_states(study.jobs)
    lines = [line for each in states for line in state_lines(each, study.save_dir, commands)]
    return [*lines, count_line(states)]


def state_lines(found: JobState, folder: Path, commands: bool) -> list[str]:
    """The state of one run; what does not fit behind its name stands below it."""
    head = f"{found.state:{HEAD}}  {name_in(folder, found.job.save_dir)}"
    command = [f"{INDENT}{shlex.join(['python', '-u', *found.job.command])}"] if commands else []
    return [*laid_out(head + (":" if found.details else ""), found.details, found.log), *command]


def count_line(states: Iterable[JobState]) -> str:
    """How many runs there are of each state, in the order of `State`."""
    counts = Counter(each.state for each in states)
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    return f"{counted(counts.total(), 'run')}: {told}"
