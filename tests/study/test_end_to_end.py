"""Whole studies on digits, with their reports."""

import csv
import json

from lottery.study.job_states import is_done
from lottery.study.study_file import read_study
from tests.helpers import ROOT, write_study
from tests.study.samples import AT_ONCE, ELASTIC, GRADUAL, SMALL


def test_a_study_of_gradual_pruning_beside_cheaper_searches(written, tmp_path, run_here):
    """Costs are compared at equal density; the ticket of one training is trained like any other."""
    text = SMALL.replace("[retrain]", GRADUAL + "[retrain]")
    folder = tmp_path / "runs"
    status, err = run_here(written(text), folder)
    assert status == 0, err
    found = {
        row["method"]: row for row in csv.DictReader((folder / "report" / "tables" / "cost_digits_lenet300.csv").open())
    }
    assert float(found["GMP"]["steps saved against IMP here (%)"]) == 50
    assert float(found["GMP"]["FLOPs saved against IMP here (%)"]) > 50
    assert float(found["IMP, no rewinding between rounds"]["steps saved against IMP here (%)"]) == 50
    rows = list(csv.DictReader((folder / "report" / "tables" / "accuracy_digits_lenet300.csv").open()))
    kinds = {(row["networks"], row["method"]) for row in rows}
    assert {("retrained", "GMP"), ("search", "GMP"), ("retrained", "IMP, no rewinding between rounds")} <= kinds


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
    rows = list(csv.DictReader((tmp_path / "runs" / "report" / "tables" / "neurons_needed_on_digits.csv").open()))
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
    rows = list(csv.DictReader((folder / "report" / "tables" / "altered_tickets_digits_mlp2.csv").open()))
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
