"""The report's chapter on greedy selection of channels: by hand on made-up records, and on real runs."""

import csv
import json
import math
from html import unescape

import pytest

import report
from lottery.reports.chapters.greedy_channels import (
    accuracy_table,
    channel_parts,
    cost_sentences,
    cost_table,
    difference_sentences,
    difference_table,
    layer_table,
    required_table,
)
from lottery.reports.comparison.sweeps import group_by_sweep
from lottery.reports.document import Figure
from lottery.results.channel_runs import ChannelSweep
from lottery.results.runs import read_runs
from tests.helpers import CHANNELS_BESIDE as BESIDE
from tests.helpers import logged
from tests.helpers import select_channels as select

SETTINGS = {"script": "main_channels.py", "dataset": "digits", "arch": "res20s", "keep": "0.5", "top1_tol": None,
            "layers": None, "prune_at": [0, 50, 100], "fine_tune_epochs": 2, "lr": 0.1, "init_dir": False}  # fmt: skip
GAINS = {
    "before": {"parameters": 1000, "flops": 4e6, "seconds": {"1": 0.002, "128": 0.1}},
    "after": {"parameters": 400, "flops": 1e6, "seconds": {"1": 0.002, "128": 0.06}},
}


def network(accuracy):
    """Two points better on what it trained on."""
    return {"train": accuracy + 2, "validation": accuracy + 1, "test": accuracy}


def layer(name, kept=4, channels=8):
    return {"layer": name, "channels": channels, "kept_channels": list(range(kept)), "before": 90.0, "after": 80.0}


def selection(iteration, selected, tuned=None, by="greedy", **more):
    """The row of a selection."""
    row = {"round": 1, "iteration": iteration, "by": by, "dense": network(60), "selected": network(selected)}
    row |= {"layers": [layer("conv1"), layer("conv2", 2, 4)], "gains": GAINS} | more
    return row | ({"fine_tuned": network(tuned)} if tuned is not None else {})


def made(folder, rows, dense=90.0, seed=0, delta=1.0, finished=True, **settings):
    """A run's records; with `dense` None one of given weights."""
    folder.mkdir(parents=True)
    settings = SETTINGS | {"seed": seed} | settings
    begun = [] if dense is None else [{"round": 0, "end": network(dense)}]
    summary = {"command": "python main_channels.py", "environment": {"torch": "2"}, "settings": settings}
    summary |= {"examples": {"train": 10}, "rounds": begun + rows, "finished": finished, "delta": delta}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def matching_at(iteration, by="greedy"):
    """Rows of selections that are good enough from an iteration on, None for never; ten points better if tuned."""
    return [
        selection(t, 89.5 if iteration is not None and t >= iteration else 70, 80 if t == 0 else 95, by)
        for t in (0, 50, 100)
    ]


def sweeps(folders):
    runs, notes = logged(read_runs, folders)
    found, more = logged(group_by_sweep, runs)
    return found, notes + more


def with_seeds(tmp_path, greedy, others, **more):
    """The sweep of a run of each seed, that has these accuracies at its last iteration, the others by magnitude."""
    rows = ([selection(100, a), selection(100, b, by="magnitude")] for a, b in zip(greedy, others, strict=True))
    settings = {"prune_at": [100], "baselines": ["magnitude"]} | more
    return sweeps(made(tmp_path / str(seed), row, seed=seed, **settings) for seed, row in enumerate(rows))[0][0]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_baselines_stand_beside_the_greedy_selection_of_their_iteration(tmp_path):
    rows = [*matching_at(50), *matching_at(None, "random")]
    for row in rows[:3]:
        del row["by"]  # as in an older run
    (run,), notes = logged(read_runs, [made(tmp_path / "run", rows, baselines=["random"])])
    assert [point["iteration"] for point in run.points] == [0, 50, 100] and not notes
    assert [point["selected"]["test"] for point in run.points] == [70, 89.5, 89.5]
    assert [point["random selected"]["test"] for point in run.points] == [70, 70, 70]
    assert (run.done, run.planned, run.swept) == (6, 6, ChannelSweep("keep", 0.5, "all"))


def test_goals_are_the_cells_of_a_sweep_in_their_order(tmp_path):
    given = [{"keep": "0.5"}, {"keep": "0.25"}, {"keep": "16"}, {"keep": "9"}, {"keep": None, "top1_tol": 0.02},
             {"keep": "0.5", "layers": "conv1"}]  # fmt: skip
    (sweep,), notes = sweeps(made(tmp_path / str(n), matching_at(50), **goal) for n, goal in enumerate(given))
    assert [cell.swept for cell in sweep.cells] == [
        ("keep", 0.25, "all"),
        ("keep", 0.5, "all"),
        ("keep", 0.5, "conv1"),
        ("keep", 9, "all"),
        ("keep", 16, "all"),
        ("tolerance", 0.02, "all"),
    ]
    assert sweep.name == "greedy selection of channels of res20s on digits" and not notes


def test_other_settings_share_no_figure(tmp_path):
    folders = [made(tmp_path / f"{lr}_{arch}", matching_at(50), lr=lr, arch=arch) for lr, arch in
               ((0.1, "res20s"), (0.2, "res20s"), (0.1, "vgg11"))]  # fmt: skip
    found, notes = sweeps(folders)
    assert [sweep.name.removeprefix("greedy selection of channels of ") for sweep in found] == [
        "res20s on digits (lr 0.1)",
        "res20s on digits (lr 0.2)",
        "vgg11 on digits",
    ]
    assert len(notes) == 1 and "The runs of main_channels.py have 3 settings, which share no figure" in notes[0]


def test_each_seed_may_have_given_weights_of_its_own_but_one_seed_has_one(tmp_path):
    """And a run with baselines goes together with one without."""
    given = {"prune_at": None, "init_dir": True, "dense": None}
    folders = [
        made(tmp_path / name, [selection(None, 70)], seed=seed, **given, **{"weights checksum": name}, **more)
        for name, seed, more in (("a", 0, {"baselines": []}), ("b", 1, {}), ("c", 0, {}))
    ]
    (first, second), _ = sweeps(folders)
    assert [[run.name for run in sweep.runs] for sweep in (first, second)] == [["a", "b"], ["c"]]
    assert first.name != second.name


# --- what was needed --------------------------------------------------------------------------------------------------


def test_needed_pre_training_by_hand(tmp_path):
    firsts = {0: (50, None), 1: (0, 100), 2: (None, None)}
    (sweep,), _ = sweeps(
        made(tmp_path / str(s), [*matching_at(a), *matching_at(b, "random")], seed=s, baselines=["random"])
        for s, (a, b) in firsts.items()
    )
    rows = {row[3]: row[4:] for row in required_table(sweep).rows}
    assert rows == {
        "greedy selection": [3, "50, 0, never", "50, 0, never", "50, 50, 50", "50, 50, 50"],
        "random channels": [3, "never, 100, never", "never, 100, never", "50, 50, 50", "50, 50, 50"],
    }


def test_a_run_that_has_not_selected_everywhere_needs_nothing_yet(tmp_path):
    """Its dense network is at its end: what is missing must not count as never. A baseline that is not through leaves
    the greedy selections known."""
    folders = [
        made(
            tmp_path / "a", [*matching_at(50), *matching_at(None, "random")[:2]], finished=False, baselines=["random"]
        ),
        made(tmp_path / "b", matching_at(None)[:2], seed=1, finished=False, baselines=["random"]),
    ]
    (sweep,), notes = sweeps(folders)
    rows = {row[3]: row[5:] for row in required_table(sweep).rows}
    assert rows == {"greedy selection": ["50", "50", "50", "50"], "random channels": [None] * 4}
    assert notes == [
        "Still going, or stopped before their end, and shown as far: a (5 of 6 selections), b (2 of 6 selections)."
    ]
    assert channel_parts(sweep)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_accuracies_by_hand(tmp_path):
    sweep = with_seeds(tmp_path, [70, 74], [60, 60])
    rows = accuracy_table(sweep).rows
    assert [row[3:6] for row in rows] == [
        [None, "dense at the end", 2], [100, "greedy selection", 2], [100, "largest filters", 2]]  # fmt: skip
    assert rows[0][6:] == [90, 0, None, None]
    assert rows[1][6:] == pytest.approx([60, 0, 72, math.sqrt(8)])
    assert rows[2][6:] == [60, 0, 60, 0]


@pytest.mark.parametrize(
    "greedy, others, said",
    [
        ([71, 72, 73, 72, 72], [70] * 5, "+2.00 points of test accuracy over 5 pairs of seeds (95 % interval +1.12 to "
         "+2.88): greedy selection is better."),
        ([70] * 5, [71, 72, 73, 72, 72], "-2.00 points of test accuracy over 5 pairs of seeds (95 % interval -2.88 to "
         "-1.12): greedy selection is worse."),
        ([66, 70, 78, 70, 71], [70] * 5, "+1.00 points of test accuracy over 5 pairs of seeds (95 % interval -4.41 to "
         "+6.41): no difference is shown."),
        ([72, 74], [70, 70], "+3.00 points of test accuracy over 2 pairs of seeds (95 % interval -9.71 to +15.71): "
         "no verdict."),
        ([72], [70], "+2.00 points of test accuracy over 1 pair of seeds: no verdict."),
    ],
)  # fmt: skip
def test_greedy_selection_is_compared_with_a_baseline_seed_by_seed(tmp_path, greedy, others, said):
    sweep = with_seeds(tmp_path, greedy, others)
    (sentence,) = difference_sentences(sweep)
    assert sentence == f"keep 0.5, iteration 100, as selected: greedy selection minus largest filters {said}"
    (row,) = difference_table(sweep).rows
    assert row[3:7] == [100, "as selected", "largest filters", len(greedy)]
    assert row[7] == pytest.approx(sum(greedy) / len(greedy) - sum(others) / len(others))


def test_what_is_left_by_hand(tmp_path):
    sweep = with_seeds(tmp_path, [70, 70], [60, 60])
    (row,) = cost_table(sweep).rows
    assert row[3:] == [100, 2, 12, 6, 1000, 400, 4.0, 1.0, 2.0, 2.0, pytest.approx(100), pytest.approx(60)]
    assert cost_sentences(sweep) == [
        "keep 0.5: 50.0 % of the channels, 40.0 % of the parameters and 25.0 % of the FLOPs are left; a forward pass "
        "takes 100.0 % of the time with 1 image, 60.0 % of the time with 128 images."
    ]
    assert [row[3:] for row in layer_table(sweep).rows] == [
        ["conv1", 2, 8, 4, 90, 80],
        ["conv2", 2, 4, 2, 90, 80],
    ]


def test_times_that_were_not_measured_are_not_reported(tmp_path):
    gains = {when: {name: value for name, value in found.items() if name != "seconds"} for when, found in GAINS.items()}
    (sweep,), _ = sweeps([made(tmp_path / "run", [selection(100, 70, gains=gains)], prune_at=[100])])
    assert cost_sentences(sweep)[0].endswith("of the FLOPs are left.")
    assert cost_table(sweep).rows[0][-4:] == [None] * 4


def test_given_weights_have_tables_but_no_pre_training(tmp_path):
    rows = [selection(None, 70, 80), selection(None, 50, 75, "random")]
    given = {"prune_at": None, "init_dir": True, "baselines": ["random"]}
    (sweep,), _ = sweeps(made(tmp_path / str(seed), rows, dense=None, seed=seed, **given) for seed in (0, 1))
    parts = channel_parts(sweep)
    assert not any(isinstance(part, Figure) for part in parts)
    assert "channels_needed_tests_networks_tiny_on_digits" not in {getattr(part, "name", None) for part in parts}
    assert [row[3:] for row in accuracy_table(sweep).rows] == [
        [None, "greedy selection", 2, 60, 0, 70, 0, 80, 0],
        [None, "random channels", 2, 60, 0, 50, 0, 75, 0],
    ]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Runs of two seeds with baselines, and their report."""
    folder = tmp_path_factory.mktemp("reported")
    for seed in (0, 1):
        select(f"{BESIDE} --seed {seed}", folder / "runs" / str(seed))
    runs = sorted(map(str, (folder / "runs").iterdir()))
    assert report.main([*runs, "--output", str(folder / "report")]) == 0
    return folder / "runs", folder / "report"


def table(folder, name):
    return list(csv.DictReader((folder / "tables" / f"{name}.csv").open()))


def test_the_tables_say_what_the_runs_do(reported):
    runs, output = reported
    summaries = [json.loads((runs / str(seed) / "summary.json").read_text()) for seed in (0, 1)]
    of = {"greedy selection": "greedy", "random channels": "random", "largest filters": "magnitude"}
    for row in table(output, "channels_accuracy_tests_networks_tiny_on_digits")[1:]:
        rows = [found for summary in summaries for found in summary["rounds"][1:]
                if (found["by"], str(found["iteration"])) == (of[row["channels"]], row["iteration"])]  # fmt: skip
        assert len(rows) == int(row["seeds"]) == 2
        for stage, heading in (("selected", "as selected"), ("fine_tuned", "fine-tuned"), ("dense", "dense")):
            assert float(row[f"{heading} (%)"]) == pytest.approx(sum(found[stage]["test"] for found in rows) / 2)
    for row in table(output, "channels_needed_tests_networks_tiny_on_digits"):
        firsts = [summary["first"][of[row["channels"]]]["fine_tuned"]["test"] for summary in summaries]
        assert row["fine-tuned, test"] == ", ".join("never" if first is None else str(first) for first in firsts)
    (cost, _) = table(output, "channels_costs_tests_networks_tiny_on_digits")
    assert float(cost["parameters, after"]) == summaries[0]["rounds"][1]["gains"]["after"]["parameters"]
    (run, _) = table(output, "channels_runs")
    assert (run["goal"], run["at"], run["selections"], run["planned"], run["finished"]) == (
        "keep", "0.5", "6", "6", "True")  # fmt: skip


def test_a_chapter_with_its_figure(reported):
    text = unescape((reported[1] / "report.html").read_text())
    assert "<h2>Greedy selection of channels</h2>" in text and "python main_channels.py --dataset digits" in text
    assert "<h1>Lottery tickets: greedy selection of channels of tests.networks:tiny on digits</h1>" in text
    assert (
        '<figure id="channels_test_tests_networks_tiny_on_digits">' in text
        and "Pre-training and greedy selection" not in text
    )
    assert (reported[1] / "figures" / "channels_test_tests_networks_tiny_on_digits.png").stat().st_size > 10_000
    assert "figures/channels_test_tests_networks_tiny_on_digits.png" in (reported[1] / "report.md").read_text()


def test_a_run_without_a_whole_summary_says_how_to_come_by_one(reported, tmp_path, call):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "1checkpoint.pth.tar").write_bytes((reported[0] / "0" / "1checkpoint.pth.tar").read_bytes())
    (folder / "summary.json").write_text("{")
    status, _, err = call("report", folder, "--output", tmp_path / "out")
    assert status == 2 and "the command that made the run writes it anew; left out." in err


def test_a_run_before_its_first_selection_is_named(tmp_path, call):
    status, _, err = call("report", made(tmp_path / "run", []), "--output", tmp_path / "out")
    assert status == 2 and "has no finished selection yet; left out." in err
