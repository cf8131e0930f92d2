"""Predictions: the folded network against the network itself, and whatever cannot be folded as it is."""

import pytest
import torch
from torch import nn

from dataset import Images, to_input
from lottery.training.batchnorm_folding import FoldedNetwork
from lottery.training.evaluation import Evaluator
from lottery.training.step import copy_weights
from models import build_model
from tests.helpers import needs_cuda


def worn(model):
    """With batch-norm statistics and parameters as training leaves them: none at its initial value."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=random) * 0.3 + 0.5)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=random) + 0.5)
    return model.eval()


@pytest.mark.parametrize("arch, pairs", [("res20s", 19), ("res18", 20), ("vgg16_bn", 13), ("vgg11", 0)])
def test_the_folded_network_computes_what_the_network_does(arch, pairs):
    torch.manual_seed(0)
    model = worn(build_model(arch, classes=5, channels=3, image_size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.2)))
    before = copy_weights(model)
    folded, images = FoldedNetwork(model, torch.float32), torch.rand(4, 3, 32, 32)
    folded.refresh_()
    assert len(folded.pairs) == pairs
    assert not any(node.op == "call_module" and "bn" in str(node.target) for node in folded.network.graph.nodes)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_follows_the_networks_weights(tiny, images):
    """Convolution, batch norm and classifier: whatever has changed since the last call counts."""
    evaluator = Evaluator(tiny)
    evaluator(images)
    assert isinstance(evaluator.network, FoldedNetwork)
    worn(tiny)
    with torch.no_grad():
        for parameter in tiny.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    evaluator(images)
    with torch.no_grad():
        torch.testing.assert_close(evaluator.network(to_input(images.images)), tiny(to_input(images.images)))


class Shared(nn.Module):
    """One convolution feeds two readers, another is used twice, a third has no batch norm of running statistics."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(3))
        self.norm = nn.BatchNorm2d(1)
        self.twice = nn.BatchNorm2d(1)
        self.still = nn.BatchNorm2d(1, track_running_stats=False)
        self.fc = nn.LazyLinear(3)

    def forward(self, x):
        x = self.a(x)
        x = self.norm(x) + x
        x = self.twice(self.b(x)) + self.twice(self.b(x + 1))
        return self.fc(self.still(self.c(x)).flatten(1))


def test_only_what_may_be_folded_is_folded(images):
    network = Shared()
    network(to_input(images.images))
    assert FoldedNetwork(network.eval(), torch.float32).pairs == []


class Branches(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) if x.sum() > 0 else self.network(-x)


def test_a_network_that_cannot_be_traced_predicts_itself_and_says_so_once(tiny, images):
    notes = []
    network = Branches(worn(tiny))
    evaluator = Evaluator(network, log=notes.append)
    expected = network(to_input(images.images)).argmax(1)
    assert torch.equal(evaluator(images), expected) and torch.equal(evaluator(images), expected)
    (note,) = notes
    assert note.startswith("note: batch norm is not folded for evaluation (TraceError")


def test_of_a_network_without_batch_norm_nothing_is_said(images):
    notes = []
    network = Branches(nn.Sequential(nn.Flatten(), nn.Linear(images.images[0].numel(), 3)))
    Evaluator(network, log=notes.append)(images)
    assert notes == []


def test_a_folded_network_that_differs_is_not_used(tiny, images, monkeypatch):
    notes, network = [], worn(tiny)
    evaluator = Evaluator(network, log=notes.append)
    monkeypatch.setattr(FoldedNetwork, "__call__", lambda folded, images: folded.network(images) * 1.01)
    assert torch.equal(evaluator(images), network(to_input(images.images)).argmax(1))
    assert len(notes) == 1 and "would differ by 0.01" in notes[0]


def test_bf16_predicts_nearly_the_same(tiny, images):
    torch.manual_seed(0)
    model = worn(build_model("res20s", classes=10, channels=3, image_size=32, mean=(0.5,) * 3, std=(0.2,) * 3))
    many = Images(torch.randint(0, 256, (200, 32, 32, 3), dtype=torch.uint8), torch.zeros(200, dtype=torch.int64))
    a, b = Evaluator(model)(many), Evaluator(model, "bf16")(many)
    assert (a == b).double().mean() > 0.9


def test_an_empty_set_has_no_predictions(tiny, images):
    evaluator = Evaluator(tiny, log=pytest.fail)
    assert len(evaluator(images, torch.zeros(0, dtype=torch.int64))) == 0
    assert len(evaluator(images)) == len(images)


class Squeezing(nn.Sequential):
    """One that drops all axes of length 1: of a single image also that of the batch."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 10, 1))

    def forward(self, images):
        return super().forward(images).squeeze()


def test_a_network_that_squeezes_its_maps_is_evaluated_where_one_image_is_left_over():
    torch.manual_seed(0)
    network = Squeezing()
    many = Images(torch.randint(0, 256, (257, 8, 8, 3), dtype=torch.uint8), torch.zeros(257, dtype=torch.int64))
    predicted = Evaluator(network)(many)
    assert predicted.equal(network(to_input(many.images)).argmax(1))


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_gpu_predicts_as_the_cpu_does(precision):
    torch.manual_seed(0)
    model = worn(build_model("res20s", classes=10, channels=3, image_size=32, mean=(0.5,) * 3, std=(0.2,) * 3))
    many = Images(torch.randint(0, 256, (200, 32, 32, 3), dtype=torch.uint8), torch.zeros(200, dtype=torch.int64))
    here = Evaluator(model)(many)
    on_gpu = Images(many.images.cuda(), many.labels.cuda())
    evaluator = Evaluator(model.cuda().to(memory_format=torch.channels_last), precision)
    there = evaluator(on_gpu).cpu()
    assert isinstance(evaluator.network, FoldedNetwork)
    assert (here == there).double().mean() > (0.9 if precision == "bf16" else 0.97)
