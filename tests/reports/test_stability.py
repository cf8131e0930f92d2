"""Stability in studies and in the report: the jobs of a study, families of runs, and their chapter."""

import csv
import itertools
import json
import re
import shlex
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

import report
from lottery.reports.chapters.stability import stability_parts, stability_sentence, stability_table
from lottery.reports.comparison.stability_families import group_by_family
from lottery.results.runs import read_runs
from lottery.results.stability_runs import StabilityRun
from lottery.study.job_checks import check_jobs
from lottery.study.job_states import is_done
from lottery.study.study_file import read_study
from tests.helpers import check_refusal, logged, write_study

STUDY = """
[common]
dataset = "digits"
arch = "lenet300"
epochs = 2
decreasing_lr = "1"
val_fraction = 0
[grid]
seed = [0, 1]
[search]
pruning_times = 2
prune_type = "rewind_lt"
rewind_epoch = 0
[methods.IMP]
script = "main_imp.py"
[stability]
prunings = [0, 2]
controls = ["random_mask"]
points = 3
rewind_lr = true
"""


@pytest.fixture
def written(tmp_path):
    return partial(write_study, tmp_path, STUDY)


# --- studies ----------------------------------------------------------------------------------------------------------


def test_a_study_measures_tickets_their_controls_and_the_dense_network(written, tmp_path):
    found = read_study(written(), tmp_path / "runs")
    jobs = {str(job.save_dir.relative_to(tmp_path / "runs")): job for job in found.jobs}
    own = ["IMP", "IMP_ticket_0_stability", "IMP_ticket_2_stability", "IMP_ticket_2_stability_random_mask"]
    assert list(jobs) == [f"seed_{seed}/{name}" for seed in (0, 1) for name in own]
    job, folder = jobs["seed_1/IMP_ticket_0_stability"], tmp_path / "runs" / "seed_1"
    ticket = folder / "IMP" / "0checkpoint.pth.tar"
    assert (job.script, job.after, job.only_makes_ticket) == ("main_stability.py", jobs["seed_1/IMP"], False)
    assert shlex.join(job.arguments) == (
        "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --val_fraction 0 --seed 1 --points 3 "
        f"--rewind_lr --init_dir {ticket} --mask_dir {ticket} --save_dir {job.save_dir}"
    )
    check_jobs(found)


@pytest.mark.parametrize("prunings, dense", [("[0, 2]", []), ("[1, 2]", ["IMP_ticket_1_stability_dense"])])
def test_the_stability_of_the_dense_network_is_measured_once(written, prunings, dense):
    changes = ("[0, 2]", prunings), ('controls = ["random_mask"]', 'controls = ["random_mask", "dense"]')
    names = {job.save_dir.name for job in read_study(written(*changes)).jobs}
    assert [name for name in names if name.endswith("dense")] == dense
    assert "IMP_ticket_2_stability_random_mask" in names


def test_tickets_of_several_rewinding_points_are_one_family(tmp_path):
    """With --rewind_lr the starting step is a setting, and with --like_run each seed follows a run of its own."""
    search = {"script": "main_PrAC_imp.py", "arch": "flat", "members": "random"}
    runs = []
    for seed, step in itertools.product((0, 1), (0, 30)):
        settings = {
            "script": "main_stability.py",
            "seed": seed,
            "dataset": "digits",
            "arch": "flat",
            "ticket step": step,
        }
        found = search | {"seed": seed, "like_run, round 0": f"digest {seed}", "rewind_iteration": step}
        ticket = {"file": "f", "prunings": 2, "settings": found}
        barrier = {"barrier": {"test_error": 1.0}, "density": 0.25}
        runs.append(StabilityRun(tmp_path, settings, {"ticket": ticket, "ticket step": step} | barrier))
    (family,), _ = logged(group_by_family, runs)
    assert [(place.step, len(place.runs)) for place in family.points] == [(0, 2), (30, 2)]


def test_a_ticket_found_at_once_has_its_stability_too(written):
    at_once = '[methods.SNIP]\nscript = "main_init.py"\ncriterion = "snip"\ndensity = 0.5\n[stability]'
    jobs = {job.save_dir.name: job for job in read_study(written(("[stability]", at_once))).jobs}
    assert {"SNIP_ticket_stability", "SNIP_ticket_stability_random_mask", "IMP_ticket_0_stability"} <= jobs.keys()
    assert jobs["SNIP_ticket_stability"].prunings is None and "SNIP_ticket" not in jobs


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("prunings = [0, 2]", "prunings = [-1]", "from 0 up, got [-1]"),
        ("prunings = [0, 2]", "prunings = 2", "from 0 up, got 2"),
        ("prunings = [0, 2]", "", "[stability] has no prunings"),
        ("prunings = [0, 2]", "prunings = [3]", "no ticket after 3 prunings"),
        ("points = 3", "points = 1", "from 3 up, got 1"),
        ("points = 3", 'save_dir = "x"', "save_dir is set by the study itself"),
        ('controls = ["random_mask"]', 'controls = "random_mask"', "controls must be a list"),
        ("main_imp.py", "main_greedy.py", "a method has main_greedy.py"),
    ],
)
def test_a_wrong_table_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written((old, new)), tmp_path / "runs", re.escape(message), capsys)


def test_a_study_from_end_to_end(written, tmp_path, capsys):
    """In this process; the report has the dense network, the ticket and its control."""
    jobs = read_study(written(("seed = [0, 1]", "seed = [0]")), tmp_path / "runs").jobs
    for job in jobs:
        assert import_module(Path(job.script).stem).main([*job.arguments, "--gpu", "-1"]) == 0, capsys.readouterr()
    assert all(map(is_done, jobs))
    assert report.main([*(str(job.save_dir) for job in jobs), "--output", str(tmp_path / "report")]) == 0
    rows = list(csv.DictReader((tmp_path / "report" / "tables" / "stability_digits_lenet300.csv").open()))
    assert [(row["tickets"], row["starts at step"], row["prunings"], row["runs"]) for row in rows] == [
        ("IMP", "12", "0", "1"),
        ("IMP", "12", "2", "1"),
        ("IMP, random mask", "12", "2", "1"),
    ]
    assert float(rows[0]["remaining weights (%)"]) == 100 > float(rows[1]["remaining weights (%)"]) > 60
    summary = json.loads((jobs[1].save_dir / "summary.json").read_text())
    assert float(rows[0]["barrier, test"]) == summary["barrier"]["test_error"]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Stability" in text and "main_stability.py --dataset digits" in text
    assert (tmp_path / "report" / "figures" / "barrier_vs_weights_digits_lenet300.png").exists()
    assert not (tmp_path / "report" / "figures" / "barrier_vs_rewinding_digits_lenet300.png").exists(), (
        "there is one rewinding point"
    )


# --- the report, by hand ----------------------------------------------------------------------------------------------

SEARCH = {"script": "main_imp.py", "dataset": "digits", "arch": "lenet300", "rate": 0.5, "prac_set": False}
SETTINGS = {"script": "main_stability.py", "dataset": "digits", "arch": "lenet300", "epochs": 4, "batch_size": 8,
            "lr": 0.1, "order_seeds": [1, 2], "control": None}  # fmt: skip


def made(folder, barrier, k=0, step=0, seed=0, ticket=True, **settings):
    """The records of a run."""
    folder.mkdir(parents=True)
    rewinding = {"rewind_epoch": step // 10, "prune_type": "rewind_lt"}
    origin = {"file": "f", "prunings": k, "settings": SEARCH | rewinding | {"seed": seed}} if ticket else None
    summary = {
        "settings": SETTINGS | {"seed": seed} | settings,
        "points": [{"test_error": 10.0}, {"test_error": 10 + barrier}, {"test_error": 10.0}],
        "barrier": {"test_error": barrier, "train_error": barrier / 2},
        "stable": barrier < 2,
        "distance": 3.0,
        "angle": 30.0,
        "density": 0.5**k,
        "ticket": origin,
        "ticket step": step,
        "finished": True,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def families(folders):
    runs, notes = logged(read_runs, folders)
    assert not notes
    found, copies = logged(group_by_family, runs)
    assert not copies
    return found


def test_means_are_over_the_seeds_of_one_density_and_one_starting_step(tmp_path):
    heights = {(0, 0): [8, 6], (0, 2): [5, 7], (30, 0): [1, 2], (30, 2): [0, 0]}
    folders = [
        made(tmp_path / f"{step}-{k}-{seed}", height, k, step, seed, order_seeds=[seed, 9])
        for (step, k), both in heights.items()
        for seed, height in enumerate(both)
    ]
    (family,) = families(folders)
    assert [(place.step, place.density, place.barrier[0]) for place in family.points] == [
        (0, 1, 7), (0, 0.25, 6), (30, 1, 1.5), (30, 0.25, 0)]  # fmt: skip
    first = stability_table([family]).rows[0]
    assert first[:7] == ["IMP", 0, 100, 0, 2, 7, pytest.approx(2**0.5)]
    assert first[7] == 3.5 and first[9] == 10 and first[-1] == "0 of 2"
    assert stability_table([family]).rows[2][-1] == "1 of 2"
    dense, sparse = "100 % of the weights, 1 of 2 stable", "25 % of the weights, 2 of 2 stable"
    sentence = stability_sentence(family, 30)
    assert sentence == (
        f"IMP, from step 30: {dense}, mean barrier 1.50, copies' error 10.00 %; {sparse}, mean barrier 0.00, copies' "
        "error 10.00 %."
    )
    names = [part.name for part in stability_parts([family]) if hasattr(part, "files")]
    assert names == ["barrier_vs_weights_digits_lenet300", "barrier_vs_rewinding_digits_lenet300"]


def test_what_differs_in_more_is_another_family(tmp_path):
    folders = [
        made(tmp_path / "a", 3, 1),
        made(tmp_path / "b", 3, 1, control="random_mask"),
        made(tmp_path / "c", 3, 1, lr=0.2),
        made(tmp_path / "d", 3, ticket=False),
        made(tmp_path / "e", 3, 1, arch="mlp2"),
    ]
    found = families(folders)
    assert [(family.task, family.name) for family in found] == [
        ("digits, lenet300", "IMP (lr 0.1)"),
        ("digits, lenet300", "IMP, random mask"),
        ("digits, lenet300", "IMP (lr 0.2)"),
        ("digits, lenet300", "dense network"),
        ("digits, mlp2", "IMP"),
    ]
    assert all(len(family.runs) == 1 for family in found)


def test_searches_that_prune_to_the_same_counts_are_one_family(tmp_path):
    """One by rate, one by densities, and one that has got further densities since; other densities are another."""
    for seed, plan in enumerate([{"rate": 0.5}, {"densities": [0.5, 0.25]}, {"densities": [0.5, 0.25, 0.125]},
                                 {"densities": [0.4]}]):  # fmt: skip
        file = made(tmp_path / str(seed), 3, 1, seed=seed) / "summary.json"
        summary = json.loads(file.read_text())
        summary["ticket"]["settings"] |= {"rate": None, "prunable": 96} | plan
        file.write_text(json.dumps(summary))
    found = families([tmp_path / str(seed) for seed in range(4)])
    assert sorted(len(family.runs) for family in found) == [1, 3]


def test_a_run_that_is_not_at_its_end_is_named_and_left_out(tmp_path, call):
    words = "--dataset digits --arch lenet300 --epochs 1 --decreasing_lr 5 --points 3".split()
    assert call("main_stability", *words, "--save_dir", tmp_path / "a")[0] == 0
    (tmp_path / "a" / "summary.json").unlink()
    runs, notes = logged(read_runs, [tmp_path / "a", made(tmp_path / "b", 3)])
    assert [run.name for run in runs] == ["b"]
    assert len(notes) == 1 and "a run of main_stability.py that is not at its end" in notes[0]


def test_a_run_made_twice_counts_once(tmp_path):
    """The same orders the other way round are the same line; other orders are a run of their own."""
    orders = {"a": [1, 2], "b": [2, 1], "c": [1, 3]}
    folders = [made(tmp_path / name, 3, 1, order_seeds=pair) for name, pair in orders.items()]
    (family,), notes = logged(group_by_family, logged(read_runs, folders)[0])
    assert [run.name for run in family.runs] == ["a", "c"]
    assert notes == ["b repeats the method, seed and ticket of a, which alone is counted."]


def test_a_mask_on_other_weights_is_another_family(tmp_path):
    folders = [made(tmp_path / name, 3, 1) for name in "ab"]
    file = folders[1] / "summary.json"
    summary = json.loads(file.read_text())
    file.write_text(json.dumps(summary | {"ticket": summary["ticket"] | {"start": "other"}}))
    assert [family.name for family in families(folders)] == ["IMP", "IMP, mask on other weights"]
