"""Studies: the runs that a file stands for, and running them as processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

import runner
import study
from grid import Job, read_study
from runner import Place, check_jobs, is_done, places_of, slurm_script

QUICK = """
[common]
dataset = "digits"
arch = "lenet300"
epochs = 2
decreasing_lr = "1"
[grid]
seed = [0, 1]
[search]
pruning_times = 2
[methods.IMP]
script = "main_imp.py"
[methods."random pruning"]
script = "main_imp.py"
random_prune = true
[retrain]
dense = true
prunings = [1, 2]
weight_decay = 0.001
"""


@pytest.fixture
def written(tmp_path):
    def write(text=QUICK, *changes):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "study.toml").write_text(text)
        return tmp_path / "study.toml"

    return write


@pytest.fixture
def quick(written, tmp_path):
    return read_study(written(), tmp_path / "runs")


# --- what a file stands for -------------------------------------------------------------------------------------------


def test_a_grid_is_every_combination(quick, tmp_path):
    places = [str(job.save_dir.relative_to(tmp_path / "runs")) for job in quick.jobs]
    own = ["dense", "IMP", "IMP_ticket_1", "IMP_ticket_2",
           "random_pruning", "random_pruning_ticket_1", "random_pruning_ticket_2"]  # fmt: skip
    assert places == [f"seed_{seed}/{name}" for seed in (0, 1) for name in own]


def test_a_job_is_a_command(quick, tmp_path):
    jobs = {job.save_dir.name: job for job in quick.jobs if job.save_dir.parent.name == "seed_1"}
    shared = "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --seed 1"
    folder = tmp_path / "runs" / "seed_1"
    assert shlex.join(jobs["random_pruning"].words) == (
        f"{shared} --pruning_times 2 --random_prune --save_dir {folder}/random_pruning"
    )
    ticket = f"{folder}/IMP/2checkpoint.pth.tar"
    assert shlex.join(jobs["IMP_ticket_2"].words) == (
        f"{shared} --weight_decay 0.001 --init_dir {ticket} --mask_dir {ticket} --save_dir {folder}/IMP_ticket_2"
    )
    assert jobs["IMP_ticket_2"].after is jobs["IMP"] and jobs["dense"].after is None


def test_cases_belong_together(written, tmp_path):
    cases = '[[grid.cases]]\ndataset = "mnist"\ndata = "m"\n[[grid.cases]]\ndataset = "cifar10"\ndata = "c"\n[search]'
    found = read_study(written(QUICK, ("[search]", cases), ('dataset = "digits"\n', "")))
    dense = [job for job in found.jobs if job.save_dir.name == "dense"]
    assert [str(job.save_dir) for job in dense] == [
        f"runs/study/{data}/seed_{seed}/dense" for data in ("mnist", "cifar10") for seed in (0, 1)
    ]
    assert "--dataset cifar10 --data c" in shlex.join(dense[-1].words)


@pytest.mark.parametrize("name", ["digits", "prac_cifar"])
def test_the_studies_that_come_along_are_right(name):
    found = read_study(ROOT / "studies" / f"{name}.toml")
    check_jobs(found)
    assert len(found.jobs) > 50


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[common]", "[commom]", "commom, which no study has"),
        ('script = "main_imp.py"\nrandom', 'script = "main.py"\nrandom', "random pruning needs script"),
        ("seed = [0, 1]", "seed = 0", r"seed in \[grid\] must be a list"),
        ("seed = [0, 1]", "seed = [0, 0]", "would share .*seed_0/dense"),
        ('methods."random pruning"', 'methods."dense"', "none may be dense"),
        ("prunings = [1, 2]", "prunings = [1, 3]", "no ticket after 3 prunings"),
        ("prunings = [1, 2]", "prunings = [0]", "from 1 up"),
        ("epochs = 2", "epochs = 0", "main_train.py .*--epochs: must be a whole number from 1 up, got 0"),
        ("epochs = 2", "epoch = 2", "unrecognized arguments: --epoch"),
        ("random_prune = true", "random_prune = true\neb_eps = 0.1", "give one of them"),
        ("epochs = 2", 'save_dir = "x"', "save_dir is set by the study itself"),
        ("[common]", "[common", "is no TOML file"),
    ],
)
def test_a_wrong_file_is_one_sentence(written, tmp_path, capsys, old, new, message):
    assert study.main([str(written(QUICK, (old, new))), "--save_dir", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert study.main([str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml cannot be read" in capsys.readouterr().err


# --- running ----------------------------------------------------------------------------------------------------------


def test_places_share_the_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert places_of(None, []) == [Place(-1, 1)] * 8
    assert places_of(3, []) == [Place(-1, 2)] * 3
    assert places_of(20, []) == [Place(-1, 1)] * 20
    assert places_of(None, [0, 2]) == [Place(0), Place(2)]
    monkeypatch.setattr(runner, "visible_gpus", lambda: [0, 1])
    assert places_of(None, None) == [Place(0), Place(1)]


class FakeProcess:
    """A run that ends after two looks, with a status."""

    def __init__(self, status):
        self.status, self.looks, self.returncode, self.ended = status, 0, None, False

    def poll(self):
        self.looks += 1
        if self.looks > 2:
            self.returncode = self.status
        return self.returncode

    def terminate(self):
        self.ended = True

    def wait(self):
        return self.status


@pytest.fixture
def fake(monkeypatch):
    """Runs that are not run: the commands in order, with their places, and which of them fail."""
    begun, failing = [], set()

    def begin(job, place):
        begun.append((job, place))
        job.save_dir.parent.mkdir(parents=True, exist_ok=True)
        runner.log_of(job).write_text("working\nmain_imp.py: error: it is broken\n\n")
        return runner.Running(job, place, FakeProcess(1 if job.save_dir.name in failing else 0))

    monkeypatch.setattr(runner, "begin", begin)
    monkeypatch.setattr(runner, "PATIENCE", 0)
    return begun, failing


def test_a_training_waits_for_its_search(quick, fake):
    begun, _ = fake
    assert runner.Runner(quick, [Place(-1, 1)] * 3).run() == {}
    order = [job for job, _ in begun]
    assert sorted(map(id, order)) == sorted(map(id, quick.jobs))
    for job in quick.jobs:
        assert job.after is None or order.index(job.after) < order.index(job)
    # IMP is not over when the first three have begun: its tickets come later than the other search.
    assert [job.save_dir.name for job in order[:3]] == ["dense", "IMP", "random_pruning"]


def test_a_failure_stops_only_what_needs_it(quick, fake, tmp_path):
    begun, failing = fake
    failing.add("IMP")
    failed = runner.Runner(quick, [Place(-1, 1)] * 2).run()
    folder = tmp_path / "runs" / "seed_0"
    assert len(failed) == 6 and failed[folder / "IMP"] == "exit status 1: main_imp.py: error: it is broken"
    assert failed[folder / "IMP_ticket_1"] == f"its search failed: {folder / 'IMP'}"
    assert len(begun) == len(quick.jobs) - 4


def test_what_is_done_is_known_by_its_command(tmp_path):
    job = Job("main_imp.py", ("--seed", "1"), tmp_path)
    record = {"finished": True, "command": f"python main_imp.py --seed 1 --save_dir {tmp_path} --gpu 3"}
    for change, done in [({}, True), ({"finished": False}, False), ({"command": "python main_imp.py"}, False)]:
        (tmp_path / "summary.json").write_text(json.dumps(record | change))
        assert is_done(job) == done
    (tmp_path / "summary.json").write_text('{"finished": tr')
    assert not is_done(job)


def test_an_array_script_has_every_run_once(quick, tmp_path):
    script = slurm_script(quick)
    assert "#SBATCH --array=0-5" in script
    (tmp_path / "array.sh").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "array.sh"], check=True)
    for job in quick.jobs:
        assert script.count(f"--save_dir {job.save_dir} ") + script.count(f"--save_dir {job.save_dir};") + script.count(
            f"--save_dir {job.save_dir}'") == 1  # fmt: skip


SMALL = QUICK.replace("seed = [0, 1]", "seed = [0]").replace("prunings = [1, 2]", "prunings = [2]")


def command(file, folder):
    return [sys.executable, "study.py", str(file), "--save_dir", str(folder), "--gpu", "--jobs", "2", "--no_report"]


def test_a_study_runs_and_is_not_run_twice(written, tmp_path):
    """With one run that its script refuses once it sees the network."""
    file = written(SMALL, ('"random pruning"]', '"other"]'), ("random_prune = true", 'arch = "vgg16_bn"'))
    folder = tmp_path / "runs"
    first = subprocess.run(command(file, folder), cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 1 and "2 of 5 runs failed" in first.stderr, first.stderr
    assert "vgg16_bn needs images of at least 16" in first.stderr
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    assert (folder / "seed_0" / "IMP_ticket_2" / "checkpoint.pth.tar") in done
    again = subprocess.run(command(written(SMALL), folder), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    assert (folder / "seed_0" / "random_pruning_ticket_2" / "checkpoint.pth.tar").exists()


def test_a_study_that_is_ended_ends_its_runs(written, tmp_path):
    file, folder = written(SMALL, ("epochs = 2", "epochs = 2000")), tmp_path / "runs"
    with subprocess.Popen(command(file, folder), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not list(folder.rglob("0checkpoint.pth.tar")):
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "To go on: python study.py" in err
    logs = [path.read_text() for path in folder.rglob("*.log")]
    assert any("terminated; what it found is kept" in log for log in logs)
