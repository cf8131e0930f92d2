"""Studies on a cluster: on stand-ins for SLURM's commands, and on submitit's own processes of this machine.

Runs are a stand-in script wherever the training is not the point.
"""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import main_imp
import study
from lottery.study import cluster, executors, processes, queues
from lottery.study.job_states import is_done
from lottery.study.study_file import read_study
from lottery.study.torchrun import without_reports
from tests.helpers import ROOT, assert_same_files, run_in_process
from tests.study.samples import SMALL

submitit = pytest.importorskip("submitit")
STAND_IN = Path(__file__).with_name("stand_in_slurm.sh")
COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scontrol", "scancel")

ONE = SMALL.partition('[methods."random')[0]  # a study of one search

# A script that leaves the record of a run that is done. Once a file `slow` lies beside it, it first goes on until it is
# asked to end; with a file `broken`, searches with random pruning fail.
SCRIPT = """
import json, os, pathlib, shlex, signal, sys, time
sys.argv += [] if "--gpu" in sys.argv else ["--gpu", "of rank " + os.environ["RANK"]]
here, run = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[sys.argv.index("--save_dir") + 1])
print("GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), sys.argv[sys.argv.index("--gpu") + 1], "threads",
      os.environ.get("OMP_NUM_THREADS"), "in", os.getcwd(), flush=True)
def end(*_):
    (here / "slow").unlink()
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
while (here / "slow").exists():
    (here / "waiting").touch()
    time.sleep(0.02)
if "--random_prune" in sys.argv and (here / "broken").exists():
    sys.exit("main_imp.py: error: it is broken")
run.mkdir(parents=True, exist_ok=True)
words = sys.argv[1:sys.argv.index("--gpu")]
record = {"finished": True, "command": shlex.join(["python", pathlib.Path(sys.argv[0]).name, *words])}
(run / "summary.json").write_text(json.dumps(record))
"""


# study.py, which looks at its jobs all the time and has the stand-in in the place of the scripts.
DRIVER = """
import pathlib, sys
sys.path.insert(0, sys.argv[4])
import study
from lottery.study import cluster, processes
processes.ROOT, cluster.INTERVALS["slurm"] = pathlib.Path(sys.argv[1]), 0.05
sys.exit(study.main([sys.argv[2], "--save_dir", sys.argv[3], "--no_report", "--cluster", "slurm"]))
"""


@pytest.fixture
def quickly(monkeypatch):
    """Clusters that are looked at all the time, and whose jobs are missed at once."""
    monkeypatch.setattr(cluster, "INTERVALS", dict.fromkeys(cluster.NAMES, 0.02))
    monkeypatch.setattr(cluster, "PATIENCE", dict.fromkeys(cluster.NAMES, 10.0))
    monkeypatch.setattr(queues, "LOOK_INTERVAL", 0.1)
    monkeypatch.setattr(queues, "ABSENCE", 0.2)


@pytest.fixture
def slurm(tmp_path, monkeypatch, quickly):
    """Stand-ins for SLURM's commands; the directory of their state."""
    commands, state = tmp_path / "commands", tmp_path / "slurm"
    commands.mkdir()
    for name in COMMANDS:
        (commands / name).symlink_to(STAND_IN)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_SLURM", str(state))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return state


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """The stand-in script in the place of those that jobs run; the directory where it lies."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("main_imp.py", "main_train.py"):
        (folder / name).write_text(SCRIPT)
    monkeypatch.setattr(processes, "ROOT", folder)
    return folder


def run(file, folder, *flags):
    """Run the study; its exit status, and what it printed and complained about."""
    return run_in_process(study, file, "--save_dir", folder, "--no_report", *flags)


def submitted(folder):
    """The runs in the order in which they were submitted."""
    return [json.loads(line)["run"] for line in (folder / "cluster" / "jobs.jsonl").read_text().splitlines()]


def wait_for(condition):
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it never came to that")


@contextmanager
def in_the_middle_of_a_run(file, folder, scripts):
    """study.py in a process of its own, whose first run goes on until it is asked to end."""
    (scripts / "slow").touch()
    words = [sys.executable, "-c", DRIVER, scripts, file, folder, ROOT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        wait_for((scripts / "waiting").exists)
        yield process


# --- SLURM ------------------------------------------------------------------------------------------------------------


def test_what_fails_stops_only_what_needs_it_and_is_tried_again(written, tmp_path, slurm, scripts):
    """Two searches, of which one fails; a training of the ticket of each, and the dense network."""
    file, folder = written(SMALL), tmp_path / "runs"
    (scripts / "broken").touch()
    status, out, err = run(file, folder, "--cluster", "slurm")
    assert status == 1 and "2 of 5 runs failed" in err
    assert "random_pruning: exit status 1: main_imp.py: error: it is broken" in err
    assert "it needs the ticket of random_pruning\n" in out and "5 at a time, as jobs of SLURM" in out
    assert submitted(folder)[:3] == ["seed_0/dense", "seed_0/IMP", "seed_0/random_pruning"]
    assert submitted(folder)[3:] == ["seed_0/IMP_ticket_2"], "once IMP is done"
    assert (folder / "seed_0" / "IMP.log").read_text() == f"GPU 7 0 threads None in {Path.cwd()}\n"
    (scripts / "broken").unlink()
    status, _, err = run(file, folder, "--cluster", "slurm", "--cluster_options", "gpus_per_node=0,cpus_per_task=3")
    assert status == 0, err
    assert submitted(folder)[4:] == ["seed_0/random_pruning", "seed_0/random_pruning_ticket_2"]
    assert "GPU 7 -1 threads 3" in (folder / "seed_0" / "random_pruning.log").read_text()
    assert all(map(is_done, read_study(file, folder).jobs))
    status, out, _ = run(file, folder, "--cluster", "slurm")
    assert status == 0 and "All 5 runs are done" in out and len(submitted(folder)) == 6


def test_a_job_of_the_study_before_it_was_changed_is_not_taken_for_its_own(written, tmp_path, slurm, scripts):
    file, folder = written(ONE), tmp_path / "runs"
    with in_the_middle_of_a_run(file, folder, scripts) as process:
        process.kill()
        process.communicate(timeout=60)
    before = file.read_text()
    file.write_text(before.replace("epochs = 2", "epochs = 3"))
    status, _, err = run(file, folder, "--cluster", "slurm")
    assert status == 2 and "1 run of this study, seed_0/IMP the first, is queued or running with other flags" in err
    assert "scancel 1001" in err and submitted(folder) == ["seed_0/IMP"]
    file.write_text(before)
    (scripts / "slow").unlink()
    assert run(file, folder, "--cluster", "slurm")[0] == 0 and submitted(folder) == ["seed_0/IMP"]


def test_a_job_whose_time_is_over_lets_its_run_save_and_goes_on(written, tmp_path, slurm, scripts):
    """SLURM warns it, it asks to be queued again, and the same command resumes."""
    file, folder = written(ONE), tmp_path / "runs"
    with in_the_middle_of_a_run(file, folder, scripts) as process:
        subprocess.run(["scancel", "1001", "--signal", "SIGUSR2"], check=True)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert submitted(folder) == ["seed_0/IMP"]
    said = (folder / "seed_0" / "IMP.log").read_text()
    assert said.count("GPU 7") == 2 and said.count("saved") == 1
    assert "Requeued job 1001" in (folder / "cluster" / "1001_0_log.out").read_text()


@pytest.mark.parametrize("place", ["", ".venv/lib/python3.11/site-packages/"])
def test_what_torchrun_reports_is_not_taken_for_what_a_run_says(place):
    """It names its own files relative to the directory that an environment may lie in."""
    report = [
        f"E1129 13:07:26.096000 19096 {place}torch/distributed/elastic/api.py:1002] failed",
        "=" * 60,
        "main_imp.py",
    ]
    lines = ["main_imp.py: error: it is broken", *report, "=" * 60, "study.py: exit status 1"]
    assert list(without_reports(lines)) == [lines[0], lines[-1]]


def test_a_run_with_shards_computes_on_several_gpus(written, tmp_path, slurm, scripts):
    """By torchrun, on no more GPUs than it has shards; a run without takes one."""
    text = SMALL.replace("[search]", "[search]\nshards = 2").replace('[methods.IMP]\nscript = "main_imp.py"\n', "")
    file, folder = written(text), tmp_path / "runs"
    (scripts / "broken").touch()
    status, _, err = run(file, folder, "--cluster", "slurm", "--cluster_options", "gpus_per_node=a100:4")
    assert status == 1 and "exit status 1: main_imp.py: error: it is broken" in err
    asked = {}
    for number, name in enumerate(submitted(folder), 1001):
        asked[name] = re.search("--gpus-per-node=(.*)", (slurm / f"{number}.sh").read_text())[1]
    assert asked == {"seed_0/dense": "a100:1", "seed_0/random_pruning": "a100:2"}
    said = (folder / "seed_0" / "random_pruning.log").read_text()
    assert "GPU 7 of rank 0" in said and "GPU 7 of rank 1" in said
    assert "GPU 7 0 threads" in (folder / "seed_0" / "dense.log").read_text()
    told = run_in_process(study, file, "--save_dir", folder, "--dry_run")[1]
    assert "exit status 1" in told and "it is broken" in told and "torch" not in told


def test_gpus_that_no_run_could_use_are_refused(written, tmp_path, slurm):
    status, _, err = run(
        written(SMALL), tmp_path / "runs", "--cluster", "slurm", "--cluster_options", "gpus_per_node=4"
    )
    assert status == 2 and "each run of this study computes on one GPU, since none has shards" in err
    assert not (tmp_path / "runs").exists()


def test_jobs_outlive_the_study_and_are_not_submitted_twice(written, tmp_path, slurm, scripts):
    file, folder = written(ONE), tmp_path / "runs"
    (scripts / "slow").touch()
    words = [sys.executable, "-c", DRIVER, scripts, file, folder, ROOT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for((scripts / "waiting").exists)
        status, _, err = run(file, folder, "--cluster", "slurm")
        assert status == 2 and "another study.py is submitting the runs" in err
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "1 job goes on" in out and "scancel 1001" in out
    (scripts / "slow").unlink()
    assert run(file, folder, "--cluster", "slurm")[0] == 0
    assert submitted(folder) == ["seed_0/IMP"] and is_done(read_study(file, folder).jobs[0])


def test_a_job_that_vanishes_is_submitted_again_if_slurm_is_to_blame(written, tmp_path, slurm, scripts, monkeypatch):
    """It ends without a result: the node failed, then memory ran out."""
    file, folder = written(ONE), tmp_path / "runs"
    slurm.mkdir()
    (slurm / "1001.state").write_text("NODE_FAIL\n")
    (slurm / "1002.state").write_text("OUT_OF_MEMORY\n")
    (scripts / "main_imp.py").write_text("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    status, _, err = run(file, folder, "--cluster", "slurm")
    assert status == 1 and submitted(folder) == ["seed_0/IMP"] * 2
    assert "its job ended before it did: SLURM says OUT_OF_MEMORY; job 1002 wrote" in err
    assert f"{folder}/cluster/1002_0_log.out" in err


def test_the_result_of_an_old_job_of_the_same_number_is_not_taken_for_that_of_a_new_one(
    written, tmp_path, slurm, scripts
):
    """Nobody waited for it: the study was ended meanwhile, and its number has been given again."""
    file, folder = written(ONE), tmp_path / "runs"
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster" / "1001_0_result.pkl").write_bytes(pickle.dumps(("success", 0)))
    status, _, err = run(file, folder, "--cluster", "slurm")
    assert status == 0, err
    assert all(map(is_done, read_study(file, folder).jobs))


def test_a_job_that_slurm_does_not_take_is_one_sentence(written, tmp_path, slurm, scripts):
    status, _, err = run(written(SMALL), tmp_path / "runs", "--cluster", "slurm", "--cluster_options", "partition=full")
    assert status == 2 and len(err.splitlines()) == 1
    assert err.endswith("takes no job: Batch job submission failed: Invalid partition name specified\n")


def test_slurm_that_is_not_there_is_one_sentence(written, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    status, _, err = run(written(SMALL), tmp_path / "runs", "--cluster", "slurm")
    assert status == 2 and len(err.splitlines()) == 1
    assert "--cluster slurm: there is no SLURM here, whose command sbatch was not found" in err
    assert not (tmp_path / "runs").exists()


def test_jobs_that_cannot_be_looked_for_are_refused_and_hold_on(written, tmp_path, monkeypatch):
    """Taken for gone, they would be started once more."""
    monkeypatch.setenv("PATH", "/nowhere")
    status, _, err = run(written(SMALL), tmp_path / "runs", "--cluster", "local")
    assert status == 2 and "looks for its jobs by the command ps, which was not found" in err
    queue = queues.LocalQueue(tmp_path)
    assert queue.holds("1") and not queue.is_over("1")
    script = tmp_path / "ps"
    script.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert queue.holds("1"), "ps failed"
    script.write_text("#!/bin/sh\nexit 1\n")
    assert not queue.holds("1"), "ps found no such process"


@pytest.mark.parametrize("name", ["ä", os.fsdecode(b"\xe4")], ids=["UTF-8", "no UTF-8"])
def test_a_job_is_known_by_letters_that_the_locale_lacks(tmp_path, monkeypatch, name):
    """For which ps prints question marks."""
    monkeypatch.setenv("LC_ALL", "C")
    folder, words = tmp_path / name, [sys.executable, "-c", "input()"]
    with subprocess.Popen([*words, folder], stdin=subprocess.PIPE) as process:
        queue = queues.LocalQueue(folder)
        assert queue.holds(str(process.pid))
        assert not queues.LocalQueue(tmp_path / "another").holds(str(process.pid))
        process.stdin.close()
        wait_for(lambda: queue.is_over(str(process.pid)))


def test_without_submitit_one_sentence_says_how_to_get_it(written, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    status, _, err = run(written(SMALL), tmp_path / "runs", "--cluster", "local")
    assert status == 2 and err.endswith("needs a package that is not installed: pip install submitit\n")


@pytest.mark.parametrize("name", ["50 %", "a\\b"])
def test_a_directory_that_slurm_would_read_otherwise_is_refused(written, tmp_path, name):
    status, _, err = run(written(SMALL), tmp_path / name, "--cluster", "local")
    assert status == 2 and "SLURM reads a" in err and not (tmp_path / name).exists()


def test_what_a_job_asks_slurm_for(tmp_path, slurm):
    """One task; options go to sbatch by their names, with SLURM's defaults where submitit has others."""
    options = {"time": 90, "signal_delay_s": 60, "cpus_per_task": 2, "gpus_per_node": "0", "mem": "4G", "qos": "a b"}
    executor = executors.slurm_executor(tmp_path, options)
    lines = executor._make_submission_file_text("work", "").splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    wanted = {"--time=90", "--signal=USR2@60", "--cpus-per-task=2", "--mem=4G", "--qos='a b'", "--requeue"}
    assert wanted | {"--nodes=1", "--ntasks-per-node=1"} <= asked
    assert not any("gpus" in line or "wckey" in line for line in asked)
    assert any(line.startswith("srun ") and "--cpus-per-task=2" in line for line in lines)


def test_a_study_within_a_job_hands_none_of_its_resources_on(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    before = dict(os.environ)
    with executors.outside_of_jobs():
        assert {name for name in os.environ if name.startswith("SLURM")} == {"SLURM_CONF"}
    assert dict(os.environ) == before


def test_a_queue_that_does_not_answer_holds_every_job(monkeypatch, quickly):
    answers = iter([None, "1001\n1002\n", None, "1002\n", "1002\n", "1002\n"])
    monkeypatch.setattr(queues, "answer_of", lambda command: next(answers))
    monkeypatch.setattr(queues, "LOOK_INTERVAL", 0)
    queue = queues.SlurmQueue()
    assert [queue.holds(number) for number in ("9", "1001", "1001", "1001", "1002")] == [True, True, True, False, True]


class Slurm:
    """A queue whose clock, answers of squeue and states in sacct are set."""

    def __init__(self, monkeypatch):
        self.now, self.queued, self.states = 0.0, "", {}
        monkeypatch.setattr(queues.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(queues, "answer_of", self.answer)
        self.queue = queues.SlurmQueue()

    def answer(self, command):
        return self.queued if command[0] == "squeue" else self.states.get(command[-1])

    def is_over(self, number, now, queued):
        self.now, self.queued = now, queued
        return self.queue.is_over(number)


def test_a_job_is_over_once_an_answer_lacks_it_a_while_after_it_was_first_missing(monkeypatch):
    slurm = Slurm(monkeypatch)
    answers = [(0, "1000\n"), (40, ""), (80, ""), (99, ""), (125, "")]
    assert [slurm.is_over("1000", now, queued) for now, queued in answers] == [False] * 4 + [True]


def test_a_job_that_was_submitted_after_the_last_answer_is_not_over(monkeypatch):
    slurm = Slurm(monkeypatch)
    assert not slurm.is_over("1000", 0, "1000\n")
    assert not any(slurm.is_over("1001", now, None) for now in range(5, 600, 5)), "squeue does not answer"
    assert not slurm.is_over("1001", 640, "1000\n1001\n")
    assert not any(slurm.is_over("1001", now, None) for now in range(650, 900, 5))


def test_a_job_that_still_runs_by_the_accounts_is_not_over(monkeypatch):
    slurm = Slurm(monkeypatch)
    slurm.states["1000"] = "RUNNING\n"
    assert not any(slurm.is_over("1000", now, "") for now in range(0, 600, 5))
    slurm.states["1000"] = "CANCELLED by 1\n"
    assert any(slurm.is_over("1000", now, "") for now in range(600, 800, 5))


def test_a_line_of_the_record_that_was_torn_is_passed_over(quick, tmp_path):
    from lottery.study.submissions import Submissions

    job, other = quick.jobs[:2]
    quick.save_dir.mkdir()
    Submissions(quick.save_dir, tmp_path, "slurm").add(job, "1")
    with (tmp_path / "jobs.jsonl").open("a") as file:
        file.write('{"run": "seed_0')
    Submissions(quick.save_dir, tmp_path, "slurm").add(other, "2")
    found = Submissions(quick.save_dir, tmp_path, "slurm")
    assert (found.number(job), found.number(other)) == ("1", "2")
    assert Submissions(quick.save_dir, tmp_path, "local").number(job) is None


# --- this machine -----------------------------------------------------------------------------------------------------


def test_a_study_of_local_jobs_leaves_the_files_of_one_of_processes(written, tmp_path, monkeypatch, quickly):
    """A real search; its job is warned in the middle of a round, and ends with the bits of an unbroken run."""
    text = ONE.replace("epochs = 2", "epochs = 30")
    file = written(text.replace("pruning_times = 2", "pruning_times = 1"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    words = [
        sys.executable,
        ROOT / "study.py",
        file,
        "--save_dir",
        "runs",
        "--no_report",
        "--gpu",
        "--cluster",
        "local",
    ]
    with subprocess.Popen(words, cwd=there, stdout=subprocess.PIPE, text=True) as process:
        wait_for((there / "runs" / "seed_0" / "IMP" / "0checkpoint.pth.tar").exists)
        number = json.loads((there / "runs" / "cluster" / "jobs.jsonl").read_text())["job"]
        os.kill(task_of(number), signal.SIGUSR2)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "To go on" in (there / "runs" / "seed_0" / "IMP.log").read_text()
    monkeypatch.chdir(here)
    for job in read_study(file, Path("runs")).jobs:
        assert run_in_process(main_imp, *job.arguments, "--gpu", -1)[0] == 0
        assert_same_files(there / job.save_dir, here / job.save_dir)


def task_of(number: str) -> int:
    """The process of submitit that runs a job's function."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", number], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])
