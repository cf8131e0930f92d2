"""Studies as SLURM array scripts."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import study
from lottery.study.jobs import Job
from lottery.study.slurm import slurm_script
from lottery.study.study_file import read_study
from tests.helpers import ROOT
from tests.study.samples import SMALL


def test_an_array_script_has_every_run_once(quick, tmp_path):
    script = slurm_script(quick)
    assert "#SBATCH --array=0-5" in script
    assert {"#SBATCH --ntasks=1", "#SBATCH --gpus-per-task=1"} <= {*script.splitlines()}, (
        "SLURM takes no GPUs per task without a number of tasks"
    )
    (tmp_path / "array.sh").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "array.sh"], check=True)
    for job in quick.jobs:
        assert script.count(f"--save_dir {job.save_dir} ") + script.count(f"--save_dir {job.save_dir};") + script.count(
            f"--save_dir {job.save_dir}'") == 1  # fmt: skip


def run_task(script: str, folder: Path, task: int, failing: str = "", status: int = 1) -> tuple[int, list[str]]:
    """A task's exit status and the commands it gave, with a `python` that fails where `failing` is its --save_dir."""
    asked = folder / "asked"
    fails = f'[[ "$*" == *" --save_dir {failing or "none"}" ]] && exit {status}'
    (folder / "python").write_text(f'#!/bin/bash\necho "$@" >> {asked}\n{fails}\nexit 0\n')
    (folder / "python").chmod(0o755)
    asked.unlink(missing_ok=True)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task)}
    done = subprocess.run(["bash", "-c", script], env=environment, cwd="/")  # wherever it is submitted from
    return done.returncode, asked.read_text().splitlines() if asked.exists() else []


def test_a_task_of_the_array_is_a_search_and_all_that_hangs_on_it(elastic, tmp_path):
    """Each job once, after the one it needs."""
    script = slurm_script(elastic)
    assert "#SBATCH --array=0-5" in script
    found = [run_task(script, tmp_path, task) for task in range(6)]
    assert {status for status, _ in found} == {0}
    asked = [command for _, commands in found for command in commands]
    commands = {id(job): shlex.join(["-u", job.script, *job.arguments]) for job in elastic.jobs}
    assert sorted(asked) == sorted(commands.values())
    for job in elastic.jobs:
        assert job.after is None or asked.index(commands[id(job.after)]) < asked.index(commands[id(job)])


def needing(job: Job, study) -> set[Path]:
    """The directories of a job and of all that need it, in one step or several."""
    return {job.save_dir}.union(*(needing(each, study) for each in study.jobs if each.after is job))


@pytest.mark.parametrize("status", [1, 2, 137, 139])
def test_a_task_fails_with_any_of_its_runs_and_does_all_that_does_not_need_that_one(elastic, tmp_path, status):
    """Whichever of them it is: the search, one in the middle, the last."""
    script = slurm_script(elastic)
    heads = [job for job in elastic.jobs if job.after is None]
    task, head = next((number, job) for number, job in enumerate(heads) if len(needing(job, elastic)) > 3)
    folders = [job.save_dir for job in elastic.jobs if job.save_dir in needing(head, elastic)]
    for failing in (job for job in elastic.jobs if job.save_dir in folders):
        found, asked = run_task(script, tmp_path, task, str(failing.save_dir), status)
        left_out = needing(failing, elastic) - {failing.save_dir}
        assert found == status
        assert {Path(command.split()[-1]) for command in asked} == set(folders) - left_out


@pytest.mark.parametrize("status", [130, 143])
def test_a_task_whose_run_is_ended_by_a_signal_begins_no_other(elastic, tmp_path, status):
    """Not even one that does not need the run that was ended."""
    script = slurm_script(elastic)
    heads = [job for job in elastic.jobs if job.after is None]
    task = next(number for number, job in enumerate(heads) if len(needing(job, elastic)) > 3)
    _, whole = run_task(script, tmp_path, task)
    second = whole[1].split()[-1]
    found, asked = run_task(script, tmp_path, task, second, status)
    assert found == status and asked == whole[:2]


@pytest.mark.parametrize("name", ["two words", 'a "quoted" one', "it's", "50 %", "%A", "$HOME", "#1", "a;b & c", "ä"])
def test_names_that_a_shell_or_slurm_would_read_otherwise(written, tmp_path, name):
    """An #SBATCH line is read as a shell reads quotes, but without variables; then %% is a percent sign."""
    folder = tmp_path / name / "runs"
    grid = read_study(written(SMALL), folder)
    script = slurm_script(grid)
    (line,) = [line for line in script.splitlines() if "--output" in line]
    (word,) = shlex.split(line.removeprefix("#SBATCH "), comments=True)
    assert re.sub("%(.)", lambda found: "%" if found[1] == "%" else f"<{found[1]}>", word) == (
        f"--output={folder}/slurm-<A>_<a>.log"
    )
    (tmp_path / "echo").mkdir()
    status, asked = run_task(script, tmp_path / "echo", 0)
    assert status == 0 and asked[0].endswith(f"--save_dir {grid.jobs[0].save_dir}")


def test_a_directory_that_slurm_cannot_write_logs_to_is_refused(written, tmp_path, capsys):
    words = [written(SMALL), "--save_dir", tmp_path / "a\\b", "--slurm", tmp_path / "array.sh"]
    status, err = study.main([str(word) for word in words]), capsys.readouterr().err
    assert status == 2 and "a backslash in a name" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "array.sh").exists() and not (tmp_path / "a\\b").exists()


def test_an_array_script_in_a_directory_that_is_not_there_is_refused(written, tmp_path, capsys):
    words = [written(SMALL), "--save_dir", tmp_path / "runs", "--slurm", tmp_path / "nowhere" / "array.sh"]
    status, err = study.main([str(word) for word in words]), capsys.readouterr().err
    assert status == 2 and "its directory does not exist" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_an_array_script_replaces_nothing_but_an_array_script(written, tmp_path, capsys):
    file = written(SMALL)
    words = [str(file), "--save_dir", str(tmp_path / "runs"), "--slurm"]
    before = file.read_text()
    assert study.main([*words, str(file)]) == 2 and file.read_text() == before
    assert "would replace a file that is no SLURM array script" in capsys.readouterr().err
    for _ in range(2):
        assert study.main([*words, str(tmp_path / "array.sh")]) == 0
    assert study.main([*words, str(tmp_path)]) == 2
    assert "is a directory, a file is needed" in capsys.readouterr().err


def test_an_array_script_made_elsewhere_names_the_scripts_in_full(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, asked = run_task(slurm_script(quick), tmp_path, 0)
    assert status == 0 and asked[0].startswith(f"-u {ROOT.resolve() / quick.jobs[0].script} ")
