"""Whether jobs can run, and whether they are done."""

import json

import pytest

from lottery.checkpointing.script_names import Script
from lottery.study.job_checks import check_jobs
from lottery.study.job_states import is_done
from lottery.study.jobs import Job
from lottery.study.study_file import read_study
from tests.helpers import ROOT

RUNS = {
    "digits": 51,
    "prac_cifar": 222,
    "elastic_mnist": 99,
    "elastic_cifar": 20,
    "greedy_mnist": 30,
    "channels_cifar": 3,
    "controls_digits": 255,
    "sets_digits": 125,
    "controls_cifar": 180,
    "sets_cifar": 180,
    "prac_fashion": 225,
}


def test_no_study_that_comes_along_is_forgotten_here():
    assert {file.stem for file in (ROOT / "studies").glob("*.toml")} == RUNS.keys()


@pytest.mark.parametrize("name", RUNS)
def test_the_studies_that_come_along_are_right(name, tmp_path, monkeypatch):
    """Flags alone are looked at; but an image folder, which nobody could download, must be there."""
    (tmp_path / "data/cifar10-jpeg").mkdir(parents=True)
    (tmp_path / "npy_files").symlink_to(ROOT / "npy_files")
    monkeypatch.chdir(tmp_path)
    found = read_study(ROOT / "studies" / f"{name}.toml")
    check_jobs(found)
    assert len(found.jobs) == RUNS[name]


def test_what_is_done_is_known_by_its_command(tmp_path):
    job = Job(Script.IMP, ("--seed", "1"), tmp_path)
    record = {"finished": True, "command": f"python main_imp.py --seed 1 --save_dir {tmp_path} --gpu 3"}
    for change, done in [({}, True), ({"finished": False}, False), ({"command": "python main_imp.py"}, False)]:
        (tmp_path / "summary.json").write_text(json.dumps(record | change))
        assert is_done(job) == done
    (tmp_path / "summary.json").write_text('{"finished": tr')
    assert not is_done(job)
