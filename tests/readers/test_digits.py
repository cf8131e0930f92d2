"""The digits and their fixed split, against scikit-learn and by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lottery.readers import digits as digits_reader
from lottery.readers.registry import read_source
from lottery.readers.source import Source
from tests.helpers import ROOT
from tests.readers.helpers import md5


@pytest.fixture(scope="module")
def digits() -> Source:
    return read_source("digits", Path("nowhere"))


def test_digits(digits):
    from sklearn.datasets import load_digits

    assert digits.train_images.shape == (1437, 8, 8, 1) and digits.test_images.shape == (360, 8, 8, 1)
    assert digits.train_images.dtype == np.uint8 and digits.train_labels.dtype == np.int64
    assert (digits.padding, digits.flips, digits.classes) == (1, False, tuple("0123456789"))

    original = load_digits()
    scaled = np.round(original.images * 255 / 16).astype(np.uint8)
    test = digits_reader.test_positions(original.target, 360)
    train = [place for place in range(1797) if place not in set(test.tolist())]  # in file order
    assert np.array_equal(digits.train_images[..., 0], scaled[train])
    assert np.array_equal(digits.train_labels, original.target[train])
    assert np.array_equal(digits.test_images[..., 0], scaled[test])
    assert digits.mean[0] == pytest.approx((scaled[train] / 255).mean(), rel=1e-12)
    assert digits.std[0] == pytest.approx((scaled[train] / 255).std(), rel=1e-12)


def test_the_library_is_asked_where_its_file_lies_elsewhere(monkeypatch):
    table = digits_reader.read_table()
    monkeypatch.setattr(digits_reader, "find_spec", lambda name: None)
    assert np.array_equal(digits_reader.read_table(), table) and table.shape == (1797, 65)


def test_reading_digits_imports_no_library():
    code = "import sys; from lottery.readers.digits import read_digits; read_digits(); print('sklearn' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_digits_are_divided_in_proportion(digits):
    sizes = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    share = np.bincount(digits.test_labels)
    assert share.sum() == 360 and np.abs(share - sizes * 360 / 1797).max() < 1


def test_the_division_of_the_digits_never_changes():
    """Tickets and forgetting counts made with one found_split mean nothing with another."""
    from sklearn.datasets import load_digits

    positions = digits_reader.test_positions(load_digits().target, 360)
    assert positions[:12].tolist() == [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 55, 63]
    assert md5(positions.astype("<i4").tobytes()) == "310996ec752c2dafb4fc6d2f0e4b5325"


def test_positions_by_hand():
    labels = np.array([0, 1, 0, 1, 0, 0, 1, 0, 0, 0])  # seven and three: their shares of 4 are 2.8 and 1.2
    assert digits_reader.test_positions(labels, 4).tolist() == [2, 3, 5, 8]  # numbers 1, 3, 5 of class 0, 1 of class 1
    assert digits_reader.test_positions(labels, 1).tolist() == [5]  # the middle one of class 0, and none of class 1
