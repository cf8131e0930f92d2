"""What is known of a job from the files that it has left: whether it is done, how far it is, how it failed.

Everything here reads; nothing is written, locked or repaired.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lottery.checkpointing.file_system import is_locked
from lottery.checkpointing.metrics import read_metrics, read_summary
from lottery.checkpointing.run_directory import LOCK, RunDirectory
from lottery.checkpointing.run_settings import RunConfig, extends, not_recorded, with_values_before
from lottery.checkpointing.script_names import Script
from lottery.cli.registry import cli_module, read_flags
from lottery.search.config import SET_SETTINGS, STEPS_OF
from lottery.study.jobs import Job, Study
from lottery.study.torchrun import without_reports
from lottery.terminal import counted
from utils import InputError

UNKNOWN = object()  # a flag that the other command does not have
NOT_COMPARED = {"command_line", "gpu", *not_recorded(RunConfig)}  # where a run lies and computes, how it shows itself
LOG_TAIL = 65536  # bytes at the end of a log that are looked at
FAILED = re.compile(r"study\.py: exit status (-?\d+)")  # the last line of the log of a run that failed
REFUSED = re.compile(r"(main_\w+|study)\.py: error: .*")  # the same, in logs that lack that line


class State(StrEnum):
    """States of a job, in the order in which they are counted."""

    DONE = "done"
    RUNNING = "running"
    BEGUN = "begun"
    FAILED = "failed"
    NOT_BEGUN = "not begun"
    WAITING = "waiting"


@dataclass(frozen=True)
class JobState:
    """A job's state, what there is to say about it in a few words each, and the log that tells why it failed."""

    job: Job
    state: State
    details: tuple[str, ...] = ()
    log: Path | None = None


def job_states(jobs: Iterable[Job]) -> list[JobState]:
    """The states of jobs, each of which comes after the one that it needs."""
    found: dict[Path, JobState] = {}
    for job in jobs:
        found[job.save_dir] = job_state(job, found[job.after.save_dir] if job.after else None)
    return list(found.values())


def job_state(job: Job, before: JobState | None) -> JobState:
    """The state of a job, given that of the job that it needs."""
    if is_done(job):
        return JobState(job, State.DONE)
    if is_locked(job.save_dir / LOCK):
        return JobState(job, State.RUNNING, progress(job))
    if failure := last_failure(job):
        return JobState(job, State.FAILED, (*progress(job), *failure), log_file(job))
    if RunDirectory(job.save_dir).files():
        return JobState(job, State.BEGUN, (*progress(job), *other_flags(job)))
    if before and before.state is not State.DONE:
        why = ", which failed" if before.state is State.FAILED else ""
        return JobState(job, State.WAITING, (f"for {relative_name(before.job, job)}{why}",))
    return JobState(job, State.NOT_BEGUN)


def relative_name(other: Job, job: Job) -> str:
    """The directory of a job as seen from that of another: its name alone if they lie side by side."""
    return os.path.relpath(other.save_dir, job.save_dir.parent)


# --- done -------------------------------------------------------------------------------------------------------------


def is_done(job: Job) -> bool:
    """Whether the records in a job's directory say that its command has finished, wherever and on whatever device."""
    record = read_record(job)
    return bool(record.get("finished")) and differing_flags(job, record) == [] and not of_another_search(job, record)


def of_another_search(job: Job, record: Mapping) -> list[str]:
    """The settings in which the search that a job's ticket came from differs from the one in the directory of the job
    before it, which was made anew since. More rounds are no difference, nor is a search that is no longer there."""
    ticket, before = record.get("ticket") or record.get("source"), job.after  # an elastic ticket has a source
    if before and job.follows:
        return of_another_run(record, read_record(before))
    then = ticket.get("settings") if isinstance(ticket, Mapping) else None
    now = read_record(before).get("settings") if before else None
    if not then or not now:
        return []
    if then.get("script") != now.get("script"):  # an elastic ticket's job is no search of the ticket it was made of
        return ["script"] if before.script != Script.ELASTIC else []
    then, now = (with_values_before(json.loads(json.dumps(each, default=str))) for each in (then, now))  # as a summary
    return [
        name
        for name in then
        if name in now and then[name] != now[name]
        if not extends(name, then[name], now[name]) and not extends(name, now[name], then[name])
    ]


def of_another_run(record: Mapping, followed: Mapping) -> list[str]:
    """What a control has taken over from a PrAC run that the run which lies there now has otherwise: settings that make
    sets, sizes of sets and epochs by round, or steps. Nothing of a run that is no longer there."""
    mine, its = record.get("settings", {}), followed.get("settings", {})
    if steps := {name: value for name, value in mine.items() if name.startswith(f"{STEPS_OF}, round")}:
        taken = {f"{STEPS_OF}, round {row['round']}": row["steps"] for row in followed.get("rounds", ())}
        return [name for name, value in steps.items() if taken.get(name, value) != value]
    made = [name for name in SET_SETTINGS if name in mine and name in its and mine[name] != its[name]]
    rounds = zip(record.get("rounds", ()), followed.get("rounds", ()), strict=False)  # a control may have fewer
    return made + [
        f"{name} of round {here['round']}"
        for here, there in rounds
        for name in ("set", "epochs")
        if here[name] != there[name]
    ]


def unfinished(study: Study) -> list[Job]:
    """The jobs that are not done, in their order."""
    return [job for job in study.jobs if not is_done(job)]


def read_record(job: Job) -> dict:
    """What a job has left: `finished`, and the `command` it was; empty if that is damaged or missing."""
    directory = RunDirectory(job.save_dir)
    if not job.only_makes_ticket:
        return read_summary(directory.summary) or {}
    if not directory.checkpoint(None).exists():
        return {}
    from lottery.checkpointing.checkpoint import read

    try:
        return {"finished": True} | read(directory.checkpoint(None))
    except InputError:
        return {}


def differing_flags(job: Job, record: Mapping) -> list[str] | None:
    """The flags by which a job differs from the command on record; None if that is no command of its script.

    Neither the order of the flags nor how a number is spelled matters, nor where the study lies: what the job is given
    of the one before it is compared as seen from its own directory.
    """
    try:
        _, script, *words = shlex.split(str(record["command"]))
        if script != job.script:
            return None
        there, here = compared_flags(job, words), compared_flags(job, job.arguments)
    except (ValueError, KeyError, InputError):  # something else's, or edited by hand
        return None
    return [name for name in here if here[name] != there.get(name, UNKNOWN)]


def compared_flags(job: Job, words: Sequence[str]) -> dict[str, object]:
    """The values of all flags that decide whether a command is that of a job."""
    given = vars(cli_module(job.script).parser().parse_args(words))
    inputs = {flag: os.path.relpath(given[flag], given["save_dir"]) for flag in job.flags_made_later if given[flag]}
    return {name: value for name, value in (given | inputs).items() if name not in NOT_COMPARED}


# --- how far ----------------------------------------------------------------------------------------------------------


def progress(job: Job) -> tuple[str, ...]:
    """How far a search or a training is, in words; nothing for others, and before the first epoch is saved."""
    directory = RunDirectory(job.save_dir)
    epochs = [line["round"] for line in read_metrics(directory.metrics)[0]]
    if job.script.is_search:
        done = len((read_summary(directory.summary) or {}).get("rounds", []))
        rounds = f"{done} of {planned(job, 'pruning_times')} rounds"
        return (f"{rounds} and {counted(epochs.count(done), 'epoch')}" if done in epochs else rounds,) if epochs else ()
    if job.script in (Script.TRAIN, Script.DST) and epochs:
        return (f"{len(epochs)} of {counted(planned(job, 'epochs'), 'epoch')}",)
    return ()


def planned(job: Job, flag: str) -> int:
    """How many rounds or epochs a job has."""
    return getattr(read_flags(job.script, job.arguments, made_later=job.flags_made_later), flag)


def other_flags(job: Job) -> tuple[str, ...]:
    """What another command left here, which the job's script may refuse to go on with."""
    record = read_record(job)
    names = differing_flags(job, record) if record else []
    if names is None:
        return ("by another command",)
    if not names and (others := of_another_search(job, record)):
        return (f"of a ticket found with other {', '.join(others)}",)
    return (f"made with other {', '.join(f'--{name}' for name in names)}",) if names else ()


# --- failed -----------------------------------------------------------------------------------------------------------


def log_file(job: Job) -> Path:
    """Where the output of a job goes, beside its directory."""
    return job.save_dir.with_name(f"{job.save_dir.name}.log")


def last_lines(log: Path) -> list[str]:
    """The last lines of a log that are not empty, torchrun's aside; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in without_reports(text.splitlines()) if line.strip()]


def last_failure(job: Job) -> tuple[str, ...]:
    """How the job's last attempt failed, in words; nothing if it is not known to have failed."""
    lines = last_lines(log_file(job))
    if lines and (status := FAILED.fullmatch(lines[-1])):
        return (f"exit status {status[1]}", *lines[-2:-1])
    if lines and REFUSED.fullmatch(lines[-1]):
        return (lines[-1],)
    return ()
