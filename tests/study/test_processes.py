"""Runs that a server forks: the files, statuses and logs are those of processes of their own."""

import json
import subprocess
import sys
import time

import pytest

from lottery.study import processes
from tests.helpers import assert_same_files

FLAGS = "--dataset digits --arch lenet300 --decreasing_lr 1 --gpu -1".split()
THREADS = {"OMP_NUM_THREADS": "1"}
needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone")


def started(folder, *flags):
    """A training in a folder of its own, and its log."""
    folder.mkdir()
    command = ["main_train.py", *FLAGS, *flags, "--save_dir", str(folder / "run")]
    return processes.start(command, folder / "run.log", THREADS), folder / "run.log"


@needs_fork
def test_a_forked_run_is_as_a_process_of_its_own(tmp_path, monkeypatch):
    forked, log = started(tmp_path / "a", "--epochs", "2")
    assert isinstance(forked, processes.Forked) and forked.wait() == 0
    monkeypatch.setattr(processes, "_has_server", False)
    own, own_log = started(tmp_path / "b", "--epochs", "2")
    assert isinstance(own, subprocess.Popen) and own.wait() == 0
    assert_same_files(tmp_path / "a" / "run", tmp_path / "b" / "run")
    summaries = [json.loads((tmp_path / name / "run" / "summary.json").read_text()) for name in "ab"]
    assert summaries[0]["command"].replace(str(tmp_path / "a"), str(tmp_path / "b")) == summaries[1]["command"]
    assert summaries[0]["environment"] == summaries[1]["environment"]
    assert log.read_text().splitlines()[:3] == own_log.read_text().splitlines()[:3]


@needs_fork
def test_the_status_of_a_forked_run_is_that_of_its_script(tmp_path):
    run, log = started(tmp_path / "refused", "--epochs", "0")
    assert run.wait() == run.poll() == 2
    assert "main_train.py: error: --epochs: must be" in log.read_text()


@needs_fork
def test_a_forked_run_that_is_terminated_keeps_what_it_found(tmp_path):
    run, log = started(tmp_path / "long", "--epochs", "10000")
    while not log.exists() or "epochs 0 to 9999" not in log.read_text():
        assert run.poll() is None, log.read_text()
        time.sleep(0.1)
    run.terminate()
    assert run.wait() == 143
    assert "terminated; what it found is kept. To go on: python " in log.read_text()


def test_where_nothing_can_be_forked_a_note_says_so_once(tmp_path, monkeypatch, capsys):
    def none():
        raise OSError("no more processes")

    monkeypatch.setattr(processes, "_has_server", None)
    monkeypatch.setattr(processes.forkserver, "ensure_running", none)
    monkeypatch.setattr(processes.sys, "platform", "linux")
    runs = [started(tmp_path / name, "--epochs", "0")[0] for name in "ab"]
    assert [run.wait() for run in runs] == [2, 2] and isinstance(runs[0], subprocess.Popen)
    note = "study.py: note: every run imports torch itself, since no process can be forked: no more processes\n"
    assert capsys.readouterr().out == note
