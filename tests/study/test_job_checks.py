"""Whether jobs can run."""

import pytest

from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from tests.helpers import ROOT

RUNS = {
    "digits": 51,
    "prac_cifar": 222,
    "elastic_mnist": 99,
    "elastic_cifar": 20,
    "elastic_imagenet": 27,
    "greedy_mnist": 30,
    "channels_cifar": 3,
    "controls_digits": 255,
    "sets_digits": 125,
    "controls_cifar": 180,
    "sets_cifar": 180,
    "prac_fashion": 225,
    "cheapest_fashion_look": 380,
    "cheapest_fashion": 345,
    "prac_cifar16": 70,
    "dst_fashion": 225,
    "dst_digits": 105,
    "basis_digits": 320,
    "basis_fashion": 185,
}


def test_no_study_that_comes_along_is_forgotten_here():
    assert {file.stem for file in (ROOT / "studies").glob("*.toml")} == RUNS.keys()


@pytest.mark.parametrize("name", RUNS)
def test_the_studies_that_come_along_are_right(name, tmp_path, monkeypatch):
    """Flags alone are looked at; but an image folder, which nobody could download, must be there."""
    for folder in ("cifar10-jpeg", "imagenet"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "npy_files").symlink_to(ROOT / "npy_files")
    monkeypatch.chdir(tmp_path)
    found = read_study(ROOT / "studies" / f"{name}.toml")
    check_jobs(found)
    assert len(found.jobs) == RUNS[name]
