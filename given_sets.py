"""PrAC sets that were found before, with this or another architecture: reading and checking them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from checkpoint import read
from dataset import check_indices, read_indices
from utils import InputError


def read_sets(path: Path, rounds: int) -> list[np.ndarray]:
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


def _read_set(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.sort(read_indices(path, "--prac_set"))
    content = read(path)
    if "sequence" not in content:
        raise InputError(f"--prac_set {path} holds no PrAC set: give a .npy file or a checkpoint of main_PrAC_imp.py")
    return np.sort(sequence_of(content, path))


def sequence_of(content: dict, path: Path) -> np.ndarray:
    """The examples that a checkpoint, ours or the 2021 code's, was trained on."""
    sequence = content["sequence"]
    entries = sequence.numpy() if isinstance(sequence, Tensor) else sequence
    return check_indices(entries, f"the set in {path}")


def check_sets(sets: list[np.ndarray], train: Tensor, path: Path) -> list[Tensor]:
    """The sets as tensors on the device; InputError for one with examples that this run does not train on."""
    known = train.cpu().numpy()
    for entries in sets:
        if strangers := int((~np.isin(entries, known)).sum()):
            raise InputError(
                f"--prac_set {path} holds {strangers} of {len(entries)} examples outside this run's training split "
                "(validation, or not there at all): was it made with another --split_file?"
            )
        if len(entries) < 2:
            raise InputError(f"--prac_set {path} has a set of {len(entries)} examples, at least 2 are needed")
    return [torch.from_numpy(entries.astype(np.int64)).to(train.device) for entries in sets]
