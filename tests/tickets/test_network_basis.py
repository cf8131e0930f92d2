"""The basis of a network: which layer sees images, and what goes with whole outputs."""

import pytest
import torch
from torch import nn

from lottery.bases.config import BasisConfig
from lottery.channels.outputs import output_parameters
from lottery.tickets.network_basis import basis_of_network, layers_on_images
from models import build_model
from pruner import dense
from tests.helpers import conv3x3, network
from utils import InputError


def test_the_first_layer_of_a_network_on_images_sees_pixels():
    assert layers_on_images(network("lenet300"), (1, 8, 8)) == {"fc1.weight": (1, 8, 8)}
    assert layers_on_images(network("lenet300"), (1, 28, 28)) == {}
    assert layers_on_images(network("res20s"), (3, 8, 8)) == {}


def on_pixels(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, num_classes))


@pytest.mark.parametrize("basis", ["dct", "hadamard"])
def test_a_grey_image_has_the_channels_that_the_network_is_given(basis):
    """A network of one's own sees three, whatever the data set has."""
    arch = f"{__name__}:on_pixels"
    model = build_model(arch, classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    weights = {name: model.get_parameter(name).detach() for name in dense(model)}
    images = torch.zeros(1, 8, 8, 1, dtype=torch.uint8)
    found = basis_of_network(BasisConfig(basis, ("in",)), model, weights, 0, images)
    first = found.layers["network.1.weight"]
    assert first.view == (16, 3, 8, 8) and list(first.matrices) == [2, 3]


BEHIND = {
    "at once": [nn.BatchNorm2d(4)],
    "behind an activation": [nn.ReLU(), nn.BatchNorm2d(4)],
    "behind a pool": [nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.BatchNorm2d(4)],
    "one behind another": [nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)],
}


@pytest.mark.parametrize("case", BEHIND)
def test_batch_norms_go_with_the_outputs_that_they_read(case):
    model = nn.Sequential(conv3x3(3, 4), *BEHIND[case], conv3x3(4, 4))
    norms = [str(place) for place, module in enumerate(model) if isinstance(module, nn.BatchNorm2d)]
    expected = ["0.bias", *(f"{norm}.{part}" for norm in norms for part in ("weight", "bias"))]
    last = len(model) - 1
    found = output_parameters(model, ["0.weight", f"{last}.weight"])
    assert found == {"0.weight": tuple(expected), f"{last}.weight": (f"{last}.bias",)}


def test_a_batch_norm_behind_an_addition_belongs_to_no_single_layer():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm = conv3x3(3, 4), conv3x3(3, 4), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(self.a(x) + self.b(x))

    assert output_parameters(Sum(), ["a.weight"]) == {"a.weight": ("a.bias",)}


def test_batch_norm_over_tokens_is_not_one_of_features():
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 16), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(16, 2))
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 3, 2)
    assert output_parameters(model, ["1.weight"]) == {"1.weight": ("1.bias",)}


def test_the_biases_of_attention_go_with_its_rows():
    attention = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2)})
    assert output_parameters(attention, ["a.in_proj_weight"]) == {"a.in_proj_weight": ("a.in_proj_bias",)}


def test_transposed_convolutions_have_no_rows_of_outputs():
    with pytest.raises(InputError, match=r"--block filter cannot prune 0\.weight: .* lie by its inputs"):
        output_parameters(nn.Sequential(nn.ConvTranspose2d(8, 8, 2)), ["0.weight"])
