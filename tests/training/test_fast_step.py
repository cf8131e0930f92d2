"""Faster ways to run the step: used where they do the same, given up where they do not; and on a GPU, that they do."""

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

import pruner
from dataset import Images
from lottery.training import fast_step
from lottery.training.evaluation import Evaluator
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from pruner import Ticket
from tests.helpers import Tiny, equal_weights, grey_images, needs_cuda, pruned_ticket

RECIPE = Recipe(epochs=3, milestones=(2,), warmup=1, lr=0.05, batch_size=8)
ADAM = replace(RECIPE, optimizer="adam", lr=0.002, weight_decay=0.0, label_smoothing=0.1, schedule="cosine")
sgd_and_adam = pytest.mark.parametrize("recipe", [RECIPE, ADAM], ids=["sgd", "adam"])


class Wrong(nn.Module):
    """As the network it wraps, with logits that are off by a factor."""

    def __init__(self, network, factor):
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images):
        return self.network(images) * self.factor


def losses_and_notes(model, images, compile, recipe=RECIPE, seed=1):
    notes = []
    step = Step(model, images, recipe, compile=compile, log=notes.append)
    step.load_(pruned_ticket(model))
    indices = torch.arange(30, device=images.images.device)
    return [epoch.loss for epoch in fit(step, indices, recipe, seed=seed)], notes


def batch_of(size):
    """The first so many examples, neither shifted nor flipped."""
    return torch.stack([torch.arange(size), *torch.zeros(3, size, dtype=torch.int64)])


# --- the check, on any device -----------------------------------------------------------------------------------------


def pretend_to_compile(monkeypatch, way):
    """torch.compile gives `way(model)`; the models it was asked for are returned."""
    asked = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: asked.append(model) or way(model))
    return asked


@sgd_and_adam
def test_a_faster_step_that_does_the_same_is_used_for_full_batches(tiny, images, monkeypatch, recipe):
    sizes = []

    def way(model):
        return lambda batch: sizes.append(len(batch)) or model(batch)

    pretend_to_compile(monkeypatch, way)
    twin = copy.deepcopy(tiny)
    fast, notes = losses_and_notes(tiny, images, "on", recipe)
    plain, _ = losses_and_notes(twin, images, "off", recipe)
    assert fast == plain and notes == []
    assert set(sizes) == {8} and len(sizes) == 1 + 3 * 3  # the check, then each full batch of three epochs


@sgd_and_adam
@pytest.mark.parametrize("factor", [1.2, 0.0, float("nan")])
def test_a_step_that_does_something_else_is_given_up_and_said_once(tiny, images, monkeypatch, factor, recipe):
    pretend_to_compile(monkeypatch, lambda model: Wrong(model, factor))
    twin = copy.deepcopy(tiny)
    fast, notes = losses_and_notes(tiny, images, "on", recipe)
    plain, _ = losses_and_notes(twin, images, "off", recipe)
    assert fast == plain and all(torch.equal(a, b) for a, b in zip(tiny.parameters(), twin.parameters(), strict=True))
    assert len(notes) == 1 and "differs" in notes[0]


def test_a_step_that_cannot_be_made_is_given_up_and_said_once(tiny, images, monkeypatch):
    def way(model):
        def broken(batch):
            model(batch)  # leaves traces in the batch norm
            raise RuntimeError("no compiler here\nand much more")

        return broken

    pretend_to_compile(monkeypatch, way)
    twin = copy.deepcopy(tiny)
    fast, notes = losses_and_notes(tiny, images, "on")
    plain, _ = losses_and_notes(twin, images, "off")
    assert fast == plain
    (note,) = notes
    assert "not used (RuntimeError: no compiler here)" in note


@sgd_and_adam
def test_rounding_is_let_pass(tiny, images, monkeypatch, recipe):
    """And weights differ by as little as gradients do; with Adam, too, although the gradient of a bias in front of
    batch norm is nothing but rounding, and from zero state its sign would decide."""
    pretend_to_compile(monkeypatch, lambda model: Wrong(model, 1 + 1e-6))
    real, errors = fast_step.relative_errors, []
    monkeypatch.setattr(fast_step, "relative_errors", lambda *states: errors.append(real(*states)) or errors[-1])
    assert losses_and_notes(tiny, images, "on", recipe)[1] == []
    assert [all(error < 1e-4 for error in each) for each in errors] == [True]


def test_adam_is_checked_on_each_kind_of_its_state(tiny, images):
    """An update that leaves out one of them, or the weights, is found out."""
    step = Step(tiny, images, ADAM)
    step.load_(pruned_ticket(tiny))
    tiny.train()
    check, plain = step.fast_step, lambda visits: step.update(visits, tiny)
    groups = len(check.state()) - 4  # without batch norm, loss sum, who is right, losses of examples
    assert groups == 1 + 3
    for left_out in range(groups):

        def fast(visits, left_out=left_out):
            before = fast_step.cloned(check.state())[left_out]
            plain(visits)
            fast_step.restore_([check.state()[left_out]], [before])

        check.recorded = fast_step.python_state(tiny)
        assert check.check_against_plain(plain, plain, batch_of(8)) is plain
        with pytest.raises(RuntimeError, match="differs from the plain step's"):
            check.check_against_plain(plain, fast, batch_of(8))


@sgd_and_adam
def test_the_check_leaves_no_trace(tiny, images, monkeypatch, recipe):
    """Weights, batch norm, the optimiser's state, sums and torch's generator are as before."""
    pretend_to_compile(monkeypatch, lambda model: model.__call__)
    step = Step(tiny, images, recipe, compile="on")
    step.load_(pruned_ticket(tiny))
    for momentum in step.momentum():
        momentum.fill_(0.5)
    before, generator = fast_step.cloned(step.fast_step.state()), torch.get_rng_state()
    step.fast_step.choose(batch_of(8))
    after = fast_step.cloned(step.fast_step.state())
    assert all(torch.equal(a, b) for a, b in zip(itertools.chain(*before), itertools.chain(*after), strict=True))
    assert torch.equal(generator, torch.get_rng_state())


def test_at_most_two_sizes_are_kept_ready(tiny, images):
    step = Step(tiny, images, RECIPE)
    step.load_(pruned_ticket(tiny))
    tiny.train()
    for size in (8, 3, 8, 5, 8, 4):
        step(batch_of(size))
        assert len(step.fast_step.variants) <= 2 and 8 in step.fast_step.variants


def test_differences_are_relative_to_the_change():
    before, plain, fast = [[torch.zeros(4)]], [[torch.full((4,), 2.0)]], [[torch.full((4,), 2.2)]]
    assert fast_step.relative_errors(before, plain, fast) == pytest.approx([0.1])
    assert fast_step.relative_errors(before, before, before) == [0.0]
    assert fast_step.relative_errors(before, before, fast) == [float("inf")]
    assert fast_step.relative_errors([[]], [[]], [[]]) == [0.0]


# --- the real torch.compile, where there is a compiler; without one a run says so and trains the same -----------------

WHOLE = Recipe(epochs=2, milestones=(), lr=0.05, batch_size=15)


@pytest.fixture(scope="module")
def compiled_step():
    """A step of a compiled network after an epoch, with what was logged."""
    return trained_compiled(epochs=1)


def trained_compiled(epochs, way="on", done=None):
    """A step after so many epochs on 30 examples, their losses, and its notes; with `done`, the step of a run that was
    killed, from where that stood."""
    torch.manual_seed(3)
    model, notes = Tiny(), []
    step = Step(model, grey_images(), WHOLE, compile=way, log=notes.append)
    step.load_(pruned_ticket(model))
    if done:
        step.load_(done.ticket)
        step.load_momentum_(done.momentum)
    begin = done.steps if done else 0
    losses = [e.loss for e in fit(step, torch.arange(30), replace(WHOLE, epochs=epochs), seed=1, done=begin)]
    return step, losses, notes


def test_compiling_gives_the_same_training(compiled_step):
    _, fast, notes = compiled_step
    _, plain, _ = trained_compiled(1, "off")
    assert fast == pytest.approx(plain, rel=1e-4) and len(notes) <= 1


def test_a_network_is_compiled_once_for_all_rounds(compiled_step):
    """Rounds with other masks and weights, on sets of other sizes, after evaluations: torch compiles nothing more."""
    step, _, _ = compiled_step
    if step.fast_step.used != "compiled":
        pytest.skip(f"nothing can be compiled here: {step.fast_step.fallback}")
    before = counters["stats"]["unique_graphs"]
    assert before > 0
    for round, examples in enumerate((30, 29, 15, 22, 7)):  # the last has no full batch
        step.load_(pruned_ticket(step.model, rate=0.1 * (round + 1)))
        list(fit(step, torch.arange(examples), WHOLE, seed=1, round=round))
        Evaluator(step.model).accuracy(step.data)
        assert "compiled" in {variant.name for variant in step.fast_step.variants.values()}
    assert counters["stats"]["unique_graphs"] == before and step.fast_step.used == "compiled"


def test_a_compiled_training_that_goes_on_ends_with_the_bits_of_an_unbroken_one(compiled_step):
    """The network is compiled anew, as by the process that goes on with a killed run."""
    whole, losses, _ = trained_compiled(2)
    first, _, _ = trained_compiled(1)
    ticket = Ticket(first.mask, copy_weights(first.model))
    done = SimpleNamespace(ticket=ticket, momentum=[each.clone() for each in first.momentum()], steps=2)
    torch.compiler.reset()
    resumed, later, _ = trained_compiled(2, done=done)
    assert later == losses[1:] and resumed.fast_step.used == whole.fast_step.used
    assert equal_weights(copy_weights(whole.model), copy_weights(resumed.model))
    assert all(torch.equal(a, b) for a, b in zip(whole.momentum(), resumed.momentum(), strict=True))


# --- bfloat16 ---------------------------------------------------------------------------------------------------------


def test_bf16_trains_close_to_fp32_with_weights_in_fp32(tiny, images):
    twin = copy.deepcopy(tiny)
    losses = []
    for model, precision in ((tiny, "fp32"), (twin, "bf16")):
        step = Step(model, images, RECIPE, precision)
        step.load_(pruned_ticket(model))
        losses.append([epoch.loss for epoch in fit(step, torch.arange(30), RECIPE, seed=1)])
        assert {value.dtype for value in [*model.parameters(), *step.momentum()]} == {torch.float32}
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=5e-2)


# --- CUDA graphs, where there is a GPU --------------------------------------------------------------------------------


def on_gpu(images):
    return Images(images.images.cuda(), images.labels.cuda(), images.padding, images.flips)


def gpu_model(extra=()):
    torch.manual_seed(3)
    return nn.Sequential(Tiny(), *extra).cuda().to(memory_format=torch.channels_last)


@needs_cuda
@sgd_and_adam
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_captured_step_trains_as_the_plain_one(images, precision, recipe):
    """Over two rounds with other masks, sizes of set and learning rates: only buffers are written."""
    results = []
    for compile in ("off", "auto"):
        model, notes = gpu_model(), []
        step = Step(model, on_gpu(images), recipe, precision, compile, notes.append)
        losses = []
        for round, (rate, n) in enumerate(((0.2, 30), (0.5, 21), (0.3, 17))):
            step.load_(pruned_ticket(model, rate))
            fitted = fit(step, torch.arange(n, device="cuda"), recipe, seed=1, round=round)
            losses += [epoch.loss for epoch in fitted]
            assert all((model.get_parameter(name)[~layer] == 0).all() for name, layer in step.mask.items())
        assert notes == []
        results.append(losses)
        graphs = [way for way in step.fast_step.variants.values() if way.name == "graph"]
        assert len(graphs) == (2 if compile == "auto" else 0)
    assert results[1] == pytest.approx(results[0], rel=1e-2 if precision == "bf16" else 1e-3)


@needs_cuda
def test_a_captured_step_draws_fresh_dropout_by_seed_round_and_epoch(images):
    losses = {}
    for compile, seed in (("off", 1), ("auto", 1), ("auto", 1), ("auto", 2)):
        model = gpu_model([nn.Dropout(0.5)])
        losses[compile, seed], notes = losses_and_notes(model, on_gpu(images), compile, seed=seed)
        assert notes == []
    assert losses["auto", 1] == pytest.approx(losses["off", 1], rel=1e-3)
    assert losses["auto", 2] != losses["auto", 1]


@needs_cuda
def test_a_network_that_waits_for_the_device_trains_uncaptured(images):
    class Waits(nn.Module):
        def forward(self, x):
            return x * (1.0 if x.sum().item() > -1e9 else 2.0)

    fast, notes = losses_and_notes(gpu_model([Waits()]), on_gpu(images), "auto")
    plain, _ = losses_and_notes(gpu_model(), on_gpu(images), "off")
    assert fast == pytest.approx(plain, rel=1e-3) and len(notes) == 1


@needs_cuda
def test_old_graphs_are_freed(images):
    """Thirty sizes of last batch, one after another, take no more memory than three."""
    data = Images(images.images.cuda().repeat(30, 1, 1, 1), images.labels.cuda().repeat(30))
    model = gpu_model()
    step = Step(model, data, Recipe(batch_size=64), compile="auto")
    step.load_(Ticket(pruner.dense(model), copy_weights(model)))
    model.train()
    used = []
    for size in range(2, 62):
        for b in (64, size):
            step(batch_of(b).cuda())
        used.append(torch.cuda.memory_reserved())
    assert used[-1] <= used[5] + 2**24
