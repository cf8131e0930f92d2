"""main_channels.py end to end on the digits."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch

import main_channels
import main_train
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.greedy.channels import run as channel_run
from lottery.greedy.channels import selector
from lottery.greedy.channels.groups import layers_of
from lottery.greedy.channels.slicing import apart, channel_mask, load_sliced, sliced
from lottery.study.config import read_study
from lottery.study.runner import check_jobs
from lottery.training.progress import Progress
from models import build_model
from tests.helpers import CHANNELS_BESIDE as BESIDE
from tests.helpers import CHANNELS_COMMON as COMMON
from tests.helpers import CHANNELS_SELECT as SELECT
from tests.helpers import CHANNELS_SHORT as SHORT
from tests.helpers import ROOT, at_call
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


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_a_run_measures_every_point(whole):
    told = summary(whole[0])
    assert told["finished"] and [row.get("iteration") for row in told["rounds"]] == [None, 0, 30, 105]
    for row in told["rounds"][1:]:
        assert [len(layer["kept_channels"]) for layer in row["layers"]] == [4, 8], "half of each"
        assert [layer["picks"] for layer in row["layers"]] != [[], []] and row["apart"] <= 1e-5
        before, after = row["gains"]["before"], row["gains"]["after"]
        assert after["parameters"] < before["parameters"] and after["flops"] < before["flops"]
        assert all({"train", "validation", "test"} == row[name].keys() for name in ("dense", "selected", "fine_tuned"))
    assert told["rounds"][3]["dense"] == told["rounds"][0]["end"], "the last point is the end"
    assert told["rounds"][3]["dense"]["test"] > told["rounds"][1]["dense"]["test"] + 20
    assert set(told["first"]) == {"greedy"} and set(told["first"]["greedy"]) == {"selected", "fine_tuned"}


def test_the_table_tells_what_the_files_do(whole):
    folder, text = whole
    for row in summary(folder)["rounds"][1:]:
        (line,) = (line for line in text.splitlines() if re.match(rf" +{row['iteration']}  ", line))
        for network in ("dense", "selected", "fine_tuned"):
            assert f"{row[network]['test']:.2f}" in line
        assert f"{row['gains']['before']['parameters']:,} -> {row['gains']['after']['parameters']:,}" in line


def test_each_round_leaves_a_ticket_and_its_small_network(whole):
    for k in (1, 2, 3):
        masked, mask = network_in(whole[0] / f"{k}model_SA_best.pth.tar")
        small = load_sliced(whole[0] / f"{k}sliced.pt")
        assert apart(masked, small, images()) <= 1e-5
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
    groups = layers_of(trained).groups
    kept = {"network.0": kept["network.1"], "network.3": kept["network.4"]}
    assert all((channel_mask(trained, groups.values(), kept)[name] == layer).all() for name, layer in mask.items())
    assert apart(trained, sliced(trained, groups.values(), kept), images()) <= 1e-5


# --- baselines --------------------------------------------------------------------------------------------------------


def rows_of(folder, by="greedy"):
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
    greedy, *others = (rows_of(folder, by) for by in ("greedy", "random", "magnitude"))
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
        assert apart(masked, load_sliced(folder / f"{k}sliced.pt"), images()) <= 1e-5
    assert verify([str(file) for file in folder.glob("*.pth.tar")]) == 0
    assert f"{folder / '2sliced.pt'}" in text, "the newest small network is that of greedy selection"
    for by, rows in (("random", others[0]), ("magnitude", others[1])):
        (line,) = (line for line in text.splitlines() if re.match(rf" +42 +{by}  ", line))
        assert f"{rows[1]['selected']['test']:.2f}" in line and f"{rows[1]['fine_tuned']['test']:.2f}" in line
        assert f"\nselected ({by}), within 1 points of that dense network" in text
    assert summary(folder)["first"].keys() == {"greedy", "random", "magnitude"}


def test_baselines_change_nothing_of_the_greedy_selections(alone, beside):
    assert rows_of(alone) == rows_of(beside[0])


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
    assert all(rows_of(tmp_path / "run", by) == rows_of(beside[0], by) for by in ("random", "magnitude"))
    assert len(summary(tmp_path / "run")["rounds"]) == 7


def test_a_baseline_keeps_as_many_channels_as_the_tolerance_took(dense, tmp_path):
    flags = "--top1_tol 0.2 --select_examples 300 --select_batch 300 --fine_tune_epochs 0 --baselines random"
    text = run(f"{COMMON} --init_dir {dense} {flags}", tmp_path)
    (greedy,), (random,) = (rows_of(tmp_path, by) for by in ("greedy", "random"))
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


def test_the_small_network_is_exported_also_by_a_finished_run(dense, tmp_path):
    flags = f"{COMMON} --init_dir {dense} {SELECT} --fine_tune_epochs 0"
    run(flags, tmp_path / "run")
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir()}
    text = run(f"{flags} --export {tmp_path}/small.pt2", tmp_path / "run")
    assert (
        "this run is finished" in text
        and {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir()}.items()
        >= {name: time for name, time in before.items() if name != "summary.json"}.items()
    )
    program = torch.export.load(tmp_path / "small.pt2").module()
    torch.testing.assert_close(program(images()), load_sliced(tmp_path / "run/1sliced.pt")(images()))


# --- going on ---------------------------------------------------------------------------------------------------------

PHASES = {  # what to die at: (owner, function, which call, after it)
    "before the first checkpoint": (channel_run, "write", 1, False),
    "in the pre-training": (Progress, "tick", 50, False),
    "with a snapshot written": (channel_run, "write", 2, True),
    "in the first selection": (selector, "select", 1, False),
    "between two layers": (selector, "select", 4, False),
    "in the tuning of a layer": (selector, "fit", 2, False),
    "in a fine-tuning": (Progress, "tick", 105 + 42 + 30, False),
    "before a network is sliced": (channel_run, "sliced", 2, False),
    "with a small network written": (channel_run, "save_sliced", 1, True),
    "at the end": (channel_run, "result_lines", 1, False),
}


OF_BASELINES = {
    "between two layers of one": (selector, "chosen", 4, False),
    "in the fine-tuning of one": (Progress, "tick", 42 + 2 * 21 + 2 * 3 + 40, False),
    "with one's small network written": (channel_run, "save_sliced", 4, True),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is CUDA, a process that has trained cannot fork")
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_killed_at_any_point_ends_as_an_unbroken_one(whole, tmp_path, monkeypatch, phase):
    killed(QUICK, PHASES[phase], tmp_path / "run", monkeypatch)
    run(QUICK, tmp_path / "run")
    assert differences(whole[0], tmp_path / "run") == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is CUDA, a process that has trained cannot fork")
@pytest.mark.parametrize("phase", OF_BASELINES)
def test_a_run_killed_in_a_baseline_ends_as_an_unbroken_one(beside, tmp_path, monkeypatch, phase):
    killed(BESIDE, OF_BASELINES[phase], tmp_path / "run", monkeypatch)
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


# --- the border -------------------------------------------------------------------------------------------------------

EPOCH = "--epochs 1 --decreasing_lr 1"
BAD = [
    ("", "no pre-trained weights to select from: give --init_dir FILE, or --epochs N"),
    (f"{EPOCH} --init_dir DENSE", "--epochs is for training the dense network, which --init_dir gives as trained"),
    ("--init_dir DENSE --prune_at 3", "--prune_at is for training the dense network"),
    ("--init_dir nowhere.pt", "--init_dir nowhere.pt does not exist"),
    ("--init_dir UNTRAINED", "holds no trained weights: the training it is for has not begun"),
    ("--init_dir DENSE --arch res20s", "belongs to another network"),
    (f"{EPOCH} --prune_at 0,22", "--prune_at 22 is beyond the end of the pre-training: --epochs 1 are 21 iterations"),
    (f"{EPOCH} --prune_at 5,5", "rising order"),
    (f"{EPOCH} --keep 9", "--keep 9 is above the width of network.0, which has 8 channels"),
    (f"{EPOCH} --layers network.3=17", "--layers network.3 17 is above the width of network.3, which has 16 channels"),
    (f"{EPOCH} --keep 0", "--keep must be a share .* got 0"),
    (f"{EPOCH} --keep 1.5", "--keep must be a share .* got 1.5"),
    (f"{EPOCH} --keep nan", "--keep must be a share .* got nan"),
    (f"{EPOCH} --keep 1.0", "nothing is to be selected: the budget of every layer"),
    (f"{EPOCH} --layers network.3=x", "--layers network.3 must be a share .* got x"),
    (f"{EPOCH} --layers network.3,", "names of convolutions with commas between"),
    (f"{EPOCH} --layers network.9", "names no layer that can be pruned, which are network.0, network.3"),
    (
        f"{EPOCH} --arch res20s --layers layer1.0.conv2",
        "layer1.0.conv2 cannot be pruned: its channels enter an addition",
    ),
    (f"{EPOCH} --layers network.8", "network.8 cannot be pruned: it is a Linear, and channels are of convolutions"),
    (
        f"{EPOCH} --arch tests.networks:mobilenet_shallow --layers network.features.2.conv.1.0",
        "pruned: it is depth-wise",
    ),
    (f"{EPOCH} --arch lenet300", "--arch lenet300 has no convolution whose channels can be dropped"),
    (f"{EPOCH} --keep 0.5 --top1_tol 0.1", "give one of them"),
    (f"{EPOCH} --top1_tol 1", "between 0 and 1, both excluded, got 1"),
    (f"{EPOCH} --repeats --channel_weights ones", "--repeats makes channels weigh more"),
    (f"{EPOCH} --select_examples 2000", "--select_examples 2000 is more than the 1293 examples that train"),
    (f"{EPOCH} --export nowhere/x.pt2", "--export nowhere/x.pt2 cannot be written: its directory does not exist"),
    (f"{EPOCH} --export .", "is a directory, a file is needed"),
    (f"{EPOCH} --baselines best", "--baselines: must be random or magnitude, or both with a comma between, got 'best'"),
    (f"{EPOCH} --baselines random,random", "--baselines: must be random or magnitude, .* got 'random,random'"),
    (f"{EPOCH} --fine_tune_epochs -1", "from 0 up, got -1"),
    (f"{EPOCH} --layer_tuning 2", "a number from 0 to 1, got 2"),
]


@pytest.mark.parametrize("flags, said", BAD, ids=[flags for flags, _ in BAD])
def test_wrong_input_is_one_sentence_and_leaves_nothing(call, dense, tmp_path, flags, said):
    untrained = tmp_path / "untrained.pth.tar"
    torch.save({"state_dict": {}, "history": [], "settings": {"script": "main_elastic.py"}}, untrained)
    words = flags.replace("DENSE", str(dense)).replace("UNTRAINED", str(untrained)).split()
    network = [] if "--arch" in flags else ["--arch", "tests.networks:tiny"]
    status, out, err = call(
        "main_channels", "--dataset", "digits", *network, *words, "--batch_size", 64, "--save_dir", tmp_path / "run"
    )
    assert status == 2 and not out
    assert err.startswith("main_channels.py: error: ") and len(err.strip().splitlines()) == 1, err
    assert re.search(said, err), err
    assert not (tmp_path / "run").exists()


def test_a_study_sweeps_budgets_and_seeds(tmp_path):
    (tmp_path / "study.toml").write_text(
        """
        [common]
        dataset = "digits"
        epochs = 5
        decreasing_lr = "3"
        prune_at = "0,30,105"
        [grid]
        keep = ["0.25", "0.5"]
        seed = [0, 1]
        [methods.channels]
        script = "main_channels.py"
        """
    )
    study = read_study(tmp_path / "study.toml", tmp_path / "runs")
    check_jobs(study)
    assert len(study.jobs) == 4


def test_flags_are_checked_before_anything_heavy_is_imported():
    code = (
        "import sys, main_channels as m; s = m.main(['--save_dir', 'x', '--epochs', '1', '--keep', '2.5']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
