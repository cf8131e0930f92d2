"""--prune_also: weights of other layers than Conv2d and Linear."""

import pytest
import torch
from torch import nn

import main_init
import pruner
from lottery.checkpointing.checkpoint import read, split_state
from lottery.training.also_pruned import also_pruned, candidates
from models import build_model
from tests.helpers import SAVING, SETTINGS, assert_same_files, masks, run, run_killed, run_to
from utils import InputError

VIT = SETTINGS.replace("tests.networks:tiny", "tests.networks:vit_shallow") + " --epochs 2 --decreasing_lr 1"
SEARCH = f"{VIT} --pruning_times 2 --prune_also all"
ATTENTION = [f"network.blocks.{block}.self_attn.in_proj_weight" for block in (0, 1)]


def mixed():
    layers = {"conv": nn.Conv1d(2, 4, 3), "up": nn.ConvTranspose2d(2, 4, 2), "words": nn.Embedding(5, 3)}
    layers |= {"read": nn.LSTM(3, 2), "attend": nn.MultiheadAttention(4, 2, kdim=6), "fc": nn.Linear(4, 4),
               "out": nn.Linear(4, 2), "norm": nn.LayerNorm(4)}  # fmt: skip
    model = nn.ModuleDict(layers)
    model.position, model.table = nn.Parameter(torch.zeros(1, 5, 4)), nn.Parameter(torch.zeros(5, 4))
    return model


def test_all_are_the_weights_of_layers_and_names_may_be_others():
    model = mixed()
    weights = ["conv.weight", "up.weight", "read.weight_ih_l0", "read.weight_hh_l0"]
    weights += [f"attend.{part}_proj_weight" for part in "qkv"]
    assert also_pruned(model, ["all"]) == tuple(weights)
    assert set(candidates(model)) == {"table", *weights}
    assert also_pruned(model, ["up.weight", "table"]) == ("table", "up.weight")
    assert also_pruned(model, ["weight_hh_l0", "all"]) == tuple(weights)


@pytest.mark.parametrize("name", ["words.weight", "position", "norm.weight", "fc.weight", "conv.bias", "eight", "none"])
def test_what_may_not_be_pruned_is_refused(name):
    with pytest.raises(InputError, match=f"--prune_also {name} names no weight .* spared are table, conv.weight"):
        also_pruned(mixed(), [name])


def test_what_is_asked_for_is_in_the_mask():
    model = build_model("tests.networks:vit_shallow", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    before = pruner.prunable(model)
    model.also_pruned = also_pruned(model, ["in_proj_weight"])
    assert pruner.prunable(model) == [*before, *ATTENTION]


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_a_killed_search_ends_as_an_unbroken_one_and_its_ticket_is_trained(monkeypatch, tmp_path, kind):
    run(kind, f"{SEARCH} {SAVING}", tmp_path / "unbroken")
    run_killed(monkeypatch, kind, f"{SEARCH} {SAVING}", tmp_path / "killed", every=7)
    assert_same_files(tmp_path / "unbroken", tmp_path / "killed")
    mask, ticket = masks(tmp_path / "unbroken")[2], tmp_path / "unbroken" / "2checkpoint.pth.tar"
    assert all(name in mask and not mask[name].all() for name in ATTENTION)
    run("train", f"{VIT} --init_dir {ticket} --mask_dir {ticket}", tmp_path / "train")
    weights, kept = split_state(read(tmp_path / "train" / "checkpoint.pth.tar")["state_dict"])
    assert pruner.same(kept, mask) and not any(weights[name][~layer].any() for name, layer in mask.items())


def test_what_is_drawn_layer_by_layer_does_not_depend_on_when_a_search_was_extended(tmp_path):
    """A mask is read in the order of the network's parameters, and drawn in that of the layers that are pruned."""
    flags = f"{VIT} --prune_also all --random_prune --rate 0.4"
    run("imp", f"{flags} --pruning_times 2", tmp_path / "whole")
    for rounds in (1, 2):
        run("imp", f"{flags} --pruning_times {rounds}", tmp_path / "extended")
    assert all(map(pruner.same, masks(tmp_path / "whole"), masks(tmp_path / "extended")))


def test_going_on_needs_the_same_names(tmp_path):
    run("imp", SEARCH, tmp_path)
    out = run("imp", SEARCH.replace(" --prune_also all", ""), tmp_path, expect=2)
    assert "prune_also was all, is not given" in " ".join(out.split())


def test_a_pattern_is_for_the_usual_layers(tmp_path):
    out = run("imp", f"{VIT} --pattern 2:4 --prune_also all", tmp_path, expect=2)
    assert "--pattern 2:4 is for Conv2d and Linear layers" in " ".join(out.split())


# --- networks of which nothing else is pruned -------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.read, self.head = nn.LSTM(24, 8, batch_first=True), nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.read(x.transpose(1, 2).flatten(2))[0][:, -1])


def convolutions_of_pixels(num_classes):
    return nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, num_classes, 62), nn.Flatten())


def without(arch):
    return f"--arch {arch}".join(VIT.split("--arch tests.networks:vit_shallow"))


FLAGS = {
    f"{__name__}:Recurrent": ("--prune_also all", ["network.read.weight_ih_l0", "network.read.weight_hh_l0"]),
    f"{__name__}:convolutions_of_pixels": ("--prune_also all", ["network.1.weight"]),
    "tests.networks:only_linear": ("--prune_classifier", ["network.1.weight"]),
}


@pytest.mark.parametrize("arch", FLAGS)
def test_a_network_of_which_nothing_else_is_pruned_is_searched_and_its_ticket_trained(arch, tmp_path):
    flags, names = FLAGS[arch]
    run("imp", f"{without(arch)} --pruning_times 2 --rate 0.4 {flags}", tmp_path / "search")
    mask, ticket = masks(tmp_path / "search")[1], tmp_path / "search" / "1checkpoint.pth.tar"
    assert list(mask) == names and pruner.count(mask) == round(0.6 * pruner.size(mask))
    run("train", f"{without(arch)} --init_dir {ticket} --mask_dir {ticket}", tmp_path / "train")
    weights, kept = split_state(read(tmp_path / "train" / "checkpoint.pth.tar")["state_dict"])
    assert pruner.same(kept, mask) and not any(weights[name][~layer].any() for name, layer in mask.items())
    assert "density 1.0000" in run("train", without(arch), tmp_path / "dense")
    torch.save({"masks": {name: layer.float() for name, layer in mask.items()}}, given := tmp_path / "mask.pt")
    run("train", f"{without(arch)} --init_dir {ticket} --mask_dir {given}", tmp_path / "given")
    assert pruner.same(split_state(read(tmp_path / "given" / "checkpoint.pth.tar")["state_dict"])[1], mask)


@pytest.mark.parametrize("arch", FLAGS)
def test_without_its_flag_it_is_refused_and_the_flag_named(arch, tmp_path):
    out = " ".join(run("imp", without(arch), tmp_path, expect=2).split())
    flag, names = FLAGS[arch]
    by_flag = f"; main_imp.py, main_PrAC_imp.py and main_dst.py prune {', '.join(names)} with {flag}"
    by_flag = ", which --prune_classifier prunes" if flag == "--prune_classifier" else by_flag
    assert f"--arch {arch}: the network has nothing to prune: no Conv2d or Linear layer beside its" in out
    assert f"beside its classifier{by_flag}" in out


def test_softmax_regression_is_pruned_before_training(tmp_path):
    words = "--dataset digits --arch tests.networks:only_linear --criterion snip --density 0.5 --gpu -1".split()
    run_to(0, main_init, *words, "--prune_classifier", "--save_dir", tmp_path / "ticket")
    assert "which --prune_classifier prunes" in " ".join(run_to(2, main_init, *words, "--save_dir", tmp_path).split())
