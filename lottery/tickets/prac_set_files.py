"""Read and check PrAC sets that were found earlier, with this or another architecture.

A set is an array of example indices, which mean nothing without the data they count: an image added to a folder shifts
the indices of all images after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataset import check_indices, read_indices
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.recorded_flags import data_flags, split_flags
from lottery.checkpointing.run_settings import differences
from utils import InputError

DATA = ("dataset", "data checksum")  # settings that say which examples the numbers are of
CONTENTS = DATA[1:]


@dataclass(frozen=True)
class GivenSet:
    """A PrAC set in a file: example indices (n,), sorted, and the settings of the run that found it.

    `settings` is None for a .npy file or a checkpoint of the 2021 code, which do not say on which data it was found.
    """

    file: Path
    entries: np.ndarray
    settings: Mapping | None


def read_sets(path: Path, rounds: int) -> list[GivenSet]:
    """The sets in `path`: one per round if it is the directory of a PrAC run, else one for all rounds.

    InputError for a directory with too few rounds, and for a file that holds no set.
    """
    if not path.is_dir():
        return [_read_set(path)]
    files = [path / f"{k}checkpoint.pth.tar" for k in range(rounds)]
    if missing := [file for file in files if not file.exists()]:
        if missing == files:
            raise InputError(f"--prac_set {path} holds no run of a search, whose first file would be {files[0].name}")
        raise InputError(
            f"--prac_set {path} has no {missing[0].name}: it holds sets of fewer than the {rounds} rounds here"
        )
    return [_read_set(file) for file in files]


def _read_set(path: Path) -> GivenSet:
    if path.suffix == ".npy":
        return GivenSet(path, np.sort(read_indices(path, "--prac_set")), None)
    content = read(path)
    if "sequence" not in content:
        raise InputError(f"--prac_set {path} holds no PrAC set: give a .npy file or a checkpoint of main_PrAC_imp.py")
    settings = content.get("settings") or {}
    return GivenSet(path, np.sort(read_sequence(content, path)), settings if "data checksum" in settings else None)


def read_sequence(content: dict, path: Path) -> np.ndarray:
    """The example indices that a checkpoint of this suite or of the 2021 code was trained on."""
    sequence = content["sequence"]
    entries = sequence.numpy() if isinstance(sequence, Tensor) else sequence
    return check_indices(entries, f"the set in {path}")


def check_sets(sets: Sequence[GivenSet], train: Tensor, here: Mapping) -> list[Tensor]:
    """The sets as tensors on the device of `train`, the indices (n0,) of the training split.

    `here` are the run's settings. InputError for a set that was found on other data, that holds examples outside the
    training split, or that has fewer than two examples.
    """
    known = train.cpu().numpy()
    for given in sets:
        check_numbering(given, here)
        if strangers := int((~np.isin(given.entries, known)).sum()):
            made_with = split_flags(given.file.parent, {"settings": given.settings})
            raise InputError(
                f"--prac_set {given.file} holds {strangers} of {len(given.entries)} examples outside this run's "
                "training split (validation, or not there at all): "
                + (f"give {made_with}, as its run had" if made_with else "was it made with another --split_file?")
            )
        if len(given.entries) < 2:
            raise InputError(f"--prac_set {given.file} holds {len(given.entries)} examples, at least 2 are needed")
    return [torch.from_numpy(given.entries.astype(np.int64)).to(train.device) for given in sets]


def check_numbering(given: GivenSet, here: Mapping) -> None:
    """InputError if the file says that its indices count other data. Images resized otherwise cannot be compared; data
    that are the same to the bit may have another name, as of a function whose file has moved."""
    if given.settings is None or resized(given, here) or not differences(given.settings, here, CONTENTS):
        return
    if found := differences(given.settings, here, DATA):
        made_with = data_flags(given.file.parent, {"settings": given.settings})
        raise InputError(
            f"--prac_set {given.file} was found on other data, where its numbers mean other examples: "
            f"{'; '.join(found)}. Give the data as they were ({made_with}), or find the set anew on these"
        )


def resized(given: GivenSet, here: Mapping) -> bool:
    """Whether the set was found on the same kind of data set, resized to another number of pixels."""
    alike = given.settings.get("dataset") == here["dataset"]
    return alike and given.settings.get("image_size") != here["image_size"]


def set_notes(sets: Sequence[GivenSet], here: Mapping) -> list[str]:
    """Notes on sets that passed `check_sets`, but do not say whether their indices count the same examples."""
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
