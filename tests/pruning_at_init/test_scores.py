"""Scores against their formulas, taken literally."""

import copy
import gc
import itertools
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import pruner
from dataset import to_input
from lottery.bases.basis import build_basis
from lottery.bases.config import BasisConfig
from lottery.pruning_at_init.criteria import CRITERIA
from lottery.pruning_at_init.examples import Batches
from lottery.pruning_at_init.scores import GRASP_TEMPERATURE, SCORES, ScoringInputs, grasp, snip, synflow
from lottery.training.step import copy_weights
from models.units import NORMALIZATION
from tests.helpers import network


def test_every_criterion_has_its_score():
    assert SCORES.keys() == CRITERIA.keys()


class Small(nn.Module):
    """A convolution with batch norm, a convolution, a classifier: 132 weights, smooth enough for finite differences."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 2, 2, bias=False)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(2 * 9, 3)

    def forward(self, x):
        x = self.conv2(torch.tanh(self.bn1(self.conv1(x))))
        return self.fc(self.drop(F.softplus(x).flatten(1)))


@pytest.fixture
def small():
    torch.manual_seed(1)
    model = Small().double()
    with torch.no_grad():  # none of them as at initialisation
        model.bn1.running_mean.normal_()
        model.bn1.running_var.uniform_(0.5, 2)
        model.bn1.bias.normal_()
    return model


@pytest.fixture
def examples():
    random = torch.Generator().manual_seed(2)
    images = torch.rand(9, 2, 4, 4, dtype=torch.float64, generator=random)
    labels = torch.randint(0, 3, (9,), generator=random)
    return [(images[:4], labels[:4]), (images[4:], labels[4:])]


@pytest.fixture
def sparse(small):
    """A mask over all layers, the classifier's as well, that keeps 70 %."""
    whole = pruner.dense(small, prune_classifier=True)
    return pruner.prune(whole, pruner.random_scores(whole, np.random.default_rng(3)), 0.3)


def losses_at(model, weights, batches, temperature=1.0):
    """The losses of all examples by the network with these weights: dropout off, batch norm by each batch."""
    twin = copy.deepcopy(model).train()
    twin.drop.eval()
    at = {name: value.clone() for name, value in weights.items()}  # batch norm changes its statistics
    logits = [functional_call(twin, at, images) for images, _ in batches]
    return F.cross_entropy(
        torch.cat(logits) / temperature, torch.cat([labels for _, labels in batches]), reduction="none"
    )


@torch.no_grad()
def mean_loss(model, weights, batches):
    return losses_at(model, weights, batches).mean().item()


def changed(weights, name, place, by):
    value = weights[name].clone()
    value.view(-1)[place] += by
    return weights | {name: value}


def under(mask, model):
    weights = copy_weights(model)
    pruner.apply_(weights, mask)
    return weights


def places(mask):
    return [(name, place) for name, layer in mask.items() for place in layer.flatten().nonzero().flatten().tolist()]


def slopes(loss, weights, where, step=1e-5):
    """dL/dw of each weight in `where`, by central differences."""
    return {
        (name, place): (loss(changed(weights, name, place, step)) - loss(changed(weights, name, place, -step)))
        / 2
        / step
        for name, place in where
    }


def test_snip_is_its_formula(small, sparse, examples):
    """c is a gate on each weight, L(c w): SNIP's |dL/dc| at c = 1, by central differences."""
    weights = under(sparse, small)
    found = snip(ScoringInputs(small, copy_weights(small), sparse, examples))
    step = 1e-5
    for name, place in places(sparse):
        w = weights[name].view(-1)[place].item()
        up, down = (mean_loss(small, changed(weights, name, place, sign * step * w), examples) for sign in (1, -1))
        assert found[name].view(-1)[place].item() == pytest.approx(abs(up - down) / 2 / step, abs=1e-9), (name, place)


def test_grasp_is_its_formula(small, sparse, examples):
    """The paper's score -w (H g) with the whole matrix H, of the weights that are left, one vector of them."""
    weights, where = under(sparse, small), places(sparse)
    start = torch.stack([weights[name].view(-1)[place] for name, place in where])

    def loss(vector):
        at = {name: value.clone() for name, value in weights.items()}
        for name in sparse:
            own = [k for k, (layer, _) in enumerate(where) if layer == name]
            at[name] = torch.zeros_like(at[name]).masked_scatter(sparse[name], vector[own])
        return losses_at(small, at, examples, 200).mean()

    matrix = torch.autograd.functional.hessian(loss, start)
    published = -start * (matrix @ torch.autograd.functional.jacobian(loss, start))
    found = grasp(ScoringInputs(small, copy_weights(small), sparse, examples))
    ours = torch.stack([found[name].view(-1)[place] for name, place in where])
    largest = published.abs().max()
    assert published.min() < -0.05 * largest and published.max() > 0.05 * largest, "signs matter"
    assert torch.allclose(ours, -published, rtol=1e-9, atol=1e-12 * largest.item())


def test_grasp_drops_what_most_hinders_the_gradient_and_keeps_what_it_flows_by(small, examples):
    """The flow |g|^2 without a single weight, w shrunk by a little: it falls most for the highest score."""
    whole = pruner.dense(small, prune_classifier=True)
    weights, where = copy_weights(small), places(whole)

    def flow(at):
        at = {name: value.clone().requires_grad_(name in whole) for name, value in at.items()}
        loss = losses_at(small, at, examples, GRASP_TEMPERATURE).mean()
        return sum(slope.square().sum().item() for slope in torch.autograd.grad(loss, [at[name] for name in whole]))

    found = grasp(ScoringInputs(small, weights, whole, examples))
    scores = {key: found[key[0]].view(-1)[key[1]].item() for key in where}
    best, worst = max(scores, key=scores.get), min(scores, key=scores.get)
    for key, sign in (best, -1), (worst, 1):
        w = weights[key[0]].view(-1)[key[1]].item()
        assert sign * (flow(changed(weights, *key, -0.01 * w)) - flow(weights)) > 0
    kept = pruner.drop(whole, found, 1)
    assert not kept[worst[0]].view(-1)[worst[1]] and kept[best[0]].view(-1)[best[1]]


def scored_in_a_basis(small, mask, kind):
    """The coefficients under the mask as variables of a plain loss: their values, the loss at a temperature as a
    function of them, and the basis. The synthesis of weights from coefficients is part of the loss."""
    weights = copy_weights(small)
    basis = build_basis(BasisConfig(kind), {name: weights[name] for name in mask}, 0, {})
    start = {name: basis.coefficients(weights, [name])[name] * layer for name, layer in mask.items()}
    variables = {name: values.requires_grad_() for name, values in start.items()}

    def loss(batches, temperature=1.0):
        at = weights | {name: basis.layers[name].weights(values) for name, values in variables.items()}
        return losses_at(small, at, batches, temperature).mean()

    return variables, loss, basis


@pytest.mark.parametrize("kind", ["dct", "random", "svd"])
def test_snip_in_a_basis_is_its_formula_for_coefficients(small, sparse, examples, kind):
    variables, loss, basis = scored_in_a_basis(small, sparse, kind)
    slopes = torch.autograd.grad(loss(examples), list(variables.values()))
    found = snip(ScoringInputs(small, copy_weights(small), sparse, examples, basis=basis))
    for (name, values), slope in zip(variables.items(), slopes, strict=True):
        torch.testing.assert_close(found[name], (values * slope).detach().abs(), rtol=1e-9, atol=1e-14)
    assert not torch.allclose(found["conv1.weight"], snip(ScoringInputs(small, copy_weights(small), sparse, examples))
                              ["conv1.weight"])  # fmt: skip


@pytest.mark.parametrize("kind", ["dct", "random", "svd"])
def test_grasp_in_a_basis_is_its_formula_for_coefficients(small, sparse, examples, kind):
    """c (H g) with H and g those of the coefficients that are kept, of which autograd goes through the synthesis."""
    variables, loss, basis = scored_in_a_basis(small, sparse, kind)
    every = list(variables.values())
    slopes = torch.autograd.grad(loss(examples, 200), every, create_graph=True)
    flow = sum((slope * slope.detach() * sparse[name]).sum() for name, slope in zip(variables, slopes, strict=True))
    products = torch.autograd.grad(flow, every)
    found = grasp(ScoringInputs(small, copy_weights(small), sparse, examples, basis=basis))
    for (name, values), product in zip(variables.items(), products, strict=True):
        expected = (values * product).detach()
        torch.testing.assert_close(found[name], expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


def test_the_temperature_matters_and_is_grasps_own(small, sparse, examples):
    inputs = ScoringInputs(small, copy_weights(small), sparse, examples)
    default, cold, explicit = grasp(inputs), grasp(inputs, temperature=1.0), grasp(inputs, temperature=200.0)
    assert not all(torch.allclose(part, cold[name]) for name, part in default.items())
    assert all(torch.equal(part, explicit[name]) for name, part in default.items())


def test_synflow_is_the_sum_over_all_paths(examples):
    """A linear chain, 3 x 4 x 2: each weight's score is the sum of the products of |w| along all paths through it."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    mask = pruner.dense(model, prune_classifier=True)
    mask["1.weight"][2, 1] = mask["3.weight"][0, 3] = False
    first, second = (model.get_parameter(name).detach().double().abs() * mask[name] for name in mask)
    expected = {"1.weight": torch.zeros(4, 3), "3.weight": torch.zeros(2, 4)}
    for i, h, o in itertools.product(range(3), range(4), range(2)):
        path = (first[h, i] * second[o, h]).item()
        expected["1.weight"][h, i] += path
        expected["3.weight"][o, h] += path
    found = synflow(ScoringInputs(model, copy_weights(model), mask, [(torch.rand(5, 3, 1, 1), torch.zeros(5))]))
    for name, score in found.items():
        assert score.dtype == torch.float64 and torch.allclose(score, expected[name].double())


def test_synflow_is_its_formula_in_a_network_with_batch_norm(small, sparse, examples):
    """By hand: absolute values of all there is, batch norm as scale and shift, R by differences in |w|."""
    weights = {name: value.abs() for name, value in under(sparse, small).items()}

    def flow(at):
        x = F.conv2d(torch.ones(1, 2, 4, 4, dtype=torch.float64), at["conv1.weight"], at["conv1.bias"], padding=1)
        scale = at["bn1.weight"] / (at["bn1.running_var"] + 1e-5).sqrt()
        x = (x + at["bn1.running_mean"][:, None, None]) * scale[:, None, None] + at["bn1.bias"][:, None, None]
        x = F.softplus(F.conv2d(torch.tanh(x), at["conv2.weight"]))
        return F.linear(x.flatten(1), at["fc.weight"], at["fc.bias"]).sum().item()

    found = synflow(ScoringInputs(small, copy_weights(small), sparse, examples))
    assert all((score >= 0).all() for score in found.values())
    for (name, place), slope in slopes(flow, weights, places(sparse)).items():
        expected = slope * weights[name].view(-1)[place].item()
        assert found[name].view(-1)[place].item() == pytest.approx(expected, rel=1e-5, abs=1e-8), (name, place)


def test_synaptic_flow_is_the_same_through_every_layer_at_initialisation():
    """Its conservation law (Tanaka et al., theorem 1), in VGG-11 with batch norm, whose layers form a chain without
    biases; the signs of the weights do not matter."""
    model = network("vgg11_bn", "cpu")
    mask = pruner.dense(model, prune_classifier=True)
    model.apply(lambda module: nn.init.zeros_(module.bias) if getattr(module, "bias", None) is not None else None)
    weights = copy_weights(model)
    batches = [(torch.rand(1, 3, 32, 32), torch.zeros(1))]
    found = synflow(ScoringInputs(model, weights, mask, batches))
    flows = [score.sum().item() for score in found.values()]
    assert flows == pytest.approx([flows[0]] * len(flows), rel=1e-6) and flows[0] > 0
    turned = weights | {name: -weights[name] for name in mask}
    for name, score in synflow(ScoringInputs(model, turned, mask, batches)).items():
        assert torch.equal(score, found[name])


def test_synflow_sees_ones_behind_the_normalisation():
    model = network("mlp2", "cpu")
    mask, weights = pruner.dense(model), copy_weights(model)
    other = weights | {f"{NORMALIZATION}.mean": weights[f"{NORMALIZATION}.mean"] + 0.3}
    batches = [(torch.rand(1, 1, 8, 8), torch.zeros(1))]
    a, b = (synflow(ScoringInputs(model, each, mask, batches)) for each in (weights, other))
    assert all(torch.equal(score, b[name]) for name, score in a.items())


@pytest.mark.parametrize("score", [snip, grasp], ids=["snip", "grasp"])
def test_a_score_is_the_same_whatever_the_order_of_batches(tiny, images, score):
    mask, weights = pruner.dense(tiny), copy_weights(tiny)
    batches = list(Batches(images, torch.randperm(40, generator=torch.Generator().manual_seed(1)), 16))
    assert [len(labels) for _, labels in batches] == [16, 16, 8]
    a, b = (score(ScoringInputs(tiny, weights, mask, given)) for given in (batches, batches[::-1]))
    for name in mask:
        assert torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-5 * a[name].abs().max())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_score_leaves_the_network_and_the_weights_as_they_were(tiny, images, criterion):
    tiny.train()
    mask, weights = pruner.dense(tiny), {name: value + 1 for name, value in copy_weights(tiny).items()}
    before = [copy.deepcopy(each) for each in (tiny.state_dict(), weights, mask)]
    batches = Batches(images, torch.arange(40), 16)
    scores = SCORES[criterion](ScoringInputs(tiny, weights, mask, batches, np.random.default_rng(0)))
    assert scores.keys() == mask.keys() and all(scores[name].shape == layer.shape for name, layer in mask.items())
    assert not any(score.requires_grad for score in scores.values())
    for now, then in zip((tiny.state_dict(), weights, mask), before, strict=True):
        assert all(torch.equal(value, then[name]) for name, value in now.items())
    assert all(module.training for module in tiny.modules()) and all(p.grad is None for p in tiny.parameters())


@pytest.mark.parametrize("arch", ["res14s_projection", "vgg11_bn", "lenet300"])
@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow"])
def test_every_kind_of_network_can_be_scored(arch, criterion):
    """In-place operations and second derivatives go together; no layer is without a score."""
    model = network(arch, "cpu", inputs=1024)
    mask, channels = pruner.dense(model), 1 if arch == "lenet300" else 3
    torch.manual_seed(0)
    batches = [(torch.rand(4, channels, 32, 32), torch.tensor([0, 1, 2, 3]))]
    scores = SCORES[criterion](ScoringInputs(model, copy_weights(model), mask, batches))
    for name, score in scores.items():
        assert score.isfinite().all() and score.any(), name


@pytest.mark.parametrize("score", [snip, grasp], ids=["snip", "grasp"])
def test_a_batch_is_let_go_before_the_next_one_is_made(tiny, images, score):
    alive = []

    class Watched:
        def __iter__(self):
            for part in torch.arange(40).split(15):
                gc.collect()
                batch = to_input(images.images[part])
                assert sum(reference() is not None for reference in alive) <= 1, "of the batch before, its name alone"
                alive.append(weakref.ref(batch))
                yield batch, images.labels[part]
                del batch

    gc.freeze()  # collections look at what the score makes alone
    score(ScoringInputs(tiny, copy_weights(tiny), pruner.dense(tiny), Watched()))
    gc.unfreeze()
    assert len(alive) == (6 if score is grasp else 3)


def test_grasp_takes_attention_whose_fast_form_has_no_second_derivative(examples):
    """It is its formula: w (H g), by a network of the same weights whose attention is written out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 2, 2), Attentive()).eval()
    mask, weights = pruner.dense(model, prune_classifier=True), copy_weights(model)
    examples = [(images.float(), labels) for images, labels in examples]
    found = grasp(ScoringInputs(model, weights, mask, examples))
    model[1].plain = True
    for name, scores in grasp(ScoringInputs(model, weights, mask, examples)).items():
        torch.testing.assert_close(found[name], scores, rtol=1e-3, atol=1e-4 * float(scores.abs().max()))
    assert all(scores.any() for scores in found.values())


class Attentive(nn.Module):
    plain = False

    def __init__(self):
        super().__init__()
        self.project, self.fc = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)[:, None].contiguous()  # (n, 1, tokens, width)
        query = self.project(tokens)
        if self.plain:
            seen = (query @ tokens.transpose(2, 3) / 2).softmax(3) @ tokens
        else:
            seen = F.scaled_dot_product_attention(query, tokens, tokens)
        return self.fc(seen.mean((1, 2)))
