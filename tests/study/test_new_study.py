"""The study to begin with that study.py --new writes."""

import shlex

import pytest

import study
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from tests.helpers import run_in_process


@pytest.mark.parametrize("name", ["mine", "mine.toml", "deep/mine", "two words", "it's", "v1.5"])
def test_a_new_study_can_be_run(tmp_path, monkeypatch, name):
    """Its jobs are those of a dry run, by the very command that it was written with."""
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_in_process(study, "--new", name)
    file = tmp_path / (name if name.endswith(".toml") else f"{name}.toml")
    assert status == 0 and file.exists()
    found = read_study(file)
    check_jobs(found)
    assert str(found.save_dir) == f"runs/{file.stem}" and len(found.jobs) == 21
    (again,) = (line for line in out.splitlines() if "--dry_run" in line)
    words = shlex.split(again.partition("  lists")[0])[2:]
    assert f"python study.py {shlex.join(words)}" in file.read_text()
    status, told, _ = run_in_process(study, *words)
    names = [line.split(None, 2)[1].rstrip(":") for line in told.replace("not begun", "new").splitlines()[:-1]]
    assert status == 0 and names == [str(job.save_dir.relative_to(found.save_dir)) for job in found.jobs]
    assert max(map(len, told.splitlines())) <= 80


def test_what_is_offered_in_its_comments_can_be_run_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_in_process(study, "--new", "mine")
    file = tmp_path / "mine.toml"
    offers = ("# [methods.", "# script", "# random_prune", "# controls")
    lines = [line.removeprefix("# ") if line.startswith(offers) else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines))
    found = read_study(file)
    check_jobs(found)
    assert len(found.jobs) == 21 + 9 + 2 * 18, "a method, and two controls of each ticket"


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("mine")
    for name in (file, tmp_path / "mine"):
        status, _, err = run_in_process(study, "--new", name)
        assert status == 2 and "is there already and stays as it is" in err and len(err.splitlines()) == 1
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_directory_is_no_name_of_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_in_process(study, "--new", name)
    assert (status, err) == (2, f"study.py: error: --new {name} is a directory: give the name of a file in it\n")
