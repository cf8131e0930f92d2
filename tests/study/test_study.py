"""Studies: the runs that a file stands for, and running them as processes."""

import csv
import importlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import study
from lottery.study import runner
from lottery.study.config import read_study
from lottery.study.jobs import Job
from lottery.study.runner import Place, check_jobs, is_done, places_of, slurm_script
from lottery.training import devices
from tests.helpers import ROOT, check_refusal, run_in_process, write_study

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
        return write_study(tmp_path, text, *changes)

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


ELASTIC = """
[common]
dataset = "digits"
epochs = 2
decreasing_lr = "1"
[grid]
arch = ["mlp2", "mlp3", "mlp4"]
seed = [0, 1]
[search]
pruning_times = 2
[methods.IMP]
script = "main_imp.py"
[retrain]
prunings = [2]
weight_decay = 0.001
[elastic]
"""


@pytest.fixture
def elastic(written, tmp_path):
    return read_study(written(ELASTIC), tmp_path / "runs")


def test_tickets_are_carried_to_every_other_network_of_the_same_seed(elastic, tmp_path):
    folder = tmp_path / "runs"
    found = {str(job.save_dir.relative_to(folder)): job for job in elastic.jobs}
    archs, name = ["mlp2", "mlp3", "mlp4"], "IMP_ticket_2_from_"
    assert found.keys() == {
        f"{arch}/seed_{seed}/{what}"
        for arch in archs
        for seed in (0, 1)
        for what in ["IMP", "IMP_ticket_2"]
        + [f"{name}{other}{end}" for other in archs if other != arch for end in ("", "_carried")]
    }
    carrying, training = (found[f"mlp3/seed_1/{name}mlp2{end}"] for end in ("_carried", ""))
    assert carrying.after is found["mlp2/seed_1/IMP"] and training.after is carrying
    source, carried = f"{folder}/mlp2/seed_1/IMP/2checkpoint.pth.tar", f"{carrying.save_dir}/checkpoint.pth.tar"
    assert (carrying.script, training.script) == ("main_elastic.py", "main_train.py")
    assert shlex.join(carrying.words) == (
        f"--source_arch mlp2 --target_arch mlp3 --init_dir {source} --mask_dir {source} --save_dir {carrying.save_dir}"
    )
    assert shlex.join(training.words) == (
        "--dataset digits --epochs 2 --decreasing_lr 1 --arch mlp3 --seed 1 --weight_decay 0.001 "
        f"--init_dir {carried} --mask_dir {carried} --save_dir {training.save_dir}"
    )
    check_jobs(elastic)


def test_pairs_and_flags_of_a_carrying(written, tmp_path):
    text = ELASTIC + 'pairs = [["mlp2", "mlp4"]]\norder = "interpolate"\n'
    (first, second) = [job for job in read_study(written(text)).jobs if job.script == "main_elastic.py"]
    assert [str(job.save_dir) for job in (first, second)] == [
        f"runs/study/mlp4/seed_{seed}/IMP_ticket_2_from_mlp2_carried" for seed in (0, 1)
    ]
    assert first.flags == ("--source_arch", "mlp2", "--target_arch", "mlp4", "--order", "interpolate")


def test_a_control_of_a_carried_ticket_is_trained_on_the_carried_one(written, tmp_path):
    text = ELASTIC + 'pairs = [["mlp2", "mlp4"]]\ncontrols = ["random_mask"]\n'
    carrying, plain, control = [job for job in read_study(written(text)).jobs if "from_mlp2" in job.save_dir.name][:3]
    assert plain.after is control.after is carrying
    assert control.save_dir == plain.save_dir.with_name(f"{plain.save_dir.name}_random_mask")
    assert control.flags == (*plain.flags, "--control", "random_mask")


def test_a_carrying_has_the_stem_of_its_networks(written):
    changes = [('"mlp2", "mlp3", "mlp4"', '"res18", "res26"'), ("epochs = 2", 'epochs = 2\nstem = "cifar"')]
    found = read_study(written(ELASTIC, *changes))
    check_jobs(found)
    assert {"--stem", "cifar"} <= set(next(job for job in found.jobs if not job.is_run).flags)


def test_controls_are_trainings_of_their_own(written):
    found = read_study(written(QUICK, ("prunings = [1, 2]", 'prunings = [2]\ncontrols = ["reinit", "random_mask"]')))
    jobs = {job.save_dir.name: job for job in found.jobs if job.save_dir.parent.name == "seed_0"}
    plain, control = jobs["IMP_ticket_2"], jobs["IMP_ticket_2_random_mask"]
    assert "IMP_ticket_2_reinit" in jobs and "random_pruning_ticket_2_reinit" in jobs
    assert control.after is jobs["IMP"] and control.flags == (*plain.flags, "--control", "random_mask")


def test_rules_train_what_a_ticket_was_pruned_from(written, tmp_path):
    """The checkpoint of the round before has the weights. Rules take the place of --rewind_lr."""
    changes = ("prunings = [1, 2]", 'prunings = [2]\nrewind_lr = true\nrules = ["lr_rewinding", "fine_tuning"]')
    found = read_study(written(QUICK, changes, ("dense = true", "dense = false")), tmp_path)
    jobs = {job.save_dir.name: job for job in found.jobs if job.save_dir.parent.name == "seed_0"}
    folder, plain, ruled = tmp_path / "seed_0", jobs["IMP_ticket_2"], jobs["IMP_ticket_2_fine_tuning"]
    assert {"IMP_ticket_2_lr_rewinding", "random_pruning_ticket_2_lr_rewinding"} <= jobs.keys()
    assert ruled.after is jobs["IMP"] and "--rewind_lr" in plain.flags and "--rewind_lr" not in ruled.flags
    assert shlex.join(ruled.words) == (
        "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --seed 0 --weight_decay 0.001 "
        f"--rule fine_tuning --init_dir {folder}/IMP/1checkpoint.pth.tar --mask_dir {folder}/IMP/2checkpoint.pth.tar "
        f"--save_dir {folder}/IMP_ticket_2_fine_tuning"
    )
    check_jobs(found)


def test_the_dense_network_is_trained_by_the_rules_as_well(written, tmp_path):
    """As the control dense, once for a search, from its own trained weights, those of round 0."""
    changes = ("prunings = [1, 2]", 'prunings = [2, 3]\nrules = ["fine_tuning"]\ncontrols = ["dense", "reinit"]')
    text = QUICK.replace("pruning_times = 2", "pruning_times = 3")
    found = read_study(written(text, changes, ("dense = true", "dense = false")), tmp_path)
    mine = [job for job in found.jobs if "--rule" in job.flags and job.save_dir.parent.name == "seed_0"]
    names = {job.save_dir.name: job for job in mine if job.save_dir.name.startswith("IMP")}
    assert names.keys() == {f"IMP_ticket_{end}" for end in ("2_fine_tuning", "2_fine_tuning_dense", "3_fine_tuning")}
    words = shlex.join(names["IMP_ticket_2_fine_tuning_dense"].words)
    folder = tmp_path / "seed_0"
    assert "--rule fine_tuning --control dense" in words
    assert f"--init_dir {folder}/IMP/0checkpoint.pth.tar --mask_dir {folder}/IMP/2checkpoint.pth.tar" in words
    check_jobs(found)


def test_a_ticket_found_at_once_is_trained_by_no_rule(written):
    found = read_study(written(AT_ONCE, ("prunings = [1]", 'prunings = [1]\nrules = ["fine_tuning"]')))
    ruled = {job.save_dir.name for job in found.jobs if "--rule" in job.flags}
    assert ruled == {"IMP_ticket_1_fine_tuning"}


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("prunings = [1, 2]", "prunings = [1]\nrules = ['luck']", "rules must be a list.*fine_tuning; got .'luck'."),
        ("prunings = [1, 2]", "prunings = [1]\nrules = 'fine_tuning'", "rules must be a list"),
        ("prunings = [1, 2]", "prunings = [1]\nrules = [['fine_tuning']]", "rules must be a list"),
        ("prunings = [1, 2]", "rules = ['fine_tuning']", "there are none"),
        ("dense = true", "dense = 'yes'", "dense must be true or false, got .yes."),
        ("prunings = [1, 2]", "prunings = [1]\nrule = 'fine_tuning'", "rule is set by the study itself"),
        ("prunings = [1, 2]", "prunings = [1]\nrules = ['fine_tuning']\n[methods.pt]\nscript = 'main_imp.py'\n"
         "prune_type = 'pt'\n[elastic]", "those of prune_type pt do not"),
    ],
)  # fmt: skip
def test_what_no_rule_can_train_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written(QUICK.replace("weight_decay = 0.001\n", ""), (old, new)), tmp_path / "runs", message, capsys)


def test_a_control_without_a_mask_is_trained_once_for_a_search(written):
    text = AT_ONCE.replace("pruning_times = 1", "pruning_times = 2")
    found = read_study(written(text, ("prunings = [1]", 'prunings = [1, 2]\ncontrols = ["dense", "reinit"]')))
    names = [job.save_dir.name for job in found.jobs if "--control" in job.flags and "mlp2/seed_0" in str(job.save_dir)]
    assert names == [
        "IMP_ticket_1_dense", "IMP_ticket_1_reinit", "IMP_ticket_2_reinit", "SNIP_0.8_ticket_dense",
        "SNIP_0.8_ticket_reinit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('arch = ["mlp2", "mlp3", "mlp4"]\n', "", r"arch in \[grid\]: give two or more"),
        ('"mlp2", "mlp3", "mlp4"', '"mlp2"', r"arch in \[grid\]: give two or more"),
        ("prunings = [2]", "", r"prunings in \[retrain\], which has none"),
        ("prunings = [2]", "controls = ['reinit']", r"prunings in \[retrain\], which has none"),
        ("prunings = [2]", "prunings = [2]\ncontrols = 'reinit'", "controls must be a list"),
        ("prunings = [2]", "prunings = [3]", "no ticket after 3 prunings"),
        ("[elastic]", "[elastic]\npairs = [['mlp2', 'mlp5']]", "two different networks each of arch.*mlp5"),
        ("[elastic]", "[elastic]\npairs = [['mlp2', 'mlp2']]", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = ['mlp2', 'mlp3']", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = 3", "two different networks each of arch"),
        ("[elastic]", "[elastic]\ncontrols = 'reinit'", "controls must be a list"),
        ("[elastic]", "[elastic]\norder = 'mixed'", "main_elastic.py .*--order.*mixed"),
        ("[elastic]", "[elastic]\ntarget_arch = 'mlp2'", "target_arch is set by the study itself"),
        ("prunings = [2]", "prunings = [2]\ncontrols = ['luck']", "main_train.py .*--control.*luck.*reinit"),
        ("[elastic]", "[[elastic]]", "elastic must be a table"),
        ('"mlp4"', '"res20s"', "main_elastic.py --source_arch mlp2 --target_arch res20s"),
        ('script = "main_imp.py"', 'script = "main_imp.py"\npairs = "x"', "unrecognized arguments: --pairs"),
    ],
)
def test_what_cannot_be_carried_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written(ELASTIC, (old, new)), tmp_path / "runs", message, capsys)


AT_ONCE = """
[common]
dataset = "digits"
epochs = 2
decreasing_lr = "1"
[grid]
arch = ["mlp2", "mlp3"]
seed = [0, 1]
[search]
pruning_times = 1
[methods.IMP]
script = "main_imp.py"
[methods."SNIP 0.8"]
script = "main_init.py"
criterion = "snip"
density = 0.8
score_examples = 100
[retrain]
dense = true
prunings = [1]
"""


def test_a_ticket_found_at_once_is_trained_and_carried_without_prunings(written, tmp_path):
    text = AT_ONCE + 'controls = ["reinit"]\n[elastic]\npairs = [["mlp2", "mlp3"]]\n'
    found = read_study(written(text), tmp_path)
    jobs = {str(job.save_dir.relative_to(tmp_path)): job for job in found.jobs}
    name = "mlp2/seed_1/SNIP_0.8"
    making, training = jobs[name], jobs[f"{name}_ticket"]
    assert shlex.join(making.words) == (
        "--dataset digits --arch mlp2 --seed 1 --criterion snip --density 0.8 --score_examples 100 "
        f"--save_dir {tmp_path}/{name}"
    )
    assert training.after is making and f"--mask_dir {tmp_path}/{name}/checkpoint.pth.tar" in shlex.join(training.words)
    assert jobs[f"{name}_ticket_reinit"].after is making
    carrying = jobs["mlp3/seed_1/SNIP_0.8_ticket_from_mlp2_carried"]
    assert carrying.after is making and jobs["mlp3/seed_1/SNIP_0.8_ticket_from_mlp2"].after is carrying
    assert [(job.is_run, job.needs_device) for job in (making, carrying, training)] == [
        (False, True), (False, False), (True, True)]  # fmt: skip
    check_jobs(found)


def test_tickets_found_at_once_need_no_search(written):
    text = re.sub(r'\[methods.IMP\]\nscript = "main_imp.py"\n', "", AT_ONCE).replace(
        "prunings = [1]", 'controls = ["reinit"]'
    )
    names = {job.save_dir.name for job in read_study(written(text)).jobs}
    assert names == {"dense", "SNIP_0.8", "SNIP_0.8_ticket", "SNIP_0.8_ticket_reinit"}
    alone = {job.save_dir.name for job in read_study(written(text.partition("[retrain]")[0])).jobs}
    assert alone == {"SNIP_0.8"}


def test_a_wrong_flag_of_a_criterion_is_one_sentence(written, tmp_path, capsys):
    message = "main_init.py .*--criterion.*snap"
    check_refusal(written(AT_ONCE, ('criterion = "snip"', 'criterion = "snap"')), tmp_path / "runs", message, capsys)
    message = "main_init.py .*--learning_rate"
    check_refusal(written(AT_ONCE, ("density", "learning_rate = 1\ndensity")), tmp_path / "runs", message, capsys)


def test_a_study_of_tickets_found_at_once_from_end_to_end(written, tmp_path, run_here):
    text = AT_ONCE.replace(', "mlp3"', "").replace("seed = [0, 1]", "seed = [0]")
    text += '[methods."SynFlow 0.8"]\nscript = "main_init.py"\ncriterion = "synflow"\ndensity = 0.8\niterations = 3\n'
    folder = tmp_path / "runs"
    status, err = run_here(written(text), folder)
    assert status == 0, err
    told = (folder / "report" / "report.md").read_text()
    assert "SNIP, 100 examples" in told and "SynFlow, 3 iterations" in told
    assert "holds a ticket" not in told and "unknown origin" not in told
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    assert all(map(is_done, read_study(written(text), folder).jobs))
    assert run_here(written(text), folder)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")} == done
    other = read_study(written(text.replace("score_examples = 100", "score_examples = 99")), folder)
    assert [job.save_dir.name for job in other.jobs if not is_done(job)] == ["SNIP_0.8"]


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


def test_the_study_of_elastic_tickets_has_every_pair_and_control():
    found = read_study(ROOT / "studies" / "elastic_mnist.toml")
    carried = {(job.after.save_dir.parts[3], job.save_dir.parts[3]) for job in found.jobs if not job.is_run}
    assert carried == set(itertools.permutations(["mlp2", "mlp3", "mlp4"], 2))
    assert len(found.jobs) == 9 * (1 + 1 + 3 + 2 * 3)
    assert sum("--control" in job.flags for job in found.jobs) == 9 * (3 + 2)


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
    check_refusal(written(QUICK, (old, new)), tmp_path / "runs", message, capsys)


def test_a_file_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert study.main([str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml cannot be read" in capsys.readouterr().err


# --- running ----------------------------------------------------------------------------------------------------------


def test_places_share_the_machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert places_of(None, []) == [Place(-1, 1)] * 8
    assert places_of(3, []) == [Place(-1, 2)] * 3
    assert places_of(20, []) == [Place(-1, 1)] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert places_of(2, []) == [Place(-1, 3)] * 2, "as the user says"
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert places_of(2, []) == [Place(-1, 4)] * 2


def test_places_are_gpus_that_torch_can_use(monkeypatch, capsys):
    monkeypatch.setattr(devices, "check_gpu", lambda gpu, cpu: None)
    monkeypatch.setattr(devices, "usable_gpus", lambda: [0, 1])
    assert places_of(None, [0, 2, 2]) == [Place(0), Place(2), Place(2)]
    assert places_of(None, None) == [Place(0), Place(1)]
    monkeypatch.setattr(devices, "usable_gpus", lambda: [])
    monkeypatch.setattr(devices, "why_gpu_is_unused", lambda: "its driver is too old")
    assert places_of(2, None) == places_of(2, []) and len(places_of(2, [])) == 2
    assert "the runs compute on the CPU: its driver is too old" in capsys.readouterr().out


def test_a_study_on_gpus_that_torch_cannot_use_begins_no_run(monkeypatch, written, tmp_path, capsys):
    """torch counts devices even where its driver does not work."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    file, folder = written(SMALL), tmp_path / "runs"
    assert study.main([str(file), "--save_dir", str(folder), "--gpu", "0", "1"]) == 2
    assert "--gpu 0: torch cannot use CUDA here" in capsys.readouterr().err and not folder.exists()


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
    assert failed[folder / "IMP_ticket_1"] == f"it needs the ticket of {folder / 'IMP'}, which failed"
    assert len(begun) == len(quick.jobs) - 4


def test_a_failed_carrying_stops_the_training_of_its_ticket_alone(elastic, fake, tmp_path):
    begun, failing = fake
    failing.add("IMP_ticket_2_from_mlp2_carried")
    failed = runner.Runner(elastic, [Place(-1, 1)] * 2).run()
    assert {path.name for path in failed} == {"IMP_ticket_2_from_mlp2_carried", "IMP_ticket_2_from_mlp2"}
    assert len(begun) == len(elastic.jobs) - 4, "two targets, two seeds: a training for each"
    order = [job for job, _ in begun]
    for job in order:
        assert job.after is None or order.index(job.after) < order.index(job)


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
    commands = {id(job): shlex.join(["-u", job.script, *job.words]) for job in elastic.jobs}
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


SMALL = QUICK.replace("seed = [0, 1]", "seed = [0]").replace("prunings = [1, 2]", "prunings = [2]")


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


def test_an_array_script_made_elsewhere_names_the_scripts_in_full(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, asked = run_task(slurm_script(quick), tmp_path, 0)
    assert status == 0 and asked[0].startswith(f"-u {ROOT.resolve() / quick.jobs[0].script} ")


def command(file, folder):
    return [sys.executable, "study.py", str(file), "--save_dir", str(folder), "--gpu", "--jobs", "2", "--no_report"]


@pytest.fixture
def run_here(monkeypatch):
    """Run a study whose runs are done in this process, one after the other, and make its report; its exit status and
    what it complained about. That they are processes of their own elsewhere is for the tests of these."""

    def begin(job, place):
        device = place.flags if job.needs_device else []
        status, out, err = run_in_process(importlib.import_module(Path(job.script).stem), *job.words, *device)
        runner.log_of(job).write_text(out + err)
        return runner.Running(job, place, SimpleNamespace(poll=lambda: status, returncode=status))

    monkeypatch.setattr(runner, "begin", begin)
    monkeypatch.setattr(runner, "PATIENCE", 0)

    def run(file, folder):
        status, _, err = run_in_process(study, file, "--save_dir", folder, "--gpu", "--jobs", 1)
        return status, err

    return run


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


def test_a_study_of_greedy_selection_ends_with_its_report(tmp_path, run_here):
    """The one that comes along, on a few digits."""
    text = (ROOT / "studies" / "greedy_mnist.toml").read_text()
    small = {
        'dataset = "mnist"\ndata = "data/mnist"': 'dataset = "digits"',
        "iterations = 4000": "iterations = 20",
        '"0,250,500,1000,2000,4000"': '"0,20"',
        "neurons = 200": "neurons = 5",
        "fine_tune = 500": "fine_tune = 5",
        "[2000, 10000]": "[20]",
        "[1000, 5000, 20000]": "[50, 100]",
        "[0, 1, 2, 3, 4]": "[0]",
    }
    file = write_study(tmp_path, text, *small.items())
    status, err = run_here(file, tmp_path / "runs")
    assert status == 0, err
    rows = list(csv.DictReader((tmp_path / "runs" / "report" / "tables" / "greedy-needed-1.csv").open()))
    assert [(row["width"], row["examples"], row["seeds"]) for row in rows] == [("20", "50", "1"), ("20", "100", "1")]


def test_a_study_of_elastic_tickets_from_end_to_end(written, tmp_path, run_here):
    """Run twice: nothing is done again; with another order of the copies the carried ticket is another one."""
    two = ELASTIC.replace(', "mlp4"', "").replace("seed = [0, 1]", "seed = [0]") + 'pairs = [["mlp2", "mlp3"]]\n'
    two = two.replace("prunings = [2]", 'dense = true\nprunings = [2]\ncontrols = ["random_mask"]')
    folder = tmp_path / "runs"
    status, err = run_here(written(two), folder)
    assert status == 0, err
    carried = folder / "mlp3" / "seed_0" / "IMP_ticket_2_from_mlp2_carried"
    summary = json.loads((folder / "mlp3" / "seed_0" / "IMP_ticket_2_from_mlp2" / "summary.json").read_text())
    assert summary["ticket"]["file"] == str(carried / "checkpoint.pth.tar")
    assert summary["ticket"]["source"]["settings"]["arch"] == "mlp2" and summary["settings"]["arch"] == "mlp3"
    assert "no run" not in err
    rows = list(csv.DictReader((folder / "report" / "tables" / "altered-tickets-1.csv").open()))
    known = {row["tickets"]: [bool(row[arch]) for arch in ("mlp2", "mlp3")] for row in rows}
    assert known == {
        "dense network": [True, True],
        "IMP": [True, True],
        "IMP, random mask": [True, True],
        "IMP of mlp2, elastic (append)": [False, True],
    }
    done = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")}
    assert all(map(is_done, read_study(written(two), folder).jobs))
    assert run_here(written(two), folder)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.tar")} == done
    other = read_study(written(two.replace("[elastic]", '[elastic]\norder = "interpolate"')), folder)
    assert [job.save_dir for job in other.jobs if not is_done(job)] == [carried]
