"""PrAC sets that were found before, with this or another architecture: reading and checking them.

A set is a list of example numbers, and means nothing without the data that were numbered: an image that is added to a
folder moves the numbers of those after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataset import check_indices, read_indices
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.run_settings import differences
from utils import InputError

DATA = ("dataset", "data checksum")  # settings that say which examples the numbers are of


@dataclass(frozen=True)
class GivenSet:
    """A PrAC set in a file: (n,) example numbers, sorted, and the settings of the run that found it; None where the
    file, a .npy or a checkpoint of the 2021 code, does not say on which data it was found."""

    file: Path
    entries: np.ndarray
    settings: Mapping | None


def read_sets(path: Path, rounds: int) -> list[GivenSet]:
    """The sets in `path`: one of each round for the directory of a PrAC run, else one for all rounds.

    InputError for a directory that has fewer rounds than are asked for, and for a file that holds no set.
    """
    if not path.is_dir():
        return [_read_set(path)]
    files = [path / f"{k}checkpoint.pth.tar" for k in range(rounds)]
    if missing := [file for file in files if not file.exists()]:
        raise InputError(
            f"--prac_set {path} has no {missing[0].name}: it holds sets of fewer rounds than --pruning_times {rounds}"
        )
    return [_read_set(file) for file in files]


def _read_set(path: Path) -> GivenSet:
    if path.suffix == ".npy":
        return GivenSet(path, np.sort(read_indices(path, "--prac_set")), None)
    content = read(path)
    if "sequence" not in content:
        raise InputError(f"--prac_set {path} holds no PrAC set: give a .npy file or a checkpoint of main_PrAC_imp.py")
    settings = content.get("settings", {})
    return GivenSet(path, np.sort(read_sequence(content, path)), settings if "data checksum" in settings else None)


def read_sequence(content: dict, path: Path) -> np.ndarray:
    """The examples that a checkpoint, ours or the 2021 code's, was trained on."""
    sequence = content["sequence"]
    entries = sequence.numpy() if isinstance(sequence, Tensor) else sequence
    return check_indices(entries, f"the set in {path}")


def check_sets(sets: Sequence[GivenSet], train: Tensor, here: Mapping) -> list[Tensor]:
    """The sets as tensors on the device of the training split `train`, (n0,).

    InputError for a set that was found on other data than those `here` describes (a run's settings), and for one with
    examples that this run does not train on.
    """
    known = train.cpu().numpy()
    for given in sets:
        check_numbering(given, here)
        if strangers := int((~np.isin(given.entries, known)).sum()):
            raise InputError(
                f"--prac_set {given.file} holds {strangers} of {len(given.entries)} examples outside this run's "
                "training split (validation, or not there at all): was it made with another --split_file?"
            )
        if len(given.entries) < 2:
            raise InputError(f"--prac_set {given.file} holds {len(given.entries)} examples, at least 2 are needed")
    return [torch.from_numpy(given.entries.astype(np.int64)).to(train.device) for given in sets]


def check_numbering(given: GivenSet, here: Mapping) -> None:
    """InputError for a set whose numbers are of other examples, as far as the file says; images of another size cannot
    be compared."""
    if given.settings is None or resized(given, here):
        return
    if found := differences(given.settings, here, DATA):
        raise InputError(
            f"--prac_set {given.file} was found on other data, where its numbers mean other examples: "
            f"{'; '.join(found)}. Give the data as they were, or find the set anew on these"
        )


def resized(given: GivenSet, here: Mapping) -> bool:
    """Whether the set was found on images of the same kind of data set, scaled to another size."""
    alike = given.settings.get("dataset") == here["dataset"]
    return alike and given.settings.get("image_size") != here["image_size"]


def set_notes(sets: Sequence[GivenSet], here: Mapping) -> list[str]:
    """What cannot be known of sets that passed `check_sets`: whether their numbers are of the examples `here`."""
    notes = []
    for given in sets:
        if given.settings is None:
            notes.append(
                f"--prac_set {given.file} does not say on which data its example numbers were found; they are taken "
                "for those of this training set"
            )
        elif resized(given, here):
            notes.append(
                f"--prac_set {given.file} was found with --image_size {given.settings.get('image_size')}, here it is "
                f"{here['image_size']}: whether its example numbers are of the same files cannot be checked"
            )
    return notes
