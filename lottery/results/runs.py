"""Read runs of any script from their directories.

A run is read from summary.json and metrics.jsonl, or from its checkpoints where these are missing or damaged. What is
damaged is passed over and reported in `notes`.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lottery.checkpointing.backup import is_backup_path
from lottery.checkpointing.run_directory import RunDirectory
from lottery.results.channel_runs import read_channel_run
from lottery.results.checkpoint_runs import run_from_checkpoints
from lottery.results.greedy_runs import GreedyRun, read_greedy_run
from lottery.results.not_reportable import NotFinished, NotReportable, why_not_reportable
from lottery.results.run_search import find_runs, runs_within_run
from lottery.results.stability_runs import StabilityRun, read_stability_run
from lottery.results.ticket_origins import find_tickets_
from lottery.results.ticket_runs import Run, add_records_, run_from_summary
from utils import InputError, listed

AnyRun = Run | GreedyRun | StabilityRun
Log = Callable[[str], None]  # takes a sentence on what is missing, damaged or left out
MOST_NAMED = 3  # directories that one note names


def read_runs(paths: Iterable[Path], log: Log) -> list[AnyRun]:
    """The runs in these directories, each read once; `log` gets a sentence on what is left out or damaged.

    A directory that is no run stands for all runs within it (run_search.py). Passed over are the log files that
    study.py writes beside its runs, and a run that --overwrite replaced if the new one is among the paths.
    """
    runs: list[AnyRun] = []
    empty: dict[str, list[Path]] = {}  # by script, its directories that hold no run
    unfinished: list[NotFinished] = []
    for path, was_found in chosen_directories(paths, log):
        try:
            runs.append(with_weights(read_run(path)))
        except NotReportable as nothing:
            if not (was_found and nothing.is_ticket):  # of a study's tickets, the runs that trained them are there
                empty.setdefault(nothing.script, []).append(nothing.path)
        except NotFinished as error:
            unfinished.append(error)
        except (InputError, OSError) as error:
            log(f"{error}; left out.")
    for run, name in zip(runs, short_names([run.path for run in runs]), strict=True):
        run.name = printable(name)
    find_tickets_([run for run in runs if isinstance(run, Run)])
    left_out = [left_out_note(script, found) for script, found in empty.items()]
    for note in [*left_out, *unfinished_notes(unfinished), *progress_notes(runs), *shared_notes(runs)]:
        log(note)
    return runs


def with_weights(run: AnyRun) -> AnyRun:
    """The run; InputError if one of its masks keeps nothing, whose density 0 has no place among others."""
    if isinstance(run, Run) and any(row["density"] == 0 for row in run.rounds):
        raise InputError(f"{run.path} has a round whose mask keeps no weights")
    return run


def chosen_directories(paths: Iterable[Path], log: Log) -> Iterator[tuple[Path, bool]]:
    """The directories to read, each once, and whether it was found within a given one."""
    paths = list(itertools.filterfalse(is_log, paths))
    every = {path.resolve() for path in paths}
    given, seen = set[Path](), set[Path]()
    for path in paths:
        place = path.resolve()
        if is_backup_path(place, every):
            log(f"{path} is the run that --overwrite replaced; left out, since the new one is given, too.")
        elif place in given:
            log(f"{path} is given twice; it counts once.")
        else:
            found = find_runs(path)
            if found == [path] and (inner := [run for run in runs_within_run(path) if run.resolve() not in every]):
                number = f"the run {inner[0]} within it is" if len(inner) == 1 else f"{len(inner)} runs within it are"
                log(f"{path} is a run itself; {number} left out: name {'it' if len(inner) == 1 else 'them'}, too.")
            found = found or [path]  # reading what holds none tells why
            yield from ((run, run != path) for run in found if run.resolve() not in seen)
            given.add(place)
            seen |= {run.resolve() for run in found}


def read_run(path: Path) -> AnyRun:
    """The run in one directory; InputError, with the reason, if nothing in it can be used."""
    if not path.is_dir():
        raise InputError(f"{path} is no directory" if path.exists() else f"{path} does not exist")
    directory = RunDirectory(path)
    if not directory.summary.exists() and not directory.checkpoints():
        raise InputError(f"{path} holds no run: neither it nor a folder in it has summary.json or a checkpoint")
    special = read_greedy_run(directory) or read_channel_run(directory) or read_stability_run(directory)
    return special or read_ticket_run(directory)


def read_ticket_run(directory: RunDirectory) -> Run:
    """A search or a retraining; InputError if no network in it has been trained to its end."""
    run = run_from_summary(directory) or run_from_checkpoints(directory)
    add_records_(run, directory)
    if not run.rounds:
        why = "".join(f" ({note.rstrip('.')})" for note in run.notes)
        raise NotFinished(directory.path, f"has no finished {'round' if run.is_search else 'training'} yet{why}")
    return run


def is_log(path: Path) -> bool:
    """Whether it is a log file beside a run's directory, of the same name."""
    return path.suffix == ".log" and path.is_file() and path.with_name(path.stem).is_dir()


def short_names(paths: Sequence[Path]) -> list[str]:
    """The paths without the parent directories that all of them share, so that names are short and unique."""
    if len(paths) < 2:
        return [path.resolve().name for path in paths]
    shared = os.path.commonpath([path.resolve().parent for path in paths])
    return [os.path.relpath(path.resolve(), shared) for path in paths]


def printable(name: str) -> str:
    """The name of a file in which bytes that are no UTF-8 are spelled out, so that it can be written and drawn."""
    return os.fsencode(name).decode(errors="backslashreplace")


def left_out_note(script: str, paths: Sequence[Path]) -> str:
    """One sentence for all directories of a script that hold nothing to report."""
    return f"{listed(paths, MOST_NAMED)} {'each ' if len(paths) > 1 else ''}{why_not_reportable(script)}; left out."


def unfinished_notes(found: Sequence[NotFinished]) -> list[str]:
    """One sentence for all runs that nothing can be shown of yet."""
    number = f"{len(found)} runs have nothing to show yet: " if len(found) > 1 else ""
    return [f"{number}{listed(found, MOST_NAMED)}; left out."] if found else []


def progress_notes(runs: Sequence[AnyRun]) -> list[str]:
    """One sentence for all runs that are not at their end. Their processes may still be at work."""
    found = [f"{run.name} ({run.unfinished})" for run in runs if run.unfinished]
    their = "their" if len(found) > 1 else "its"
    return [f"Still going, or stopped before {their} end, and shown as far: {', '.join(found)}."] if found else []


def shared_notes(runs: Sequence[AnyRun]) -> list[str]:
    """The notes of all runs; where several have the same one, it is given once with their names."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            names.setdefault(note, []).append(run.name)
    return [f"{', '.join(owners)}: {note}" for note, owners in names.items()]
