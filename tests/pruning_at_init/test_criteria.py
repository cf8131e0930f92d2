"""Pruning before training: scores against their formulas, taken literally; counts by layer; main_init.py, and what
becomes of its tickets."""

import copy
import gc
import itertools
import re
import subprocess
import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import main_imp
import pruner
from dataset import to_input
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.cli import init
from lottery.cli.configs import from_flags
from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS, kept_by_iteration, quotas
from lottery.pruning_at_init.run import Batches, examples_of, keep
from lottery.pruning_at_init.scores import SCORES, TEMPERATURE, ScoringInputs, grasp, snip, synflow
from lottery.training.config import DataConfig, ModelConfig
from lottery.training.context import build_model_and_data
from lottery.training.step import copy_weights
from models.units import NORMALIZATION
from tests.helpers import ROOT, network, one_sentence
from verify import main as verify

# --- the scores -------------------------------------------------------------------------------------------------------


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


def mean_loss(model, weights, batches, temperature=1.0):
    """Of the network with these weights: dropout off, batch norm by each batch; the mean over examples."""
    losses = []
    for images, labels in batches:
        twin = copy.deepcopy(model).train()
        twin.load_state_dict(weights)
        twin.drop.eval()
        losses += F.cross_entropy(twin(images) / temperature, labels, reduction="none").tolist()
    return sum(losses) / len(losses)


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
    found = snip(small, copy_weights(small), sparse, examples)
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
        twin = copy.deepcopy(small).train()
        twin.drop.eval()
        losses = [
            F.cross_entropy(functional_call(twin, at, images) / 200, labels, reduction="none")
            for images, labels in examples
        ]
        return torch.cat(losses).mean()

    matrix = torch.autograd.functional.hessian(loss, start)
    published = -start * (matrix @ torch.autograd.functional.jacobian(loss, start))
    found = grasp(small, copy_weights(small), sparse, examples)
    ours = torch.stack([found[name].view(-1)[place] for name, place in where])
    largest = published.abs().max()
    assert published.min() < -0.05 * largest and published.max() > 0.05 * largest, "signs matter"
    assert torch.allclose(ours, -published, rtol=1e-9, atol=1e-12 * largest.item())


def test_grasp_drops_what_most_hinders_the_gradient_and_keeps_what_it_flows_by(small, examples):
    """The flow |g|^2 without a single weight, w shrunk by a little: it falls most for the highest score."""
    whole = pruner.dense(small, prune_classifier=True)
    weights, where = copy_weights(small), places(whole)

    def flow(at):
        return sum(
            slope**2 for slope in slopes(lambda w: mean_loss(small, w, examples, TEMPERATURE), at, where, 1e-4).values()
        )

    found = grasp(small, weights, whole, examples)
    scores = {key: found[key[0]].view(-1)[key[1]].item() for key in where}
    best, worst = max(scores, key=scores.get), min(scores, key=scores.get)
    for key, sign in (best, -1), (worst, 1):
        w = weights[key[0]].view(-1)[key[1]].item()
        assert sign * (flow(changed(weights, *key, -0.01 * w)) - flow(weights)) > 0
    kept = pruner.drop(whole, found, 1)
    assert not kept[worst[0]].view(-1)[worst[1]] and kept[best[0]].view(-1)[best[1]]


def test_the_temperature_matters_and_is_grasps_own(small, sparse, examples):
    weights = copy_weights(small)
    cold = grasp(small, weights, sparse, examples, temperature=1.0)
    assert not all(torch.allclose(part, cold[name]) for name, part in grasp(small, weights, sparse, examples).items())
    explicit = grasp(small, weights, sparse, examples, temperature=200.0)
    assert all(torch.equal(part, explicit[name]) for name, part in grasp(small, weights, sparse, examples).items())


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
    found = synflow(model, copy_weights(model), mask, [(torch.rand(5, 3, 1, 1), torch.zeros(5))])
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

    found = synflow(small, copy_weights(small), sparse, examples)
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
    found = synflow(model, weights, mask, batches)
    flows = [score.sum().item() for score in found.values()]
    assert flows == pytest.approx([flows[0]] * len(flows), rel=1e-6) and flows[0] > 0
    turned = weights | {name: -weights[name] for name in mask}
    for name, score in synflow(model, turned, mask, batches).items():
        assert torch.equal(score, found[name])


def test_synflow_sees_ones_behind_the_normalisation():
    model = network("mlp2", "cpu")
    mask, weights = pruner.dense(model), copy_weights(model)
    other = weights | {f"{NORMALIZATION}.mean": weights[f"{NORMALIZATION}.mean"] + 0.3}
    batches = [(torch.rand(1, 1, 8, 8), torch.zeros(1))]
    a, b = (synflow(model, each, mask, batches) for each in (weights, other))
    assert all(torch.equal(score, b[name]) for name, score in a.items())


@pytest.mark.parametrize("score", [snip, grasp], ids=["snip", "grasp"])
def test_a_score_is_the_same_whatever_the_order_of_batches(tiny, images, score):
    mask, weights = pruner.dense(tiny), copy_weights(tiny)
    batches = list(Batches(images, torch.randperm(40, generator=torch.Generator().manual_seed(1)), 16))
    assert [len(labels) for _, labels in batches] == [16, 16, 8]
    a, b = (score(tiny, weights, mask, given) for given in (batches, batches[::-1]))
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
    scores = SCORES[criterion](ScoringInputs(model, copy_weights(model), mask, batches, None))
    for name, score in scores.items():
        assert score.isfinite().all() and score.any(), name


def test_examples_are_streamed(images):
    """One batch at a time is made into numbers: there is none before it is asked for, nor two at once."""
    batches = iter(Batches(images, torch.tensor([3, 1, 4, 5, 9, 2, 6]), 3))
    first, labels = next(batches)
    assert (
        torch.equal(first, to_input(images.images[[3, 1, 4]])) and labels.tolist() == images.labels[[3, 1, 4]].tolist()
    )
    assert [len(labels) for _, labels in batches] == [4], "a single example is no batch"


@pytest.mark.parametrize("score", [snip, grasp], ids=["snip", "grasp"])
def test_a_batch_is_let_go_before_the_next_one_is_made(tiny, images, score):
    alive = []

    class Watched:
        def __iter__(self):
            for part in torch.arange(40).split(10):
                gc.collect()
                batch = to_input(images.images[part])
                assert sum(reference() is not None for reference in alive) <= 1, "of the batch before, its name alone"
                alive.append(weakref.ref(batch))
                yield batch, images.labels[part]
                del batch

    score(tiny, copy_weights(tiny), pruner.dense(tiny), Watched())
    assert len(alive) == (8 if score is grasp else 4)


# --- how many weights, and where --------------------------------------------------------------------------------------

SHAPES = {"a": (4, 2, 3, 3), "b": (10, 4), "c": (8, 4, 3, 3)}
ROOM = {"a": 72, "b": 40, "c": 288}


def test_erk_by_hand():
    """a: 12/72, b: 14/40, c: 18/288 times e; 44 e = 100 weights, e = 25/11: 27.3, 31.8 and 40.9, none above its size.

    The remainders .27, .82 and .91 leave 98, so b and c get one more.
    """
    assert quotas(SHAPES, ROOM, 100, RANKINGS["erk"].claim) == {"a": 27, "b": 32, "c": 41}


def test_erk_layers_that_would_exceed_one_stay_dense_and_the_rest_is_solved_again():
    """e = 200/44: b would have 63.6 of 40. The others: 30 e = 160, 64 and 96. For 300, e = 260/30 gives a 104 of 72."""
    assert quotas(SHAPES, ROOM, 200, RANKINGS["erk"].claim) == {"a": 64, "b": 40, "c": 96}
    assert quotas(SHAPES, ROOM, 300, RANKINGS["erk"].claim) == {"a": 72, "b": 40, "c": 188}


def test_uniform_is_the_same_density_everywhere():
    assert quotas(SHAPES, ROOM, 100, RANKINGS["uniform"].claim) == {"a": 18, "b": 10, "c": 72}


@pytest.mark.parametrize("ranking", ["uniform", "erk"])
def test_quotas_are_exact_for_every_number(ranking):
    room = {"a": 50, "b": 40, "c": 111}
    for kept in range(sum(room.values()) + 1):
        found = quotas(SHAPES, room, kept, RANKINGS[ranking].claim)
        assert sum(found.values()) == kept and all(0 <= found[name] <= room[name] for name in room)


def test_erk_agrees_with_densities_computed_as_published(tiny):
    """RigL's own iteration on a ResNet-20: dense layers set aside one after the other, then one factor for the rest."""
    mask = pruner.dense(network("res20s"))
    shapes = {name: tuple(layer.shape) for name, layer in mask.items()}
    sizes = {name: layer.numel() for name, layer in mask.items()}
    kept, raw = round(0.3 * sum(sizes.values())), {name: Fraction(sum(s), sizes[name]) for name, s in shapes.items()}
    dense = set()
    while True:
        free = [name for name in shapes if name not in dense]
        e = Fraction(kept - sum(sizes[name] for name in dense)) / sum(raw[name] * sizes[name] for name in free)
        if max(e * raw[name] for name in free) <= 1:
            break
        dense.add(max(free, key=raw.get))
    assert dense and len(dense) < len(shapes)
    for name, number in quotas(shapes, sizes, kept, RANKINGS["erk"].claim).items():
        assert abs(number - (sizes[name] if name in dense else e * raw[name] * sizes[name])) < 1


@pytest.mark.parametrize("ranking", RANKINGS)
def test_masks_of_iterations_are_nested_and_exact(tiny, ranking):
    mask, random = pruner.dense(tiny), np.random.default_rng(0)
    for number in kept_by_iteration(pruner.size(mask), 17, 6):
        smaller = keep(mask, pruner.random_scores(mask, random), number, RANKINGS[ranking])
        assert pruner.count(smaller) == number
        assert not any((layer & ~mask[name]).any() for name, layer in smaller.items())
        mask = smaller
    assert pruner.count(mask) == 17


def test_the_schedule_is_exponential_and_exact():
    assert kept_by_iteration(1000, 10, 2) == [100, 10]
    assert kept_by_iteration(1000, 1, 3) == [100, 10, 1]
    assert kept_by_iteration(1000, 333, 1) == [333]


def test_ranking_by_layer_keeps_the_highest_of_each():
    mask = {"a": torch.ones(2, 2, dtype=torch.bool), "b": torch.ones(2, 4, dtype=torch.bool)}
    scores = {"a": torch.tensor([[1.0, 2], [3, 4]]), "b": torch.tensor([[10.0, 20, 30, 40], [50, 60, 70, 80]])}
    found = keep(mask, scores, 6, RANKINGS["uniform"])
    assert found["a"].tolist() == [[False, False], [True, True]]
    assert found["b"].tolist() == [[False] * 4, [True] * 4]
    assert pruner.count({"a": keep(mask, scores, 6, RANKINGS["global"])["a"]}) == 0


def test_every_criterion_has_its_score():
    assert SCORES.keys() == CRITERIA.keys()


# --- the script -------------------------------------------------------------------------------------------------------

DIGITS = "--dataset digits --arch tests.networks:tiny".split()
QUICK = "--epochs 1 --decreasing_lr 1 --batch_size 64".split()
TINY = 1368  # its prunable weights


def find(call, folder, *more):
    status, out, err = call("main_init", *DIGITS, *more, "--save_dir", folder)
    assert status == 0, err
    return read(folder / "checkpoint.pth.tar"), out


def mask_in(content):
    return split_state(content["state_dict"])[1]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_ticket_is_found_checked_and_trained(call, capsys, tmp_path, criterion):
    more = ["--iterations", 5] if criterion == "synflow" else []
    content, out = find(call, tmp_path / "ticket", "--criterion", criterion, "--density", 0.3, *more)
    file, kept = tmp_path / "ticket" / "checkpoint.pth.tar", round(0.3 * TINY)
    assert pruner.count(mask_in(content)) == kept
    assert (
        f"{criterion} keeps {kept} of 1,368 prunable weights of tests.networks:tiny, density {kept / TINY:.4f}" in out
    )

    capsys.readouterr()
    assert verify([str(file)]) == 0
    told = capsys.readouterr().out
    for law in "checksum", "finite weights", "exact density", "dropped weights", "starting weights":
        assert re.search(rf"{law} +holds", told), (law, told)
    checked = re.search(r"no example validates +holds", told) is not None
    assert checked == CRITERIA[criterion].looks_at_examples == ("sequence" in content)

    run = [*DIGITS, *QUICK, "--init_dir", file, "--mask_dir", file, "--save_dir", tmp_path / "run"]
    status, out, err = call("main_train", *run)
    assert status == 0 and f"density {kept / TINY:.4f}" in out, err
    trained = read(tmp_path / "run" / "checkpoint.pth.tar")
    assert pruner.same(mask_in(trained), mask_in(content))
    assert all(torch.equal(value, content["init_weight"][name]) for name, value in trained["init_weight"].items())


def test_a_ticket_whose_mask_was_altered_is_found_out(call, capsys, tmp_path):
    content, _ = find(call, tmp_path, "--criterion", "magnitude", "--density", 0.3)
    mask = mask_in(content)
    name, layer = next(iter(mask.items()))
    layer[tuple(layer.nonzero()[0])] = False
    content["state_dict"][f"{name}_mask"] = layer.float()
    content["state_dict"][f"{name}_orig"] = content["init_weight"][name] * layer
    write(tmp_path / "checkpoint.pth.tar", content)
    assert verify([str(tmp_path / "checkpoint.pth.tar")]) == 1
    assert "it should be 410" in capsys.readouterr().out


def test_the_ticket_starts_where_a_search_with_this_seed_does(call, tmp_path):
    content, _ = find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.5, "--seed", 3)
    search = ["--pruning_times", 1, "--seed", 3, "--save_dir", tmp_path / "search"]
    assert call("main_imp", *DIGITS, *QUICK, *search)[0] == 0
    there = read(tmp_path / "search" / "1checkpoint.pth.tar")["init_weight"]
    assert all(torch.equal(value, there[name]) for name, value in content["init_weight"].items())
    assert content["init_step"] == 0


def test_the_mask_is_that_of_the_score_on_the_examples_that_train(call, tmp_path):
    """From data and flags to the mask, put together by hand."""
    content, _ = find(call, tmp_path, "--criterion", "snip", "--density", 0.2, "--batch_size", 100)
    words = ["--criterion", "snip", "--density", "0.2", "--save_dir", "x", "--batch_size", "100"]
    args = init.read_flags([*DIGITS, *words])
    material = build_model_and_data(
        from_flags(DataConfig, args), from_flags(ModelConfig, args), args.seed, torch.device("cpu")
    )
    indices = examples_of(args, material, [])
    assert torch.equal(indices.sort().values, material.split.train) and not torch.equal(indices, material.split.train)
    batches = [(to_input(material.train.images[part]), material.train.labels[part]) for part in indices.split(100)]
    whole = pruner.dense(material.model)
    scores = snip(material.model, copy_weights(material.model), whole, batches)
    expected = pruner.drop(whole, scores, TINY - round(0.2 * TINY))
    assert pruner.same(mask_in(content), expected)


def test_a_seed_decides_and_another_decides_otherwise(call, tmp_path):
    snip_on_some = ["--criterion", "snip", "--density", 0.3, "--score_examples", 50]
    a, b, c = (
        find(call, tmp_path / name, *snip_on_some, "--seed", seed)[0] for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert pruner.same(mask_in(a), mask_in(b)) and torch.equal(a["sequence"], b["sequence"])
    assert not pruner.same(mask_in(a), mask_in(c)) and not torch.equal(a["sequence"], c["sequence"])
    assert len(a["sequence"]) == 50 and not np.isin(a["sequence"], a["validation"]).any()
    d, e = (find(call, tmp_path / name, "--criterion", "random", "--density", 0.3, "--seed", name)[0] for name in "01")
    assert not pruner.same(mask_in(d), mask_in(e))


def test_another_set_gives_another_mask(call, tmp_path):
    train = find(call, tmp_path / "all", "--criterion", "snip", "--density", 0.3)[0]["sequence"].numpy()
    np.save(tmp_path / "a.npy", train[:60])
    np.save(tmp_path / "b.npy", train[60:120])
    a, b = (
        find(call, tmp_path / name, "--criterion", "snip", "--density", 0.3, "--prac_set", tmp_path / f"{name}.npy")[0]
        for name in "ab"
    )
    assert a["sequence"].tolist() == sorted(train[:60]) and not pruner.same(mask_in(a), mask_in(b))
    assert a["settings"]["PrAC set of round 0"] != b["settings"]["PrAC set of round 0"]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    words = ["--pruning_times", "2", "--prune_type", "rewind_lt", "--rewind_iteration", "10", "--gpu", "-1"]
    assert main_imp.main([*DIGITS, *QUICK, *words, "--save_dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", ["2checkpoint.pth.tar", "iteration_10_rewind_weight.pt"])
def test_pruning_at_the_rewinding_weights_as_many_as_a_ticket(search, call, tmp_path, name):
    ticket = search / "2checkpoint.pth.tar"
    more = ["--criterion", "magnitude", "--like", ticket, "--init_dir", search / name]
    content, _ = find(call, tmp_path / "ticket", *more)
    rewound = read(search / "iteration_10_rewind_weight.pt")
    assert all(torch.equal(value, rewound[name]) for name, value in content["init_weight"].items())
    mask = mask_in(content)
    assert pruner.count(mask) == pruner.count(mask_in(read(ticket))) == content["settings"]["kept"]
    threshold = min(rewound[name][layer].abs().min() for name, layer in mask.items())
    assert all((rewound[name][~layer].abs() <= threshold).all() for name, layer in mask.items())
    assert content["source"]["file"] == str(search / name)
    if name.startswith("2"):
        assert content["init_step"] == 10 and "sequence" in content
    assert verify([str(tmp_path / "ticket" / "checkpoint.pth.tar")]) == 0


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "grasp"])
def test_inverted_keeps_what_the_criterion_would_drop(call, tmp_path, criterion):
    """At one iteration and densities that add up to one, the two masks have every weight once."""
    words = ["--criterion", criterion, *(["--score_examples", 60] if CRITERIA[criterion].looks_at_examples else [])]
    plain, _ = find(call, tmp_path / "plain", *words, "--density", 0.7)
    worst, out = find(call, tmp_path / "worst", *words, "--density", 0.3, "--inverted")
    assert f"{criterion}, inverted, keeps 410 of" in out and worst["settings"]["inverted"] is True
    assert all(torch.equal(mask_in(worst)[name], ~layer) for name, layer in mask_in(plain).items())
    assert verify([str(tmp_path / "worst" / "checkpoint.pth.tar")]) == 0


def test_every_iteration_is_inverted(call, tmp_path):
    """Of what is left those with the least flow are kept again: from scores to mask, put together by hand."""
    words = "--criterion synflow --density 0.4 --iterations 3 --ranking uniform --inverted".split()
    content, _ = find(call, tmp_path, *words)
    args = init.read_flags([*DIGITS, *words, "--save_dir", "x"])
    material = build_model_and_data(
        from_flags(DataConfig, args), from_flags(ModelConfig, args), args.seed, torch.device("cpu")
    )
    weights, mask = copy_weights(material.model), pruner.dense(material.model)
    batches = [(to_input(material.train.images[:2]), material.train.labels[:2])]
    for part in (0.4 ** (1 / 3), 0.4 ** (2 / 3), 0.4):
        scores = synflow(material.model, weights, mask, batches)
        for name, layer in mask.items():
            lowest = scores[name][layer].sort().values[: round(part * layer.numel())]
            mask[name] = layer & (scores[name] <= lowest[-1])
    found = mask_in(content)
    assert all(abs(int(layer.sum()) - int(found[name].sum())) <= 1 for name, layer in mask.items())
    assert sum(int((layer ^ found[name]).sum()) for name, layer in mask.items()) <= 4  # roundings of three iterations


def test_trained_weights_scored_by_magnitude_are_the_ticket_of_a_pruning(search, call, tmp_path):
    """What main_imp.py prunes after its first round; the ticket starts from these weights, and can be fine-tuned."""
    dense, ticket = search / "0checkpoint.pth.tar", search / "1checkpoint.pth.tar"
    words = ["--criterion", "magnitude", "--like", ticket, "--init_dir", dense, "--weights", "trained"]
    content, _ = find(call, tmp_path / "ticket", *words)
    file = tmp_path / "ticket" / "checkpoint.pth.tar"
    assert pruner.same(mask_in(content), mask_in(read(ticket)))
    assert all(torch.equal(value, content["init_weight"][name]) for name, value in read(dense)["state_dict"].items())
    assert content["init_step"] == 10 and content["settings"]["weights"] == "trained"
    assert verify([str(file)]) == 0
    tune = [*DIGITS, *QUICK, "--rule", "fine_tuning", "--mask_dir"]
    for name, (start, mask) in {"made": (file, file), "pruned": (dense, ticket)}.items():
        assert call("main_train", *tune, mask, "--init_dir", start, "--save_dir", tmp_path / name)[0] == 0
    made, pruned = (read(tmp_path / name / "checkpoint.pth.tar")["state_dict"] for name in ("made", "pruned"))
    assert all(torch.equal(value, pruned[name]) for name, value in made.items())


def test_snip_of_trained_weights_is_another_mask_than_of_starting_ones(search, call, tmp_path):
    words = ["--criterion", "snip", "--density", 0.3, "--init_dir", search / "0checkpoint.pth.tar"]
    starting, _ = find(call, tmp_path / "starting", *words)
    trained, _ = find(call, tmp_path / "trained", *words, "--weights", "trained")
    assert not pruner.same(mask_in(starting), mask_in(trained))
    status, _, err = call("main_init", *DIGITS, *words, "--weights", "trained", "--save_dir", tmp_path / "starting")
    assert status == 2 and "weights was starting, is trained" in err


def test_trained_weights_of_a_pruned_network_are_refused(search, call, tmp_path):
    words = [*DIGITS, *SNIP.split(), "--weights", "trained", "--init_dir"]
    one_sentence(call, "main_init", [*words, str(search / "1checkpoint.pth.tar")], tmp_path, "had been dropped before")
    one_sentence(call, "main_init", [*words, str(search / "2checkpoint.pth.tar")], tmp_path, "holds no trained weights")


def test_a_ticket_from_before_the_flags_came_is_none_of_theirs(call, tmp_path):
    content, _ = find(call, tmp_path, "--criterion", "magnitude", "--density", 0.3)
    settings = {name: value for name, value in content["settings"].items() if name not in ("inverted", "weights")}
    write(tmp_path / "checkpoint.pth.tar", content | {"settings": settings})
    words = [*DIGITS, "--criterion", "magnitude", "--density", 0.3, "--save_dir", tmp_path]
    assert call("main_init", *words)[0] == 0
    status, _, err = call("main_init", *words, "--inverted")
    assert status == 2 and "inverted was False, is True" in err


def test_sparsity_is_what_density_leaves(call, tmp_path):
    a, _ = find(call, tmp_path / "a", "--criterion", "magnitude", "--sparsity", 0.7)
    assert pruner.count(mask_in(a)) == TINY - round(0.7 * TINY)


def test_the_classifier_is_pruned_on_request(call, tmp_path):
    content, _ = find(
        call, tmp_path, "--criterion", "synflow", "--density", 0.3, "--iterations", 3, "--prune_classifier"
    )
    assert pruner.size(mask_in(content)) == TINY + 160 and pruner.count(mask_in(content)) == round(0.3 * (TINY + 160))


def test_synflow_saves_layers_that_one_shot_would_empty(call, tmp_path):
    """At 6 weights one shot leaves none of one layer; flow through a layer that gets thin grows, and saves it."""
    words = ["--criterion", "synflow", "--density", 6 / TINY]
    one_sentence(call, "main_init", [*DIGITS, *map(str, [*words, "--iterations", 1])], tmp_path, "leaves no weight of")
    content, _ = find(call, tmp_path / "many", *words)
    assert pruner.count(mask_in(content)) == 6 and not pruner.empty_layers(mask_in(content))
    assert content["settings"]["iterations"] == 100


def test_an_empty_layer_is_named_unless_permitted(call, tmp_path):
    words = ["--criterion", "magnitude", "--density", "0.002"]
    one_sentence(
        call, "main_init", [*DIGITS, *words], tmp_path,
        r"--criterion magnitude leaves no weight of network\.\d\.weight, at 3 weights: .*--allow_empty_layers",
    )  # fmt: skip
    content, _ = find(call, tmp_path / "ticket", *words, "--allow_empty_layers")
    assert pruner.empty_layers(mask_in(content)) and pruner.count(mask_in(content)) == 3


def test_the_same_command_again_changes_nothing_and_another_one_is_refused(call, tmp_path):
    words = [*DIGITS, "--criterion", "random", "--density", 0.3, "--save_dir", tmp_path]
    first, place = call("main_init", *words), (tmp_path / "checkpoint.pth.tar").stat().st_ino
    assert call("main_init", *words) == first and first[0] == 0
    assert (tmp_path / "checkpoint.pth.tar").stat().st_ino == place, "not even written again"
    status, _, err = call("main_init", *words, "--criterion", "magnitude")
    assert status == 2 and "criterion was random, is magnitude" in err
    assert call("main_init", *words, "--criterion", "magnitude", "--overwrite")[0] == 0
    assert read(tmp_path / "checkpoint.pth.tar")["settings"]["criterion"] == "magnitude"


SNIP = "--criterion snip --density 0.3"
BAD = [
    ("--density 0.3", "--criterion"),
    ("--criterion snap --density 0.3", "snip.*snap|snap.*snip"),
    ("--criterion snip", "--density --sparsity --like"),
    (f"{SNIP} --sparsity 0.3", "not allowed with"),
    ("--criterion snip --density 1", "between 0 and 1, both excluded, got 1"),
    ("--criterion snip --density 0.0001", r"--density 0\.0001 keeps 0 of 1,368 prunable weights: that is no ticket"),
    ("--criterion snip --sparsity 0.0001", "keeps 1,368 of 1,368 prunable weights: that is no ticket"),
    ("--criterion snip --density 0.001", "keeps 1 of 1,368 prunable weights, fewer than there are layers, 2"),
    ("--criterion snip --like nowhere", "--like nowhere does not exist"),
    (f"{SNIP} --ranking layers", "global.*uniform.*erk|layers"),
    (f"{SNIP} --iterations 0", "from 1 up, got 0"),
    ("--criterion magnitude --density 0.3 --iterations 5", "scores of magnitude do not depend on what is left"),
    (f"{SNIP} --score_examples 1", "at least 2.*got 1"),
    (f"{SNIP} --score_examples 1294", "only 1293 examples train"),
    (f"{SNIP} --score_examples 10 --prac_set README.md", "give one of them"),
    ("--criterion synflow --density 0.3 --score_examples 10", "--score_examples: --criterion synflow looks at no"),
    ("--criterion random --density 0.3 --prac_set README.md", "--prac_set: --criterion random looks at no"),
    (f"{SNIP} --prac_set .", "is a directory: give the checkpoint of one of its rounds"),
    (f"{SNIP} --prac_set README.md", "README.md is no checkpoint"),
    (f"{SNIP} --init_dir README.md", "README.md is no checkpoint"),
    (f"{SNIP} --weights trained", "--weights trained are those of --init_dir: give it"),
    (f"{SNIP} --weights best", "starting.*trained"),
    ("--criterion random --density 0.3 --inverted", "--inverted: the scores of random tell nothing"),
    (f"{SNIP} --batch_size 1", "from 2 up"),
    (f"{SNIP} --arch tests.networks:only_linear", "nothing to prune"),
    (f"{SNIP} --arch resnet9", "res20s.*resnet9"),
    (f"{SNIP} --epochs 3", "--epochs"),
]


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_sentence(call, tmp_path, words, message):
    one_sentence(call, "main_init", [*DIGITS, *words.split()], tmp_path, message)


def test_examples_that_validate_are_refused(call, tmp_path):
    validation = find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.3)[0]["validation"].numpy()
    np.save(tmp_path / "set.npy", validation[:5])
    words = [*DIGITS, *SNIP.split(), "--prac_set", str(tmp_path / "set.npy")]
    one_sentence(call, "main_init", words, tmp_path, "5 of 5 examples outside this run's training split")


def test_a_ticket_of_more_layers_or_another_network_is_nothing_to_be_like(call, tmp_path):
    like = ["--like", str(tmp_path / "ticket" / "checkpoint.pth.tar"), "--criterion", "random"]
    find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.3, "--prune_classifier")
    one_sentence(call, "main_init", [*DIGITS, *like], tmp_path, r"a mask for network\.8\.weight.*--prune_classifier")
    one_sentence(call, "main_init", [*DIGITS, "--arch", "lenet300", *like], tmp_path, "belongs to another network")
    content, _ = find(call, tmp_path / "same", *like, "--prune_classifier")
    assert pruner.count(mask_in(content)) == pruner.count(mask_in(read(tmp_path / "ticket" / "checkpoint.pth.tar")))


@pytest.mark.parametrize("value, message", [(float("nan"), "not finite"), (0.0, "the score 0")])
def test_scores_that_rank_nothing_are_refused(call, tmp_path, monkeypatch, value, message):
    monkeypatch.setitem(
        SCORES, "snip", lambda subject: {name: torch.full(layer.shape, value) for name, layer in subject.mask.items()}
    )
    one_sentence(call, "main_init", [*DIGITS, *SNIP.split()], tmp_path, message)


def test_flags_are_checked_before_torch_is_imported():
    code = (
        "import sys, main_init as m; s = m.main(['--save_dir', 'x', '--criterion', 'snip', '--density', '2']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


# --- networks of the user's own ---------------------------------------------------------------------------------------


def test_grasp_takes_attention_whose_fast_form_has_no_second_derivative(examples):
    """It is its formula: w (H g), by a network of the same weights whose attention is written out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 2, 2), Attentive()).eval()
    mask, weights = pruner.dense(model, prune_classifier=True), copy_weights(model)
    examples = [(images.float(), labels) for images, labels in examples]
    found = grasp(model, weights, mask, examples)
    model[1].plain = True
    for name, scores in grasp(model, weights, mask, examples).items():
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


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_transformers_are_scored(call, tmp_path, criterion):
    words = ["--dataset", "digits", "--arch", "tests.networks:vit_shallow", "--score_examples", 20, "--density", 0.5]
    status, out, err = call("main_init", *words, "--criterion", criterion, "--save_dir", tmp_path)
    assert status == 0 and "weights stay dense" in out, err


@pytest.mark.parametrize("arch", ["tests.networks:group_normed", "tests.networks:vit_shallow"])
def test_synflow_is_not_for_networks_that_give_less_where_they_get_more(call, tmp_path, arch):
    words = ["--dataset", "digits", "--arch", arch, "--density", 0.5]
    status, _, err = call("main_init", *words, "--criterion", "synflow", "--save_dir", tmp_path / "out")
    assert status == 2 and re.search(
        rf"synflow gives [\d,]+ of [\d,]+ weights of {arch} scores below 0, which mean", err
    )
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_network_that_cannot_be_scored_is_one_sentence(call, tmp_path):
    words = ["--dataset", "digits", "--arch", "tests.networks:flash", "--score_examples", 20, "--density", 0.5]
    status, _, err = call("main_init", *words, "--criterion", "grasp", "--save_dir", tmp_path)
    assert status == 2 and re.search(
        "--criterion grasp cannot score tests.networks:flash: RuntimeError: derivative for", err
    )
    assert call("main_init", *words, "--criterion", "snip", "--save_dir", tmp_path)[0] == 0
