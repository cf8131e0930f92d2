"""The benchmarks measure what they say; how long anything takes is not tested."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import pruner
from benchmarks import (
    cases,
    contest,
    first_step,
    floors,
    footprint,
    memory,
    plain,
    prac_epoch,
    prac_set,
    rounding,
    same_training,
    scale_on_paper,
)
from benchmarks.authors import Authors
from benchmarks.contest import AUTHORS
from benchmarks.convolutions import Alone, record
from benchmarks.ours import Ours
from benchmarks.plain import Plain
from benchmarks.run import main as run
from benchmarks.straightforward import VARIANTS, float64
from dataset import to_input
from lottery.training.recipe import Recipe
from lottery.training.timing import interleave, rate_report
from pruner import Ticket
from tests.helpers import ROOT
from utils import RunError

CPU = torch.device("cpu")


@pytest.fixture
def network():
    """Small, for three channels, with a shortcut and a bias."""
    torch.manual_seed(1)
    return Small()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.relu(self.bn2(self.conv2(x)) + x).mean((2, 3)))


@pytest.fixture
def problem():
    return cases.problem(36)


# --- the plain loop ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Plain, Authors])
def loop(request, network, problem):
    return request.param(copy.deepcopy(network), cases.pruned_ticket(network), problem, cases.recipe(), CPU, workers=0)


def test_the_plain_loop_trains_under_its_mask(loop, network, problem):
    mask = cases.pruned_ticket(network).mask
    before = copy.deepcopy(loop.model.state_dict())
    loop.history[:] = -1
    accuracy = loop.train()
    kept = (loop.model.conv2.weight_orig * loop.model.conv2.weight_mask).ne(0)
    assert torch.equal(kept, mask["conv2.weight"]) and not kept.all()
    assert not torch.equal(before["conv2.weight_orig"], loop.model.conv2.weight_orig)
    assert accuracy == pytest.approx(100 * loop.history[:36, -1].mean())
    assert (loop.history[36:] == -1).all()


def test_the_authors_way_takes_the_plain_loops_examples(network, problem, monkeypatch):
    """Each once, with its own image and label, if images are not augmented; and enters each by itself."""
    monkeypatch.setattr("benchmarks.authors.AUGMENT", plain.KEEP)
    authors = Authors(network, cases.pruned_ticket(network), problem, cases.recipe(), CPU, workers=0)
    images, labels, indices = map(torch.cat, zip(*authors.batches(authors.training), strict=True))
    assert sorted(indices.tolist()) == list(range(36)) and len(authors.targets) == cases.EXAMPLES
    assert torch.equal(labels, problem.train.labels[indices])
    assert torch.equal(images, to_input(problem.train.images[indices]))
    authors.note_right_(torch.tensor([5, 3]), torch.tensor([True, False]))
    assert authors.history[[5, 3], -1].tolist() == [1.0, 0.0]


def test_the_plain_loops_next_mask_is_ours_and_leaves_it_as_it_was(loop, network):
    loop.train()
    keys, mask = list(loop.model.state_dict()), cases.pruned_ticket(network).mask
    weights = {name: loop.model.get_parameter(f"{name}_orig") for name in mask}
    expected = pruner.prune(mask, pruner.magnitude(weights, mask), cases.RATE)
    found = loop.next_mask()
    assert pruner.same({name: layer.bool() for name, layer in found.items()}, expected)
    assert list(loop.model.state_dict()) == keys
    differing = sum((mask[name] ^ expected[name]).sum() for name in mask)
    assert plain.distance(found, {name: layer.float() for name, layer in mask.items()}) == pytest.approx(
        float(differing / pruner.size(mask))
    )


def test_the_plain_loop_evaluates_as_the_suite_does(network, problem):
    parts = cases.pruned_ticket(network), problem, cases.recipe(), CPU
    theirs = Plain(copy.deepcopy(network), *parts, 0)
    ours = Ours(copy.deepcopy(network), *parts, "fp32", "auto")
    assert theirs.evaluate() == pytest.approx(ours.evaluate())
    assert theirs.validate() == pytest.approx(ours.validate())
    assert theirs.look_at_test() == pytest.approx(ours.look_at_test())


def test_the_plain_checkpoint_holds_all(loop, tmp_path):
    loop.train()
    loop.checkpoint(tmp_path)
    (file,) = tmp_path.iterdir()
    saved = torch.load(file, weights_only=False)
    assert saved["history"].shape == (cases.EXAMPLES, plain.COLUMNS) and saved["history"].dtype == np.float64
    assert saved["optimizer"]["state"] and "conv2.weight_mask" in saved["state_dict"]


def test_both_find_the_same_prac_set():
    evidence = prac_set.random_evidence(CPU, epochs=9, examples=300)
    evidence.right[:, :5] = False  # never learned
    evidence.right[:, 5] = torch.arange(9) < 4  # forgotten once
    evidence.right[:, 6] = torch.arange(9) > 4  # learned late
    evidence.sparse[:7] = evidence.dense[:7]
    ours = prac_set.ours(evidence)
    assert ours.tolist() == prac_set.plain(*(part.numpy() for part in evidence)).tolist()
    assert set(range(6)) <= set(ours.tolist()) and 6 not in ours


# --- convolutions and floors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases.NETWORKS)
def test_the_convolutions_alone_are_the_networks(name):
    model = cases.build(cases.NETWORKS[name])
    layers = contest.recorded_convolutions(model, batch=2)
    own = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert {layer.name: (layer.weight, layer.bias) for layer in layers} == {
        name: (tuple(module.weight.shape), module.bias is not None) for name, module in own
    }
    assert len(layers) == len(own)
    assert [layer.needs_input_gradient for layer in layers] == [False] + [True] * (len(own) - 1)


def test_a_convolution_alone_does_what_the_layer_does(network):
    layers = record(network, torch.rand(5, 3, 32, 32))
    assert [layer.inputs for layer in layers] == [(5, 3, 32, 32), (5, 4, 16, 16)]
    first, second = Alone(layers, "fp32", CPU).layers
    assert first.forward().shape == first.gradient.shape == (5, 4, 16, 16)
    assert [tensor is wanted for tensor, wanted in zip((first.weight, first.bias), first.wanted, strict=True)]
    assert second.wanted[0] is second.inputs and len(second.wanted) == 2
    module = network.conv2
    expected = module(second.inputs)
    with torch.no_grad():
        second.weight.copy_(module.weight)
    torch.testing.assert_close(second.forward(), module(second.inputs))
    assert expected.shape == second.gradient.shape


def test_work_is_counted_by_hand(network):
    """conv1 27 x 4 products at 256 pixels, conv2 36 x 4, fc 4 x 10; a map of conv1's and of conv2's has 1024 values."""
    first, second, last, image, map = 27 * 4 * 256, 36 * 4 * 256, 40, 3 * 32 * 32, 1024
    forward = floors.work(network, training=False)
    assert forward.flops == 2 * (first + second + last)
    # conv1, bn1, relu, conv2, bn2, add (three maps), relu
    assert forward.values == (image + map) + 2 * map + 2 * map + 2 * map + 2 * map + 3 * map + 2 * map
    training = floors.work(network, training=True)
    assert training.flops == 2 * (2 * first + 3 * second + 3 * last)
    # Backward, relu, bn and conv2 take two maps and give one, conv1 gives none; the shortcut's gradient is added.
    assert training.values == forward.values + 4 * 3 * map + 3 * map + (map + image) + 3 * map


def test_floors_divide_work_by_rates():
    measured = {"matrix product fp32": 100, "convolution fp32": 80, "matrix product bf16": 300, "convolution bf16": 400}
    rates = {name: {"per_second": rate} for name, rate in (measured | {"copy": 10}).items()}
    found = floors.floors(floors.Work(flops=50, values=20), rates, ("fp32", "bf16"), images_per_epoch=6)
    assert found["floor, FLOPs fp32"] == {"images_per_second": 2, "seconds_per_epoch": 3}
    assert found["floor, FLOPs bf16"]["images_per_second"] == 8
    assert found["floor, bytes fp32"]["seconds_per_epoch"] == 48
    assert found["floor, bytes bf16"]["seconds_per_epoch"] == 24


def test_a_checkpoint_counts_its_share():
    lap = {"training": 8.0, "validation": 2.0, "early bird": 0.0, "kept": 1.0, "written": 7.0}
    assert prac_epoch.with_checkpoint(lap, prac_epoch.WORK)["checkpoint"] == 1 + 6 / 6
    assert prac_epoch.with_checkpoint(lap | {"training": 300.0}, prac_epoch.WORK)["checkpoint"] == 7
    assert prac_epoch.full_sized(lap, 10) == lap | {"training": 80.0, "validation": 20.0}


# --- clocks and memory ------------------------------------------------------------------------------------------------


def test_tasks_take_turns_and_none_is_always_first():
    order = []
    tasks = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    results = interleave(tasks, 2)
    assert "".join(order) == "ababba"
    assert results == {"a": [3, 6], "b": [4, 5]}


def test_a_rate_is_of_the_median():
    found = rate_report([3.0, 1.0, 2.0], images=10, images_per_epoch=100)
    assert found == {
        "seconds": 2.0,
        "repeats": [3.0, 1.0, 2.0],
        "images": 10,
        "images_per_second": 5.0,
        "seconds_per_epoch": 20.0,
    }


def test_peak_memory_is_what_a_job_needs():
    big = memory.peak_bytes(lambda: torch.ones(2**24), CPU)
    if big is None:
        pytest.skip("the system does not tell")
    assert 2**26 <= big < 2**26 + 2**23
    assert memory.peak_bytes(lambda: None, CPU) < 2**22


def test_a_process_of_its_own_tells_what_training_needs(monkeypatch):
    setting = contest.Setting(CPU, ("fp32",), 16, 1, 0, False)
    two = {"plain", "ours fp32"}  # each is a process that imports torch
    monkeypatch.setattr(footprint, "makers", lambda *parts: {who: contest.makers(*parts)[who] for who in sorted(two)})
    peaks = footprint.measure("res20s", setting)
    if None in peaks.values():
        pytest.skip("the system does not tell")
    assert set(peaks) == two
    assert all(memory.MEBIBYTE * 200 < peak < memory.MEBIBYTE * 20_000 for peak in peaks.values())


def test_a_child_that_fails_has_no_answer():
    assert memory.answer_of_child("fork", int, "no number") is None


# --- TF32 -------------------------------------------------------------------------------------------------------------


def test_tf32_keeps_what_it_can_represent():
    mantissas = torch.arange(1024) / 1024 + 1
    values = torch.cat([sign * mantissas * 2.0**power for sign in (1, -1) for power in (-126, -3, 0, 127)])
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf])
    assert torch.equal(rounding.to_tf32(values), values)
    assert torch.equal(rounding.to_tf32(special), special)


def test_tf32_rounds_to_the_nearest_of_two_the_even():
    step = 2.0**-10
    values = 1 + step * torch.tensor([0.5, 1.5, 2.5, 0.49, 0.51, 1.75])
    assert torch.equal(rounding.to_tf32(values), 1 + step * torch.tensor([0.0, 2, 2, 0, 1, 2]))
    random = torch.randn(100_000) * torch.logspace(-30, 30, 100_000)
    rounded = rounding.to_tf32(random)
    assert ((rounded - random).abs() <= random.abs() * 2**-11).all()
    assert (rounded.view(torch.int32) % 2**rounding.DROPPED == 0).all()


def test_emulated_products_round_every_factor():
    """Against the same convolution in float64 on factors that were rounded by hand."""
    torch.manual_seed(0)
    layer, images, gradient = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6, requires_grad=True), torch.randn(2, 4, 4, 4)
    rounding.round_products_(layer)(images).backward(gradient)
    exact = copy.deepcopy(layer).double()
    del exact.forward
    exact.weight.data.copy_(rounding.to_tf32(layer.weight.data))
    inputs = rounding.to_tf32(images.detach()).double().requires_grad_()
    (weights, given) = torch.autograd.grad(exact(inputs), (exact.weight, inputs), rounding.to_tf32(gradient).double())
    torch.testing.assert_close(layer.weight.grad.double(), weights, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(images.grad.double(), given, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.bias.grad, gradient.sum((0, 2, 3)))


# --- the same training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["straightforward-fp32", "ours-fp32", "ours-fp32-compiled", "emulated-tf32", "ours-bf16"]
)
def test_variants_train_the_same_at_first(name, network, problem):
    recipe = Recipe(epochs=2, milestones=(1,), lr=1e-4, batch_size=16)
    mask = cases.pruned_ticket(network).mask
    ticket = Ticket(mask, copy.deepcopy(network.state_dict()))
    exact, training = (
        make(copy.deepcopy(network), problem.train, ticket, recipe) for make in (float64, VARIANTS[name])
    )
    expected, losses = (each.train(problem.training, seed=3) for each in (exact, training))
    apart = 2e-2 if name == "ours-bf16" else 2e-3 if name == "emulated-tf32" else 1e-5
    assert len(losses) == 2 * 3 and losses == pytest.approx(expected, abs=apart)
    assert 0 <= training.accuracy(problem.test) <= 100


def test_differences_are_paired():
    base, ours = {"0": 90.0, "1": 80.0, "2": 85.0}, {"0": 91.0, "1": 82.0, "3": 1.0}
    found = same_training.differences({"straightforward-fp32": base, "ours-fp32": ours})
    assert found == {"ours-fp32": {"mean": 1.5, "half_width": pytest.approx(12.706 * 0.5, rel=1e-4), "seeds": 2}}


def test_what_is_known_is_not_trained_again(tmp_path, capsys, monkeypatch):
    file = tmp_path / "same.json"
    command = ["--variants", "ours-fp32", "--loss_seeds", "0", "--epochs", "1", "--output", str(file)]
    assert same_training.main([*command, "--seeds", "1"]) == 0
    content = json.loads(file.read_text())
    assert list(content["accuracies"]["ours-fp32"]) == ["0"]
    content["accuracies"]["ours-fp32"]["0"] = 12.5
    file.write_text(json.dumps(content))
    capsys.readouterr()
    assert same_training.main([*command, "--seeds", "1"]) == 0
    assert "12.50" in capsys.readouterr().out
    assert same_training.main([*command, "--seeds", "1", "--epochs", "2"]) == 2
    assert "choose another file" in capsys.readouterr().err


# --- the whole --------------------------------------------------------------------------------------------------------


def test_a_tiny_run_writes_all_it_measures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prac_set.random_evidence, "__defaults__", (3, 100))
    monkeypatch.setattr(plain, "EXAMPLES", 100)
    monkeypatch.setattr("benchmarks.jobs.peak_bytes", lambda job, device: 7)
    monkeypatch.setattr("benchmarks.footprint.answer_of_child", lambda *arguments: None)
    file = tmp_path / "speed.json"
    flags = "--networks res20s --precisions fp32 --examples 16 --repeats 1 --workers 0 --gpu -1 --output"
    assert run([*flags.split(), str(file)]) == 0
    result = json.loads(file.read_text())
    assert set(result) >= {"date", "command", "commit", "dirty", "environment", "torch", "numpy", "python", "threads"}
    assert result["examples"] == 16 and result["repeats"] == 1
    network = result["networks"]["res20s"]
    for phase in "training", "evaluation":
        timed = {"plain", AUTHORS, "ours fp32", "convolutions fp32"}
        assert set(network[phase]) == timed | {"floor, FLOPs fp32", "floor, bytes fp32"}
        assert all(len(network[phase][name]["repeats"]) == 1 for name in timed)
        assert all(row["images_per_second"] > 0 < row["seconds_per_epoch"] for row in network[phase].values())
    assert set(network["jobs"]) == {
        "next mask",
        "mask distance",
        "checkpoint",
        "checkpoint, new best",
        "checkpoint, in memory",
    }
    assert set(result["jobs"]["PrAC set"]["ours"]) == {"seconds", "repeats", "peak_bytes"}
    assert set(network["epoch"]) == {"plain", AUTHORS, "ours fp32", "ours fp32, new best"}
    assert sum(network["epoch"]["plain"]["parts"].values()) == pytest.approx(network["epoch"]["plain"]["seconds"])
    assert set(network["memory"]) == {"plain", AUTHORS, "ours fp32"}
    assert "res20s: a whole epoch" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--networks res99", "--networks takes res20s"),
        ("--precisions tf32", "--precisions takes fp32, bf16"),
        ("--networks ,", "at least one"),
        ("--repeats 0", "from 1 up"),
    ],
)
def test_wrong_flags_are_told(flags, message, capsys):
    assert run([*flags.split(), "--gpu", "-1"]) == 2
    assert message in capsys.readouterr().err


# --- on paper ---------------------------------------------------------------------------------------------------------


def test_an_epoch_on_paper_is_the_slowest_of_its_parts():
    """Numbers that can be followed by hand: a step computes 3 s and exchanges for 1 + 1 s within a node, 4 s between
    two of them."""
    gradients, images = scale_on_paper.GRADIENTS, scale_on_paper.TRAINING + scale_on_paper.VALIDATION
    node = scale_on_paper.Node("toy", 2 * scale_on_paper.TRAIN, 0.5, gradients, gradients / 4, 10)
    assert scale_on_paper.step(node, 3) == pytest.approx(3)
    assert [scale_on_paper.exchange(node, gpus) for gpus in (1, 4, 8, 16)] == pytest.approx([0, 2, 3, 7])
    found = scale_on_paper.epoch(node, 16, 3, decode=0.001, disk=1e9)
    assert found.steps == 1_281_167 // 48 and found.exchange == pytest.approx(7 * found.steps)
    assert found.computing == pytest.approx(3 * found.steps + 50_000 / 16 / 3)
    assert found.decoding == pytest.approx(images / (2 * 10 * 0.001)) and found.reading == pytest.approx(69)
    assert found.limit == "decoding" and found.seconds == found.decoding


def test_the_table_on_paper_is_that_of_the_page(capsys):
    assert scale_on_paper.main([]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "scale.md").read_text()
    assert scale_on_paper.main(["--gpus", "6"]) == 2


# --- processes of studies ---------------------------------------------------------------------------------------------


def test_the_seconds_of_orphans_are_counted(tmp_path):
    """A process that outlives the one that has started it, as that does which runs are forked from. They are counted in
    a process that has no other children."""
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"
    counting = f"""
import pathlib, sys
from benchmarks import study_processes
study_processes.adopt_orphans()
print(study_processes.seconds([sys.executable, "-c", {parent!r}], pathlib.Path({str(tmp_path / "there")!r}))["cpu"])
"""
    done = subprocess.run([sys.executable, "-c", counting], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) < 2


# --- the first step ---------------------------------------------------------------------------------------------------


def test_the_first_step_is_timed_and_another_way_than_asked_for_is_no_result(monkeypatch):
    monkeypatch.setattr(cases, "BATCH", 2)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "set back after the test")
    sent = []
    first_step.report_first_step("off", "fp32", "x", SimpleNamespace(send=sent.append))
    assert 0 < sent[0] < 100
    monkeypatch.setattr("lottery.training.fast_step.FastStep.try_variant", lambda self, name, plain, visits: None)
    with pytest.raises(RunError, match="the first step was plain"):
        first_step.report_first_step("on", "fp32", "x", SimpleNamespace(send=sent.append))


def test_a_table_of_first_steps(monkeypatch, capsys):
    """Cold starts have a folder each, warm ones that of the first."""
    asked = []

    def answer(method, ask, compile, precision, folder):
        asked.append((compile, Path(folder).name))
        return float(len(asked))

    monkeypatch.setattr("benchmarks.memory.answer_of_child", answer)
    assert first_step.main(["--repeats", "2", "--precision", "bf16"]) == 0
    assert [folder for compile, folder in asked if compile == "on"] == ["cold_0", "cold_0", "cold_1", "cold_0"]
    assert "warm             4.50   3.00  6.00       2" in capsys.readouterr().out
    monkeypatch.setattr("benchmarks.memory.answer_of_child", lambda *arguments: None)
    assert first_step.main(["--repeats", "1"]) == 1
