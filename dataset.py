"""The training examples: splits, augmentation, and the scores that select examples (forgetting events, EL2N).

In every array an example is identified by its index in the training set on disk. Shapes: N examples in the training
set, n of them in a set of `indices` (sorted, without repeats), b in a batch; images are uint8 (H, W, C).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
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


# --- images and their split -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """Labelled images on one device, `lottery.training.labelled_images.LabelledImages`; `padding` and `flips` say how
    training augments them."""

    images: Tensor  # uint8 (N, H, W, C)
    labels: Tensor  # int64 (N,)
    padding: int = 0
    flips: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def at(self, indices: Tensor | slice) -> Tensor:
        return self.images[indices]

    def batches(self, parts: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.images[part], self.labels[part]) for part in parts)

    def training_batches(self, visits: Tensor, plan: Sequence[slice], _: tuple[int, int, int]) -> Iterator[Tensor]:
        return (visits[:, batch] for batch in plan)

    def training_images(self, visits: Tensor) -> Tensor:
        images = self.images.index_select(0, visits[0])  # on a CPU in a quarter of the time that images[...] takes
        return augment_visits(images, visits, self.padding, self.flips)


def class_counts(labels: Tensor, indices: Tensor) -> list[int]:
    """The number of `indices` in each class."""
    classes = int(labels.max()) + 1
    return torch.bincount(labels[indices], minlength=classes).tolist()


class Split(NamedTuple):
    """The training and validation examples: disjoint, each sorted."""

    train: Tensor  # int64
    validation: Tensor  # int64


VAL_FRACTION = 0.1  # share of a split used for validation


def split(permutation: np.ndarray, val_fraction: float = VAL_FRACTION) -> Split:
    """Split a permutation of n entries: the last ceil(n * val_fraction) are for validation."""
    fraction = Fraction(str(val_fraction))  # exact decimal: 0.1 is 1/10
    return split_last(permutation, math.ceil(len(permutation) * fraction))


def split_last(permutation: np.ndarray, validation: int) -> Split:
    """Split a permutation: the last `validation` entries are for validation."""
    entries = torch.from_numpy(np.asarray(permutation).astype(np.int64))
    train = len(entries) - validation
    return Split(entries[:train].sort().values, entries[train:].sort().values)


def read_indices(path: Path, what: str) -> np.ndarray:
    """Read a list of examples from a ``.npy`` file; InputError names the file (as `what`) and what is wrong with it."""
    try:
        entries = np.load(path, allow_pickle=False)
    except Exception:  # a damaged file raises many kinds, among them MemoryError for its shape
        raise InputError(f"{what} {path} cannot be read as a .npy file of whole numbers") from None
    return check_indices(entries, f"{what} {path}")


def check_indices(entries, what: str) -> np.ndarray:
    """Return `entries` if they are distinct example numbers; InputError otherwise."""
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
    """Read a split file: at least 10 distinct examples of a training set of size `examples`."""
    entries = read_indices(path, "the split file")
    check_enough(len(entries), f"the split file {path} lists")
    if examples is not None and entries.max() >= examples:
        raise InputError(f"the split file {path} lists example {entries.max()}, the training set has {examples}")
    return entries


def check_enough(examples: int, what: str) -> None:
    """InputError for fewer than 10 examples, too few to train and validate on."""
    if examples < 10:
        raise InputError(f"{what} {examples} examples, at least 10 are needed")


def default_permutation(dataset: str, labels: np.ndarray) -> np.ndarray:
    """The data set's permutation shipped in npy_files/, or a stratified one."""
    check_enough(len(labels), f"the training set of {dataset} has")
    shipped = SPLITS / f"{dataset}-train-val.npy"
    return read_permutation(shipped, len(labels)) if shipped.exists() else stratified_permutation(labels)


def stratified_permutation(labels: np.ndarray) -> np.ndarray:
    """(N,) permutation of which every prefix has the classes in proportion; it depends on the labels alone.

    Within a class of m examples in random order, the j-th gets position (j + 1/2) / m; all examples are sorted by it.
    """
    random = np.random.RandomState(0)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[random.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


# --- augmentation ----------------------------------------------------------------------------------------------------


class Draws(NamedTuple):
    """The random draws of one epoch: the order of its examples, and a crop and a flip for each position."""

    order: Tensor  # int64 (n,), positions in `indices`
    top: Tensor  # int64 (n,), in [0, 2 * padding]
    left: Tensor  # int64 (n,)
    flip: Tensor  # bool (n,)


def draw_epoch(n: int, padding: int, flips: bool, seed: tuple[int, int, int]) -> Draws:
    """The draws of an epoch over n examples, a pure function of `seed` = (seed, round, epoch)."""
    random = generator(*seed)
    order = random.permutation(n)
    top, left = random.integers(0, 2 * padding + 1, (2, n))
    flip = random.random(n) < 0.5 if flips else np.zeros(n, dtype=bool)
    return Draws(*map(torch.from_numpy, (order, top, left, flip)))


def visits(indices: Tensor, draws: Draws) -> Tensor:
    """int64 (4, n): the example, top, left and flip of each visit of an epoch, in order, on the device of `indices`,
    (n,). A batch is a slice of columns."""
    rest = torch.stack([draws.top, draws.left, draws.flip.long()])
    return torch.cat([indices[draws.order.to(indices.device)][None], rest.to(indices.device)])


def augment(images: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    """(b, H, W, C) -> (b, H, W, C): pad with zeros, crop each image at its (top, left), then mirror where `flip`."""
    b, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    rows = top[:, None] + torch.arange(height, device=top.device)  # (b, H)
    columns = torch.arange(width, device=top.device).expand(b, width)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)  # (b, W)
    batch = torch.arange(b, device=top.device)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]]


def augment_visits(images: Tensor, visits: Tensor, padding: int, flips: bool) -> Tensor:
    """`augment` by the visits (4, b) of the images, if there is anything to augment."""
    top, left, flip = visits[1:4]
    return augment(images, top, left, flip.bool(), padding) if padding or flips else images


def to_input(images: Tensor) -> Tensor:
    """uint8 (b, H, W, C) -> float (b, C, H, W) in [0, 1], in channels-last memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


# --- forgetting, CET, CEP --------------------------------------------------------------------------------------------

NEVER_LEARNED = torch.iinfo(torch.int32).max


class Forgetting:
    """Forgetting events (Toneva et al., ICLR 2019): how often each example went from right to wrong.

    An example is judged when it is trained on: augmented, in train mode, before the update. The state is three vectors
    over all N examples: times forgotten, right last time, ever right.
    """

    def __init__(self, examples: int, device: torch.device | str = "cpu"):
        self.times = torch.zeros(examples, dtype=torch.int32, device=device)
        self.right_last = torch.zeros(examples, dtype=torch.bool, device=device)
        self.ever_right = torch.zeros(examples, dtype=torch.bool, device=device)

    def update(self, indices: Tensor, right: Tensor) -> None:
        """Add one epoch: `right`, (n,) bool, says for each of (n,) `indices` whether it was classified right."""
        self.times[indices] += self.right_last[indices] & ~right
        self.right_last[indices] = right
        self.ever_right[indices] |= right

    def events(self) -> Tensor:
        """(N,) int32 forgetting events; NEVER_LEARNED, above every threshold, for examples that were never right."""
        return torch.where(self.ever_right, self.times, NEVER_LEARNED)

    def state_dict(self) -> dict[str, Tensor]:
        return {"times": self.times, "right_last": self.right_last, "ever_right": self.ever_right}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, vector in self.state_dict().items():
            vector.copy_(state[name])


def forgotten(events: Tensor, indices: Tensor, threshold: int) -> Tensor:
    """CET, the critical examples for training: those of `indices` forgotten more than `threshold` times, if any."""
    return indices[events[indices] > threshold]


def most_forgotten(events: Tensor, indices: Tensor, keep: int) -> Tensor:
    """The `keep` of `indices` forgotten most often (all if there are fewer), ties in order of index; sorted."""
    order = events[indices].argsort(descending=True, stable=True)
    return indices[order[: max(keep, 0)]].sort().values


def disagreeing(a: Tensor, b: Tensor, indices: Tensor) -> Tensor:
    """CEP, the critical examples for pruning (Hooker et al., 2019): those of `indices`, (n,), on which the predictions
    a and b of two networks, each (n,), differ."""
    return indices[a != b]


def union(a: Tensor, b: Tensor) -> Tensor:
    """The examples in a or b, sorted, each once."""
    return torch.cat([a, b]).unique()


def overlap(a: Tensor, b: Tensor) -> int:
    """The number of examples in both a and b."""
    return int(torch.isin(a, b).sum())


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """EL2N, the error norm ||softmax(f(x)) - onehot(y)||_2 (Paul, Ganguli & Dziugaite, NeurIPS 2021).

    (b, classes) and (b,) -> float32 (b,), from 0 (confident and right) to sqrt(2) (confident and wrong).
    """
    errors = logits.float().softmax(1)
    errors[torch.arange(len(labels), device=labels.device), labels] -= 1
    return errors.norm(dim=1)


def highest(indices: Tensor, scores: Tensor, keep: int, random: np.random.Generator) -> Tensor:
    """The `keep` of (n,) `indices` with the highest (n,) `scores`, sorted.

    Ties are broken at random, since examples may be ordered by class.
    """
    order = torch.from_numpy(random.permutation(len(indices))).to(indices.device)
    best = order[scores[order].argsort(descending=True, stable=True)[:keep]]
    return indices[best].sort().values


def random_by_class(pool: Tensor, labels: Tensor, counts: Sequence[int], random: np.random.Generator) -> Tensor:
    """Draw counts[c] examples of each class c from `pool`, at random without repeats; sorted.

    `labels` are those of all N examples. If the pool has too few of a class, examples of any class take their place, so
    that there are sum(counts) in all; the pool must have at least as many.
    """
    shuffled = pool[torch.from_numpy(random.permutation(len(pool))).to(pool.device)]
    taken, shuffled_labels = torch.zeros(len(pool), dtype=torch.bool, device=pool.device), labels[shuffled]
    for label, count in enumerate(counts):
        taken[(shuffled_labels == label).nonzero().flatten()[:count]] = True
    others = shuffled[~taken][: sum(counts) - int(taken.sum())]
    return torch.cat([shuffled[taken], others]).sort().values


def random_subset(indices: Tensor, keep: int, random: np.random.Generator) -> Tensor:
    """Draw `keep` of `indices` at random without repeats; sorted."""
    chosen = torch.from_numpy(random.permutation(len(indices))[:keep]).to(indices.device)
    return indices[chosen.sort().values]
