"""--weights: pre-trained weights in the place of drawn ones."""

import pytest
import torch

from lottery.checkpointing.checkpoint import read
from tests.helpers import SETTINGS, assert_same_files, run, run_killed
from tests.networks import tiny

SHORT = f"{SETTINGS} --epochs 2 --decreasing_lr 1"
SEARCH = f"{SHORT} --pruning_times 1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The state_dict of a user's network as its own script saves it, of DataParallel and in half precision."""
    path = tmp_path_factory.mktemp("weights") / "net.pt"
    torch.manual_seed(5)
    torch.save({f"module.{name}": value.half() if value.is_floating_point() else value
                for name, value in tiny(10).state_dict().items()}, path)  # fmt: skip
    return path


def start(folder):
    return {
        name.removeprefix("network."): value
        for name, value in read(folder / "1checkpoint.pth.tar")["init_weight"].items()
    }


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_a_search_rewinds_to_pretrained_weights(weights, tmp_path, kind):
    out = run(kind, f"{SEARCH} --prune_type lt --weights {weights}", tmp_path)
    found, there = start(tmp_path), torch.load(weights)
    assert all(torch.equal(found[name.removeprefix("module.")].half(), value.half()) for name, value in there.items())
    assert f"the network starts from the weights of {weights}" in " ".join(out.split())


def test_a_classifier_for_other_classes_starts_from_drawn_weights(tmp_path):
    torch.save(tiny(4).state_dict(), tmp_path / "four.pt")
    out = run("imp", f"{SEARCH} --prune_type lt --weights {tmp_path / 'four.pt'}", tmp_path / "run")
    run("imp", f"{SEARCH} --prune_type lt", tmp_path / "drawn")
    found, drawn, there = start(tmp_path / "run"), start(tmp_path / "drawn"), torch.load(tmp_path / "four.pt")
    assert torch.equal(found["8.weight"], drawn["8.weight"]) and torch.equal(found["0.weight"], there["0.weight"])
    assert "network.8, the classifier, starts from weights drawn with --seed" in " ".join(out.split())


def test_the_classifier_is_drawn_where_it_is_asked_for(weights, tmp_path):
    run("imp", f"{SEARCH} --prune_type lt --weights {weights} --new_classifier", tmp_path / "run")
    run("imp", f"{SEARCH} --prune_type lt", tmp_path / "drawn")
    assert torch.equal(start(tmp_path / "run")["8.weight"], start(tmp_path / "drawn")["8.weight"])


def test_what_does_not_fit_is_named(tmp_path):
    state = tiny(10).state_dict()
    for name, content, said in (
        ("missing", {key: value for key, value in state.items() if key != "3.bias"}, "expects network.3.bias"),
        ("shape", state | {"0.weight": torch.zeros(8, 1, 3, 3)}, "network.0.weight is 8 x 1 x 3 x 3 there"),
        ("list", {"a": [1]}, "list.pt"),
    ):
        torch.save(content, tmp_path / f"{name}.pt")
        out = run("train", f"{SHORT} --weights {tmp_path / name}.pt", tmp_path / "run", expect=2)
        assert said in " ".join(out.split())
    out = run("train", f"{SHORT} --weights {tmp_path / 'no.pt'}", tmp_path / "run", expect=2)
    assert "no.pt does not exist" in " ".join(out.split())


def test_two_kinds_of_weights_are_refused(weights, tmp_path):
    out = run("train", f"{SHORT} --weights {weights} --init_dir {weights}", tmp_path, expect=2)
    assert "--weights are pre-trained, --init_dir those of a ticket" in " ".join(out.split())


def test_going_on_needs_the_same_weights(weights, tmp_path):
    run("imp", f"{SEARCH} --weights {weights}", tmp_path)
    assert "weights checksum was" in " ".join(run("imp", SEARCH, tmp_path, expect=2).split())
    torch.save(tiny(10).state_dict(), tmp_path / "other.pt")
    out = run("imp", f"{SEARCH} --weights {tmp_path / 'other.pt'}", tmp_path, expect=2)
    assert "weights checksum was" in " ".join(out.split())


def test_a_killed_search_ends_as_an_unbroken_one(weights, tmp_path, monkeypatch):
    flags = f"{SEARCH} --save_interval 0 --weights {weights}"
    run("imp", flags, tmp_path / "unbroken")
    run_killed(monkeypatch, "imp", flags, tmp_path / "killed", every=2)
    assert_same_files(tmp_path / "unbroken", tmp_path / "killed")


def test_a_mask_beside_them_is_its_ticket_if_they_are_those_of_its_search(weights, tmp_path):
    run("imp", f"{SEARCH} --prune_type lt --weights {weights}", tmp_path / "search")
    torch.save(tiny(10).state_dict(), tmp_path / "other.pt")
    mask = f"--mask_dir {tmp_path / 'search' / '1checkpoint.pth.tar'}"
    for name, flags, said in (
        ("same", f"--weights {weights}", "given: the ticket in"),
        ("drawn", "", "on weights drawn afresh"),
        ("other", f"--weights {tmp_path / 'other.pt'}", "which it was not found with"),
    ):
        assert said in " ".join(run("train", f"{SHORT} {mask} {flags}", tmp_path / name).split()), name


def test_files_of_safetensors(weights, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(torch.load(weights), tmp_path / "net.safetensors")
    run("train", f"{SHORT} --weights {weights}", tmp_path / "pt")
    run("train", f"{SHORT} --weights {tmp_path / 'net.safetensors'}", tmp_path / "safe")
    states = [read(tmp_path / name / "checkpoint.pth.tar")["state_dict"] for name in ("pt", "safe")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_normalisation_of_imagenet(tmp_path):
    run("imp", f"{SEARCH} --normalization imagenet", tmp_path)
    state = read(tmp_path / "1checkpoint.pth.tar")["state_dict"]
    assert state["normalize.mean"].flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert state["normalize.std"].flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert "normalization was imagenet, is dataset" in " ".join(run("imp", SEARCH, tmp_path, expect=2).split())
    mlp = SEARCH.replace("tests.networks:tiny", "lenet300")
    out = run("imp", f"{mlp} --normalization imagenet", tmp_path / "grey", expect=2)
    assert "lenet300 takes grey images as they are, their normalisation has 3 channels" in " ".join(out.split())
