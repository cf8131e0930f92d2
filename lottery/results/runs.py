"""Reading runs: from their records where they are there, else from their checkpoints.

A run that is not as it should be is read as far as that can be done; what is wrong with it goes into `notes`.
"""

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lottery.checkpointing.backup import is_backup_path
from lottery.checkpointing.checkpoint import read, split_state
from lottery.checkpointing.metrics import read_metrics
from lottery.checkpointing.run_directory import CHECKPOINT, RunDirectory
from lottery.results import channel_runs, greedy_runs, stability_runs
from lottery.results.channel_runs import channel_run
from lottery.results.greedy_runs import GreedyRun, greedy_run
from lottery.results.stability_runs import StabilityRun, stability_run
from lottery.tickets.load import checksum
from pruner import Mask, Ticket, count, density, layer_counts
from utils import InputError, listed

SEARCHES = {"main_imp.py", "main_PrAC_imp.py"}
SETTINGS = {"seed", "dataset", "arch", "epochs", "batch_size"}  # that every run has
ROW = {"round", "density", "sparsity", "kept", "set", "validation", "test", "best_epoch", "epochs", "epochs_planned"}
ROW |= {"stopped", "steps", "steps_per_epoch", "examples", "forward_passes", "seconds"}
ATTACK = {"eps", "pgd_steps", "pgd_step_size"}
ATTACKED = {"round", "density", "examples", "clean", "fgsm", "pgd"}
FEW = 3  # directories that are named of those that hold no run
FOREIGN = "2021 code"  # the `script` of a directory that the 2021 code made


@dataclass(eq=False)
class Run:
    """One run's directory, a search's or a training's. `settings` has at least its `script`; what is not known of the
    rest is not there."""

    path: Path
    settings: dict
    rounds: list[dict]  # a row of each network that was trained
    epochs: list[dict] = field(default_factory=list)  # a line of each epoch, as far as they are recorded
    summary: dict = field(default_factory=dict)  # summary.json, empty where there is none
    name: str = ""  # short, but another one than any other run's
    notes: list[str] = field(default_factory=list)
    robustness: list[dict] = field(default_factory=list)  # what robustness.json says of each attack

    @property
    def script(self) -> str:
        return self.settings["script"]

    @property
    def searches(self) -> bool:
        return self.script in SEARCHES or (self.script == FOREIGN and self.settings["searches"])

    @property
    def seed(self) -> int | str:
        """Its seed; the 2021 code does not tell, so that each of its directories is a seed of its own."""
        return self.settings.get("seed", self.name)

    @property
    def ticket(self) -> dict | None:
        """Where the ticket of a retraining comes from; None for the dense network."""
        return self.summary.get("ticket")

    @property
    def density(self) -> float:
        """Of the network that a training trained, or a search began with."""
        return self.rounds[0]["density"]

    def mask(self, k: int) -> Mask:
        """The ticket after k prunings, from its checkpoint; InputError where that cannot be read."""
        path = RunDirectory(self.path).checkpoint(k)
        state = read(path).get("state_dict")
        if not isinstance(state, dict):
            raise InputError(f"{path} has no state_dict")
        return split_state(state)[1]


AnyRun = Run | GreedyRun | StabilityRun


class NoRun(InputError):
    """A directory of `script` that holds nothing to report."""

    def __init__(self, path: Path, script: str):
        super().__init__(f"{path} {_no_run(script)}")
        self.path, self.script = path, script


def read_runs(paths: Iterable[Path]) -> tuple[list[AnyRun], list[str]]:
    """The runs that can be read, each once, and what is wrong with the others. The logs that study.py writes beside
    its runs are no news to anyone. A run that --overwrite replaced is no second one beside the new one."""
    runs, notes, seen, empty = [], [], set(), {}
    paths = list(itertools.filterfalse(is_log, paths))
    given = {path.resolve() for path in paths}
    for path in paths:
        if is_backup_path(path.resolve(), given):
            notes.append(f"{path} is the run that --overwrite replaced; left out, since the new one is given, too.")
            continue
        if path.resolve() in seen:
            notes.append(f"{path} is given twice; it counts once.")
            continue
        seen.add(path.resolve())
        try:
            runs.append(read_run(path))
        except NoRun as nothing:
            empty.setdefault(nothing.script, []).append(nothing.path)
        except (InputError, OSError) as error:
            notes.append(f"{error}; left out.")
    for run, name in zip(runs, short_names([run.path for run in runs]), strict=True):
        run.name = name
    find_tickets([run for run in runs if isinstance(run, Run)])
    return runs, notes + [_left_out(script, paths) for script, paths in empty.items()] + told_once(runs)


def is_log(path: Path) -> bool:
    """Whether it is a file beside the directory of a run, named for it."""
    return path.suffix == ".log" and path.is_file() and path.with_name(path.stem).is_dir()


def told_once(runs: Sequence[AnyRun]) -> list[str]:
    """What is to be noted about runs, the same sentence once for all that it is about."""
    about: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            about.setdefault(note, []).append(run.name)
    return [f"{', '.join(names)}: {note}" for note, names in about.items()]


def short_names(paths: Sequence[Path]) -> list[str]:
    """The directories without what all of them share, so that each name is another one."""
    if len(paths) < 2:
        return [path.resolve().name for path in paths]
    shared = os.path.commonpath([path.resolve().parent for path in paths])
    return [os.path.relpath(path.resolve(), shared) for path in paths]


def read_run(path: Path) -> AnyRun:
    """One directory; InputError, with the reason, where nothing in it can be used."""
    if not path.is_dir():
        raise InputError(f"{path} is no directory" if path.exists() else f"{path} does not exist")
    directory = RunDirectory(path)
    if not directory.summary.exists() and not directory.checkpoints():
        raise InputError(f"{path} holds no run: neither summary.json nor a checkpoint")
    return greedy_run(directory) or channel_run(directory) or stability_run(directory) or _search_or_training(directory)


def _search_or_training(directory: RunDirectory) -> Run:
    """From its records, else from its checkpoints; InputError before anything is trained to the end."""
    path = directory.path
    run = _from_summary(directory) or _from_checkpoints(directory)
    run.epochs, broken = read_metrics(directory.metrics)
    if broken:
        lines = "1 line is" if broken == 1 else f"{broken} lines are"
        run.notes.append(f"{lines} cut or altered in metrics.jsonl, passed over.")
    run.robustness = _robustness(directory, run.notes)
    run.notes += _unfinished(run)
    if not run.rounds:
        why = "".join(f" ({note.rstrip('.')})" for note in run.notes)
        raise InputError(f"{path} has no finished {'round' if run.searches else 'training'} yet{why}")
    return run


def _from_summary(directory: RunDirectory) -> Run | None:
    """What summary.json says; None where there is none, and where it is damaged but checkpoints are there."""
    if not directory.summary.exists():
        return None
    try:
        summary = json.loads(directory.summary.read_bytes())
        settings, rows = summary["settings"], summary["rounds"]
        known = settings["script"] in {*SEARCHES, "main_train.py"}
        whole = known and settings.keys() >= SETTINGS and all(row.keys() >= ROW for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if whole:
        return Run(directory.path, settings, rows, summary=summary)
    if not directory.checkpoints():
        raise InputError(f"{directory.summary} is damaged, and there is no checkpoint to go by")
    return None


def _robustness(directory: RunDirectory, notes: list[str]) -> list[dict]:
    """What main_robustness.py found; empty, with a note where its file is there and damaged."""
    if not directory.robustness.exists():
        return []
    try:
        found = json.loads(directory.robustness.read_bytes())["attacks"]
        if all(each["attack"].keys() >= ATTACK and all(r.keys() >= ATTACKED for r in each["rounds"]) for each in found):
            return found
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    notes.append("robustness.json is damaged, passed over.")
    return []


def _unfinished(run: Run) -> list[str]:
    """A sentence if the run is not at its end, which its process may be on the way to."""
    planned = run.settings.get("pruning_times")
    if run.searches and planned and len(run.rounds) < planned:
        return [f"still going, or stopped before its end: {len(run.rounds)} of {planned} rounds are done and shown."]
    return []


# --- from checkpoints -------------------------------------------------------------------------------------------------


def _from_checkpoints(directory: RunDirectory) -> Run:
    """A run without a whole summary.json: of an older version, of the 2021 code, or a training that is not finished."""
    notes = ["summary.json is damaged; its checkpoints are used."] if directory.summary.exists() else []
    for file in directory.checkpoints():
        try:
            content = read(file)
        except InputError as error:
            notes.append(f"{error}; passed over.")
            continue
        ours = content.get("format") is not None and "settings" in content
        if not ours:
            run = _foreign(directory)
        elif content["settings"]["script"] in SEARCHES:
            run = Run(directory.path, content["settings"], content.get("rounds", []))
        elif content["settings"]["script"] != "main_train.py":
            raise NoRun(directory.path, content["settings"]["script"])
        else:
            run = Run(directory.path, content["settings"], _training(content, directory.path))
        run.notes = notes + run.notes
        if ours and not directory.summary.exists():
            run.notes.append("no summary.json, as in an older version's runs: read from checkpoints, without FLOPs.")
        run.summary = {"environment": content["environment"]} if "environment" in content else {}
        return run
    raise InputError(f"{directory.path} holds no checkpoint that can be read: {' '.join(notes)}")


def _no_run(script: str) -> str:
    """Why there is nothing to report of a directory of this script."""
    if script in (greedy_runs.SCRIPT, channel_runs.SCRIPT):
        return f"holds a run of {script} without a whole summary.json: the command that made the run writes it anew"
    if script == stability_runs.SCRIPT:
        return f"holds a run of {script} that is not at its end: the same command goes on with it"
    return f"holds a ticket of {script}, no run: give the run that trained it"


def _left_out(script: str, paths: Sequence[Path]) -> str:
    """One sentence for all directories of a script that have nothing to report."""
    told = f"{listed(paths, FEW)} {'each ' if len(paths) > 1 else ''}{_no_run(script)}"
    return f"{told}; left out."


def _training(content: dict, path: Path) -> list[dict]:
    """The row of main_train.py's network; InputError while it is being trained."""
    history, settings = content["history"], content["settings"]
    if content["epoch"] < settings["epochs"]:
        raise InputError(f"{path} is not finished: {len(history)} of {settings['epochs']} epochs")
    validated = history[-1]["validation"] is not None  # without a validation set the last epoch counts
    best = max(history, key=lambda row: row["validation"]) if validated else history[-1]
    steps = sum(row["steps"] for row in history)
    return [
        _mask_row(0, content)
        | {
            "set": len(content["sequence"]),
            "validation": best["validation"],
            "test": best["test"],
            "best_epoch": best["epoch"],
            "epochs": len(history),
            "epochs_planned": len(history),
            "stopped": False,
            "steps": steps,
            "steps_per_epoch": steps // len(history),
            "examples": len(history) * len(content["sequence"]),
            "forward_passes": 0,
            "seconds": content["seconds"],
        }
    ]


def _mask_row(k: int, content: dict) -> dict:
    """The part of a round's row that its mask decides."""
    mask = split_state(content["state_dict"])[1]
    kept = density(mask) if mask else 1.0
    row = {"round": k, "density": kept, "sparsity": 1 - kept}
    return row | ({"kept": count(mask), "layers": layer_counts(mask)} if mask else {})


def _foreign(directory: RunDirectory) -> Run:
    """A directory of the 2021 code's scripts: a checkpoint for each round, accuracies by epoch, no settings."""
    rounds, notes, shapes, sets = [], [], "", False
    for file in reversed(directory.checkpoints()):
        try:
            content = read(file)
            row = _foreign_row(file, content)
        except InputError as error:
            notes.append(f"{error}; passed over.")
            continue
        sets |= "sequence" in content
        shapes = repr([(name, tuple(value.shape)) for name, value in split_state(content["state_dict"])[0].items()])
        if row is None:
            notes.append(f"{file.name} has no accuracies: it is a ticket that has not been trained, and is not shown.")
        else:
            rounds.append(row)
    searches = any(CHECKPOINT.fullmatch(file.name)[1] for file in directory.checkpoints())
    settings = {"script": FOREIGN, "searches": searches, "sets": sets, "network": shapes}
    notes.append("made by the 2021 code: its data, seed and cost are not told; accuracies and masks are shown.")
    return Run(directory.path, settings, rounds, notes=notes)


def _foreign_row(file: Path, content: dict) -> dict | None:
    """A round of the 2021 code; None where nothing was trained. InputError if its lists do not go together."""
    result = content.get("result")
    if not isinstance(content.get("state_dict"), dict) or not isinstance(result, dict):
        raise InputError(f"{file} is no checkpoint: it has no state_dict and result")
    validation, test = result.get("ta", []), result.get("test_ta", [])
    if not validation:
        return None
    if len(validation) != len(test):
        raise InputError(f"{file} has {len(validation)} validation accuracies and {len(test)} of the test set")
    best = max(range(len(validation)), key=validation.__getitem__)
    k = int(CHECKPOINT.fullmatch(file.name)[1] or 0)
    row = _mask_row(k, content) | {"validation": float(validation[best]), "test": float(test[best])}
    row |= {"best_epoch": best, "epochs": len(validation)}
    return row | ({"set": len(content["sequence"])} if "sequence" in content else {})


# --- where a ticket comes from ----------------------------------------------------------------------------------------


def find_tickets(runs: Sequence[Run]) -> None:
    """Trainings whose records do not tell their ticket: told by its checksum, if its search is among the runs."""
    nameless = [run for run in runs if run.script == "main_train.py" and _lost(run)]
    if not nameless:
        return
    wanted = {run.settings.get("ticket checksum") for run in nameless}
    found = {}
    for search in (run for run in runs if run.searches and run.script != FOREIGN):
        for k in range(1, len(search.rounds) + 1):
            origin = {"file": str(RunDirectory(search.path).checkpoint(k)), "prunings": k, "settings": search.settings}
            found |= dict.fromkeys({_checksum(Path(origin["file"]))} & wanted, origin)
    for run in nameless:
        run.summary["ticket"] = found.get(run.settings.get("ticket checksum"))
        if run.ticket is None:
            run.summary["ticket"] = {"file": "unknown", "prunings": None, "settings": None}
            run.notes.append("which search its ticket comes from is not recorded, and no run given here has it.")


def _lost(run: Run) -> bool:
    """Whether it trained a ticket of which nothing is known."""
    return run.ticket is None and run.density < 1


def _checksum(file: Path) -> str | None:
    """The checksum of the ticket in a checkpoint, as main_train.py notes it; None where there is none to read."""
    try:
        content = read(file)
        return checksum(Ticket(split_state(content["state_dict"])[1], content["init_weight"]))
    except (InputError, KeyError, AttributeError):
        return None
