"""CIFAR ResNets against a plainly written one and the 2021 code's weights, and sizes by hand."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.models.helpers import images, modules, network, normalized, parameters, unsettle_, without_normalize

GOLDEN = Path(__file__).parents[1] / "golden" / "res20s_seed11_state_dict.pt"


def golden():
    return torch.load(GOLDEN, weights_only=True)


def plain_res20s(state, x, train):
    """ResNet-20 with the shortcut of option A, from a dict of tensors."""

    def bn(x, name):
        mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=train)

    def block(x, name, stride):
        y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        y = F.conv2d(bn(y, f"{name}.bn1").relu(), state[f"{name}.conv2.weight"], padding=1)
        if stride == 2:
            x = x[:, :, ::2, ::2]
            nothing = torch.zeros_like(x[:, : x.shape[1] // 2])
            x = torch.cat([nothing, x, nothing], 1)
        return (bn(y, f"{name}.bn2") + x).relu()

    x = bn(F.conv2d(x, state["conv1.weight"], padding=1), "bn1").relu()
    for stage in 1, 2, 3:
        for unit in 0, 1, 2:
            x = block(x, f"layer{stage}.{unit}", 2 if (stage, unit) in [(2, 0), (3, 0)] else 1)
    return x.flatten(2).mean(2) @ state["fc.weight"].T + state["fc.bias"]


def test_the_references_weights_fit_strictly():
    model = network("res20s")
    assert list(model.state_dict()) == list(golden())
    model.load_state_dict(golden(), strict=True)


def test_the_references_seed_gives_its_weights():
    torch.testing.assert_close(without_normalize(network("res20s", seed=11).state_dict()), without_normalize(golden()))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [32, 19])
def test_res20s_computes_what_a_plain_one_does(train, size):
    model = network("res20s").train(train)
    model.load_state_dict(without_normalize(golden()), strict=False)
    state, x = unsettle_(model).state_dict(), images(size=size)
    expected = plain_res20s(state, normalized(x), train)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "arch, depth, millions",
    [
        ("res14s", 14, 0.17),
        ("res20s", 20, 0.27),
        ("res32s", 32, 0.46),
        ("res44s", 44, 0.66),
        ("res56s", 56, 0.85),
        ("res110s", 110, 1.7),
    ],
)
def test_sizes_are_those_of_the_paper(arch, depth, millions):
    model = network(arch)
    assert len(modules(model, nn.Conv2d | nn.Linear)) == depth
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.03 if millions > 1 else 0.005)


def test_res20s_has_267696_prunable_weights():
    assert sum(conv.weight.numel() for conv in modules(network("res20s"), nn.Conv2d)) == 267_696


def test_projections_are_a_convolution_and_batch_norm_where_the_width_changes():
    plain, projected = network("res20s"), network("res20s_projection")
    more = {
        name: tuple(value.shape)
        for name, value in projected.named_parameters()
        if name not in dict(plain.named_parameters())
    }
    assert more == {
        "layer2.0.downsample.0.weight": (32, 16, 1, 1),
        "layer2.0.downsample.1.weight": (32,),
        "layer2.0.downsample.1.bias": (32,),
        "layer3.0.downsample.0.weight": (64, 32, 1, 1),
        "layer3.0.downsample.1.weight": (64,),
        "layer3.0.downsample.1.bias": (64,),
    }
    assert plain.state_dict().keys() < projected.state_dict().keys()


@pytest.mark.parametrize("arch, depth", [("res14s", 14), ("res20s", 20), ("res56s", 56)])
def test_sizes_by_hand(arch, depth):
    def block(inputs, width):
        return 9 * inputs * width + 9 * width**2 + 4 * width

    more = (depth - 2) // 6 - 1
    stem, classifier = 9 * 3 * 16 + 2 * 16, 64 * 10 + 10
    firsts = block(16, 16) + block(16, 32) + block(32, 64)
    expected = stem + firsts + more * (block(16, 16) + block(32, 32) + block(64, 64)) + classifier
    assert parameters(network(arch)) == expected
    assert parameters(network(f"{arch}_projection")) == expected + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_a_block_with_a_projection_adds_it_to_what_the_convolutions_give():
    block, x = unsettle_(network("res14s_projection")).layer2[0].eval(), torch.randn(2, 16, 8, 8)
    residual = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    # A 1x1 convolution with stride 2 is a matrix product on every second pixel.
    matrix = block.downsample[0].weight.flatten(1)
    projected = block.downsample[1](torch.einsum("oi,nihw->nohw", matrix, x[:, :, ::2, ::2]))
    torch.testing.assert_close(block(x), (residual + projected).relu())
    assert not torch.allclose(residual, residual + projected)


def test_scales_start_uniform_with_projections_and_as_ones_without():
    scales = torch.cat([norm.weight for norm in modules(network("res56s_projection"), nn.BatchNorm2d)])
    assert scales.min() >= 0 and scales.max() < 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.03)
    assert scales.std().item() == pytest.approx(12**-0.5, abs=0.02)
    assert all((norm.weight == 1).all() for norm in modules(network("res56s"), nn.BatchNorm2d))


def test_projections_start_kaiming_normal():
    for stage, fan_in in ("layer2", 16), ("layer3", 32):
        convolution = network("res14s_projection").get_submodule(f"{stage}.0.downsample.0")
        assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
