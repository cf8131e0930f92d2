"""Choosing a data set by name: arguments that are refused, and imports that are deferred."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lottery.readers.registry import DATASETS, check_source, read_source
from npy_files.make_splits import SPLITS, SUBSETS, permutation
from utils import InputError

HERE = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name, folder, image_size, words",
    [
        ("cifar", "there", None, "cifar10, cifar100.*'cifar'"),
        ("imagefolder", "missing", None, "missing is not a folder"),
        ("tiny-imagenet", "missing", None, "missing is not a folder"),
        ("mnist", "file", None, "file is a file"),
        ("cifar10", "there", 32, "for --dataset imagefolder and imagenet"),
        ("digits", "there", 8, "for --dataset imagefolder and imagenet"),
        ("imagefolder", "there", 7, "between 8 and 512 pixels, got 7"),
        ("imagefolder", "there", 513, "between 8 and 512 pixels, got 513"),
    ],
)
def test_check_source_refuses(tmp_path, name, folder, image_size, words):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    for check in (check_source, read_source):
        with pytest.raises(InputError, match=words):
            check(name, tmp_path / folder, image_size)


def test_check_source_allows_what_can_be_downloaded_or_needs_no_folder(tmp_path):
    for name in ("cifar10", "cifar100", "mnist", "fashion-mnist", "digits"):
        check_source(name, tmp_path / "new", None)
    check_source("imagefolder", tmp_path, 8)
    check_source("imagefolder", tmp_path, 512)


def test_importing_and_checking_load_no_large_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lottery.readers.registry import check_source;"
        "check_source('imagefolder', Path('.'), 32);"
        "print([name for name in ('torch', 'torchvision', 'sklearn', 'PIL', 'tqdm') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=HERE, text=True).strip() == "[]"


def test_shipped_splits_are_what_the_script_makes(tmp_path):
    """CIFAR's keep the order of the files, the others are permutations by NumPy's frozen generator: int32, all."""
    script = shutil.copy(HERE / "npy_files" / "make_splits.py", tmp_path)
    subprocess.run([sys.executable, script], check=True)
    assert sorted(SPLITS) == sorted(set(DATASETS) - {"imagefolder", "imagenet", "digits"})
    shipped = sorted([*(f"{name}-train-val.npy" for name in SPLITS), *(f"{name}.npy" for name in SUBSETS)])
    assert sorted(file.name for file in tmp_path.glob("*.npy")) == shipped
    for name, (n, _) in SPLITS.items():
        shipped = np.load(HERE / "npy_files" / f"{name}-train-val.npy", allow_pickle=False)
        assert np.array_equal(shipped, np.load(tmp_path / f"{name}-train-val.npy"))
        assert shipped.dtype == np.int32 and np.array_equal(np.sort(shipped), np.arange(n))
        assert np.array_equal(shipped, np.arange(n)) == name.startswith("cifar")
    for name, (n, _, listed) in SUBSETS.items():
        shipped = np.load(HERE / "npy_files" / f"{name}.npy", allow_pickle=False)
        assert np.array_equal(shipped, np.load(tmp_path / f"{name}.npy")) and shipped.dtype == np.int32
        assert len(np.unique(shipped)) == len(shipped) == listed and shipped.max() < n
    assert not np.array_equal(permutation(60_000, SPLITS["mnist"][1]), permutation(60_000, SPLITS["fashion-mnist"][1]))
