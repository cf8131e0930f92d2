"""Make the train/validation permutations beside this file: python npy_files/make_splits.py

<data set>-train-val.npy holds every index of the training set once (int32). Its first nine tenths train, the rest
validate. CIFAR's are in the order of the files, as in the 2021 reference code, so that a set or checkpoint made with it
means the same images here; the others are random, because those data sets may be sorted by class.

cifar10-5000.npy lists 5 000 training images of CIFAR-10, drawn at random: --split_file npy_files/cifar10-5000.npy makes
studies of minutes out of days.
"""

from pathlib import Path

import numpy as np

SPLITS = {  # data set: (training images, seed; None keeps the order of the files)
    "cifar10": (50_000, None),
    "cifar100": (50_000, None),
    "tiny-imagenet": (100_000, 1),
    "mnist": (60_000, 2),
    "fashion-mnist": (60_000, 3),
}
SUBSETS = {"cifar10-5000": (50_000, 0, 5_000)}  # file: (training images, seed, how many of them)


def permutation(n: int, seed: int | None) -> np.ndarray:
    """int32 (n,): 0 … n−1 in the order of a split."""
    if seed is None:
        return np.arange(n, dtype=np.int32)
    # NumPy promises never to change what this generator returns for a seed; it makes no such promise for default_rng.
    return np.random.RandomState(seed).permutation(n).astype(np.int32)


def write_splits(folder: Path) -> None:
    for name, (n, seed) in SPLITS.items():
        np.save(folder / f"{name}-train-val.npy", permutation(n, seed))
    for name, (n, seed, listed) in SUBSETS.items():
        np.save(folder / f"{name}.npy", permutation(n, seed)[:listed])


if __name__ == "__main__":
    write_splits(Path(__file__).parent)
