"""Reports of real runs, good and bad, from end to end."""

import base64
import csv
import json
import os
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import pytest

import report
from lottery.checkpointing.checkpoint import read, write
from lottery.reports.chapters.example_gallery import read_images
from lottery.reports.comparison.methods import group_by_task
from lottery.results.runs import read_runs
from tests.helpers import REPORTED as QUICK
from tests.helpers import logged, run
from utils import InputError

SEARCHING = f"{QUICK} --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of IMP and PrAC, random pruning, the dense network, two retrained tickets."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run("imp", f"{SEARCHING} --seed {seed}", folder / f"imp_{seed}")
        run("PrAC", f"{SEARCHING} --eb_eps 0.05 --seed {seed}", folder / f"PrAC_{seed}")
    run("imp", f"{SEARCHING} --random_prune", folder / "random_0")
    run("train", QUICK, folder / "dense_0")
    for kind in ("imp", "PrAC"):
        ticket = folder / f"{kind}_0" / "1checkpoint.pth.tar"
        run("train", f"{QUICK} --init_dir {ticket} --mask_dir {ticket}", folder / f"retrain_{kind}")
    return folder


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """The report of all of them."""
    output = tmp_path_factory.mktemp("out") / "report"
    assert report.main([*map(str, sorted(runs.iterdir())), "--output", str(output)]) == 0
    return output


class Page(HTMLParser):
    """The resources that a page names, its anchors and links."""

    def __init__(self, text):
        super().__init__()
        self.resources, self.links, self.anchors = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.resources += [found[name] for name in ("src", "data", "srcset") if name in found]
        (self.resources if tag == "link" else self.links).extend([found["href"]] if "href" in found else [])
        self.anchors += [found["id"]] if "id" in found else []
        assert tag != "script"


def test_the_page_needs_no_other_file(whole):
    text = (whole / "report.html").read_text()
    page = Page(text)
    assert len(page.resources) > 8
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.resources)
    plain = re.sub('base64,[^"]+', "", text)
    assert "http" not in plain and "url(" not in plain and "@import" not in plain
    for source in page.resources:
        drawn = base64.b64decode(source.partition("base64,")[2]).decode()
        assert all(link.startswith(("#", "data:")) for link in re.findall('href="([^"]*)"', drawn))
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert len(anchors) >= 5 and set(anchors) <= set(page.anchors) and len(set(page.anchors)) == len(page.anchors)
    files = {link for link in page.links if not link.startswith("#")}
    assert all((whole / link).is_file() for link in files)
    assert files == {
        str(file.relative_to(whole)) for folder in ("figures", "tables") for file in (whole / folder).iterdir()
    }


def test_the_page_holds_every_number_of_the_tables(whole):
    text = unescape((whole / "report.html").read_text())
    rows = list(csv.DictReader((whole / "tables" / "accuracy_digits_tests_networks_tiny.csv").open()))
    assert {row["method"] for row in rows} == {"IMP", "IMP, random pruning", "PrAC", "dense network"}
    for row in rows:
        cells = [f"{float(row[name]):.2f}" for name in ("remaining (%)", "sparsity (%)")]
        cells += [row["seeds"], f"{float(row['test (%)']):.2f}"]
        assert "".join(f'<td class="number">{cell}</td>' for cell in cells) in text


def test_numbers_are_those_of_the_runs(runs, whole):
    rows = list(csv.DictReader((whole / "tables" / "accuracy_digits_tests_networks_tiny.csv").open()))
    summaries = [json.loads((runs / f"PrAC_{seed}" / "summary.json").read_text()) for seed in (0, 1)]
    (mine,) = [
        r for r in rows if (r["networks"], r["method"]) == ("search", "PrAC") and float(r["remaining (%)"]) < 100
    ]
    assert float(mine["test (%)"]) == pytest.approx(sum(s["rounds"][1]["test"] for s in summaries) / 2)
    retrained = json.loads((runs / "retrain_PrAC" / "summary.json").read_text())["rounds"][0]["test"]
    (ticket,) = [r for r in rows if (r["networks"], r["method"]) == ("retrained", "PrAC")]
    assert float(ticket["test (%)"]) == pytest.approx(retrained) and ticket["seeds"] == "1"
    (cost,) = [
        r
        for r in csv.DictReader((whole / "tables" / "cost_digits_tests_networks_tiny.csv").open())
        if r["method"] == "PrAC"
    ]
    assert float(cost["steps"]) == sum(s["costs"]["steps"] for s in summaries) / 2
    assert float(cost["saved: find (%)"]) == pytest.approx(50 * sum(s["costs"]["saved"] for s in summaries))
    (total,) = [
        r
        for r in csv.DictReader((whole / "tables" / "accuracy_vs_steps_digits_tests_networks_tiny.csv").open())
        if r["method"] == "PrAC"
    ]
    assert float(total["steps in all"]) == summaries[0]["rounds"][0]["steps"] + 3 * 21


def test_every_chapter_is_there_with_its_pictures(whole):
    text = (whole / "report.html").read_text()
    for title in ("Accuracy", "Cost", "Masks", "Overlap of tickets", "PrAC sets", "Runs"):
        assert f"<h2>{title}</h2>" in text
    pictures = {file.stem for file in (whole / "figures").glob("*.png")}
    assert pictures == {file.stem for file in (whole / "figures").glob("*.svg")}
    for name in ("accuracy_vs_weights_in_search_TASK", "accuracy_vs_weights_TASK", "accuracy_vs_steps_TASK",
                 "steps_to_find_TASK", "set_sizes_TASK", "overlap_TASK", "density_by_layer_TASK"):  # fmt: skip
        name = name.replace("TASK", "digits_tests_networks_tiny")
        assert name in pictures
    assert any(name.startswith("examples_most_forgotten_prac") for name in pictures)
    assert any(name.startswith("mask_distance_") for name in pictures)
    markdown = (whole / "report.md").read_text()
    assert {match[1] for match in re.finditer(r"\(figures/(.+?)\.png\)", markdown)} == pictures
    assert "python main_PrAC_imp.py --dataset digits" in markdown and "python main_imp.py" in text


def test_few_seeds_give_no_verdict(whole):
    text = (whole / "report.html").read_text()
    assert "4 more seeds are needed for a verdict on IMP, retrained, against the dense network" in text


def test_a_report_is_replaced_and_other_files_stay(runs, tmp_path):
    (tmp_path / "report.html").write_text("the former page")
    (tmp_path / "mine.txt").write_text("mine")
    assert report.main([str(runs / "dense_0"), "--output", str(tmp_path)]) == 0
    assert "the former page" not in (tmp_path / "report.html").read_text() and (tmp_path / "mine.txt").exists()


def test_older_runs_and_reference_runs_are_read_from_checkpoints(runs, tmp_path, reference_checkpoint):
    for name in ("PrAC_0", "retrain_PrAC", "dense_0"):
        shutil.copytree(runs / name, tmp_path / name)
        (tmp_path / name / "summary.json").unlink()
    found, _ = logged(read_runs, [tmp_path / name for name in ("PrAC_0", "retrain_PrAC", "dense_0")])
    fresh, _ = logged(read_runs, [runs / name for name in ("PrAC_0", "retrain_PrAC", "dense_0")])
    for old, new in zip(found, fresh, strict=True):
        known = [{key: row.get(key) for key in ("density", "test", "best_epoch", "steps", "set")} for row in new.rounds]
        assert [{key: row.get(key) for key in known[0]} for row in old.rounds] == known
    assert found[1].ticket["prunings"] == 1, "found by the checksum of the ticket"
    foreign, notes = logged(read_runs, [reference_checkpoint("prac").parent])
    assert foreign[0].rounds[0]["test"] == pytest.approx(28.9999985) and foreign[0].rounds[0]["best_epoch"] == 3
    assert foreign[0].rounds[0]["density"] == pytest.approx(0.8, abs=1e-5) and "2021 code" in notes[0]


def test_runs_without_validation_are_reported_as_they_ended(runs, tmp_path, capsys):
    """Their test accuracy is the last epoch's; from summary.json, and from checkpoints where there is none."""
    for name in ("imp_0", "imp_1", "retrain_imp", "dense_0"):
        shutil.copytree(runs / name, tmp_path / name)
        file = tmp_path / name / "summary.json"
        summary = json.loads(file.read_text())
        rounds = [row | {"validation": None, "test": 77.0 + row["round"]} for row in summary["rounds"]]
        examples = summary["examples"] | {"validation": 0}
        file.write_text(json.dumps(summary | {"rounds": rounds, "examples": examples}))
        metrics = tmp_path / name / "metrics.jsonl"
        lines = [json.loads(line) | {"validation": None} for line in metrics.read_text().splitlines()]
        metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file = tmp_path / "dense_0" / "checkpoint.pth.tar"
    content = read(file)
    history = [line | {"validation": None, "test": None} for line in content["history"]]
    history[-1]["test"] = 66.0
    write(file, content | {"history": history})
    (tmp_path / "dense_0" / "summary.json").unlink()
    given = sorted(map(str, tmp_path.iterdir()))
    assert report.main([*given, "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / "tables" / "accuracy_digits_tests_networks_tiny.csv").open()))
    found = {(row["networks"], row["method"], round(float(row["remaining (%)"]))): row["test (%)"] for row in rows}
    assert found == {
        ("search", "IMP", 100): "77.0",
        ("search", "IMP", 80): "78.0",
        ("retrained", "IMP", 80): "77.0",
        ("dense", "dense network", 100): "66.0",
    }
    networks = list(csv.DictReader((tmp_path / "out" / "tables" / "networks.csv").open()))
    assert {row["validation"] for row in networks} == {""}
    (dense,) = [row for row in networks if row["run"] == "dense_0"]
    assert dense["best epoch"] == "2" and dense["test"] == "66.0"


def test_bad_directories_are_named_and_the_rest_is_reported(runs, tmp_path, reference_checkpoint, capsys):
    empty, cut, damaged, going = (tmp_path / name for name in ("empty", "cut", "damaged", "going"))
    empty.mkdir()
    shutil.copytree(runs / "PrAC_0", cut)
    with (cut / "metrics.jsonl").open("a") as file:
        file.write('{"round": 1, "epo')
    shutil.copytree(runs / "imp_0", damaged)
    file = damaged / "2checkpoint.pth.tar"
    file.write_bytes(file.read_bytes()[:-200])
    summary = json.loads((damaged / "summary.json").read_text())
    summary["rounds"][1].pop("steps")
    (damaged / "summary.json").write_text(json.dumps(summary))
    shutil.copytree(runs / "imp_1", going)
    summary = json.loads((going / "summary.json").read_text())
    (going / "summary.json").write_text(json.dumps(summary | {"finished": False, "rounds": summary["rounds"][:1]}))
    young = tmp_path / "young"
    shutil.copytree(runs / "dense_0", young)
    (young / "summary.json").unlink()
    content = read(young / "checkpoint.pth.tar")
    write(young / "checkpoint.pth.tar", content | {"epoch": 1, "history": content["history"][:1]})
    elastic = tmp_path / "elastic"
    elastic.mkdir()
    write(elastic / "checkpoint.pth.tar", {"format": 3, "settings": {"script": "main_elastic.py"}})
    foreign = reference_checkpoint("imp").parent
    given = [empty, tmp_path / "nowhere", cut, cut, damaged, going, young, elastic, foreign]
    assert report.main([*map(str, given), "--output", str(tmp_path / "out")]) == 0
    stderr, text = capsys.readouterr().err, unescape((tmp_path / "out" / "report.html").read_text())
    for sentence in (
        f"{empty} holds no run",
        "nowhere does not exist",
        "1 line is cut or altered in metrics.jsonl",
        "is given twice",
        "summary.json is damaged; its checkpoints are used",
        "2checkpoint.pth.tar is no checkpoint, or a damaged one",
        "going (1 of 2 rounds).",
        "is not finished: 1 of 3 epochs",
        "made by the 2021 code",
        "holds a ticket of main_elastic.py, no run",
        "share no figure",
        "there is no dense network with the same recipe",
    ):
        assert sentence in stderr, sentence
        assert sentence in text, sentence


def test_nothing_readable_is_an_error(tmp_path, capsys):
    assert report.main([str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "there is no run to report" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert report.main([str(tmp_path), "--margin", "-1"]) == 2
    assert report.main([]) == 2


def test_an_output_that_is_a_file_is_refused(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert report.main([str(runs / "dense_0"), "--output", str(tmp_path / "file" / "report")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_report_is_not_written_among_the_files_of_a_run(runs, capsys):
    before = sorted(file.name for file in (runs / "dense_0").iterdir())
    assert report.main([str(runs / "dense_0"), "--output", str(runs / "dense_0")]) == 2
    assert "holds a run: a report needs a directory of its own" in capsys.readouterr().err
    assert sorted(file.name for file in (runs / "dense_0").iterdir()) == before


def test_images_that_are_not_those_of_the_runs_are_not_shown(runs, tmp_path):
    found, _ = logged(read_runs, [runs / "PrAC_0"])
    for change, words in ({"data checksum": "00"}, "holds other images"), ({"dataset": "cifar10"}, "CIFAR10 is not in"):
        found[0].settings = found[0].settings | change
        (task,), _ = logged(group_by_task, found)
        with pytest.raises(InputError, match=words):
            read_images(task, task.methods, tmp_path / "data")
        assert not (tmp_path / "data").exists()


def test_names_of_runs_may_have_dollar_signs_and_bytes_that_are_no_letters(runs, tmp_path):
    """Matplotlib reads what lies between two dollar signs as mathematics."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for name, copy in {"imp_0": "imp_$lr_$seed_0", "imp_1": "imp_$lr_$seed_1", "PrAC_0": "PrAC_$lr_$seed_0"}.items():
        shutil.copytree(runs / name, folder / copy)
    assert report.main([*map(str, folder.iterdir()), str(runs / "dense_0"), "--output", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "caf\\\\xe9" in page.replace("\\_", "_") and (tmp_path / "out" / "figures").is_dir()
