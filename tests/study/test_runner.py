"""Running the jobs of a study as processes."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import study
from lottery.checkpointing.signals import Interrupted, interruptible
from lottery.study import log, runner
from lottery.study.slots import Slot
from tests.helpers import ROOT
from tests.study.samples import SMALL


def test_a_training_waits_for_its_search(quick, fake):
    begun, _ = fake
    assert runner.Runner(quick, quick.jobs, [Slot(-1, 1)] * 3).run() == {}
    order = [job for job, _ in begun]
    assert sorted(map(id, order)) == sorted(map(id, quick.jobs))
    for job in quick.jobs:
        assert job.after is None or order.index(job.after) < order.index(job)
    # IMP is not over when the first three have begun: its tickets come later than the other search.
    assert [job.save_dir.name for job in order[:3]] == ["dense", "IMP", "random_pruning"]


class Slow:
    """A process that has ended once it was looked at more often than that."""

    returncode = 0

    def __init__(self, looks):
        self.looks = looks

    def poll(self):
        self.looks -= 1
        return None if self.looks >= 0 else 0


def test_the_bar_names_the_jobs_that_run_and_none_that_has_ended(quick, fake, monkeypatch):
    jobs, shown = quick.jobs[:2], []
    monkeypatch.setattr(log.tqdm, "set_postfix_str", lambda bar, names: shown.append(names))
    monkeypatch.setattr(
        runner, "start_process", lambda job, slot: runner.RunningJob(job, slot, Slow(2 + 4 * jobs.index(job)))
    )
    runner.Runner(quick, jobs, [Slot(-1, 1)] * 2).run()
    first, second = (str(job.save_dir.relative_to(quick.save_dir)) for job in jobs)
    assert shown == [f"{first}, {second}", second]


def test_a_signal_while_a_job_is_started_leaves_none_that_is_not_known(quick, fake, monkeypatch):
    """A job of a cluster that nobody knows of would be submitted once more."""
    study_runner = runner.Runner(quick, quick.jobs[:1], [Slot(-1, 1)])

    def start(job, slot):
        os.kill(os.getpid(), signal.SIGTERM)  # as sbatch has just taken it
        return runner.RunningJob(job, slot, Slow(5))

    study_runner.start_job = start
    with interruptible(), pytest.raises(Interrupted):
        study_runner.start()
    assert [each.job for each in study_runner.running] == [quick.jobs[0]] and not study_runner.waiting


def test_a_failure_stops_only_what_needs_it(quick, fake, tmp_path):
    begun, failing = fake
    failing.add("IMP")
    failed = runner.Runner(quick, quick.jobs, [Slot(-1, 1)] * 2).run()
    folder = tmp_path / "runs" / "seed_0"
    assert len(failed) == 6 and failed[folder / "IMP"] == "exit status 1: main_imp.py: error: it is broken"
    assert failed[folder / "IMP_ticket_1"] == f"it needs the ticket of {folder / 'IMP'}, which failed"
    assert len(begun) == len(quick.jobs) - 4


def test_a_failed_carrying_stops_the_training_of_its_ticket_alone(elastic, fake, tmp_path):
    begun, failing = fake
    failing.add("IMP_ticket_2_from_mlp2_carried")
    failed = runner.Runner(elastic, elastic.jobs, [Slot(-1, 1)] * 2).run()
    assert {path.name for path in failed} == {"IMP_ticket_2_from_mlp2_carried", "IMP_ticket_2_from_mlp2"}
    assert len(begun) == len(elastic.jobs) - 4, "two targets, two seeds: a training for each"
    order = [job for job, _ in begun]
    for job in order:
        assert job.after is None or order.index(job.after) < order.index(job)


SEARCHES = SMALL.partition("[retrain]")[0]  # each run is a process that imports torch: as few as will do


def command(file, folder):
    return [sys.executable, "study.py", str(file), "--save_dir", str(folder), "--gpu", "--jobs", "2", "--no_report"]


def test_a_study_runs_and_is_not_run_twice(written, tmp_path):
    """Two searches, one of which its script refuses once it sees the network."""
    file = written(SEARCHES, ('"random pruning"]', '"other"]'), ("random_prune = true", 'arch = "vgg16_bn"'))
    folder = tmp_path / "runs"
    first = subprocess.run(command(file, folder), cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 1 and "1 of 2 runs failed" in first.stderr, first.stderr
    assert "vgg16_bn needs images of at least 16" in first.stderr
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    assert (folder / "seed_0" / "IMP" / "2checkpoint.pth.tar") in done
    again = subprocess.run(command(written(SEARCHES), folder), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    assert (folder / "seed_0" / "random_pruning" / "2checkpoint.pth.tar").exists()


def test_a_study_that_is_ended_ends_its_runs(written, tmp_path):
    file, folder = written(SEARCHES, ("epochs = 2", "epochs = 2000")), tmp_path / "runs"
    with subprocess.Popen(command(file, folder), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not list(folder.rglob("0checkpoint.pth.tar")):
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "To go on: python study.py" in err
    logs = [path.read_text() for path in folder.rglob("*.log")]
    assert any("terminated; what it found is kept" in log for log in logs)


def test_a_study_on_gpus_that_torch_cannot_use_begins_no_run(monkeypatch, written, tmp_path, capsys):
    """torch counts devices even where its driver does not work."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    file, folder = written(SMALL), tmp_path / "runs"
    assert study.main([str(file), "--save_dir", str(folder), "--gpu", "0", "1"]) == 2
    assert "--gpu 0: torch cannot use CUDA here" in capsys.readouterr().err and not folder.exists()


@pytest.mark.parametrize("failing_run, status", [(None, 0), ("IMP", 1)])
def test_a_report_that_cannot_be_made_is_no_failure_of_the_study(written, fake, tmp_path, capsys, failing_run, status):
    """Nor does it hide which runs failed. These runs leave no files."""
    fake[1].add(failing_run)
    assert study.main([str(written(SMALL)), "--save_dir", str(tmp_path / "runs"), "--gpu", "--jobs", "1"]) == status
    err = capsys.readouterr().err
    assert "study.py: note: there is no report: there is no run to report" in err
    assert status == 0 or "it is broken" in err


def test_the_status_of_a_run_that_was_killed_in_the_middle_of_a_line_has_a_line_of_its_own(tmp_path):
    log = tmp_path / "IMP.log"
    log.write_bytes(b"epoch 2\nepoch 3 runn")
    assert runner.record_failure(log, -9) == "exit status -9: epoch 3 runn"
    assert log.read_bytes() == b"epoch 2\nepoch 3 runn\nstudy.py: exit status -9\n"
    runner.record_failure(log, 1)
    assert log.read_text().endswith("-9\nstudy.py: exit status 1\n")
