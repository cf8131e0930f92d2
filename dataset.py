"""Which examples a network is trained on.

An example is its index in the training set on disk, in every array. Shapes: N examples in the training set, n of them
in a set of `indices` (sorted, without repeats), b in a batch; images are uint8 (H, W, C).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils import InputError, generator

SPLITS = Path(__file__).parent / "npy_files"


# --- a data set on its device, and its split --------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """Labelled images, all of them on one device; `padding` and `flips` say how they may be augmented."""

    images: Tensor  # uint8 (N, H, W, C)
    labels: Tensor  # int64 (N,)
    padding: int = 0
    flips: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def augmented(self) -> bool:
        return self.padding > 0 or self.flips


def class_counts(data: Images, indices: Tensor) -> list[int]:
    """How many of `indices` each class has."""
    classes = int(data.labels.max()) + 1
    return torch.bincount(data.labels[indices], minlength=classes).tolist()


class Split(NamedTuple):
    """The examples that train and those that validate; disjoint, each sorted."""

    train: Tensor  # int64
    validation: Tensor  # int64


VAL_FRACTION = 0.1  # of a split, for validation


def split(permutation: np.ndarray, val_fraction: float = VAL_FRACTION) -> Split:
    """The last ceil(n * val_fraction) of a permutation's n entries validate, those before them train."""
    fraction = Fraction(str(val_fraction))  # of the number as it is written: 0.1 is 1/10
    return split_last(permutation, math.ceil(len(permutation) * fraction))


def split_last(permutation: np.ndarray, validation: int) -> Split:
    """The last `validation` of a permutation's entries validate, those before them train."""
    entries = torch.from_numpy(np.asarray(permutation).astype(np.int64))
    train = len(entries) - validation
    return Split(entries[:train].sort().values, entries[train:].sort().values)


def read_indices(path: Path, what: str) -> np.ndarray:
    """A list of examples from a ``.npy`` file; InputError names the file and what is wrong with it."""
    try:
        entries = np.load(path, allow_pickle=False)
    except Exception:  # a damaged file raises many kinds: of NumPy, of zipfile, MemoryError for its shape
        raise InputError(f"{what} {path} cannot be read as a .npy file of whole numbers") from None
    return check_indices(entries, f"{what} {path}")


def check_indices(entries, what: str) -> np.ndarray:
    """`entries` if they are a list of different examples; InputError otherwise."""
    if not isinstance(entries, np.ndarray) or entries.ndim != 1:
        raise InputError(f"{what} must hold one list of example numbers, got {describe(entries)}")
    if entries.dtype.kind not in "iu":
        raise InputError(f"{what} must hold integers, got {entries.dtype}")
    if len(entries) and entries.min() < 0:
        raise InputError(f"{what} lists example {entries.min()}, numbers start at 0")
    if repeats := len(entries) - len(np.unique(entries)):
        raise InputError(f"{what} lists {repeats} of its {len(entries)} entries twice, each may appear once")
    return entries


def describe(entries) -> str:
    return f"an array of shape {entries.shape}" if isinstance(entries, np.ndarray) else type(entries).__name__


def read_permutation(path: Path, examples: int | None = None) -> np.ndarray:
    """A split file: different examples of a training set of `examples`, at least 10 of them."""
    entries = read_indices(path, "the split file")
    check_enough(len(entries), f"the split file {path} lists")
    if examples is not None and entries.max() >= examples:
        raise InputError(f"the split file {path} lists example {entries.max()}, the training set has {examples}")
    return entries


def check_enough(examples: int, what: str) -> None:
    """Nine tenths of fewer than 10 examples are no training set worth the name, and the rest no validation set."""
    if examples < 10:
        raise InputError(f"{what} {examples} examples, at least 10 are needed")


def default_permutation(dataset: str, labels: np.ndarray) -> np.ndarray:
    """The shipped permutation of a data set that has one, else a stratified one."""
    check_enough(len(labels), f"the training set of {dataset} has")
    shipped = SPLITS / f"{dataset}-train-val.npy"
    return read_permutation(shipped, len(labels)) if shipped.exists() else stratified_permutation(labels)


def stratified_permutation(labels: np.ndarray) -> np.ndarray:
    """(N,): any first part of it holds the classes in their proportions; depends on the labels alone.

    Within a class of m examples the j-th, in a random order, stands at (j + 1/2) / m; all are sorted by that.
    """
    random = np.random.RandomState(0)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[random.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


# --- augmentation ----------------------------------------------------------------------------------------------------


class Draws(NamedTuple):
    """The chance of one epoch, drawn before it: the order of its examples, and by position a crop and a flip."""

    order: Tensor  # int64 (n,), positions in the set
    top: Tensor  # int64 (n,), in [0, 2 * padding]
    left: Tensor  # int64 (n,)
    flip: Tensor  # bool (n,)


def draw_epoch(n: int, padding: int, flips: bool, seed: tuple[int, int, int]) -> Draws:
    """What chance decides in an epoch over n examples: a pure function of seed = (seed, round, epoch)."""
    random = generator(*seed)
    order = random.permutation(n)
    top, left = random.integers(0, 2 * padding + 1, (2, n))
    flip = random.random(n) < 0.5 if flips else np.zeros(n, dtype=bool)
    return Draws(*map(torch.from_numpy, (order, top, left, flip)))


def visits(indices: Tensor, draws: Draws) -> Tensor:
    """int64 (4, n), on the device of `indices`, (n,): an epoch's examples in their order, and the top, left and flip
    of each. A batch is a slice of its columns."""
    rest = torch.stack([draws.top, draws.left, draws.flip.long()])
    return torch.cat([indices[draws.order.to(indices.device)][None], rest.to(indices.device)])


def augment(images: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    """(b, H, W, C) -> (b, H, W, C): pad with zeros, crop each image at its own (top, left), then flip where `flip`."""
    b, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    rows = top[:, None] + torch.arange(height, device=top.device)  # (b, H)
    columns = torch.arange(width, device=top.device).expand(b, width)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)  # (b, W)
    batch = torch.arange(b, device=top.device)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def to_input(images: Tensor) -> Tensor:
    """uint8 (b, H, W, C) -> float (b, C, H, W) in [0, 1], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


# --- forgetting, CET, CEP --------------------------------------------------------------------------------------------

NEVER_LEARNED = torch.iinfo(torch.int32).max


class Forgetting:
    """Forgetting events (Toneva et al., ICLR 2019): how often an example went from right to wrong.

    An example is judged when it is trained on: augmented, in train mode, before the update. Three vectors over all N
    examples are enough: times forgotten, right last time, ever right.
    """

    def __init__(self, examples: int, device: torch.device | str = "cpu"):
        self.times = torch.zeros(examples, dtype=torch.int32, device=device)
        self.right_last = torch.zeros(examples, dtype=torch.bool, device=device)
        self.ever_right = torch.zeros(examples, dtype=torch.bool, device=device)

    def update(self, indices: Tensor, right: Tensor) -> None:
        """Take in one epoch: for each of (n,) `indices` whether it was right, (n,) bool."""
        self.times[indices] += self.right_last[indices] & ~right
        self.right_last[indices] = right
        self.ever_right[indices] |= right

    def events(self) -> Tensor:
        """(N,) int32 forgetting events; NEVER_LEARNED, above every threshold, for one that was never right."""
        return torch.where(self.ever_right, self.times, NEVER_LEARNED)

    def state_dict(self) -> dict[str, Tensor]:
        return {"times": self.times, "right_last": self.right_last, "ever_right": self.ever_right}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, vector in self.state_dict().items():
            vector.copy_(state[name])


def forgotten(events: Tensor, indices: Tensor, threshold: int) -> Tensor:
    """CET, the critical examples for training: those of `indices` forgotten more than `threshold` times.

    Empty is a legal answer.
    """
    return indices[events[indices] > threshold]


def most_forgotten(events: Tensor, indices: Tensor, keep: int) -> Tensor:
    """The `keep` of `indices` forgotten most often, all of them if there are fewer; equals in order of index."""
    order = events[indices].argsort(descending=True, stable=True)
    return indices[order[: max(keep, 0)]].sort().values


def disagreeing(a: Tensor, b: Tensor, indices: Tensor) -> Tensor:
    """CEP, the critical examples for pruning (Hooker et al., 2019): those of `indices`, (n,), on which two networks'
    predictions a and b, each (n,), differ."""
    return indices[a != b]


def union(a: Tensor, b: Tensor) -> Tensor:
    """Examples in a or b, sorted, each once."""
    return torch.cat([a, b]).unique()


def overlap(a: Tensor, b: Tensor) -> int:
    """How many examples a and b share."""
    return int(torch.isin(a, b).sum())


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """The error L2-norm ||softmax(f(x)) - onehot(y)||_2 of each example (Paul, Ganguli & Dziugaite, NeurIPS 2021).

    (b, classes) and (b,) -> float32 (b,), from 0, sure and right, to sqrt(2), sure and wrong.
    """
    errors = logits.float().softmax(1)
    errors[torch.arange(len(labels), device=labels.device), labels] -= 1
    return errors.norm(dim=1)


def highest(indices: Tensor, scores: Tensor, keep: int, random: np.random.Generator) -> Tensor:
    """The `keep` of (n,) `indices` with the highest (n,) `scores`, sorted; equals are drawn at random, since an order
    of index may be one of classes."""
    order = torch.from_numpy(random.permutation(len(indices))).to(indices.device)
    best = order[scores[order].argsort(descending=True, stable=True)[:keep]]
    return indices[best].sort().values


def random_by_class(pool: Tensor, labels: Tensor, counts: Sequence[int], random: np.random.Generator) -> Tensor:
    """Of class c counts[c] of `pool`, drawn at random without repeats, sorted.

    `labels` are those of all N examples. Where the pool has too few of a class, others are drawn in their place, of
    whatever class, so that there are sum(counts) in all; the pool must have as many.
    """
    shuffled = pool[torch.from_numpy(random.permutation(len(pool))).to(pool.device)]
    taken = torch.zeros(len(pool), dtype=torch.bool, device=pool.device)
    for label, count in enumerate(counts):
        taken[(labels[shuffled] == label).nonzero().flatten()[:count]] = True
    others = shuffled[~taken][: sum(counts) - int(taken.sum())]
    return torch.cat([shuffled[taken], others]).sort().values


def random_subset(indices: Tensor, keep: int, random: np.random.Generator) -> Tensor:
    """`keep` of `indices`, drawn at random without repeats, sorted."""
    chosen = torch.from_numpy(random.permutation(len(indices))[:keep]).to(indices.device)
    return indices[chosen.sort().values]
