"""A finished PrAC run that a control follows: its sets, and how long each of its rounds trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.recorded_flags import data_flags, split_flags
from lottery.checkpointing.run_directory import RunDirectory, checkpoint_name
from lottery.checkpointing.run_settings import differences
from lottery.checkpointing.script_names import Script
from lottery.search.config import LIKE_RUN, SET_SETTINGS, STEPS_OF, Reference
from lottery.tickets.prac_set_files import read_sequence
from utils import InputError, digest

DATA = ("data checksum", "split checksum", "val_fraction")
# Settings that must be equal for a control to take as many steps as the run that it follows.
SCHEDULE = tuple("epochs batch_size decreasing_lr warmup prac_epochs prune_type rewind_epoch".split())
SCHEDULE += ("rewind_iteration", "rewind_lr", "init_dir", "mask_dir", "ticket step", "schedule", "gamma")
# Settings that must be equal for it to differ in nothing but the members of its sets.
RECIPE = tuple(
    "lr momentum weight_decay no_augmentation rate densities pattern between random_prune prune_classifier seed".split()
)
RECIPE += ("arch", "stem", "network", "optimizer", "nesterov", "label_smoothing", "augmentation")
RECIPE += ("precision", "normalization", "image_size", "prune_also", "new_classifier", "shards")
RECIPE += ("ticket checksum", "weights checksum")
RECIPE += ("batch_selection", "selection_rate", "selection_until", "basis", "basis_axes", "block")
STEP_SIZE = ("batch_size",)


@dataclass(frozen=True)
class ReferenceRun:
    """What a control takes from a finished PrAC run; `flag` is the flag that names the run."""

    flag: str
    path: Path
    settings: Mapping
    sets: tuple[np.ndarray, ...]  # of each round, and the one that the last round left; sorted
    epochs: tuple[int, ...]  # that each round trained
    steps: tuple[int, ...]  # its optimiser steps

    def __str__(self) -> str:
        return f"--{self.flag} {self.path}"

    def check(self, settings: Mapping) -> None:
        """InputError if a run with these settings could be no control: other data, another schedule, another recipe."""
        if found := self.differing_settings(settings, DATA):
            content = {"settings": self.settings}
            made_with = " ".join(filter(None, (data_flags(self.path, content), split_flags(self.path, content))))
            raise InputError(
                f"{self} was found on other data or another split: {'; '.join(found)}. Give {made_with}, as it had"
            )
        if found := self.differing_settings(settings, SCHEDULE if self.flag == LIKE_RUN else STEP_SIZE):
            raise InputError(f"{self} has other steps than this run would have: {'; '.join(found)}. Give the same")
        if self.flag == LIKE_RUN and (found := self.differing_settings(settings, RECIPE)):
            raise InputError(f"{self} would differ from this run in more than its members: {'; '.join(found)}")

    def differing_settings(self, settings: Mapping, names: tuple[str, ...]) -> list[str]:
        """The differences in the settings of these names, in words."""
        return differences(self.settings_for(len(settings.get("densities") or ())), settings, names)

    def settings_for(self, prunings: int) -> dict:
        """Its settings, with so many of its densities: a control may have fewer rounds."""
        densities = self.settings.get("densities")
        return dict(self.settings) | ({"densities": densities[:prunings]} if densities and prunings else {})

    def settings_to_record(self) -> dict:
        """What it adds to the settings of a control: the steps, or sets and epochs, that it takes over."""
        if self.flag == STEPS_OF:
            return {f"{STEPS_OF}, round {k}": steps for k, steps in enumerate(self.steps)}
        rounds = enumerate(zip(self.sets, self.epochs, strict=False))  # the last set has not been trained on
        digests = {f"{LIKE_RUN}, round {k}": digest(entries, np.array([epochs])) for k, (entries, epochs) in rounds}
        return {name: self.settings[name] for name in SET_SETTINGS if name in self.settings} | digests


def find_reference_run(reference: Reference | None, rounds: int) -> ReferenceRun | None:
    """The finished PrAC run that a control follows for so many rounds; None if there is none to follow.

    InputError for a directory without a run of main_PrAC_imp.py that made its own sets and has finished as many rounds.
    """
    if reference is None:
        return None
    flag, path = reference
    directory = RunDirectory(path)
    settings = _settings(directory, f"--{flag} {path}", rounds)
    trained = [_round(directory.checkpoint(k)) for k in range(rounds)]
    left, *_ = _round(directory.checkpoint(rounds))
    sets, epochs, steps = zip(*trained, strict=True)
    return ReferenceRun(flag, path, settings, (*sets, left), epochs, steps)


def _settings(directory: RunDirectory, run: str, rounds: int) -> dict:
    """The settings of the run; InputError if it cannot be followed for so many rounds."""
    files = directory.checkpoints()
    newest = read(files[0]) if files else {}
    settings = newest.get("settings", {})
    if settings.get("script") != Script.PRAC_IMP:
        raise InputError(f"{run} holds no run of {Script.PRAC_IMP}")
    if settings.get("prac_set") or settings.get(LIKE_RUN):
        raise InputError(f"{run} did not choose its sets itself: give the run whose sets it was given")
    if newest["state"] < rounds:
        raise InputError(f"{run} has finished {newest['state']} rounds, fewer than the {rounds} of this search")
    return settings


def _round(file: Path) -> tuple[np.ndarray, int, int]:
    """The set of a round, and how many epochs and optimiser steps it trained."""
    content = read(file)
    if checkpoint_name(content) != file.name:
        raise InputError(f"{file} is another file under this name: it was written as {checkpoint_name(content)}")
    if "history" not in content:
        raise InputError(f"{file} is no checkpoint of a round: it does not say which epochs the round trained")
    steps = sum(row["steps"] for row in content["history"])
    return np.sort(read_sequence(content, file)).astype(np.int64), len(content["history"]), steps
