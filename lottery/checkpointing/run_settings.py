"""Settings of a run: which are recorded in checkpoints, and compared when a run is resumed.

Each script's flags become frozen dataclasses once (lottery/cli/configs.py). A field that decides what a run finds is
recorded in every checkpoint under the name of its flag, and a command goes on with a run only if all that both know of
is equal. Fields of other kinds are marked where they are defined:

    epochs: int = 182                                                  # recorded
    save_dir: Annotated[Path, NOT_RECORDED]                            # where things lie, how a run shows itself
    init_dir: Annotated[Path | None, WHETHER_GIVEN] = None             # a file: its contents are recorded by checksums
    milestones: Annotated[tuple[int, ...], RecordedAs("decreasing_lr")] = (91, 136)

Importing this module does not import torch.
"""

import os
import shlex
from collections.abc import Container, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

from lottery.checkpointing.version import suite_version

# Settings that came later than the first files of their scripts, with what was done before there were any; and the
# layer that is not pruned, recorded where it is not the one that every network had before.
VALUES_BEFORE = {
    "rule": None,
    "order_seed": None,
    "inverted": False,
    "weights": "starting",
    "classifier": "the last linear layer in order of registration",
    "schedule": "step",
    "gamma": 0.1,
    "nesterov": False,
    "optimizer": "sgd",
    "label_smoothing": 0.0,
    "batch_selection": None,
    "densities": None,
    "between": "rewind",
    "pattern": None,
    "weights checksum": None,
    "normalization": "dataset",
    "prune_also": None,
    "data_in": "memory",
    "augmentation": "crop",
    "distribution": None,
    "drop_fraction": None,
    "drop": None,
    "shards": 1,
    "basis": "canonical",
    "basis_axes": None,
    "block": "weight",
}


def with_values_before(settings: Mapping) -> dict[str, Any]:
    """The settings, and for each one that came later than them what was done before there was one."""
    return dict(settings) | {name: value for name, value in VALUES_BEFORE.items() if name not in settings}


class Mark(Enum):
    """How a field is recorded, if not by its value."""

    NOT_RECORDED = auto()  # it may differ when a run goes on: it decides nothing that the run finds
    WHETHER_GIVEN = auto()  # a file or directory that is read, which may lie elsewhere


class RecordedAs(NamedTuple):
    """A field that is recorded under another name than its own, that of its flag."""

    name: str


NOT_RECORDED, WHETHER_GIVEN = Mark.NOT_RECORDED, Mark.WHETHER_GIVEN


def recorded(config: Any) -> dict[str, Any]:
    """The settings in a dataclass, and in the dataclasses within it, in values that a checkpoint can hold."""
    found: dict[str, Any] = {}
    hints = get_type_hints(type(config), include_extras=True)
    for each in fields(config):
        value, marks = getattr(config, each.name), getattr(hints[each.name], "__metadata__", ())
        if NOT_RECORDED in marks:
            continue
        if is_dataclass(value):
            found |= recorded(value)
        elif WHETHER_GIVEN in marks:
            found[each.name] = value is not None
        else:
            name = next((mark.name for mark in marks if isinstance(mark, RecordedAs)), each.name)
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def not_recorded(kind: type) -> set[str]:
    """The names of the fields of a dataclass that decide nothing that a run finds."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name for each in fields(kind) if NOT_RECORDED in getattr(hints[each.name], "__metadata__", ())}


def run_settings(script: str, *configs: Any, contents: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's results: the script, all recorded fields, and checksums of the `contents` it was given."""
    found: dict[str, Any] = {"script": str(script)}
    for config in configs:
        found |= recorded(config)
    return found | dict(contents)


def differences(there: Mapping, here: Mapping, names: Container[str] | None = None) -> list[str]:
    """The settings (of these `names`, if given) that differ, in words: "epochs was 8, is 9".

    A larger `pruning_times` than before extends a run and is no difference, nor are further `densities`. A setting that
    only one side knows is none either (a round that is yet to come, or a flag that came later), unless it is known what
    was done before there was one (`VALUES_BEFORE`).
    """
    there = {name: value for name, value in VALUES_BEFORE.items() if name in here} | dict(there)
    return [
        f"{name} was {in_words(there[name])}, is {in_words(here[name])}"
        for name in there
        if name in here and there[name] != here[name] and not extends(name, there[name], here[name])
        if names is None or name in names
    ]


def in_words(value: Any) -> str:
    """A setting's value as it would be given on the command line, or that it was not."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return str(value)


def extends(name: str, before: Any, now: Any) -> bool:
    """Whether this value of a setting asks for more rounds than before, after the same ones."""
    if name == "densities":
        return bool(before and now) and now[: len(before)] == before
    return name == "pruning_times" and before < now


@dataclass(frozen=True)
class RunConfig:
    """One run: where it writes, how it shows itself, whether it begins or goes on, and the seed of all its draws."""

    script: Annotated[str, NOT_RECORDED]  # the file name of the script, which owns the directory
    save_dir: Annotated[Path, NOT_RECORDED]
    command: Annotated[str, NOT_RECORDED] = ""  # as it was typed, for the records
    seed: int = 0
    resume: Annotated[bool, NOT_RECORDED] = False
    checkpoint: Annotated[Path | None, NOT_RECORDED] = None  # with `resume`: the file to go on from
    overwrite: Annotated[bool, NOT_RECORDED] = False
    save_interval: Annotated[float, NOT_RECORDED] = 60.0  # seconds of work that a kill may cost
    print_freq: Annotated[int, NOT_RECORDED] = 50  # optimiser steps between redraws of the progress bar
    tensorboard: Annotated[bool, NOT_RECORDED] = False
    notes: Annotated[tuple[str, ...], NOT_RECORDED] = ()  # remarks on the flags, for the log
    retraining: Annotated[tuple[str, ...], NOT_RECORDED] = ()  # words that train its tickets, but for the ticket

    def retraining_command(self, ticket: Path, ending: str = "") -> str | None:
        """The command that trains a ticket of this run as the run itself trains, in a directory beside its own; None
        if it was begun by no command."""
        if not self.retraining:
            return None
        files = ["--init_dir", str(ticket), "--mask_dir", str(ticket)]
        own = self.save_dir if self.save_dir.name not in ("", "..") else self.save_dir.resolve()  # "." has no name
        return shlex.join([*self.retraining, *files, "--save_dir", f"{own}_retrain{ending}"])

    def about(self, data: os.PathLike | None = None) -> dict[str, str]:
        """What a record of the run says beside its settings: the command and the version of the suite that wrote it
        last, and where the data lay."""
        return {"command": self.command, "version": suite_version()} | ({} if data is None else {"data": str(data)})
