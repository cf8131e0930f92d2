"""Which training examples train and which validate: by a split file, by the folders of the data set, or by default."""

from typing import NamedTuple

import numpy as np

from dataset import VAL_FRACTION, Split, default_permutation, read_permutation, split, split_last
from lottery.readers.source import Source
from lottery.training.config import DataConfig
from utils import InputError, digest


class SplitResult(NamedTuple):
    """A split, its checksum, and notes about it."""

    split: Split
    checksum: str
    notes: list[str]


def make_split(data: DataConfig, source: Source) -> SplitResult:
    """The split of the training set; InputError if it leaves fewer than two examples to train on."""
    if source.validation and not data.split_file:
        return split_by_folders(data, source)
    examples = len(source.train_labels)
    if data.split_file:
        permutation = read_permutation(data.split_file, examples)
    else:
        permutation = default_permutation(data.dataset, source.train_labels)
    found = split(permutation, data.val_fraction)
    if len(found.train) < 2:
        raise InputError(
            f"--val_fraction {data.val_fraction} leaves {len(found.train)} of {len(permutation)} examples to train on, "
            "at least 2 are needed"
        )
    return SplitResult(found, digest(permutation.astype(np.int64)), split_notes(data, permutation, source))


def split_by_folders(data: DataConfig, source: Source) -> SplitResult:
    """The images of val/ validate and all others train; with --val_fraction 0 val/ is not used."""
    if data.val_fraction not in (0, VAL_FRACTION):
        raise InputError(
            f"--val_fraction {data.val_fraction}: the images of val/ validate; leave it away, give 0 to have none "
            "validate, or give a --split_file"
        )
    examples = np.arange(len(source.train_labels))
    if data.val_fraction == 0:
        examples = examples[: -source.validation]
    validating = source.validation if data.val_fraction else 0
    note = f"the {validating} images of val/ validate, all of train/ trains"
    notes = [note if validating else "--val_fraction 0: the images of val/ are not used"]
    return SplitResult(split_last(examples, validating), digest(examples, np.array([validating])), notes)


def split_notes(data: DataConfig, permutation: np.ndarray, source: Source) -> list[str]:
    """Notes on a split that leaves examples out."""
    name = f"--split_file {data.split_file}" if data.split_file else "the shipped split"
    listed, examples = len(permutation), len(source.train_labels)
    notes = []
    if source.validation and permutation.max() < examples - source.validation:
        examples -= source.validation
        notes.append(f"{name} says which examples validate: val/ is not used")
    if listed < examples:
        first = (
            "they are the first of them: was it made when there were no more? " if permutation.max() < listed else ""
        )
        notes.append(f"{name} lists {listed} of the {examples} training examples; {first}the others are not used")
    return notes
