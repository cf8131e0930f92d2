"""The parts of the long tests that judge: a test that sees no difference would pass whatever happened."""

import shutil
import signal
from importlib import import_module

import numpy as np
import pytest
import torch

from lottery.checkpointing.checkpoint import read, write
from tests.stress import fuzz, kills
from tests.stress.corruption import DAMAGES
from tests.stress.kills import draw
from tests.stress.processes import Ended, Job
from tests.stress.same_files import differences, identical

CONTENT = {"state_dict": {"w": torch.tensor([0.0, 1.0])}, "history": [{"loss": 0.5, "seconds": 1.0}], "epoch": 4}


@pytest.fixture
def two(tmp_path):
    """Two directories with the same files."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "checkpoint.pth.tar", CONTENT)
    return tmp_path / "a", tmp_path / "b"


def test_equal_files_are_equal_whatever_the_clock_said(two):
    a, b = two
    write(b / "checkpoint.pth.tar", CONTENT | {"history": [{"loss": 0.5, "seconds": 2.0}]})
    assert differences(a, b) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": {"w": torch.tensor([-0.0, 1.0])}},
        {"state_dict": {"w": torch.tensor([0.0, 1.0], dtype=torch.float64)}},
        {"state_dict": {"v": torch.tensor([0.0, 1.0])}},
        {"history": [{"loss": 0.5000000000000001, "seconds": 1.0}]},
        {"history": []},
        {"epoch": 4.0},
        {"more": None},
    ],
)
def test_every_difference_is_seen(two, change):
    a, b = two
    write(b / "checkpoint.pth.tar", CONTENT | change)
    assert differences(a, b) and differences(b, a)


def test_files_that_are_too_many_torn_or_unsealed_are_differences(two):
    a, b = two
    (a / ".checkpoint.pth.tar.x").write_bytes(b"")
    assert differences(a, b) == [f".checkpoint.pth.tar.x is in {a} only"]
    (a / ".checkpoint.pth.tar.x").unlink()
    torch.save(read(b / "checkpoint.pth.tar"), b / "checkpoint.pth.tar")
    assert differences(a, b) == [f"{b / 'checkpoint.pth.tar'} is unsealed"]
    for folder in two:
        (folder / "net_train.png").write_bytes(b"\x89PNG")
    assert f"{a / 'net_train.png'} is no whole picture" in differences(a, b)


def test_a_nan_is_itself():
    assert identical(torch.tensor([float("nan")]), torch.tensor([float("nan")]))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_damage_damages(two, damage):
    a, b = two
    hurt = 0
    for seed in range(5):
        shutil.copy(a / "checkpoint.pth.tar", b / "checkpoint.pth.tar")
        damage(b / "checkpoint.pth.tar", np.random.default_rng(seed))
        hurt += differences(a, b) != []
    assert hurt >= 4  # zeros may be set to zero


ENDS = [  # the signal that was sent, how it ended, whether that is wrong
    (signal.SIGKILL, Ended(-9, 1.0, "", ""), False),
    (0, Ended(0, 1.0, "", ""), False),
    (0, Ended(1, 1.0, "", "error"), True),
    (signal.SIGTERM, Ended(143, 1.0, "x", "terminated. To go on: python main_imp.py --lr 1\n"), False),
    (signal.SIGTERM, Ended(143, 1.0, "x", "terminated. To go on: python main_imp.py\n"), True),
    (signal.SIGTERM, Ended(-15, 1.0, "x", ""), True),
    (signal.SIGTERM, Ended(-15, 1.0, "", ""), False),
    (signal.SIGINT, Ended(1, 1.0, "x", "Traceback"), True),
    (signal.SIGKILL, Ended(1, 1.0, "x", "Traceback"), True),
]


@pytest.mark.parametrize("number, ended, wrong", ENDS)
def test_an_end_that_no_signal_explains_is_trouble(number, ended, wrong):
    case = object.__new__(kills.Case)
    case.job = Job("main_imp", ("--lr", "1"))
    assert bool(case.trouble(ended, number)) == wrong


def test_blows_are_of_all_kinds_and_within_the_run():
    random = np.random.default_rng(0)
    blows = [draw(random, 2.0, 4.0) for _ in range(400)]
    assert {blow.number for blow in blows} == {signal.SIGKILL, signal.SIGINT, signal.SIGTERM}
    assert all(0 <= blow.after <= (6 if blow.fresh else 2) for blow in blows)
    assert 20 < sum(blow.fresh for blow in blows) < 60 < sum(blow.then is not None for blow in blows) < 220


@pytest.mark.parametrize("script", fuzz.SCRIPTS)
def test_no_flag_is_forgotten(script):
    """A new one is tried with all others, once it has values to be drawn from."""
    module = {"main_PrAC_imp": "prac_imp"}.get(script, script.removeprefix("main_"))
    known = {action.dest for action in import_module(f"lottery.cli.{module}").parser()._actions}
    drawn = fuzz.SCRIPTS[script].keys()
    assert known - drawn <= fuzz.UNTRIED and drawn - known <= {"no_such_flag"}
