"""Stability: the line between two networks by hand, and runs of main_stability.py end to end."""

import contextlib
import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import main_train
from dataset import Images, to_input
from lottery.analysis import stability_run
from lottery.analysis.stability import angle, barrier, distance, interpolate, reestimate_
from lottery.checkpointing import checkpoint
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.run_settings import recorded
from lottery.cli import stability as stability_cli
from lottery.cli import train as train_cli
from lottery.training import checkpointer
from lottery.training.evaluation import Evaluator
from lottery.training.step import copy_weights
from tests.helpers import REWIND, Killed, run
from tests.stress.same_files import differences, unlike

QUICK = "--dataset digits --arch tests.networks:tiny --epochs 2 --decreasing_lr 1 --batch_size 64 --gpu -1"
PLAIN = "--dataset digits --arch lenet300 --val_fraction 0 --epochs 2 --decreasing_lr 1 --batch_size 64 --gpu -1"

# --- the line, by hand ------------------------------------------------------------------------------------------------


def test_the_line_begins_and_ends_at_the_networks_exactly(tiny):
    a = copy_weights(tiny)
    b = {name: value + 1 if not value.is_floating_point() else torch.randn_like(value) for name, value in a.items()}
    for alpha, end in ((0.0, a), (1.0, b)):
        at = interpolate(a, b, alpha)
        assert all(torch.equal(at[name], end[name]) for name in a if a[name].is_floating_point())
    quarter = interpolate(a, b, 0.25)
    torch.testing.assert_close(quarter["fc.weight"], 0.75 * a["fc.weight"] + 0.25 * b["fc.weight"])
    assert quarter["bn1.num_batches_tracked"] == a["bn1.num_batches_tracked"]


@pytest.mark.parametrize("values, height", [([10, 12, 14, 9, 8], 5), ([3, 3, 3], 0), ([5, 1, 3], 1), ([4, 2, 4], 0)])
def test_a_barrier_is_the_highest_minus_the_mean_of_the_ends(values, height):
    assert barrier(values) == height


def test_distance_and_angle_are_of_all_parameters_together():
    a, b = {"u": torch.tensor([3.0, 0.0]), "v": torch.zeros(1)}, {"u": torch.zeros(2), "v": torch.tensor([4.0])}
    assert distance(a, b, a) == 5 and angle(a, b, a) == pytest.approx(90)
    assert distance(a, b, ["u"]) == 3 and angle(a, b, ["u"]) == 0
    assert angle(a, {name: -2 * value for name, value in a.items()}, a) == pytest.approx(180)
    near = {"u": torch.tensor([3.0, 3e-6]), "v": torch.zeros(1)}
    assert angle(a, near, a) == pytest.approx(math.degrees(1e-6), rel=1e-3)


class Shifting(nn.Module):
    """Batch norm, dropout, batch norm: what the second one sees is known if dropout is at rest."""

    def __init__(self):
        super().__init__()
        self.first, self.dropout, self.second = nn.BatchNorm2d(1), nn.Dropout(0.5), nn.BatchNorm2d(1, momentum=0.3)

    def forward(self, x):
        return self.second(self.dropout(self.first(x) + 2))


def test_statistics_are_the_mean_over_batches_of_the_examples(images):
    """Of grey images in batches of 8: by hand, whatever the statistics were before."""
    model, indices = Shifting(), torch.arange(3, 27)
    with torch.no_grad():
        model.first.running_mean.fill_(9)
    model.train()
    reestimate_(model, images, indices, 8)
    pixels = to_input(images.images[indices]).view(3, -1)
    torch.testing.assert_close(model.first.running_mean, pixels.mean(1).mean()[None])
    torch.testing.assert_close(model.first.running_var, pixels.var(1).mean()[None])
    torch.testing.assert_close(model.second.running_mean, torch.tensor([2.0]))
    assert (model.first.momentum, model.second.momentum) == (0.1, 0.3)
    assert not any(module.training for module in model.modules())


def test_a_network_without_batch_norm_is_left_alone(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    before = copy_weights(model)
    reestimate_(model, images, torch.arange(8), 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_loss_and_error_are_those_of_the_network(tiny, images):
    indices = torch.arange(5, 38)
    loss, error = Evaluator(tiny).loss_and_error(images, indices)
    with torch.no_grad():
        logits = tiny.eval()(to_input(images.images[indices]))
    assert loss == pytest.approx(F.cross_entropy(logits, images.labels[indices]).item(), rel=1e-5)
    assert error == pytest.approx(100 * (logits.argmax(1) != images.labels[indices]).double().mean().item())
    all_of_them = Images(images.images[indices], images.labels[indices])
    assert Evaluator(tiny).loss_and_error(all_of_them) == (loss, error)


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stability(call):
    def measure(flags, save_dir, expect=0):
        status, out, err = call("main_stability", *flags.split(), "--save_dir", save_dir)
        assert status == expect, err + out
        return out + err

    return measure


def records(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def ticket(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    run("imp", f"{REWIND} --epochs 2 --decreasing_lr 1 --rewind_epoch 0 --pruning_times 1", folder)
    return folder / "1checkpoint.pth.tar"


def test_copies_are_trainings_that_differ_in_their_order_alone(stability, ticket, tmp_path):
    given = f"{QUICK} --init_dir {ticket} --mask_dir {ticket} --rewind_lr"
    stability(f"{given} --order_seeds 7,4 --points 3 --statistics_examples 100", tmp_path / "line")
    first, second = (read(tmp_path / f"line/copy_{k}/checkpoint.pth.tar") for k in (1, 2))
    assert all(torch.equal(value, second["init_weight"][name]) for name, value in first["init_weight"].items())
    assert not torch.equal(first["state_dict"]["network.8.weight"], second["state_dict"]["network.8.weight"])
    run("train", f"{given} --order_seed 4", tmp_path / "alone")
    assert differences(tmp_path / "alone", tmp_path / "line/copy_2") == []
    words = shlex.split(records(tmp_path / "line/copy_2")["command"])
    assert words[:2] == ["python", "main_train.py"]
    assert "finished" in run("train", shlex.join(words[2:-2]), Path(words[-1]))
    found = records(tmp_path / "line")
    assert found["ticket"]["prunings"] == 1 and found["ticket step"] == 21 and found["kept"] == 1094


def test_the_ends_are_the_trained_networks_and_the_barrier_is_that_of_the_points(stability, tmp_path):
    """Without batch norm there is nothing to estimate: an end is as good as its training says."""
    out = stability(f"{PLAIN} --points 4", tmp_path)
    found = records(tmp_path)
    points = found["points"]
    assert [point["alpha"] for point in points] == [0, 1 / 3, 2 / 3, 1]
    for point, k in ((points[0], 1), (points[-1], 2)):
        history = read(tmp_path / f"copy_{k}/checkpoint.pth.tar")["history"]
        assert point["test_error"] == pytest.approx(100 - history[-1]["test"])
    errors = [point["test_error"] for point in points]
    assert found["barrier"]["test_error"] == pytest.approx(max(errors) - (errors[0] + errors[-1]) / 2)
    assert found["stable"] == (found["barrier"]["test_error"] < 2)
    first, second = (read(tmp_path / f"copy_{k}/checkpoint.pth.tar")["state_dict"] for k in (1, 2))
    square = sum(((first[name] - second[name]) ** 2).sum().item() for name in first if "normal" not in name)
    assert found["distance"] == pytest.approx(math.sqrt(square), rel=1e-4)
    assert f"error barrier: {found['barrier']['test_error']:.2f} points on test data" in out
    assert (tmp_path / "stability.png").exists()


def test_the_recorded_settings_are_those_of_runs_begun_before():
    """Another key or value would keep such a run from being continued."""
    found = recorded(stability_cli.read_config("--save_dir x --seed 2 --order_seeds 5,3 --points 3".split()))
    assert found == {
        "seed": 2, "precision": "auto", "dataset": "digits", "image_size": None, "val_fraction": 0.1,
        "no_augmentation": False, "arch": "res20s", "stem": "imagenet", "epochs": 182, "decreasing_lr": [91, 136],
        "warmup": 0, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001, "batch_size": 128, "init_dir": False,
        "mask_dir": False, "new_classifier": False, "control": None, "rule": None, "rewind_lr": False,
        "order_seeds": [5, 3], "points": 3, "statistics_examples": 2000,
        "normalization": "dataset", "data_in": "memory", "augmentation": "crop",
        "shards": 1,
        "schedule": "step", "gamma": 0.1, "nesterov": False, "optimizer": "sgd", "label_smoothing": 0.0,
        "batch_selection": None, "selection_rate": 0.5, "selection_until": 0.875,
    }  # fmt: skip


def test_order_seeds_follow_from_the_seed():
    seeds = [stability_cli.read_config(["--seed", str(seed), "--save_dir", "x"]).order_seeds for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2] and len(set(seeds[0] + seeds[2])) == 4


def test_a_copy_is_a_run_of_main_train_with_the_flags_that_are_not_about_the_line():
    adam = "--optimizer adam --label_smoothing 0.1 --gpu -1"
    words = f"{adam} --epochs 3 --points=5 --lr 0.5 --order_seeds 8,9 --decreasing_lr 1,2 --save_dir there --overwrite"
    copy = stability_cli.read_config(words.split()).copy_configs()[1]
    command = f"{adam} --epochs 3 --lr 0.5 --decreasing_lr 1,2 --order_seed 9 --save_dir there/copy_2"
    assert copy.training.run.command == f"python main_train.py {command}"
    by_main_train = train_cli.read_config(command.split())
    assert recorded(copy) == recorded(by_main_train)
    run = replace(by_main_train.training.run, command=copy.training.run.command, overwrite=False)
    assert copy == replace(by_main_train, training=replace(by_main_train.training, run=run))


def kill_at(patch, number):
    """Die just before the number-th file would be written, of a copy or of the line."""
    left = iter(range(number))

    def write(path, content):
        if next(left, None) is None:
            raise Killed
        checkpoint.write(path, content)

    for module in (checkpointer, stability_run):
        patch.setattr(module, "write", write)


def test_a_killed_run_ends_where_an_unbroken_one_does(stability, tmp_path, monkeypatch):
    """Killed before every few writes: in either copy, between the two, and on the line."""
    flags = f"{QUICK} --points 4 --statistics_examples 100 --save_interval 0"
    stability(flags, tmp_path / "whole")
    for _ in range(20):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            kill_at(patch, 3)
            stability(flags, tmp_path / "broken")
            break
    else:
        pytest.fail("the run never ended")
    for copy in ("copy_1", "copy_2"):
        assert differences(tmp_path / "whole" / copy, tmp_path / "broken" / copy) == []
    names = {path.name for path in (tmp_path / "whole").iterdir() if path.is_file()}
    assert names == {"checkpoint.pth.tar", "summary.json", "stability.png"}
    assert not any(unlike(tmp_path / "whole" / name, tmp_path / "broken" / name) for name in names)


def test_a_line_between_other_networks_is_measured_anew(stability, tmp_path):
    flags = f"{PLAIN} --epochs 1 --points 3"
    stability(flags, tmp_path)
    file = tmp_path / "checkpoint.pth.tar"
    content = read(file)
    checkpoint.write(file, content | {"points": [point | {"test_error": 0.0} for point in content["points"]]})
    stability(flags, tmp_path)
    assert records(tmp_path)["points"][0]["test_error"] == 0, "what is measured on these networks is kept"
    checkpoint.write(file, read(file) | {"ends": ["others", "others"]})
    stability(flags, tmp_path)
    assert records(tmp_path)["points"] == content["points"]


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--points 2", "from 3 up, got 2"),
        ("--order_seeds 1", "two different whole numbers.*'1'"),
        ("--order_seeds 1,1", "two different whole numbers.*'1,1'"),
        ("--order_seeds 1,-2", "two different whole numbers"),
        ("--order_seed 3", "unknown flag --order_seed"),
        ("--statistics_examples 1", "from 2 up, got 1"),
        ("--resume --checkpoint README.md", "--checkpoint belongs to one training"),
        ("--resume", "nothing to resume"),
        ("--rewind_lr", "--init_dir"),
        ("--control reinit", "--mask_dir"),
    ],
)
def test_bad_flags_are_one_sentence(call, tmp_path, flags, message):
    status, _, err = call("main_stability", *QUICK.split(), *flags.split(), "--save_dir", tmp_path / "x")
    assert status == 2 and len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "more, said", [("--arch mlp2", "belongs to another network"), ("--control dense", "drops nothi")]
)
def test_a_ticket_that_cannot_be_trained_leaves_nothing(stability, ticket, tmp_path, more, said):
    """Of another network, or one that its control would be equal to."""
    whole = read(ticket)
    masks = {name: torch.ones_like(value) for name, value in whole["state_dict"].items() if name.endswith("_mask")}
    torch.save(whole | {"state_dict": whole["state_dict"] | masks}, tmp_path / "whole.pth.tar")
    file = tmp_path / "whole.pth.tar"
    out = stability(f"{QUICK} --init_dir {file} --mask_dir {file} {more}", tmp_path / "run", expect=2)
    assert said in out and not (tmp_path / "run").exists()


def test_what_is_in_the_way_is_said_before_a_copy_is_trained(stability, tmp_path):
    run("train", f"{QUICK} --epochs 1", tmp_path / "line/copy_2")
    assert "copy_2 holds a run that this one did not begin" in stability(QUICK, tmp_path / "line", expect=2)
    inside = tmp_path / "line/copy_2/checkpoint.pth.tar"
    out = stability(f"{QUICK} --init_dir {inside} --overwrite", tmp_path / "line", expect=2)
    assert "would remove" in out and inside.exists() and not (tmp_path / "line/copy_1").exists()


@pytest.mark.parametrize("number", [1, 2, 6])
def test_a_run_begun_anew_and_killed_goes_on(stability, tmp_path, monkeypatch, number):
    """Killed before or within the first copy, or in the second, when nothing of the old run may be left."""
    flags = f"{QUICK} --points 3 --statistics_examples 50 --save_interval 0"
    stability(flags, tmp_path)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        kill_at(patch, number)
        stability(f"{flags} --lr 0.05 --overwrite", tmp_path)
    stability(f"{flags} --lr 0.05", tmp_path)
    lrs = [read(tmp_path / copy / "checkpoint.pth.tar")["settings"]["lr"] for copy in ("copy_1", "copy_2")]
    assert lrs == [0.05, 0.05]


def test_other_settings_are_refused_and_named(stability, tmp_path):
    flags = f"{PLAIN} --epochs 1 --points 3"
    stability(flags, tmp_path)
    assert "points was 3, is 4" in stability(f"{flags} --points 4", tmp_path, expect=2)
    assert "order_seeds was" in stability(f"{flags} --order_seeds 1,2", tmp_path, expect=2)
    assert main_train.main([*flags.replace("--points 3", "").split(), "--save_dir", str(tmp_path)]) == 2
