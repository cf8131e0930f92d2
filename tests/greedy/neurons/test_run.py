"""Runs of main_greedy.py on the digits: what they leave, and that a killed one ends as an unbroken one."""

import contextlib
import io
import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

import main_greedy
from lottery import terminal
from lottery.checkpointing.checkpoint import read
from lottery.greedy.neurons import evaluation, tables
from lottery.greedy.neurons import run as run_module
from lottery.greedy.neurons.config import NeuronSelectionConfig
from lottery.training.progress import Progress
from models.mean_field import MeanField, initial
from tests.helpers import NEURONS_FAST as FAST
from tests.helpers import at_call
from tests.helpers import select_neurons as run
from tests.stress.same_files import differences
from utils import RandomStream, torch_seed

QUICK = "--dataset digits --hidden 120 --examples 500 --iterations 250 --prune_at 0,130,200 --neurons 40 --fine_tune 60"


def points(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("width", [60, 80])
def test_tables_fit_their_terminal_under_whole_words(monkeypatch, width):
    monkeypatch.setattr(terminal, "terminal_width", lambda stream: width)
    network = {"loss": 2.30123, "train": 100.0, "test": 100.0, "distinct": 1000}
    names = ("selected", "dense", "fine_tuned", "random", "largest")
    point = {"iteration": 10000, "bound": 12345.678, **dict.fromkeys(names, network)}
    lines = [*tables.accuracy_table([point]), *tables.loss_table([point])]
    assert max(map(len, lines)) <= width
    words = "iter. neurons dense sel. tuned" if width == 60 else "iteration neurons dense selected fine-tuned"
    assert " ".join(lines[1].split()).startswith(words)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken run, and what it printed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(QUICK, folder)


def test_a_run_leaves_its_files_and_nothing_else(whole):
    assert {file.name for file in whole[0].iterdir()} == {"checkpoint.pth.tar", "metrics.jsonl", "summary.json"}


def test_a_run_measures_every_point(whole):
    found, record = points(whole[0]), summary(whole[0])
    assert [point["iteration"] for point in found] == [0, 130, 200] and record["finished"]
    networks = {"dense", "selected", "fine_tuned", "random", "largest"}
    for point, short in zip(found, record["points"], strict=True):
        assert all(point[name].keys() >= {"loss", "train", "test"} for name in networks)
        assert len(point["picks"]) == 40 and point["selected"]["distinct"] == len(set(point["picks"]))
        assert point.items() >= short.items() and "curves" not in short and "picks" not in short
    assert record["examples"] == {"train": 500, "test": 360}
    assert found[2]["dense"]["loss"] < found[1]["dense"]["loss"] < found[0]["dense"]["loss"] / 2
    assert found[2]["selected"]["test"] > 85 and record["scratch"]["test"] > 85


def test_no_loss_is_above_its_bound(whole):
    for point in points(whole[0]):
        curves = point["curves"]
        for loss, after_first, bound in zip(
            *(curves[name] for name in ("selected", "bound after the first", "bound")), strict=True
        ):
            assert loss <= after_first + 1e-7 and after_first <= bound + 1e-7
        assert point["vacuous"] == (point["bound"] > point["zero"]["loss"])


def test_the_subnetworks_are_kept(whole):
    """Those of iteration 0 are neurons of the initial network, which the seed alone decides."""
    found = read(whole[0] / "checkpoint.pth.tar")["subnetworks"]
    assert list(found) == [0, 130, 200]
    first = initial(120, 65, 1, "relu", torch_seed(0, purpose=RandomStream.INITIAL_WEIGHTS))
    assert found[0]["picks"].tolist() == points(whole[0])[0]["picks"]
    for name in "ab":
        assert torch.equal(found[0]["selected"][name], getattr(first, name)[found[0]["picks"]])
    tuned = MeanField(**found[130]["fine_tuned"])
    assert tuned.a.shape == (40, 65) and not torch.equal(tuned.a.detach(), found[130]["selected"]["a"])


def test_copies_of_a_neuron_stay_copies_when_they_are_tuned(whole):
    found = read(whole[0] / "checkpoint.pth.tar")["subnetworks"][0]
    picks, tuned = found["picks"].tolist(), found["fine_tuned"]["a"]
    first, again = next((picks.index(each), place) for place, each in enumerate(picks) if each in picks[:place])
    torch.testing.assert_close(tuned[first], tuned[again])


def test_the_table_tells_what_the_files_do(whole):
    folder, text = whole
    for point in points(folder):
        accuracies, losses = (line for line in text.splitlines() if re.match(rf" +{point['iteration']} ", line))
        for network in ("dense", "selected", "fine_tuned"):
            assert f"{point[network]['loss']:.4f}" in losses and f"{point[network]['test']:.2f}" in accuracies
        assert f"{point['bound']:.4f}" in losses
    first = summary(folder)["first"]["selected"]["test"]
    record = "never" if first is None else f"at iteration {first}"
    assert re.search(rf"^selected, within 1 point .* on the test set {record}$", text, re.M)


def test_never_is_an_answer(tmp_path):
    text = run(f"{FAST} --prune_at 0 --delta 0 --iterations 300", tmp_path)
    assert "selected, within 0 points of the fully trained dense network: on the training examples never" in text
    assert summary(tmp_path)["first"]["selected"]["train"] is None


@pytest.mark.parametrize("flags", ["--target classes", "--loss cross_entropy", "--target classes --loss cross_entropy",
                                   "--activation tanh", "--fine_tune 0", "--neurons 50"])  # fmt: skip
def test_other_tasks_run_too(tmp_path, flags):
    text = run(f"{FAST} {flags}", tmp_path)
    found = points(tmp_path)
    assert ("bound" in found[0]) == ("cross_entropy" not in flags)
    assert ("fine_tuned" in found[0]) == ("--fine_tune" not in flags)
    assert ("fine-tuned, within" in text) == ("--fine_tune" not in flags)
    assert len(found[0]["picks"]) == (50 if "--neurons" in flags else 10), "more picks than neurons are allowed"
    assert found[1]["dense"]["loss"] < found[0]["dense"]["loss"]


def test_each_of_several_sizes_has_the_run_it_would_have_alone(tmp_path):
    both = FAST.replace("--examples 100", "--examples 60,100")
    run(both, tmp_path / "both")
    run(FAST, tmp_path / "alone")
    assert {folder.name for folder in (tmp_path / "both").iterdir()} == {"examples_60", "examples_100"}
    larger, alone = (tmp_path / folder for folder in ("both/examples_100", "alone"))
    assert summary(larger)["settings"] == summary(alone)["settings"]
    pairs = zip(points(larger), points(alone), strict=True)
    assert all(a | {"seconds": 0} == b | {"seconds": 0} for a, b in pairs)
    assert summary(tmp_path / "both" / "examples_60")["examples"]["train"] == 60
    assert run(both, tmp_path / "both").count("selected, within") == 2, "both are finished, and show what they found"


def test_seeds_differ_in_examples_weights_and_order(tmp_path):
    for seed in (0, 1):
        run(f"{FAST} --seed {seed}", tmp_path / str(seed))
    a, b = (read(tmp_path / str(seed) / "checkpoint.pth.tar") for seed in (0, 1))
    assert a["points"][0]["dense"] != b["points"][0]["dense"]
    assert not torch.equal(a["state_dict"]["a"], b["state_dict"]["a"])


def test_little_memory_gives_the_same_subnetworks(tmp_path, monkeypatch):
    """2 kB hold five neurons on 100 examples."""
    for name, memory in (("little", 2000), ("enough", 2**30)):
        monkeypatch.setattr(NeuronSelectionConfig, "memory_bytes", memory)
        run(FAST, tmp_path / name)
    little, enough = (points(tmp_path / name) for name in ("little", "enough"))
    assert [point["picks"] for point in little] == [point["picks"] for point in enough]
    assert little[1]["selected"]["loss"] == pytest.approx(enough[1]["selected"]["loss"], rel=1e-5)


# --- resuming ---------------------------------------------------------------------------------------------------------

PHASES = {  # what to die at: (owner, function, which call, after it)
    "before anything is written": (Path, "replace", 1, False),
    "with the beginning written": (run_module, "write", 1, True),
    "at the first step": (Progress, "tick", 1, False),
    "in the pre-training": (Progress, "tick", 60 + 117, False),
    "between two stretches": (run_module, "train_", 2, False),
    "in a selection": (evaluation, "select_greedily", 2, False),
    "between a checkpoint and its records": (run_module, "write_lines", 4, False),
    "between a selection and its fine-tuning": (run_module.NeuronSelectionRun, "fine_tune", 2, False),
    "in a fine-tuning": (Progress, "tick", 2 * 60 + 130 - 20, False),
    "after the last selection": (run_module.NeuronSelectionRun, "fine_tune", 3, True),
    "with the dense network measured": (run_module.NeuronSelectionRun, "train_from_scratch", 1, False),
    "in the training from scratch": (Progress, "tick", 250 + 3 * 60 + 200, False),
    "with all written": (run_module, "result_table", 1, False),
}


CASES = [(phase, interval) for phase in PHASES for interval in ((0, 60) if "pre-training" in phase else (0,))]


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is CUDA, a process that has trained cannot fork")
@pytest.mark.parametrize("phase, interval", CASES)
def test_a_run_killed_at_any_point_ends_as_an_unbroken_one(whole, tmp_path, monkeypatch, phase, interval):
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
            at_call(monkeypatch, *PHASES[phase])
            words = f"{QUICK} --gpu -1 --save_interval {interval} --save_dir {tmp_path / 'run'}".split()
            main_greedy.main(words)
        os._exit(0)  # it never died
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "the phase was never reached"
    run(QUICK, tmp_path / "run")
    assert differences(whole[0], tmp_path / "run") == []


def test_the_same_command_again_tells_the_result_again_and_another_one_is_refused(tmp_path):
    text = run(FAST, tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = run(FAST, tmp_path)
    assert again.partition("\n\n")[2] == text.partition("\n\n")[2]
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before
    assert "hidden was 30, is 31" in run(f"{FAST} --hidden 31", tmp_path, expect=2)
    assert "within 50 points" in run(f"{FAST} --delta 50", tmp_path), "what is good enough may be said anew"
    run(f"{FAST} --hidden 31 --overwrite", tmp_path)
    assert summary(tmp_path)["settings"]["hidden"] == 31


def test_another_scripts_directory_is_left_alone(call, tmp_path):
    words = "--dataset digits --arch tests.networks:tiny --epochs 1 --decreasing_lr 1".split()
    assert call("main_train", *words, "--save_dir", tmp_path)[0] == 0
    before = (tmp_path / "checkpoint.pth.tar").read_bytes()
    assert "main_train.py" in run(FAST, tmp_path, expect=2)
    assert "main_train.py" in run(f"{FAST} --overwrite", tmp_path, expect=2)
    assert (tmp_path / "checkpoint.pth.tar").read_bytes() == before


def test_weights_that_overflow_end_the_run(tmp_path):
    text = run(f"{FAST} --lr 1e30", tmp_path, expect=1)
    assert "smaller --lr" in text and len(text.splitlines()) > 1
    assert not summary(tmp_path)["finished"] and len(points(tmp_path)) == 1
