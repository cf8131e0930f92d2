"""When --compile auto compiles on a CPU: by the rule, to be recorded, and kept when the run goes on."""

import copy

import pytest
import torch

import main_stability
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.metrics import read_summary
from lottery.training import compile_rule
from lottery.training.compile_rule import Activations, convolution_activations, is_worth_compiling
from tests.helpers import (
    CHANNELS_SELECT,
    SAVING,
    SETTINGS,
    Killed,
    assert_same_files,
    equal_weights,
    kill_at,
    network,
    run,
    run_killed,
    run_to,
    select_channels,
)

RES20S = Activations(19, 188_416)
SHORT = SETTINGS.replace("--epochs 8 --decreasing_lr 4,6", "--epochs 3 --decreasing_lr 2")


def steps_that_pay(precision, threads=2, batch_size=128, activations=RES20S):
    """The least number of steps that is worth compiling for."""
    return next(
        steps
        for steps in range(10, 100_000, 10)
        if is_worth_compiling(activations, precision, steps, batch_size, threads)[0]
    )


def test_the_activations_of_a_network_are_what_its_convolutions_put_out():
    """Counted by hand for res20s: seven layers of 16 x 32 x 32, six of 32 x 16 x 16, six of 64 x 8 x 8."""
    by_hand = 7 * 16 * 32 * 32 + 6 * 32 * 16 * 16 + 6 * 64 * 8 * 8
    images = torch.zeros(2, 3, 32, 32, device="meta")
    assert convolution_activations(network("res20s"), images) == (19, by_hand) == RES20S
    assert convolution_activations(network("lenet300"), torch.zeros(2, 1, 8, 8, device="meta")) == (0, 0)


def test_counting_leaves_no_trace(tiny):
    twin = copy.deepcopy(tiny)
    assert convolution_activations(tiny, torch.rand(1, 1, 8, 8)) == (2, 4 * 64 + 6 * 16)
    assert equal_weights(tiny.state_dict(), twin.state_dict())
    assert not any(module._forward_hooks for module in tiny.modules())


def test_compiling_pays_from_as_many_steps_as_were_measured():
    """Seconds of compiling, divided by what a batch of 128 was measured to take less."""
    assert steps_that_pay("fp32") == pytest.approx(29.7 / (128 / 796 - 128 / 891), abs=10)
    assert steps_that_pay("bf16") == pytest.approx(29.7 / (128 / 1274 - 128 / 1630), abs=10)


def test_less_work_a_step_needs_more_steps():
    whole = steps_that_pay("fp32")
    assert steps_that_pay("fp32", batch_size=64) == pytest.approx(2 * whole, abs=20)
    assert steps_that_pay("fp32", threads=4) == pytest.approx(2 * whole, abs=20)
    assert steps_that_pay("fp32", activations=Activations(19, 188_416 // 4)) == pytest.approx(4 * whole, abs=40)


def test_a_network_without_convolutions_is_not_compiled():
    worth, why = is_worth_compiling(Activations(0, 0), "bf16", 10**9, 128, 1)
    assert not worth and "no convolutions" in why


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch):
    """On a processor with AMX where a run of 60 steps pays; compiled, a network puts out what rounding might make of
    it. The networks that were compiled are returned."""
    asked = []

    def compile_(model, **_):
        asked.append(model)
        return lambda images: model(images) * (1 + 1e-6)

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(compile_rule, "has_amx", lambda: True)
    monkeypatch.setattr(compile_rule, "SECONDS_PER_CONVOLUTION", 1e-4)
    monkeypatch.setattr("lottery.training.fast_step.keep_compiled_code", lambda: None)
    return asked


def recorded(folder, round=""):
    """What the newest files of a run say of compiling: in the checkpoint, in the summary, and how steps ran."""
    summary = read_summary(folder / "summary.json")
    saved = read(folder / f"{round}checkpoint.pth.tar")
    assert "compile" not in saved["settings"]
    return saved["environment"]["compile"], summary["environment"]["compile"], summary["rounds"][-1]["step"]


def test_a_run_that_it_pays_for_is_compiled_and_says_so(tmp_path, compiled):
    out = " ".join(run("train", SHORT, tmp_path).split())
    assert recorded(tmp_path) == ("on", "on", "compiled") and len(compiled) == 1
    assert "note: --compile auto: compiled, since this processor has AMX and " in out and "compile on" in out


@pytest.mark.parametrize(
    "flags", ["--arch lenet300", "--epochs 1 --decreasing_lr 1 --batch_size 1400", "--compile off"]
)
def test_a_run_that_it_does_not_pay_for_stays_plain(tmp_path, compiled, monkeypatch, flags):
    if "1400" in flags:
        monkeypatch.setattr(compile_rule, "SECONDS_PER_CONVOLUTION", 1.0)
    out = run("train", f"{SHORT} {flags} --warmup 0", tmp_path)
    assert not compiled and recorded(tmp_path)[2] == "plain"
    assert ("not compiled, since" in out) == ("off" not in flags)


def test_without_amx_nothing_is_decided_nor_said(tmp_path, compiled, monkeypatch):
    monkeypatch.setattr(compile_rule, "has_amx", lambda: False)
    out = run("train", SHORT, tmp_path)
    assert not compiled and recorded(tmp_path) == ("auto", "auto", "plain") and "--compile" not in out


@pytest.mark.parametrize("script", ["train", "imp"])
def test_a_compiled_run_that_is_killed_ends_where_an_unbroken_one_does(tmp_path, compiled, monkeypatch, script):
    flags = f"{SHORT} {SAVING}" + (" --pruning_times 2" if script == "imp" else "")
    run(script, flags, tmp_path / "whole")
    run_killed(monkeypatch, script, flags, tmp_path / "broken", every=3)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("before", ["plain", "compiled"])
def test_a_run_goes_on_as_it_was_begun(tmp_path, compiled, monkeypatch, before):
    """Whatever the rule would say of it now: a record of `auto` is one of a plain run, by the code before the rule,
    too."""
    with monkeypatch.context() as patch:
        patch.setattr(compile_rule, "has_amx", lambda: before == "compiled")
        run("train", SHORT, tmp_path / "whole")
        kill_at(patch, 3)
        with pytest.raises(Killed):
            run("train", f"{SHORT} {SAVING}", tmp_path / "broken")
    compiled.clear()
    monkeypatch.setattr(compile_rule, "has_amx", lambda: before == "plain")
    out = run("train", f"{SHORT} {SAVING}", tmp_path / "broken")
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert len(compiled) == (before == "compiled")
    assert ("--compile auto: compiled, as this run has been so far" in " ".join(out.split())) == (before == "compiled")
    assert "no longer bit-exact" not in out


@pytest.fixture
def planned(compiled, monkeypatch):
    """The numbers of steps that the rule is asked about."""
    real, steps = compile_rule.is_worth_compiling, []
    monkeypatch.setattr(compile_rule, "is_worth_compiling", lambda *facts: steps.append(facts[2]) or real(*facts))
    return steps


def test_all_trainings_of_a_run_are_planned_together(tmp_path, planned):
    """The rounds of a search, the two copies of a ticket, the trainings of a selection of channels."""
    run("train", SHORT, tmp_path / "train")
    (one,) = planned
    assert one == read_summary(tmp_path / "train" / "summary.json")["rounds"][0]["steps"]
    run("imp", f"{SHORT} --pruning_times 3", tmp_path / "imp")
    run_to(0, main_stability, *SHORT.split(), "--points", 3, "--save_dir", tmp_path / "stability")
    select_channels(f"{SHORT} --prune_at {one} {CHANNELS_SELECT}", tmp_path / "channels")
    assert planned == [one, 3 * one, 2 * one, (3 + 2) * one // 3]


def test_both_copies_of_a_ticket_are_compiled_or_none(tmp_path, planned, compiled, monkeypatch):
    """And those of a run that was begun plain stay plain, though they are trained anew."""
    words = [*SHORT.split(), "--points", 3]
    run_to(0, main_stability, *words, "--save_dir", tmp_path / "compiled")
    assert len(compiled) == 1
    assert read_summary(tmp_path / "compiled" / "summary.json")["environment"]["compile"] == "on"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(compile_rule, "has_amx", lambda: False)
        kill_at(patch, 0)  # the first copy's first write
        run_to(0, main_stability, *words, "--save_dir", tmp_path / "plain")
    run_to(0, main_stability, *words, "--save_dir", tmp_path / "plain")
    for name, way in (("compiled", "on"), ("plain", "auto")):
        summaries = [read_summary(file) for file in (tmp_path / name).glob("*/summary.json")]
        assert [summary["environment"]["compile"] for summary in summaries] == [way, way]
    assert len(compiled) == 1
