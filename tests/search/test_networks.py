"""Networks that are not plain: frozen parameters, auxiliary heads, transformers of timm."""

import pytest
import torch

from lottery.checkpointing.checkpoint import read, split_state
from tests.helpers import SAVING, SETTINGS, assert_same_files, masks, run, run_killed

VIT = "timm:vit_tiny_patch16_224,patch_size=4,depth=1,embed_dim=12,num_heads=2"
SHORT = "--epochs 2 --decreasing_lr 1 --pruning_times 1 --prune_type rewind_lt --rewind_epoch 0"


def flags(arch, more=SHORT):
    return f"{SETTINGS.replace('tests.networks:tiny', arch)} {more}"


def test_frozen_parameters_stay_as_they_are_and_dense(tmp_path):
    out = run("imp", flags("tests.networks:half_frozen"), tmp_path)
    assert list(masks(tmp_path)[1]) == ["network.3.weight"]
    weights = split_state(read(tmp_path / "1checkpoint.pth.tar")["state_dict"])[0]
    start = read(tmp_path / "1checkpoint.pth.tar")["init_weight"]
    assert torch.equal(weights["network.0.weight"], start["network.0.weight"]) and weights["network.0.weight"].all()
    assert "network.0.weight are neither trained nor pruned" in " ".join(out.split())


@pytest.mark.parametrize("arch", ["tests.networks:half_frozen", "tests.networks:auxiliary", VIT])
@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_a_killed_search_ends_as_an_unbroken_one(monkeypatch, tmp_path, kind, arch):
    words = f"{flags(arch)} {SAVING}"
    run(kind, words, tmp_path / "unbroken")
    run_killed(monkeypatch, kind, words, tmp_path / "killed", every=7)
    assert_same_files(tmp_path / "unbroken", tmp_path / "killed")


def test_a_ticket_of_a_transformer_is_retrained(tmp_path):
    run("imp", flags(VIT), tmp_path / "search")
    ticket = tmp_path / "search" / "1checkpoint.pth.tar"
    run(
        "train", flags(VIT, f"--epochs 2 --decreasing_lr 1 --init_dir {ticket} --mask_dir {ticket}"), tmp_path / "train"
    )
    mask, kept = masks(tmp_path / "search")[1], split_state(read(tmp_path / "train/checkpoint.pth.tar")["state_dict"])
    assert "network.blocks.0.attn.qkv.weight" in mask and "network.pos_embed" not in mask
    assert all(torch.equal(layer, kept[1][name]) and not kept[0][name][~layer].any() for name, layer in mask.items())
