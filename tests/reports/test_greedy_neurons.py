"""The report's chapter on greedy selection: by hand on made-up records, and on real runs beside others."""

import csv
import json
import math
from html import unescape

import pytest

import report
from lottery.reports.chapters.greedy_figures import a_few, spaced, stretched, sweep_widths, unstretched, vacuous_text
from lottery.reports.chapters.greedy_neurons import (
    final_table,
    growth_sentences,
    growth_verdict,
    neuron_parts,
    required_table,
    vacuous_sentence,
)
from lottery.reports.chapters.greedy_tables import iterations_text, sweep_warnings
from lottery.reports.comparison.statistics import sign_test
from lottery.reports.comparison.sweeps import group_by_sweep
from lottery.results.runs import read_runs
from tests.helpers import NEURONS_FAST as FAST
from tests.helpers import REPORTED as TRAINING
from tests.helpers import logged
from tests.helpers import run as train
from tests.helpers import select_neurons as select

SETTINGS = {"script": "main_greedy.py", "dataset": "digits", "target": "halves", "loss": "squared", "lr": 0.2,
            "iterations": 100, "prune_at": [0, 50, 100], "neurons": 4, "fine_tune": 10, "memory": 4096}  # fmt: skip


def test_more_picks_than_neurons_are_reported(tmp_path):
    """Only so many neurons are the largest: after all of them that column is empty."""
    select("--dataset digits --hidden 6 --examples 60 --iterations 10 --prune_at 10 --neurons 9", tmp_path / "run")
    assert report.main([str(tmp_path / "run"), "--output", str(tmp_path / "report")]) == 0
    rows = list(csv.DictReader((tmp_path / "report" / "tables" / "neurons_losses_on_digits.csv").open()))
    assert [bool(row["largest"]) for row in rows] == 6 * [True] + 3 * [False]
    assert all(row["selected"] for row in rows)


def network(accuracy, loss=0.2):
    """Two points better on what it trained on."""
    return {"loss": loss, "train": accuracy + 2, "test": accuracy}


def selection(iteration, selected, tuned=None, bound=0.6):
    """A point of a run, whose bound is vacuous above 0.5."""
    point = {"iteration": iteration, "dense": network(60), "selected": network(selected) | {"distinct": 3}}
    point |= {"random": network(55, 0.9), "largest": network(54, 7.0), "zero": {"loss": 0.5}, "variance": 2.0}
    point |= {"bound": bound, "vacuous": bound > 0.5, "informative from": None if bound > 0.5 else 3, "seconds": 0.1}
    return point | ({"fine_tuned": network(tuned)} if tuned is not None else {})


def curves(point):
    """Losses after each of four picks; what theory knows where the point has a bound."""
    found = {name: [1 / k for k in range(1, 5)] for name in ("selected", "random", "largest")}
    if "bound" in point:
        found |= {"bound": [4 * point["bound"] / k for k in range(1, 5)], "bound after the first": [0.5] * 4}
        found |= {"random, mean": [0.5] * 4}
    return found


def made(folder, points, dense=90.0, width=20, examples=10, seed=0, delta=1.0, **settings):
    """A run's records; without `dense` one that is not at its end."""
    folder.mkdir(parents=True)
    ends = {"dense": network(dense), "scratch": network(80)} if dense is not None else {}
    summary = {"command": "python main_greedy.py", "environment": {"torch": "2"}, "points": points, "delta": delta}
    summary |= {"examples": {"train": examples, "test": 5}, "finished": dense is not None, **ends}
    summary |= {"settings": SETTINGS | {"hidden": width, "examples": examples, "seed": seed} | settings}
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = [json.dumps(point | {"curves": curves(point), "picks": [0]}) + "\n" for point in points]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def matching_at(iteration, **more):
    """Points of a run whose selected network is good enough from an iteration on, None for never."""
    return [selection(t, 89.5 if iteration is not None and t >= iteration else 70, **more) for t in (0, 50, 100)]


def sweeps(folders):
    runs, notes = logged(read_runs, folders)
    found, more = logged(group_by_sweep, runs)
    return found, notes + more


def grown(tmp_path, small, large, **more):
    """The sweep of two sizes, each with a run for each of these first iterations, which are those of seeds 0, 1, ..."""
    return sweeps(
        made(tmp_path / f"{examples}_{seed}", matching_at(first), examples=examples, seed=seed, **more)
        for examples, firsts in ((10, small), (40, large))
        for seed, first in enumerate(firsts)
    )[0][0]


# --- the paper's question ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seeds, of, verdict",
    [
        (5, 5, True),  # 1 / 32
        (4, 5, False),  # 6 / 32
        (7, 8, True),  # 9 / 256
        (6, 8, False),  # 37 / 256
        (4, 4, None),
    ],
)
def test_a_sign_test_by_hand(seeds, of, verdict):
    assert sign_test(seeds, of) is verdict


@pytest.mark.parametrize(
    "later, earlier, pairs, verdict",
    [
        (5, 0, 5, "it grows with the sub-data-set"),
        (0, 5, 5, "it falls as the sub-data-set grows"),
        (4, 0, 5, "not shown to grow or fall"),
        (3, 0, 3, "no verdict from 3 pairs"),
        (1, 0, 1, "no verdict from 1 pair"),
    ],
)
def test_a_verdict_on_growth_needs_five_seeds_of_one_mind(later, earlier, pairs, verdict):
    assert growth_verdict(later, earlier, pairs) == verdict


def test_growth_is_told_with_its_numbers_and_never_is_later_than_any(tmp_path):
    sentences = growth_sentences(grown(tmp_path, [0, 50, 50, 100, None], [50, 100, None, None, None]))
    assert len(sentences) == 2, "nothing was fine-tuned"
    assert sentences[1] == (
        "Width 20, selected, on the test set: needed 0, 50, 50, 100, never (10 examples); 50, 100, never, never, never "
        "(40 examples). With more examples later in 4, earlier in 0 of 5 pairs of seeds: not shown to grow or fall."
    )


def test_growth_is_of_pairs_of_seeds(tmp_path):
    (sentence, *_) = growth_sentences(grown(tmp_path, [0] * 6, [50] * 5))
    assert "later in 5, earlier in 0 of 5 pairs of seeds: it grows with the sub-data-set." in sentence


def test_one_size_says_nothing_of_growth(tmp_path):
    assert growth_sentences(grown(tmp_path, [0], [])) == [
        "Whether more examples need more pre-training takes two sizes of the sub-data-set at one width."
    ]


def test_many_seeds_have_a_median():
    assert iterations_text([50, None, 0]) == "50, never, 0"
    assert iterations_text([0, 0, 50, 100, 100, None, None]) == "median 100, 0 to never"
    assert iterations_text([0, 0, 0, None, None, None, None, None]) == "median never, 0 to never"
    assert iterations_text([]) == ""


def test_a_run_that_is_not_at_its_end_is_shown_and_needs_nothing_yet(tmp_path):
    folders = [made(tmp_path / "a", matching_at(50)), made(tmp_path / "b", matching_at(0)[:2], None, seed=1)]
    (sweep,), notes = sweeps(folders)
    (cell,) = sweep.cells
    assert cell.required_pretraining("selected", "test", 1.0) == {0: 50}
    assert len(cell.measured("selected", 50)) == 2 and len(cell.final("dense")) == 1
    assert notes == ["Still going, or stopped before its end, and shown as far: b (2 of 3 selections)."]
    assert neuron_parts(sweep)


def test_what_was_not_fine_tuned_is_unknown_not_never(tmp_path):
    (row,) = required_table(grown(tmp_path, [50], [])).rows
    assert row == [20, 10, 1, "50", "50", None, None, "3 of 3"]


def test_the_strictest_of_several_deltas_is_used_with_a_warning(tmp_path):
    (sweep,), _ = sweeps([made(tmp_path / str(s), matching_at(50), seed=s, delta=d) for s, d in ((0, 30.0), (1, 0.1))])
    assert sweep.cells[0].required_pretraining("selected", "test", sweep.delta) == {0: None, 1: None}
    (warning,) = sweep_warnings(sweep, "widths and sizes")
    assert warning.warns and "--delta 0.1, 30; 0.1 is used" in warning.text
    assert sweep.cells[0].required_pretraining("selected", "test", 30.0) == {0: 0, 1: 0}


# --- which runs go together -------------------------------------------------------------------------------------------


def test_what_differs_in_more_than_width_size_and_seed_shares_no_figure(tmp_path):
    points = matching_at(50)
    folders = [made(tmp_path / "a", points), made(tmp_path / "b", points, width=40, seed=3, memory=1)]
    found, notes = sweeps([*folders, made(tmp_path / "c", points, lr=0.5)])
    assert [(sweep.name, sweep_widths(sweep)) for sweep in found] == [
        ("greedy selection on digits (lr 0.2)", [20, 40]),
        ("greedy selection on digits (lr 0.5)", [20]),
    ]
    assert len(notes) == 1 and "2 settings, which share no figure" in notes[0]
    (warning,) = sweep_warnings(found[0], "widths and sizes")
    assert "not all widths and sizes have the same seeds" in warning.text
    assert not sweep_warnings(found[1], "widths and sizes")


def test_a_second_run_of_the_same_seed_does_not_count(tmp_path):
    folders = [made(tmp_path / "short", matching_at(0)[:1], None), made(tmp_path / "whole", matching_at(50))]
    (sweep,), notes = sweeps(folders)
    assert [run.name for run in sweep.runs] == ["whole"]
    assert "short repeats the settings and seed of whole, which alone is counted." in notes


# --- tables and figures -----------------------------------------------------------------------------------------------


def test_the_final_accuracies_by_hand(tmp_path):
    folders = [made(tmp_path / str(s), matching_at(50), dense=90.0 + 2 * s, seed=s) for s in (0, 1)]
    (sweep,), _ = sweeps(folders)
    rows = {row[2]: row[3:] for row in final_table(sweep).rows}
    assert rows.keys() == {"dense, 100 iterations", "selected, iteration 100", "as small, from scratch"}
    deviation = math.sqrt(2)
    assert rows["dense, 100 iterations"] == pytest.approx([2, 93, deviation, 91, deviation, 0.2, 0])
    assert rows["selected, iteration 100"] == pytest.approx([2, 91.5, 0, 89.5, 0, 0.2, 0])


def test_where_the_bound_is_vacuous(tmp_path):
    """Above 0.5 in the first selection, from pick 3 on below it in the two others; in one seed in two."""
    points = [selection(0, 70), selection(50, 70, bound=0.4), selection(100, 70, bound=0.5)]
    (sweep,), _ = sweeps([made(tmp_path / "a", points), made(tmp_path / "b", matching_at(50), seed=1)])
    assert vacuous_sentence(sweep).endswith("and so vacuous, in 4 of 6 selections (67 %).")
    (cell,) = sweep.cells
    assert vacuous_text(cell, 0) == ["bound always vacuous"]
    assert vacuous_text(cell, 50) == ["bound always vacuous (1 of 2 seeds)"]
    cell.runs.pop()
    assert vacuous_text(cell, 50) == ["bound vacuous before pick 3"]


def test_a_loss_without_a_bound_has_none(tmp_path):
    names = ("bound", "vacuous", "informative from")
    points = [{name: value for name, value in point.items() if name not in names} for point in matching_at(50)]
    (sweep,), _ = sweeps([made(tmp_path / "run", points, loss="cross_entropy")])
    assert vacuous_sentence(sweep) == "There is no bound: it is of the squared loss only."
    assert vacuous_text(sweep.cells[0], 0) == []
    assert neuron_parts(sweep) and required_table(sweep).rows[0][-1] is None


def test_the_axis_of_accuracies_goes_there_and_back():
    assert [float(unstretched(stretched(accuracy))) for accuracy in (0, 50, 99, 100)] == pytest.approx([0, 50, 99, 100])
    assert stretched(100) - stretched(99) > stretched(91) - stretched(90) > 0
    assert spaced([0, 20, 40, 95, 98, 99, 100], 0.3) == [100, 99, 98, 95, 40, 0]


def test_the_first_the_middle_and_the_last_iteration():
    assert [a_few(range(n)) for n in (1, 2, 3, 4, 5, 9)] == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 2, 4], [0, 4, 8]]


# --- files ------------------------------------------------------------------------------------------------------------


def test_records_that_are_damaged_are_named_and_the_rest_is_reported(tmp_path, capsys):
    good = made(tmp_path / "good", matching_at(50))
    (cut, damaged, young, strange, uncut) = (tmp_path / n for n in ("cut", "damaged", "young", "strange", "uncut"))
    made(cut, matching_at(50), seed=1)
    text = (cut / "metrics.jsonl").read_text()
    (cut / "metrics.jsonl").write_text(text[: len(text) // 2])
    made(damaged, matching_at(50), seed=2)
    (damaged / "summary.json").write_text((damaged / "summary.json").read_text()[:-9])
    made(young, [], None, seed=3)
    made(strange, [{"iteration": 0}], seed=4)
    made(uncut, matching_at(50), width=40)
    (uncut / "metrics.jsonl").unlink()
    given = [good, cut, damaged, young, strange, uncut]
    assert report.main([*map(str, given), "--output", str(tmp_path / "out")]) == 0
    stderr, text = capsys.readouterr().err, unescape((tmp_path / "out" / "report.html").read_text())
    for sentence in (
        "cut: 1 line is cut or altered in metrics.jsonl: losses after each pick are missing.",
        f"{damaged / 'summary.json'} is damaged",
        f"{young} has no finished selection yet; left out.",
        f"{strange / 'summary.json'} is damaged",
    ):
        assert sentence in stderr and sentence in text, sentence
    rows = list(csv.DictReader((tmp_path / "out" / "tables" / "neurons_losses_on_digits.csv").open()))
    assert {(row["width"], row["iteration"], row["seeds"]) for row in rows} == {
        ("20", "0", "2"),
        ("20", "50", "1"),
        ("20", "100", "1"),
    }
    assert not (tmp_path / "out" / "figures" / "neurons_losses_on_digits.png").exists(), (
        "one width has no losses to draw"
    )


def test_a_run_without_a_summary_says_how_to_come_by_one(tmp_path, call):
    select(FAST, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    status, _, err = call("report", tmp_path / "run", "--output", tmp_path / "out")
    assert status == 2 and "the command that made the run writes it anew; left out." in err
    select(FAST, tmp_path / "run")
    assert call("report", tmp_path / "run", "--output", tmp_path / "out")[0] == 0


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two sizes and two seeds at one width, one run at another, beside a training: the runs, and their report."""
    folder = tmp_path_factory.mktemp("mixed")
    for seed in (0, 1):
        for examples in (100, 300):
            select(f"{FAST} --examples {examples} --seed {seed}", folder / "runs" / f"{examples}_{seed}")
    select(f"{FAST} --hidden 60", folder / "runs" / "wide")
    train("train", TRAINING, folder / "runs" / "dense")
    assert report.main([*map(str, sorted((folder / "runs").iterdir())), "--output", str(folder / "report")]) == 0
    return folder / "runs", folder / "report"


def test_runs_of_both_kinds_have_their_own_chapters(mixed):
    text = unescape((mixed[1] / "report.html").read_text())
    for title in ("Accuracy", "Pre-training and greedy selection", "Runs"):
        assert f"<h2>{title}</h2>" in text
    assert "<h1>Lottery tickets: digits, tests.networks:tiny; greedy selection on digits</h1>" in text
    assert "python main_greedy.py --dataset digits" in text and "python main_train.py --dataset digits" in text
    assert "no verdict from 2 pairs" in text and "not all widths and sizes have the same seeds" in text
    markdown = (mixed[1] / "report.md").read_text()
    for name in ("neurons_test_on_digits", "neurons_train_on_digits", "neurons_losses_on_digits"):
        assert f"figures/{name}.png" in markdown and f'<figure id="{name}">' in text
        assert (mixed[1] / "figures" / f"{name}.png").stat().st_size > 10_000
    assert "| 30 | 100 | 2 |" in markdown


def test_the_tables_say_what_the_runs_do(mixed):
    runs, output = mixed
    summaries = {
        name: json.loads((runs / name / "summary.json").read_text()) for name in ("100_0", "100_1", "300_0", "wide")
    }
    needed = list(csv.DictReader((output / "tables" / "neurons_needed_on_digits.csv").open()))
    assert [(row["width"], row["examples"], row["seeds"]) for row in needed] == [
        ("30", "100", "2"),
        ("30", "300", "2"),
        ("60", "100", "1"),
    ]
    for network_name, heading in (("selected", "selected"), ("fine_tuned", "selected and fine-tuned")):
        firsts = [summaries[name]["first"][network_name]["test"] for name in ("100_0", "100_1")]
        assert needed[0][f"{heading}, test"] == ", ".join("never" if f is None else str(f) for f in firsts)
    rows = list(csv.DictReader((output / "tables" / "neurons_points_on_digits.csv").open()))
    for iteration in (0, 1):
        of_all = [summaries[name]["points"][iteration] for name in ("100_0", "100_1")]
        for network_name, heading in (("dense", "dense"), ("largest", "neurons of the largest output")):
            (row,) = [
                row
                for row in rows
                if (row["width"], row["examples"], row["iteration"], row["network"])
                == ("30", "100", str(of_all[0]["iteration"]), heading)
            ]
            assert float(row["test (%)"]) == pytest.approx(sum(point[network_name]["test"] for point in of_all) / 2)
    losses = list(csv.DictReader((output / "tables" / "neurons_losses_on_digits.csv").open()))
    assert len(losses) == 3 * 2 * 10
    line = json.loads((runs / "wide" / "metrics.jsonl").read_text().splitlines()[1])
    (last,) = [row for row in losses if (row["width"], row["iteration"], row["picks"]) == ("60", "20", "10")]
    assert float(last["bound"]) == pytest.approx(line["bound"])
    assert float(last["selected"]) == pytest.approx(line["selected"]["loss"], rel=1e-4)


def test_greedy_runs_alone_make_a_report(mixed, tmp_path):
    runs, _ = mixed
    assert report.main([str(runs / "wide"), "--output", str(tmp_path)]) == 0
    tables = {file.stem for file in (tmp_path / "tables").iterdir()}
    assert tables == {"hardware", "neurons_runs", "selection_settings_on_digits"} | {
        f"neurons_{name}_on_digits" for name in ("needed", "accuracy", "points", "bounds", "losses")
    }
