"""Networks without their dropped channels: masked, sliced, in files, exported."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from dataset import to_input
from lottery.channels.groups import find_groups
from lottery.channels.slicing import (
    channel_mask,
    check_equivalent,
    export_program,
    load_sliced,
    relative_difference,
    save_sliced,
    slice_network,
)
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from pruner import Ticket
from tests.helpers import (
    ROOT,
    Tiny,
    conv3x3,
    masked_and_sliced,
    network,
    random_channels,
    with_trained_batchnorm,
)
from utils import InputError, RunError

MOBILENET = "torchvision.models:mobilenet_v2"


SMALL = ["res20s", "res14s_projection", "vgg11_bn", "vgg11", "res50", MOBILENET, "tests.networks:convnext_shallow"]


@pytest.mark.parametrize("arch", SMALL)
def test_the_sliced_network_computes_what_the_masked_one_does(arch):
    model = with_trained_batchnorm(network(arch, "cpu"))
    groups = find_groups(model).groups
    kept, images = random_channels(groups), torch.rand(3, 3, 32, 32)
    masked, small = masked_and_sliced(model, kept, groups)
    assert check_equivalent(masked, small, images) <= 1e-5
    assert relative_difference(model, small, images) > 1e-3, "what was dropped did something"
    for name, group in groups.items():
        assert small.get_submodule(name).out_channels == int(kept[name].sum()) < group.channels
    numbers = [sum(p.numel() for p in each.parameters()) for each in (small, model)]
    assert numbers[0] < numbers[1] and small.state_dict().keys() == model.state_dict().keys()
    mask = channel_mask(model, groups.values(), kept)
    assert numbers[1] - numbers[0] == sum(int((~layer).sum()) for layer in mask.values()), "the mask counts the same"


def test_with_every_channel_nothing_changes():
    model = with_trained_batchnorm(network("res14s", "cpu"))
    groups = find_groups(model).groups
    masked, small = masked_and_sliced(model, random_channels(groups, share=2), groups)
    for name, value in model.state_dict().items():
        assert torch.equal(masked.state_dict()[name], value) and torch.equal(small.state_dict()[name], value)
    assert relative_difference(model, small, torch.rand(3, 3, 32, 32)) < 1e-6


def test_another_network_is_no_slice():
    model = with_trained_batchnorm(network("res14s", "cpu"))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.fc.weight[0, 0] += 1e-2
    with pytest.raises(RunError, match=r"differ by .* of the largest"):
        check_equivalent(model, other, torch.rand(3, 3, 32, 32))


def test_dropped_channels_stay_silent_in_training(images):
    """Batch norm statistics, momentum and weight decay move; the channels' output stays exactly zero."""
    torch.manual_seed(0)
    model = Tiny()
    groups = find_groups(model).groups
    kept = random_channels(groups)
    step = Step(model, images, Recipe(epochs=3, milestones=(), batch_size=20, lr=0.1))
    step.load_(Ticket(channel_mask(model, groups.values(), kept), copy_weights(model)))
    before = copy_weights(model)
    for _ in fit(step, torch.arange(40), Recipe(epochs=3, milestones=(), batch_size=20), seed=0):
        pass
    assert not torch.equal(before["bn1.running_mean"], model.bn1.running_mean)
    assert not torch.equal(before["bn1.weight"], model.bn1.weight.detach())
    x, model = to_input(images.images), model.eval()
    inside = model.bn1(model.conv1(x))
    assert (inside[:, ~kept["conv1"]] == 0).all() and (inside[:, kept["conv1"]] != 0).any()
    assert check_equivalent(model, slice_network(model, groups.values(), kept), x) <= 1e-6


def test_a_sliced_network_comes_back_from_its_file(tmp_path):
    model = with_trained_batchnorm(network("res14s", "cpu"))
    groups = find_groups(model).groups
    kept, images = random_channels(groups), torch.rand(3, 3, 32, 32)
    small = slice_network(model, groups.values(), kept)
    form = {"arch": "res14s", "stem": "imagenet", "classes": 10, "channels": 3, "image_size": 32}
    save_sliced(tmp_path / "1sliced.pt", small, kept, form | {"mean": [0.5] * 3, "std": [0.2] * 3}, {})
    assert torch.equal(load_sliced(str(tmp_path / "1sliced.pt"))(images), small(images))
    torch.save({"state_dict": small.state_dict()}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no sliced network"):
        load_sliced(tmp_path / "other.pt")


def test_the_exported_program_needs_torch_alone(tmp_path):
    model = with_trained_batchnorm(
        nn.Sequential(conv3x3(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 3))
    )
    groups = find_groups(model).groups
    masked, small = masked_and_sliced(model, random_channels(groups), groups)
    images = torch.rand(5, 3, 8, 8)
    export_program(tmp_path / "small.pt2", small, images)
    torch.save((images, masked(images)), tmp_path / "expected.pt")
    code = (
        "import sys, torch; network = torch.export.load('small.pt2').module();"
        "images, expected = torch.load('expected.pt');"
        "assert torch.allclose(network(images), expected, atol=1e-6) and len(network(images[:1])) == 1;"
        "assert not {'models', 'greedy', 'advertorch'} & set(sys.modules)"
    )
    environment = {"PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, env=environment)
    assert tmp_path != ROOT
