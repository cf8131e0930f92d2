"""The optimiser step under a mask of coefficients."""

import copy

import pytest
import torch

import pruner
from dataset import Images
from lottery.bases.basis import build_basis
from lottery.bases.config import BasisConfig
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from pruner import Ticket
from tests.helpers import Tiny

RECIPE = Recipe(epochs=1, batch_size=16, lr=0.05, momentum=0.9, weight_decay=1e-2)


class InDouble(Tiny):
    def forward(self, x):
        return super().forward(x.double())


@pytest.fixture
def images():
    drawn = torch.Generator().manual_seed(0)
    return Images(
        torch.randint(0, 256, (64, 8, 8, 1), dtype=torch.uint8, generator=drawn),
        torch.randint(0, 3, (64,), generator=drawn),
    )


def batches(number):
    drawn = torch.Generator().manual_seed(1)
    for _ in range(number):
        index = torch.randperm(64, generator=drawn)[:16]
        yield torch.stack([index, *3 * [torch.zeros_like(index)]])


def ticket(model, kind, share, seed=0):
    dense, weights = pruner.dense(model), copy_weights(model)
    drawn = torch.Generator().manual_seed(seed)
    mask = {name: torch.rand(layer.shape, generator=drawn) < share for name, layer in dense.items()}
    basis = build_basis(BasisConfig(kind), {name: weights[name] for name in dense}, 0, {})
    return Ticket(mask, weights, basis=basis)


def trained(model, images, given, steps, masked=False):
    step = Step(model, images, RECIPE)
    step.load_(given, masked)
    step.begin_epoch_()
    for visits in batches(steps):
        step(visits)
    return step


@pytest.mark.parametrize("kind", ["dct", "haar", "random", "svd"])
def test_the_step_is_sgd_on_the_kept_coefficients(images, kind):
    """Against the literal thing in float64: coefficients as variables, momentum and weight decay on them."""
    torch.manual_seed(0)
    model = InDouble().double()
    given, twin = ticket(model, kind, 0.3), copy.deepcopy(model)
    step = trained(model, images, given, 40)
    parameters = dict(twin.named_parameters())
    basis, kept = given.basis, given.mask
    coefficients = {name: basis.coefficients(parameters, [name])[name] * kept[name] for name in kept}
    momentum = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for visits in batches(40):
        with torch.no_grad():
            for name, values in coefficients.items():
                parameters[name].copy_(basis.layers[name].weights(values))
        twin.train().zero_grad()
        shown = images.images[visits[0]].permute(0, 3, 1, 2).float().div_(255)
        torch.nn.functional.cross_entropy(twin(shown).float(), images.labels[visits[0]]).backward()
        with torch.no_grad():
            for name, value in parameters.items():
                variable, gradient = value, value.grad
                if name in kept:
                    variable = coefficients[name]
                    gradient = basis.layers[name].coefficients(gradient) * kept[name]
                momentum[name].mul_(0.9).add_(gradient + 1e-2 * variable)
                variable.sub_(0.05 * momentum[name])
    for name, values in coefficients.items():
        expected = basis.layers[name].weights(values)
        moved = (expected - given.weights[name]).abs().max()
        assert moved > 0.01
        assert (step.parameters[name] - expected).abs().max() < 1e-5 * moved


def test_a_mask_that_keeps_all_is_dense_training_up_to_rounding(images):
    torch.manual_seed(0)
    model = Tiny()
    all_kept = ticket(model, "dct", 2)
    dense = trained(copy.deepcopy(model), images, all_kept._replace(basis=None), 20)
    step = trained(model, images, all_kept, 20)
    for name, value in dense.parameters.items():
        assert torch.allclose(step.parameters[name], value, atol=1e-4)
        assert name not in all_kept.mask or not torch.equal(step.parameters[name], value)


def test_weights_that_are_masked_already_are_taken_as_they_are(images):
    torch.manual_seed(0)
    step = trained(Tiny(), images, ticket(Tiny(), "random", 0.3), 3)
    weights = copy_weights(step.model)
    again = ticket(Tiny(), "random", 0.3)._replace(weights=weights)
    step.load_(again, masked=True)
    assert all(torch.equal(value, weights[name]) for name, value in copy_weights(step.model).items())


def test_another_basis_replaces_the_buffers(images):
    torch.manual_seed(0)
    step = trained(Tiny(), images, ticket(Tiny(), "dct", 0.3), 3)
    for given in (ticket(Tiny(), "haar", 0.3), ticket(Tiny(), "dct", 0.3)._replace(basis=None)):
        step.load_(given)
        for visits in batches(2):
            step(visits)
        values = given.basis.coefficients(step.parameters, given.mask) if given.basis else step.parameters
        for name, layer in given.mask.items():
            assert values[name][~layer].abs().max() < 1e-6
