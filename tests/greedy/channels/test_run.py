"""Runs of main_channels.py on the digits: what they leave, baselines, given weights, and resuming."""

import contextlib
import io
import json
import os
import re
import shutil
import signal

import pytest
import torch

import main_channels
import main_train
from lottery.channels.groups import find_groups
from lottery.channels.slicing import channel_mask, load_sliced, relative_difference, slice_network
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.greedy.channels import run as run_module
from lottery.greedy.channels import selector
from lottery.greedy.channels.selector import layer_tuning_round
from lottery.training.progress import Progress
from models import build_model
from tests.helpers import CHANNELS_BESIDE as BESIDE
from tests.helpers import CHANNELS_COMMON as COMMON
from tests.helpers import CHANNELS_SELECT as SELECT
from tests.helpers import CHANNELS_SHORT as SHORT
from tests.helpers import at_call
from tests.helpers import select_channels as run
from tests.stress.same_files import differences
from verify import main as verify

QUICK = f"{COMMON} --epochs 5 --decreasing_lr 3 --prune_at 0,30,105 --layer_tuning 0.1 {SELECT}"


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken run with a pre-training, and what it printed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(QUICK, folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A short run."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    run(SHORT, folder)
    return folder


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The same with baselines, and what it printed."""
    folder = tmp_path_factory.mktemp("beside") / "run"
    return folder, run(BESIDE, folder)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A trained dense network."""
    folder = tmp_path_factory.mktemp("dense")
    run(f"{COMMON} --epochs 5 --decreasing_lr 3", folder, script=main_train)
    return folder / "model_SA_best.pth.tar"


def images():
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images[:50] / 16).float()[:, None]


def network_in(file):
    """The masked network in a checkpoint of main_train.py or main_channels.py, and its mask."""
    weights, mask = split_state(read(file)["state_dict"])
    model = build_model("tests.networks:tiny", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    model.load_state_dict(weights)
    return model.eval(), mask


# --- results ----------------------------------------------------------------------------------------------------------


def test_a_run_measures_every_point(whole):
    record = summary(whole[0])
    assert record["finished"] and [row.get("iteration") for row in record["rounds"]] == [None, 0, 30, 105]
    for row in record["rounds"][1:]:
        assert [len(layer["kept_channels"]) for layer in row["layers"]] == [4, 8], "half of each"
        assert [layer["picks"] for layer in row["layers"]] != [[], []] and row["apart"] <= 1e-5
        before, after = row["gains"]["before"], row["gains"]["after"]
        assert after["parameters"] < before["parameters"] and after["flops"] < before["flops"]
        assert all({"train", "validation", "test"} == row[name].keys() for name in ("dense", "selected", "fine_tuned"))
    assert record["rounds"][3]["dense"] == record["rounds"][0]["end"], "the last point is the end"
    assert record["rounds"][3]["dense"]["test"] > record["rounds"][1]["dense"]["test"] + 20
    assert set(record["first"]) == {"greedy"} and set(record["first"]["greedy"]) == {"selected", "fine_tuned"}


def test_the_table_tells_what_the_files_do(whole):
    folder, text = whole
    for row in summary(folder)["rounds"][1:]:
        accuracies, sizes, times = (
            line for line in text.splitlines() if re.match(rf" +{row['iteration']} +greedy", line)
        )
        for network in ("dense", "selected", "fine_tuned"):
            assert f"{row[network]['test']:.2f}" in accuracies
        costs = row["gains"]["before"], row["gains"]["after"]
        assert [f"{cost['parameters']:,}" for cost in costs] == sizes.split()[2:4]
        assert [f"{1e3 * cost['seconds']['128']:.2f}" for cost in costs] == times.split()[4:]


def test_each_round_leaves_a_ticket_and_its_small_network(whole):
    for k in (1, 2, 3):
        masked, mask = network_in(whole[0] / f"{k}model_SA_best.pth.tar")
        small = load_sliced(whole[0] / f"{k}sliced.pt")
        assert relative_difference(masked, small, images()) <= 1e-5
        assert "network.1.bias" in mask and not mask["network.1.bias"].all()
        assert small.network[0].out_channels == 4 and small.network[3].in_channels == 4
    files = [str(file) for file in whole[0].glob("*.pth.tar")]
    assert verify(files) == 0


def test_main_train_trains_the_ticket_and_its_dropped_channels_stay_silent(whole, tmp_path):
    ticket = whole[0] / "3checkpoint.pth.tar"
    run(f"{COMMON} --epochs 1 --init_dir {ticket} --mask_dir {ticket}", tmp_path, script=main_train)
    trained, mask = network_in(tmp_path / "checkpoint.pth.tar")
    start = read(ticket)["init_weight"]
    assert not torch.equal(trained.network[3].weight, start["network.3.weight"])
    kept = {name: mask[f"{name}.bias"] for name in ("network.1", "network.4")}
    layers = trained.network
    inside = layers[1](layers[0](trained.normalize(images()).expand(-1, 3, -1, -1)))
    assert int(kept["network.1"].sum()) == 4 and (inside[:, ~kept["network.1"]] == 0).all()
    inside = layers[4](layers[3](layers[2](inside)))
    assert int(kept["network.4"].sum()) == 8 and (inside[:, ~kept["network.4"]] == 0).all()
    groups = find_groups(trained).groups
    kept = {"network.0": kept["network.1"], "network.3": kept["network.4"]}
    assert all((channel_mask(trained, groups.values(), kept)[name] == layer).all() for name, layer in mask.items())
    assert relative_difference(trained, slice_network(trained, groups.values(), kept), images()) <= 1e-5


# --- baselines --------------------------------------------------------------------------------------------------------


def rows_by(folder, by="greedy"):
    """What a run says of its selections, without what differs between two runs of one kind."""
    rows = [row for row in summary(folder)["rounds"] if row.get("by") == by]
    return [
        {name: value for name, value in row.items() if name not in ("gains", "layers")}
        | {"layers": [{name: value for name, value in layer.items() if name != "seconds"} for layer in row["layers"]]}
        for row in rows
    ]


def kept_in(row):
    return [layer["kept_channels"] for layer in row["layers"]]


def test_a_baseline_keeps_as_many_channels_of_each_layer_of_the_same_network(beside):
    folder, text = beside
    greedy, *others = (rows_by(folder, by) for by in ("greedy", "random", "magnitude"))
    assert [row["round"] for rows in (greedy, *others) for row in rows] == [1, 2, 3, 4, 5, 6]
    for rows in others:
        for row, its in zip(rows, greedy, strict=True):
            assert row["iteration"] == its["iteration"] and row["dense"] == its["dense"]
            assert [len(kept) for kept in kept_in(row)] == [len(kept) for kept in kept_in(its)] == [4, 8]
            assert {"train", "validation", "test"} == row["selected"].keys() == row["fine_tuned"].keys()
            assert row["density"] == its["density"] and row["apart"] <= 1e-5
    costs = [row["gains"] for row in summary(folder)["rounds"][1:]]
    assert costs[2:4] == costs[4:6] == costs[:2], "networks of the same size cost the same"
    assert len({str([kept_in(row) for row in rows]) for rows in (greedy, *others)}) == 3, "three ways, three choices"
    for k, row in enumerate(others[1], 5):  # before its first layer is tuned it is the dense network as it was then
        start = read(folder / f"iteration_{row['iteration']}_rewind_weight.pt")["network.0.weight"]
        norms = start.abs().sum((1, 2, 3))
        assert kept_in(row)[0] == sorted(norms.argsort(descending=True)[:4].tolist())
        masked, _ = network_in(folder / f"{k}model_SA_best.pth.tar")
        assert relative_difference(masked, load_sliced(folder / f"{k}sliced.pt"), images()) <= 1e-5
    assert verify([str(file) for file in folder.glob("*.pth.tar")]) == 0
    assert f"{folder / '2sliced.pt'}" in text, "the newest small network is that of greedy selection"
    for by, rows in (("random", others[0]), ("magnitude", others[1])):
        line, *_ = (line for line in text.splitlines() if re.match(rf" +42 +{by}  ", line))
        assert f"{rows[1]['selected']['test']:.2f}" in line and f"{rows[1]['fine_tuned']['test']:.2f}" in line
        assert f"\nselected ({by}), within 1 point of the fully trained dense network" in text
    assert summary(folder)["first"].keys() == {"greedy", "random", "magnitude"}


def test_baselines_change_nothing_of_the_greedy_selections(alone, beside):
    assert rows_by(alone) == rows_by(beside[0])


def test_an_older_run_without_baselines_goes_on_with_them(alone, beside, tmp_path):
    """Its settings say nothing of them, nor its rows how their channels were selected."""
    shutil.copytree(alone, tmp_path / "run")
    for file in (tmp_path / "run/2checkpoint.pth.tar", tmp_path / "run/2model_SA_best.pth.tar"):
        content = read(file)
        del content["settings"]["baselines"]
        for row in content["rounds"][1:]:
            del row["by"]
        write(file, content)
    run(BESIDE, tmp_path / "run")
    assert all(rows_by(tmp_path / "run", by) == rows_by(beside[0], by) for by in ("random", "magnitude"))
    assert len(summary(tmp_path / "run")["rounds"]) == 7


def test_a_baseline_keeps_as_many_channels_as_the_tolerance_took(dense, tmp_path):
    flags = "--top1_tol 0.2 --select_examples 300 --select_batch 300 --fine_tune_epochs 0 --baselines random"
    text = run(f"{COMMON} --init_dir {dense} {flags}", tmp_path)
    (greedy,), (random,) = (rows_by(tmp_path, by) for by in ("greedy", "random"))
    numbers = [len(kept) for kept in kept_in(random)]
    assert numbers == [len(kept) for kept in kept_in(greedy)] and sum(numbers) < 24
    assert "given weights, random: " in text and "fine_tuned" not in random
    assert f"{tmp_path / '1sliced.pt'}" in text


# --- given weights ----------------------------------------------------------------------------------------------------


def test_given_weights_are_selected_from_as_they_were_trained(dense, tmp_path):
    text = run(f"{COMMON} --init_dir {dense} --layers network.3=6 {SELECT} --fine_tune_epochs 0", tmp_path / "run")
    (row,) = summary(tmp_path / "run")["rounds"]
    assert row["dense"]["test"] == pytest.approx(read(dense)["history"][-1]["test"])
    assert "fine_tuned" not in row and "given weights: 6 of 16 channels kept" in text
    model, _ = network_in(dense)
    ticket = read(tmp_path / "run/1checkpoint.pth.tar")["init_weight"]
    kept, factor = row["layers"][0]["kept_channels"], 16 / 6
    assert len(kept) == 6 and torch.equal(ticket["network.3.weight"][kept], model.network[3].weight[kept])
    torch.testing.assert_close(ticket["network.8.weight"][:, kept], factor * model.network[8].weight[:, kept])
    assert torch.equal(ticket["network.0.weight"], model.network[0].weight), "a layer that was not asked for"


def test_a_state_dict_as_the_networks_maker_keeps_it(dense, tmp_path):
    state = {name.removeprefix("network."): value for name, value in network_in(dense)[0].state_dict().items()
             if name.startswith("network.")}  # fmt: skip
    torch.save(state, tmp_path / "plain.pth")
    for name, file in (("plain", tmp_path / "plain.pth"), ("ours", dense)):
        run(f"{COMMON} --init_dir {file} {SELECT} --fine_tune_epochs 0", tmp_path / name)
    plain, ours = (summary(tmp_path / name)["rounds"][0]["layers"] for name in ("plain", "ours"))
    assert [layer["picks"] for layer in plain] == [layer["picks"] for layer in ours]
    assert [layer["losses"] for layer in plain] == [layer["losses"] for layer in ours]


def test_a_sparse_network_stays_sparse(dense, tmp_path):
    import main_imp

    imp = f"{COMMON} --epochs 2 --decreasing_lr 1 --pruning_times 1 --rate 0.5"
    run(imp, tmp_path / "imp", script=main_imp)
    ticket = tmp_path / "imp/1checkpoint.pth.tar"
    run(f"{COMMON} --epochs 2 --decreasing_lr 1 --init_dir {ticket} --mask_dir {ticket}", tmp_path / "train",
        script=main_train)  # fmt: skip
    trained = tmp_path / "train/model_SA_best.pth.tar"
    run(f"{COMMON} --init_dir {trained} {SELECT}", tmp_path / "run")
    before, after = (network_in(file)[1] for file in (trained, tmp_path / "run/1checkpoint.pth.tar"))
    assert all((after[name] <= layer).all() for name, layer in before.items())
    weights = read(tmp_path / "run/1checkpoint.pth.tar")["state_dict"]["network.3.weight_orig"]
    assert (weights[~before["network.3.weight"]] == 0).all() and (weights != 0).any()


@pytest.mark.parametrize("of", ["whole", "layer"])
def test_a_tolerance_is_kept(dense, tmp_path, of):
    """With all of 300 examples in each mini-batch."""
    flags = f"--top1_tol 0.1 --tolerance_of {of} --select_examples 300 --select_batch 300 --fine_tune_epochs 0"
    run(f"{COMMON} --init_dir {dense} {flags}", tmp_path)
    (row,) = summary(tmp_path)["rounds"]
    first, second = row["layers"]
    assert first["before"] == pytest.approx(100 * row["right"])
    limits = (0.95, 0.9) if of == "whole" else (0.9, 0.9 * first["after"] / first["before"])
    assert first["after"] >= limits[0] * first["before"] and second["after"] >= limits[1] * first["before"]
    assert len(first["kept_channels"]) + len(second["kept_channels"]) < 24


def test_repeats_weigh_more(dense, tmp_path):
    run(f"{COMMON} --init_dir {dense} --repeats --keep 0.75 --layers network.3 {SELECT} --fine_tune_epochs 0", tmp_path)
    (row,) = summary(tmp_path)["rounds"]
    layer = row["layers"][0]
    ticket, (model, _) = read(tmp_path / "1checkpoint.pth.tar")["init_weight"], network_in(dense)
    factors = torch.bincount(torch.tensor(layer["picks"]), minlength=16) * 16 / len(layer["picks"])
    torch.testing.assert_close(ticket["network.8.weight"], factors * model.network[8].weight)
    assert sorted(set(layer["picks"])) == layer["kept_channels"]
    assert len(layer["kept_channels"]) == 12 or len(layer["picks"]) == 32


def test_a_finished_run_exports_its_newest_greedy_network_and_leaves_its_files(beside, tmp_path, monkeypatch):
    folder, exported = beside[0], []
    monkeypatch.setattr(run_module, "export_program", lambda *args: exported.append(args))
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "summary.json"}
    text = run(f"{BESIDE} --export {tmp_path}/small.pt2", folder)
    assert "this run is finished" in text and f"{tmp_path}/small.pt2" in text
    assert {file: file.stat().st_mtime_ns for file in before} == before
    ((path, small, shown),) = exported
    assert path == tmp_path / "small.pt2" and shown.shape == (128, 1, 8, 8)
    assert torch.equal(small(images()), load_sliced(folder / "2sliced.pt")(images()))


def test_the_training_after_a_layer_has_draws_of_its_own():
    """The numbers are part of results: they must never change."""
    assert [layer_tuning_round(k, number) for k, number in ((1, 0), (1, 41), (3, 0))] == [65537, 65578, 196609]


# --- resuming ---------------------------------------------------------------------------------------------------------


PHASES = {  # what to die at: (owner, function, which call, after it)
    "before the first checkpoint": (run_module, "write", 1, False),
    "in the pre-training": (Progress, "tick", 30, False),
    "with a snapshot written": (run_module, "write", 2, True),
    "in the first selection": (selector, "select_greedily", 1, False),
    "between two layers": (selector, "select_greedily", 4, False),
    "in the training after a layer": (selector, "fit", 2, False),
    "in a fine-tuning": (Progress, "tick", 42 + 21 + 10, False),
    "before a network is sliced": (run_module, "slice_network", 2, False),
    "with a small network written": (run_module, "save_sliced", 1, True),
    "at the end": (run_module, "result_table", 1, False),
}


BASELINE_PHASES = {
    "between two layers of one": (selector, "baseline_channels", 4, False),
    "in the fine-tuning of one": (Progress, "tick", 42 + 2 * 21 + 2 * 3 + 40, False),
    "with one's small network written": (run_module, "save_sliced", 4, True),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is CUDA, a process that has trained cannot fork")
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_killed_at_any_point_ends_as_an_unbroken_one(alone, tmp_path, monkeypatch, phase):
    killed(SHORT, PHASES[phase], tmp_path / "run", monkeypatch)
    run(SHORT, tmp_path / "run")
    assert differences(alone, tmp_path / "run") == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is CUDA, a process that has trained cannot fork")
@pytest.mark.parametrize("phase", BASELINE_PHASES)
def test_a_run_killed_in_a_baseline_ends_as_an_unbroken_one(beside, tmp_path, monkeypatch, phase):
    killed(BESIDE, BASELINE_PHASES[phase], tmp_path / "run", monkeypatch)
    run(BESIDE, tmp_path / "run")
    assert differences(beside[0], tmp_path / "run") == []


def killed(flags, phase, save_dir, monkeypatch):
    """A run that dies in this phase."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
            at_call(monkeypatch, *phase)
            main_channels.main(f"{flags} --gpu -1 --save_interval 0 --save_dir {save_dir}".split())
        os._exit(0)  # it never died
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "the phase was never reached"


def test_weights_that_overflow_end_the_run(dense, tmp_path):
    flags = f"{COMMON} --init_dir {dense} {SELECT} --layer_tuning 0.5 --fine_tune_lr 1e30"
    assert "smaller --fine_tune_lr" in run(flags, tmp_path, expect=1)
    assert not summary(tmp_path)["finished"]


def test_another_command_is_refused(whole):
    assert "keep was 0.5, is 0.25" in run(f"{QUICK} --keep 0.25", whole[0], expect=2)
