"""Tickets as input: searches that begin with one, classifiers pruned or replaced."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

import main_elastic
import pruner
from lottery.checkpointing.checkpoint import read
from models import build_model
from tests.helpers import SAVING, SETTINGS, assert_same_files, checkpoints, masks, run, run_killed
from tests.helpers import equal_weights as equal
from verify import main as verify

LT = f"{SETTINGS} --epochs 3 --decreasing_lr 2 --prune_type lt"
WEIGHTS = 3 * 8 * 9 + 8 * 16 * 9  # of the tiny network's convolutions


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A ticket after two prunings; its weights stand after 30 steps."""
    folder = tmp_path_factory.mktemp("first")
    run("imp", f"{LT} --prune_type rewind_lt --rewind_iteration 30 --pruning_times 2", folder)
    return folder / "2checkpoint.pth.tar"


def given(ticket):
    return f"--init_dir {ticket} --mask_dir {ticket}"


# --- a search that begins with a ticket -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_a_search_goes_on_pruning_a_ticket(first, tmp_path, kind):
    run(kind, f"{LT} --pruning_times 2 {given(first)}", tmp_path)
    ticket, found = read(first), masks(tmp_path)
    kept = WEIGHTS - round(0.2 * WEIGHTS)
    kept -= round(0.2 * kept)
    assert pruner.count(found[0]) == kept
    for before, mask in itertools.pairwise(found):
        kept -= round(0.2 * kept)
        assert pruner.count(mask) == kept
        assert all((layer <= before[name]).all() for name, layer in mask.items())
    for saved in checkpoints(tmp_path):
        assert equal(saved["init_weight"], ticket["init_weight"]) and saved["init_step"] == 30
    assert verify([str(file) for file in tmp_path.glob("*.pth.tar")]) == 0


def test_it_begins_and_rewinds_where_the_ticket_stands(first, tmp_path):
    run("imp", f"{LT} --pruning_times 2 --rewind_lr {given(first)}", tmp_path)
    assert [saved["first_step"] for saved in checkpoints(tmp_path)] == [30, 30, 30]
    run("imp", f"{LT} --prune_type rewind_lt --rewind_iteration 40 --pruning_times 1 --rewind_lr {given(first)}",
        tmp_path / "later")  # fmt: skip
    assert [saved["first_step"] for saved in checkpoints(tmp_path / "later")] == [30, 40]
    out = run("imp", f"{LT} --prune_type rewind_lt --rewind_iteration 20 --rewind_lr {given(first)}",
              tmp_path / "before", expect=2)  # fmt: skip
    assert "step 20, lies before step 30" in out and not (tmp_path / "before").exists()


def test_a_killed_search_from_a_ticket_ends_where_an_unbroken_one_does(first, tmp_path, monkeypatch):
    flags = f"{LT} --pruning_times 2 --rewind_lr {given(first)} {SAVING}"
    run("imp", flags, tmp_path / "whole")
    run_killed(monkeypatch, "imp", flags, tmp_path / "broken", every=7)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")


def test_an_elastic_ticket_stands_where_its_source_did(tmp_path):
    mlp = LT.replace("tests.networks:tiny", "mlp2")
    run("imp", f"{mlp} --prune_type rewind_lt --rewind_iteration 30 --pruning_times 1", tmp_path / "source")
    source = given(tmp_path / "source/1checkpoint.pth.tar")
    words = f"--source_arch mlp2 --target_arch mlp3 {source} --save_dir {tmp_path}/elastic"
    assert main_elastic.main(words.split()) == 0
    ticket = tmp_path / "elastic/checkpoint.pth.tar"
    assert read(ticket)["init_step"] == 30
    run("train", f"{LT.split(' --prune_type')[0].replace('tests.networks:tiny', 'mlp3')} --rewind_lr {given(ticket)}",
        tmp_path / "train")  # fmt: skip
    assert read(tmp_path / "train/checkpoint.pth.tar")["first_step"] == 30


def test_another_ticket_is_another_run(first, tmp_path):
    run("imp", f"{LT} --epochs 1 --pruning_times 1 {given(first)}", tmp_path)
    other = first.with_name("1checkpoint.pth.tar")
    assert "ticket checksum was" in run("imp", f"{LT} --epochs 1 --pruning_times 1 {given(other)}", tmp_path, expect=2)
    out = run("imp", f"{LT} --epochs 1 --pruning_times 1 --overwrite {given(first)}", first.parent, expect=2)
    assert "which this run reads" in out


def test_a_given_mask_or_given_weights_alone(first, tmp_path):
    """A mask with the run's own random weights; weights without a mask are a dense network."""
    run("imp", f"{LT} --epochs 1 --pruning_times 1 --mask_dir {first}", tmp_path / "mask")
    run("imp", f"{LT} --epochs 1 --pruning_times 1", tmp_path / "own")
    own = read(tmp_path / "own/1checkpoint.pth.tar")["init_weight"]
    assert equal(read(tmp_path / "mask/1checkpoint.pth.tar")["init_weight"], own)
    assert pruner.count(masks(tmp_path / "mask")[0]) < WEIGHTS
    run("imp", f"{LT} --epochs 1 --pruning_times 1 --init_dir {first}", tmp_path / "weights")
    assert masks(tmp_path / "weights")[0] == {}
    assert equal(read(tmp_path / "weights/1checkpoint.pth.tar")["init_weight"], read(first)["init_weight"])


def test_too_many_prunings_of_a_sparse_ticket_are_refused(first, tmp_path):
    kept = pruner.count(masks(first.parent)[2])
    out = run("imp", f"{LT} --pruning_times 40 {given(first)} --rate 0.7", tmp_path / "new", expect=2)
    assert f"leaves none of the {kept} prunable weights" in out


# --- the classifier ---------------------------------------------------------------------------------------------------


def test_what_is_prunable_with_and_without_the_classifier():
    vgg = build_model("vgg13_bn_3fc", classes=10, channels=3, image_size=32, mean=[0.5] * 3, std=[0.5] * 3)
    hidden = pruner.prunable(vgg)
    assert hidden[-2:] == ["classifier.0.weight", "classifier.2.weight"], "hidden linear layers, not the classifier"
    assert pruner.prunable(vgg, prune_classifier=True) == [*hidden, "classifier.4.weight"]


def test_the_classifier_is_pruned_where_that_is_asked_for(tmp_path):
    run("imp", f"{LT} --prune_classifier --pruning_times 2", tmp_path)
    found = masks(tmp_path)[2]
    assert "network.8.weight" in found and pruner.size(found) == WEIGHTS + 160
    kept = WEIGHTS + 160
    for _ in range(2):
        kept -= round(0.2 * kept)
    assert pruner.count(found) == kept
    ticket = given(tmp_path / "2checkpoint.pth.tar")
    run("train", f"{SETTINGS} --epochs 1 {ticket}", tmp_path / "train")
    weights = read(tmp_path / "train/checkpoint.pth.tar")["state_dict"]
    assert (weights["network.8.weight_orig"][~found["network.8.weight"]] == 0).all()
    out = run("imp", f"{LT} {ticket}", tmp_path / "new", expect=2)
    assert "has a mask for network.8.weight, which this search does not prune: is --prune_classifier or " in out
    assert verify([str(file) for file in tmp_path.glob("*.pth.tar")]) == 0


def three_classes(folder):
    """An image folder of twelve noisy images of each class."""
    random = np.random.default_rng(0)
    for part, kind, number in itertools.product(("train", "test"), "abc", range(12)):
        file = folder / part / kind / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)


def test_a_ticket_moves_to_data_with_other_classes(tmp_path):
    run("imp", f"{LT} --prune_classifier --pruning_times 2", tmp_path / "digits")
    ticket = tmp_path / "digits/2checkpoint.pth.tar"
    three_classes(tmp_path / "images")
    there = (
        f"--dataset imagefolder --data {tmp_path}/images --arch tests.networks:tiny --epochs 1 --batch_size 8 --gpu -1"
    )
    out = run("train", f"{there} {given(ticket)}", tmp_path / "new", expect=2)
    assert "network.8.weight is 10 x 16 there" in out and "--new_classifier" in out
    out = run("train", f"{there} --new_classifier {given(ticket)}", tmp_path / "moved")
    moved, mask = read(tmp_path / "moved/checkpoint.pth.tar"), masks(tmp_path / "digits")[2]
    assert "found on other data" in out
    assert "network.8.weight" in moved["state_dict"], "dense"
    for name, layer in mask.items():
        if name != "network.8.weight":
            assert torch.equal(moved["state_dict"][f"{name}_mask"].bool(), layer)
            assert torch.equal(moved["init_weight"][name], read(ticket)["init_weight"][name])
    run("imp", f"{there} --pruning_times 1 --new_classifier {given(ticket)}", tmp_path / "searched")
    out = run("train", f"{there} --new_classifier", tmp_path / "new", expect=2)
    assert "--new_classifier is about a ticket" in out
