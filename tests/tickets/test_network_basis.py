"""The basis of a network: which layer sees images, and what goes with whole outputs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lottery.bases.config import BasisConfig
from lottery.channels.outputs import emitting_layers, output_parameters
from lottery.tickets.network_basis import basis_of_network, layers_on_images
from models import build_model
from pruner import dense
from tests.helpers import OwnForward, conv3x3, network
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
    "behind PReLU": [nn.PReLU(4), nn.BatchNorm2d(4)],
    "behind upsampling": [nn.Upsample(scale_factor=2), nn.Dropout3d(), nn.BatchNorm2d(4)],
    "behind padding": [nn.ZeroPad2d(1), nn.Identity(), nn.BatchNorm2d(4)],
    "behind a flattening of one pixel": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)],
}


@pytest.mark.parametrize("case", BEHIND)
def test_batch_norms_go_with_the_outputs_that_they_read(case):
    last = nn.Linear(4, 4) if "flattening" in case else conv3x3(4, 4)
    model = nn.Sequential(conv3x3(3, 4), *BEHIND[case], last)
    norms = [str(place) for place, module in enumerate(model) if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    expected = ["0.bias", *(f"{norm}.{part}" for norm in norms for part in ("weight", "bias"))]
    last = len(model) - 1
    found = output_parameters(model, ["0.weight", f"{last}.weight"])
    assert found == {"0.weight": tuple(expected), f"{last}.weight": (f"{last}.bias",)}
    assert emitting_layers(model, found) == ()
    assert model(torch.rand(2, 3, 8, 8)).shape[1] == 4


def test_a_batch_norm_behind_an_addition_belongs_to_no_single_layer():
    total = OwnForward(lambda self, x: self.norm(self.a(x) + self.c(x)), c=conv3x3(3, 4), norm=nn.BatchNorm2d(4))
    assert output_parameters(total, ["a.weight"]) == {"a.weight": ("a.bias",)}


def test_batch_norm_over_tokens_is_not_one_of_features():
    model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 16), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(16, 2))
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 3, 2)
    assert output_parameters(model, ["1.weight"]) == {"1.weight": ("1.bias",)}


def test_the_biases_of_attention_go_with_its_rows():
    attention = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2)})
    assert output_parameters(attention, ["a.in_proj_weight"]) == {"a.in_proj_weight": ("a.in_proj_bias",)}


SILENT = {
    "functions": lambda self, x: self.b(
        F.interpolate(F.pad(F.prelu(self.a(x), self.act.weight), (1, 1)), scale_factor=2)
    ),
    "a product": lambda self, x: self.b(self.a(x) * x.mean()),
    "a sum with others": lambda self, x: self.norm(self.a(x) + self.c(x)),
    "its own batch norm": lambda self, x: self.b(self.norm(self.a(x)).relu()),
    "a flattening": lambda self, x: self.fc(self.a(x).flatten(1)),
    "the end": lambda self, x: self.a(x),
}
EMITTING = {
    "group norm": lambda self, x: self.b(self.group(self.a(x))),
    "an activation": lambda self, x: self.b(self.a(x).sigmoid()),
    "a constant": lambda self, x: self.b(self.a(x) + 1),
    "a parameter": lambda self, x: self.b(self.a(x) + self.act.weight.view(1, 4, 1, 1)),
    "padding": lambda self, x: self.b(F.pad(self.a(x), (1, 1), value=1.0)),
    "a batch norm of others, too": lambda self, x: self.wide(torch.cat([self.a(x), self.c(x)], 1)),
    "a batch norm of pixels": lambda self, x: self.pixels(self.a(x).flatten(1)),
    "something that cannot be followed": lambda self, x: self.b(self.a(x).exp() - 1),
}


def two_layers(way):
    norms = {"norm": nn.BatchNorm2d(4), "wide": nn.BatchNorm2d(8), "pixels": nn.BatchNorm1d(256)}
    others = {"c": conv3x3(3, 4), "fc": nn.Linear(256, 2), "group": nn.GroupNorm(2, 4), "act": nn.PReLU(4, 0.1)}
    return OwnForward(way, **norms, **others)


@pytest.mark.parametrize("case", [*SILENT, *EMITTING])
def test_layers_are_named_whose_pruned_filters_may_emit_something(case):
    model = two_layers((SILENT | EMITTING)[case])
    model(torch.rand(2, 3, 8, 8))
    found = emitting_layers(model, output_parameters(model, ["a.weight"]))
    assert found == (("a.weight",) if case in EMITTING else ())


def test_layers_of_a_network_that_cannot_be_traced_are_named():
    untraced = OwnForward(lambda self, x: self.b(self.a(x)) if x.sum() > 0 else self.a(x))
    assert emitting_layers(untraced, output_parameters(untraced, ["a.weight"])) == ("a.weight",)


@pytest.mark.parametrize("norm, found", [(nn.ReLU(), ()), (nn.LayerNorm(8), ("attend.out_proj.weight",))])
def test_a_layer_within_attention_is_followed_behind_it(norm, found):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.norm, self.out = nn.MultiheadAttention(8, 2), norm, nn.Linear(8, 2)

        def forward(self, x):
            return self.out(self.norm(self.attend(x, x, x)[0]))

    model = Attention()
    names = [f"attend.{name}" for name in ("in_proj_weight", "out_proj.weight")]
    assert emitting_layers(model, output_parameters(model, names)) == found


@pytest.mark.parametrize(
    "given, flag",
    [
        ({"block": "filter"}, "--block filter"),
        ({"basis": "dct", "block": "row"}, "--block row"),
        ({"basis": "svd"}, "--basis svd"),
        ({"basis": "dct", "basis_axes": ("out", "kernel")}, "--basis_axes out kernel"),
        ({"basis": "haar", "basis_axes": ("in",)}, "--basis_axes in"),
    ],
)
def test_outputs_of_transposed_convolutions_are_not_told_from_inputs(given, flag):
    model = nn.Sequential(nn.ConvTranspose2d(8, 4, 2))
    weights, images = {"0.weight": model[0].weight.detach()}, torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    with pytest.raises(InputError, match=rf"{flag} cannot prune 0\.weight: .* lie by its inputs"):
        basis_of_network(BasisConfig(**given), model, weights, 0, images)
    assert basis_of_network(BasisConfig("dct"), model, weights, 0, images).transforms, "both axes are transformed alike"
