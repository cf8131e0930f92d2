"""scikit-learn's handwritten digits, which come with the library, in a fixed split into training and test images."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lottery.readers.contents import Contents, pixel_counts


def read_digits() -> Contents:
    """The 1797 grey 8×8 digits, 1437 for training and 360 for testing."""
    table = read_table()
    pixels, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1]
    images = ((pixels * 255 + 8) // 16).astype(np.uint8)  # from 0..16, rounded
    test = test_positions(labels, total=360)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Contents(
        images[train], labels[train], images[test], labels[test], tuple("0123456789"), pixel_counts(images[train])
    )


def read_table() -> np.ndarray:
    """The library's table, (1797, 65) int64: 64 pixels from 0 to 16 and the label.

    Its file is read as it lies in the package, which is not imported: that takes longer than many a run on digits.
    """
    package = find_spec("sklearn")
    for folder in package.submodule_search_locations or [] if package else []:
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.exists():
            return np.loadtxt(file, delimiter=",").astype(np.int64)
    from sklearn.datasets import load_digits  # which knows where another release has it

    digits = load_digits()
    return np.column_stack([digits.data, digits.target]).astype(np.int64)


def test_positions(labels: np.ndarray, total: int) -> np.ndarray:
    """`total` positions in ascending order: each class's share, evenly spaced over the class in file order.

    It uses integers only and no generator, so that the split does not depend on library versions. Shares are rounded
    down; the remaining positions go to the classes that lost most by that, the lower class first.
    """
    sizes = np.bincount(labels)
    shares, lost = np.divmod(sizes * total, len(labels))
    shares[np.argsort(-lost, kind="stable")[: total - shares.sum()]] += 1
    chosen = [
        np.flatnonzero(labels == label)[(2 * np.arange(share) + 1) * size // (2 * share)]
        for label, (size, share) in enumerate(zip(sizes, shares, strict=True))
        if share
    ]
    return np.sort(np.concatenate(chosen))
