"""Studies in files, and runs of them that start no processes."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

import study
from lottery.study import runner
from lottery.study.study_file import read_study
from tests.helpers import run_in_process, write_study
from tests.study.samples import ELASTIC, QUICK


@pytest.fixture
def written(tmp_path):
    def write(text=QUICK, *changes):
        return write_study(tmp_path, text, *changes)

    return write


@pytest.fixture
def quick(written, tmp_path):
    return read_study(written(), tmp_path / "runs")


@pytest.fixture
def elastic(written, tmp_path):
    return read_study(written(ELASTIC), tmp_path / "runs")


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
    """Runs that are not run: the commands in order, with their slots, and which of them fail."""
    begun, failing = [], set()

    def start(job, slot):
        begun.append((job, slot))
        job.save_dir.parent.mkdir(parents=True, exist_ok=True)
        runner.log_file(job).write_text("working\nmain_imp.py: error: it is broken\n\n")
        return runner.RunningJob(job, slot, FakeProcess(1 if job.save_dir.name in failing else 0))

    monkeypatch.setattr(runner, "start_process", start)
    monkeypatch.setattr(runner, "POLL_INTERVAL", 0)
    return begun, failing


@pytest.fixture
def run_here(monkeypatch):
    """Run a study whose runs are done in this process, one after the other, and make its report; its exit status and
    what it complained about. That they are processes of their own elsewhere is for the tests of these."""

    def start(job, slot):
        device = slot.flags if job.has_gpu_flag else []
        status, out, err = run_in_process(importlib.import_module(Path(job.script).stem), *job.arguments, *device)
        runner.log_file(job).write_text(out + err)
        return runner.RunningJob(job, slot, SimpleNamespace(poll=lambda: status, returncode=status))

    monkeypatch.setattr(runner, "start_process", start)
    monkeypatch.setattr(runner, "POLL_INTERVAL", 0)

    def run(file, folder):
        status, _, err = run_in_process(study, file, "--save_dir", folder, "--gpu", "--jobs", 1)
        return status, err

    return run
