"""Searches and retrainings read from their checkpoints, where summary.json is missing or damaged.

These are runs of older versions, trainings that are not finished, and directories that the 2021 code made.
"""

from pathlib import Path

from lottery.checkpointing.checkpoint import read, split_state, split_ticket
from lottery.checkpointing.metrics import best_row_index
from lottery.checkpointing.run_directory import CHECKPOINT, RunDirectory
from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.results.not_reportable import NotFinished, NotReportable
from lottery.results.ticket_runs import FOREIGN, Run
from lottery.training.recipe import steps_per_epoch
from pruner import count, density, layer_counts
from utils import InputError


def run_from_checkpoints(directory: RunDirectory) -> Run:
    """The run as its newest readable checkpoint records it; InputError if none can be read, `NotReportable` if it is
    of a script whose runs are not read from checkpoints."""
    notes = ["summary.json is damaged; its checkpoints are used."] if directory.summary.exists() else []
    for file in directory.checkpoints():
        try:
            content = read(file)
        except InputError as error:
            notes.append(f"{error}; passed over.")
            continue
        is_ours = content.get("format") is not None and "settings" in content
        run = _own_run(directory.path, content) if is_ours else _foreign_run(directory)
        run.notes = notes + run.notes
        if is_ours and not directory.summary.exists():
            run.notes.append("no summary.json, as in an older version's runs: read from checkpoints, without FLOPs.")
        run.summary = {"environment": content["environment"]} if "environment" in content else {}
        return run
    raise InputError(f"{directory.path} holds no checkpoint that can be read: {' '.join(notes)}")


def _own_run(path: Path, content: dict) -> Run:
    settings = content["settings"]
    if settings["script"] in SEARCHES:
        return Run(path, settings, content.get("rounds", []))
    if settings["script"] in (Script.TRAIN, Script.DST):
        return Run(path, settings, [_retraining_row(content, path)])
    raise NotReportable(path, settings["script"])


def _retraining_row(content: dict, path: Path) -> dict:
    """The row of the network of main_train.py or main_dst.py; `NotFinished` before the end of its training."""
    history, settings = content["history"], content["settings"]
    if content["epoch"] < settings["epochs"]:
        raise NotFinished(path, f"is not finished: {len(history)} of {settings['epochs']} epochs")
    best = history[best_row_index(history)]
    return _mask_row(0, content) | {
        "set": len(content["sequence"]),
        "validation": best["validation"],
        "test": best["test"],
        "best_epoch": best["epoch"],
        "epochs": len(history),
        "epochs_planned": len(history),
        "stopped": False,
        **_steps(content),
        "forward_passes": 0,
        "seconds": content["seconds"],
    }


def _steps(content: dict) -> dict:
    """The part of a finished training's row that says how much it trained. Older files lack the examples of an epoch
    and the step they began at: they began with a whole epoch."""
    history, examples = content["history"], len(content["sequence"])
    each, steps = steps_per_epoch(examples, content["settings"]["batch_size"]), sum(row["steps"] for row in history)
    planned = content["epoch"] * each - content["first_step"] if "first_step" in content else len(history) * each
    return {
        "steps": steps,
        "steps_per_epoch": each,
        "steps_planned": planned,
        **({"steps_left_out": planned - steps} if content["settings"].get("batch_selection") else {}),
        "examples": sum(row.get("examples", examples) for row in history),
    }


def _mask_row(k: int, content: dict) -> dict:
    """The part of a round's row that follows from its mask."""
    mask = split_ticket(content["state_dict"])[1]
    kept = density(mask) if mask else 1.0
    row = {"round": k, "density": kept, "sparsity": 1 - kept}
    return row | ({"kept": count(mask), "layers": layer_counts(mask)} if mask else {})


# --- the 2021 code ----------------------------------------------------------------------------------------------------


def _foreign_run(directory: RunDirectory) -> Run:
    """A directory of the 2021 code: a checkpoint for each round with accuracies by epoch, and no settings."""
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
    is_search = any(CHECKPOINT.fullmatch(file.name)[1] for file in directory.checkpoints())
    settings = {"script": FOREIGN, "searches": is_search, "sets": sets, "network": shapes}
    notes.append("made by the 2021 code: its data, seed and cost are unknown; accuracies and masks are shown.")
    return Run(directory.path, settings, rounds, notes=notes)


def _foreign_row(file: Path, content: dict) -> dict | None:
    """A round of the 2021 code; None if nothing was trained. InputError if the lists of accuracies do not match."""
    result = content.get("result")
    if not isinstance(content.get("state_dict"), dict) or not isinstance(result, dict):
        raise InputError(f"{file} is no checkpoint: it has no state_dict and result")
    validation, test = result.get("ta", []), result.get("test_ta", [])
    if not validation:
        return None
    if len(validation) != len(test):
        raise InputError(f"{file} has {len(validation)} validation accuracies and {len(test)} of the test set")
    best = best_row_index([{"validation": accuracy} for accuracy in validation])
    k = int(CHECKPOINT.fullmatch(file.name)[1] or 0)
    row = _mask_row(k, content) | {"validation": float(validation[best]), "test": float(test[best])}
    row |= {"best_epoch": best, "epochs": len(validation)}
    return row | ({"set": len(content["sequence"])} if "sequence" in content else {})
