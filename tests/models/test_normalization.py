"""The normalisation in front of a network, and advertorch behind it."""

import copy
import runpy
import sys

import pytest
import torch
from torch.nn import functional as F

from models import normalization
from models.normalization import zero_gradients
from tests.models.helpers import (
    MEAN,
    STD,
    images,
    network,
    normalized,
    unsettle_,
)


def test_each_channel_has_its_mean_and_std():
    torch.testing.assert_close(network("lenet300").normalize(images()), normalized(images()))


@pytest.mark.parametrize("arch", ["res20s", "res18", "vgg11", "torchvision.models:mobilenet_v2"])
def test_grey_images_are_repeated_before_they_are_normalized(arch):
    model, x, seen = network(arch, channels=1), images(channels=1), []
    model.normalize.register_forward_pre_hook(lambda layer, inputs: seen.extend(inputs))
    model(x)
    assert torch.equal(seen[0], torch.cat([x, x, x], 1))


def test_images_of_two_channels_are_no_images():
    with pytest.raises(RuntimeError, match="expand"):
        network("res20s")(images(channels=2))


def test_grey_images_are_seen_as_three_equal_channels():
    grey = unsettle_(network("res20s", channels=1)).eval()
    colour = copy.deepcopy(grey)
    from advertorch.utils import NormalizeByChannelMeanStd

    colour.normalize = NormalizeByChannelMeanStd([MEAN[0]] * 3, [STD[0]] * 3)
    x = images(channels=1)
    assert grey.normalize.mean.shape == (3,)
    assert torch.equal(grey(x), colour(torch.cat([x, x, x], 1)))


def test_zero_gradients_of_tensors_and_of_iterables():
    tensors = [torch.ones(2, requires_grad=True) for _ in range(4)]
    untouched = torch.ones(2, requires_grad=True)
    sum(tensor.sum() for tensor in tensors).backward()
    zero_gradients(tensors[0])
    assert tensors[1].grad.all()
    zero_gradients((tensors[1], iter([tensors[2], untouched])))
    assert [bool(tensor.grad.any()) for tensor in tensors] == [False, False, False, True]
    assert untouched.grad is None


def test_a_zero_gradients_of_torchs_own_is_left_alone(monkeypatch):
    """When the module is imported; here a second time, under another name."""
    gradcheck = sys.modules["torch.autograd.gradcheck"]
    monkeypatch.setattr(gradcheck, "zero_gradients", "own")
    runpy.run_path(normalization.__file__)
    assert gradcheck.zero_gradients == "own"
    monkeypatch.delattr(gradcheck, "zero_gradients")
    runpy.run_path(normalization.__file__)
    assert callable(gradcheck.zero_gradients)


def test_advertorch_attacks_work_through_the_normalization():
    from advertorch.attacks import LinfFABAttack, LinfPGDAttack

    model, x = network("lenet300", size=8).eval(), images(8, size=8)
    label = model(x).argmax(1)
    pushed = LinfPGDAttack(model, eps=0.1, nb_iter=5, eps_iter=0.05).perturb(x, label)
    assert torch.equal(pushed, pushed.clamp(0, 1))
    assert (pushed - x).abs().max() <= 0.1 + 1e-6
    assert F.cross_entropy(model(pushed), label) > F.cross_entropy(model(x), label)
    fooled = LinfFABAttack(model, n_iter=5, eps=0.5).perturb(x, label)
    assert (model(fooled).argmax(1) != label).any()
