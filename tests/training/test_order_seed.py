"""--order_seed: the order of examples apart from the initial weights, in a run that goes on, too."""

import torch

from lottery.checkpointing.checkpoint import read, write
from tests.helpers import SAVING, assert_same_files, run, run_killed

SHORT = "--dataset digits --arch tests.networks:tiny --epochs 3 --decreasing_lr 2 --batch_size 64 --gpu -1"


def checkpoint(folder):
    return read(folder / "checkpoint.pth.tar")


def equal(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_order_is_that_of_the_run_with_this_seed_and_the_start_is_not(tmp_path):
    """Seed 3 in the order of seed 5 is seed 5 begun with the initial weights of seed 3."""
    run("train", f"{SHORT} --seed 3 --order_seed 5", tmp_path / "ordered")
    run("train", f"{SHORT} --seed 3", tmp_path / "plain")
    ordered, plain = checkpoint(tmp_path / "ordered"), checkpoint(tmp_path / "plain")
    assert equal(ordered["init_weight"], plain["init_weight"])
    assert not equal(ordered["state_dict"], plain["state_dict"])
    torch.save(plain["init_weight"], tmp_path / "initial.pt")
    run("train", f"{SHORT} --seed 5 --init_dir {tmp_path / 'initial.pt'}", tmp_path / "begun")
    assert equal(ordered["state_dict"], checkpoint(tmp_path / "begun")["state_dict"])


def test_controls_are_drawn_from_the_seed_whatever_the_order(tmp_path):
    ticket = tmp_path / "imp/1checkpoint.pth.tar"
    run("imp", f"{SHORT} --epochs 1 --pruning_times 1", tmp_path / "imp")
    for order in (1, 2):
        given = f"--init_dir {ticket} --mask_dir {ticket} --control random_mask --order_seed {order}"
        run("train", f"{SHORT} --epochs 1 {given}", tmp_path / str(order))
    one, other = (checkpoint(tmp_path / str(order))["state_dict"] for order in (1, 2))
    masks = [name for name in one if name.endswith("_mask")]
    assert masks and all(torch.equal(one[name], other[name]) for name in masks)
    assert not equal(one, other)


def test_a_killed_run_goes_on_in_the_same_order(tmp_path, monkeypatch):
    flags = f"{SHORT} {SAVING} --order_seed 5"
    run("train", flags, tmp_path / "whole")
    run_killed(monkeypatch, "train", flags, tmp_path / "broken", every=2)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_another_order_is_another_run(tmp_path):
    """Also where the run is older than the flag and does not name it: it had the order of its seed."""
    run("train", f"{SHORT} --epochs 1", tmp_path)
    assert "order_seed was not given, is 5" in run("train", f"{SHORT} --epochs 1 --order_seed 5", tmp_path, expect=2)
    for kind in ("checkpoint", "model_SA_best"):
        content = read(tmp_path / f"{kind}.pth.tar")
        del content["settings"]["order_seed"]
        write(tmp_path / f"{kind}.pth.tar", content)
    assert "order_seed was not given, is 5" in run("train", f"{SHORT} --epochs 1 --order_seed 5", tmp_path, expect=2)
    assert "finished" in run("train", f"{SHORT} --epochs 1", tmp_path)
