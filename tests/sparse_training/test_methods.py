"""Runs of main_dst.py by the methods that begin sparse or whose weights come back: files, resuming, flags, tickets."""

import itertools
import shutil

import pytest
import torch

import main_dst
import main_init
import verify
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.checkpointing.metrics import read_metrics, read_summary
from lottery.checkpointing.run_settings import differences
from lottery.sparse_training import schedule
from lottery.sparse_training.scheduled_updates import ScheduledUpdates
from lottery.training.costs import training_flops
from pruner import count, same, size
from tests import helpers
from tests.helpers import (
    SAVING,
    SETTINGS,
    assert_same_files,
    equal_weights,
    one_sentence,
    run,
    run_in_process,
    run_killed,
    run_to,
)

SHORT = SETTINGS.replace("--epochs 8 --decreasing_lr 4,6", "--epochs 4 --decreasing_lr 2,3")  # 4 epochs of 21 steps
SHORTEST = f"{SHORT} --epochs 2 --decreasing_lr 1"  # where it is not the training that is looked at


def train(folder, flags, settings=SHORT):
    run_to(0, main_dst, *f"{settings} --density 0.1 {flags}".split(), "--save_dir", folder)
    return read(folder / "checkpoint.pth.tar"), read_summary(folder / "summary.json")["rounds"][0]


def ticket_mask(content):
    return split_state(content["state_dict"])[1]


@pytest.fixture(scope="module")
def rigl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rigl") / "run"
    train(folder, "--method rigl --update_every 8")
    return folder


def test_a_static_training_is_that_of_a_random_ticket(tmp_path):
    """To the bit: main_init.py's random mask with the same seed, trained by main_train.py."""
    content, _ = train(tmp_path / "static", "--method static", SHORTEST)
    place, data = tmp_path / "random", "--dataset digits --arch tests.networks:tiny"
    run_to(0, main_init, *f"{data} --criterion random --density 0.1 --ranking erk".split(), "--save_dir", place)
    ticket = f"--init_dir {place}/checkpoint.pth.tar --mask_dir {place}/checkpoint.pth.tar"
    run("train", f"{SHORTEST} {ticket}", tmp_path / "trained")
    trained = read(tmp_path / "trained" / "checkpoint.pth.tar")
    assert equal_weights(content["state_dict"], trained["state_dict"])
    assert equal_weights(content["init_weight"], trained["init_weight"])


@pytest.mark.parametrize(
    "flags",
    [
        "--method set --update_every 7 --drop sign --optimizer adam",
        "--method acdc --batch_selection infobatch",
        "--method dpf --update_every 7",
    ],
)
def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, flags):
    """Changes fall on the first step of an epoch, step 21 or 42, and between two."""
    monkeypatch.setitem(helpers.SCRIPTS, "dst", main_dst)
    flags = f"{SHORT} --density 0.1 {SAVING} {flags}"
    run("dst", flags, tmp_path / "whole")
    run_killed(monkeypatch, "dst", flags, tmp_path / "broken", every=4)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


AT_BEGINNINGS = f"--method rigl --update_every 7 {SAVING}"


@pytest.fixture(scope="module")
def killed_never(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed_never") / "run"
    train(folder, AT_BEGINNINGS)
    return folder


def die_at_change(patch, number):
    """Die right after the number-th change of a mask from now on, from 1."""
    changes, use_ = itertools.count(1), ScheduledUpdates.use_

    def dies(*given, **more):
        use_(*given, **more)
        if next(changes) == number:
            raise helpers.Killed

    patch.setattr(ScheduledUpdates, "use_", dies)


@pytest.mark.parametrize("every", [4, 5], ids=["the first of an epoch", "within an epoch"])
def test_rigl_killed_at_a_change_ends_where_an_unbroken_run_does(tmp_path, monkeypatch, killed_never, every):
    """Changes come after 0, 7, ..., 63 steps, three in an epoch; each start dies once the mask and the weights have
    changed, before the next step and before anything is saved."""
    kills = {4: 3, 5: 2}[every]
    for _ in range(kills):
        with monkeypatch.context() as patch, pytest.raises(helpers.Killed):
            die_at_change(patch, every)
            train(tmp_path, AT_BEGINNINGS)
    train(tmp_path, AT_BEGINNINGS)
    assert_same_files(killed_never, tmp_path)


def test_a_run_begun_with_shorter_intervals_goes_on_with_them(tmp_path, monkeypatch):
    """Of 164 steps: a change came every 10, now one comes every 16."""
    monkeypatch.setitem(helpers.SCRIPTS, "dst", main_dst)
    flags = f"{SHORT} --density 0.1 --batch_size 32 --method rigl {SAVING}"
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "steps_between", lambda method, steps: 10)
        run("dst", flags, tmp_path / "before")
        with pytest.raises(helpers.Killed):
            helpers.kill_at(patch, 4)
            run("dst", flags, tmp_path / "broken")
    shutil.copytree(tmp_path / "broken", tmp_path / "unrecorded")
    file = tmp_path / "unrecorded" / "checkpoint.pth.tar"
    content = read(file)
    assert content.pop("update_every") == 10
    write(file, content)  # as it was before the interval was recorded
    for folder in "broken", "unrecorded":
        run("dst", flags, tmp_path / folder)
        assert_same_files(tmp_path / "before", tmp_path / folder)
    run("dst", flags, tmp_path / "now")
    updates = read(tmp_path / "now" / "checkpoint.pth.tar")["updates"]
    assert [each["step"] for each in updates][:3] == [0, 16, 32]


def test_the_recorded_interval_decides_and_no_guess(tmp_path, monkeypatch):
    """Late changes, of epochs that leave examples out, may lie as far apart as changes once did."""
    monkeypatch.setitem(helpers.SCRIPTS, "dst", main_dst)
    flags = f"{SHORT} --density 0.1 --batch_size 32 --method rigl {SAVING}"
    run("dst", flags, tmp_path / "unbroken")
    with monkeypatch.context() as patch, pytest.raises(helpers.Killed):
        helpers.kill_at(patch, 4)
        run("dst", flags, tmp_path / "broken")
    monkeypatch.setattr("lottery.sparse_training.run.interval_before", lambda *_: 10)
    run("dst", flags, tmp_path / "broken")
    assert_same_files(tmp_path / "unbroken", tmp_path / "broken")


def test_what_rigl_records(rigl):
    content, row = read(rigl / "checkpoint.pth.tar"), read_summary(rigl / "summary.json")["rounds"][0]
    best, history = read(rigl / "model_SA_best.pth.tar"), content["history"]
    assert count(ticket_mask(content)) == round(0.1 * size(ticket_mask(content))) == row["kept"]
    updates = row["mask_updates"]
    assert [update["step"] for update in updates] == list(range(0, round(0.77 * 84), 8))
    assert all(update["layers"] == updates[0]["layers"] and update["grown"] == update["dropped"] for update in updates)
    assert row["mean_kept"] == {name: layer["kept"] for name, layer in row["layers"].items()}
    explored = [update["explored"] for update in updates]
    assert explored == sorted(explored) and 0.1 < explored[-1] < 1
    assert [line["explored"] for line in history] == [explored[2], explored[5], explored[7], explored[8]]
    assert sum(line["grown"] for line in history) == sum(update["grown"] for update in updates)
    assert [line["final"] for line in history] == [False, False, False, True]
    lines, _ = read_metrics(rigl / "metrics.jsonl")
    assert [line["grown"] for line in lines] == [line["grown"] for line in history]
    assert same(ticket_mask(best), ticket_mask(content)) and "explored" not in best and "explored" not in content


def test_flops_are_those_that_the_rigl_paper_counts(rigl, tmp_path):
    """A step costs 3 f_S an example; one that finds a new mask 2 f_S + f_D, since its gradient is dense. A step of DPF
    always costs that much."""
    row, flops = read_summary(rigl / "summary.json")["rounds"][0], read_summary(rigl / "summary.json")["flops"]
    layers = row["layers"]
    sparse = sum(one * layers[name]["kept"] / layers[name]["size"] if name in layers else one
                 for name, one in flops.items())  # fmt: skip
    dense, updates = sum(flops.values()), len(row["mask_updates"])
    expected = 3 * sparse * (row["examples"] - 64 * updates) + (2 * sparse + dense) * 64 * updates
    assert training_flops(flops, row) == pytest.approx(expected)
    assert read_summary(rigl / "summary.json")["costs"]["training_flops"] == pytest.approx(expected)
    _, row = train(tmp_path / "dpf", "--method dpf", SHORTEST)
    mean = sum(one * row["mean_kept"][name] / layers[name]["size"] if name in layers else one
               for name, one in flops.items())  # fmt: skip
    assert training_flops(flops, row) == pytest.approx((2 * mean + dense) * row["examples"])


def test_its_ticket_is_verified_and_trained(rigl, tmp_path):
    status, out, err = run_in_process(verify, rigl / "checkpoint.pth.tar", rigl / "model_SA_best.pth.tar")
    assert status == 0 and "BROKEN" not in out, out + err
    given = f"--init_dir {rigl}/checkpoint.pth.tar --mask_dir {rigl}/checkpoint.pth.tar"
    mask = ticket_mask(read(rigl / "checkpoint.pth.tar"))
    for control in ("", "--control random_mask", "--control reinit"):
        run("train", f"{SHORTEST} {given} {control}", tmp_path / (control or "ticket"))
        trained = ticket_mask(read(tmp_path / (control or "ticket") / "checkpoint.pth.tar"))
        assert {name: int(layer.sum()) for name, layer in trained.items()} == {
            name: int(layer.sum()) for name, layer in mask.items()
        }
        assert same(trained, mask) == (control != "--control random_mask")


def test_a_sparse_start_begins_with_given_weights(rigl, tmp_path):
    content, _ = train(tmp_path, f"--method set --init_dir {rigl}/checkpoint.pth.tar", SHORTEST)
    assert equal_weights(content["init_weight"], read(rigl / "checkpoint.pth.tar")["init_weight"])


def test_dpf_saves_dropped_weights_as_long_as_they_are_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(helpers.SCRIPTS, "dst", main_dst)
    with monkeypatch.context() as patch, pytest.raises(helpers.Killed):
        helpers.kill_at(patch, 4)
        run("dst", f"{SHORT} --density 0.1 {SAVING} --method dpf", tmp_path)
    content = read(tmp_path / "checkpoint.pth.tar")
    dropped, mask = content["dropped_weights"], ticket_mask(content)
    assert all((dropped[name] != 0)[~layer].float().mean() > 0.9 for name, layer in mask.items())
    assert not any(dropped[name][layer].any() for name, layer in mask.items())
    content, _ = train(tmp_path, f"{SAVING} --method dpf")
    assert "dropped_weights" not in content and "dropped_weights" not in read(tmp_path / "model_SA_best.pth.tar")


@pytest.mark.parametrize("flags", ["--method rigl", "--method dpf"])
def test_a_training_that_diverges_says_so(tmp_path, flags):
    words = f"{SHORT} --density 0.1 {flags} --lr 1e20"
    out = run_to(1, main_dst, *words.split(), "--save_dir", tmp_path)
    assert "the weights are no longer finite numbers" in out and "Traceback" not in out


def test_a_gradient_that_is_not_finite_ranks_nothing(tmp_path, monkeypatch):
    from lottery.sparse_training import drop_and_grow

    monkeypatch.setattr(drop_and_grow, "magnitude_of_gradient", lambda weight: torch.full_like(weight, torch.nan))
    content, _ = train(tmp_path, "--method rigl", SHORTEST)
    assert content["updates"] == [], "and its step is taken"


def test_runs_of_gradual_pruning_from_before_go_on():
    """They do not record the settings of the other methods."""
    old = {"script": "main_dst.py", "method": "gmp", "density": 0.1}
    assert differences(old, old | {"distribution": None, "drop_fraction": None, "drop": None}) == []


BAD = [
    ("--method rigl --density 0.1 --drop sign", "--drop sign is for --method set, got --method rigl: omit it"),
    ("--method gmp --density 0.1 --distribution erk", "is for --method static, set and rigl, got --method gmp"),
    ("--method acdc --density 0.1 --drop_fraction 0.3", "is for --method set and rigl, got --method acdc"),
    ("--method set --density 0.1 --drop_fraction 1", "between 0 and 1, both excluded, got 1"),
    (
        "--method static --density 0.1 --update_every 5",
        "for --method set, rigl, gmp, acdc and dpf, got --method static",
    ),
    ("--method rigl --density 0.1 --update_every 1", "takes the place of an optimiser step.*give 2 or more"),
    ("--method set --density 0.1 --update_from 0.5 --update_until 0.5", "are both 0.5.*--method static"),
    (
        "--method rigl --density 0.1 --update_until 0.001 --arch tests.networks:tiny --batch_size 64 --epochs 2",
        "--update_until 0.001 leave no step between them of the 42 that there are",
    ),
    ("--method set --density 0.1 --update_from 0.9", "--update_from 0.9 lies after --update_until 0.77"),
    ("--method set --density 0.1 --prune_type rewind_lt", "sparse from the first step on.*give lt"),
    ("--method set --density 0.1 --mask_dir README.md", "begins with a random mask of --density: omit it"),
    ("--method rigl --density 0.1 --distribution ERK", "did you mean erk"),
]


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_sentence(tmp_path, words, message):
    one_sentence(lambda _, *given: run_in_process(main_dst, *given), "main_dst", words.split(), tmp_path, message)
