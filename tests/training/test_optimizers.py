"""SGD, Nesterov's momentum and Adam in the step: against torch's plain ones, under a mask, and their state."""

import copy
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

import pruner
from dataset import Images, to_input
from lottery.training.evaluation import Evaluator
from lottery.training.loop import fit
from lottery.training.optimizers import build_optimizer, optimizer_state, reset_
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from pruner import Ticket
from tests.helpers import Tiny, equal_weights, pruned_ticket

SGD = Recipe(epochs=3, milestones=(2,), warmup=1, lr=0.05, batch_size=8, weight_decay=1e-2)
ADAM = replace(SGD, optimizer="adam", lr=0.002)
RECIPES = {
    "sgd": SGD,
    "no momentum": replace(SGD, momentum=0.0),
    "nesterov": replace(SGD, nesterov=True, schedule="cosine"),
    "adam": ADAM,
    "adam, beta1 0": replace(ADAM, momentum=0.0, schedule="linear"),
    "smoothed": replace(ADAM, label_smoothing=0.2),
}
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
both_layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


def step_of(model, images, recipe, **more):
    step = Step(model, images, recipe, **more)
    step.load_(pruned_ticket(model))
    return step


def plain_batches(n, size):
    """Batches of the first n examples in their order, neither shifted nor flipped."""
    return [torch.stack([part, *torch.zeros(3, len(part), dtype=torch.int64)]) for part in torch.arange(n).split(size)]


def torchs_own(parameters, recipe):
    """torch's optimiser as it comes: one loop over the parameters."""
    decay = {"weight_decay": recipe.weight_decay, "foreach": False}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, recipe.lr, betas=(recipe.momentum, 0.999), **decay)
    return torch.optim.SGD(parameters, recipe.lr, recipe.momentum, nesterov=recipe.nesterov, **decay)


@every_recipe
@both_layouts
def test_steps_equal_those_of_torchs_optimiser_and_loss(images, recipe, layout):
    """On the dense network, in both memory layouts: fused optimisers on a CPU ignore strides."""
    torch.manual_seed(1)
    twin = Tiny()
    model, still = copy.deepcopy(twin).to(memory_format=layout), Images(images.images, images.labels)
    step, optimizer = Step(model, still, recipe), torchs_own(twin.parameters(), recipe)
    step.load_(Ticket({}, copy_weights(model)))
    step.begin_epoch_()
    for number, batch in enumerate(plain_batches(40, 8)):
        rate = recipe.lr_at(number // 2, number % 2, 2)
        step.lr.fill_(rate)
        step(batch)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        logits = twin(to_input(images.images[batch[0]]))
        F.cross_entropy(logits, images.labels[batch[0]], label_smoothing=recipe.label_smoothing).backward()
        optimizer.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=3e-5)
    names = [name for name in ("momentum_buffer", "exp_avg", "exp_avg_sq", "step") if name in step.optimizer.state[
        next(model.parameters())]]  # fmt: skip
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        for name in names if recipe.momentum else [name for name in names if name != "momentum_buffer"]:
            mine, its = step.optimizer.state[ours][name], optimizer.state[theirs][name]
            torch.testing.assert_close(mine, its, rtol=1e-2, atol=1e-5)


@every_recipe
@both_layouts
def test_zeroing_after_the_step_gives_the_bits_of_masked_gradients(images, recipe, layout):
    """The same steps without zeroing, on gradients that are zeroed where weights are dropped."""
    torch.manual_seed(1)
    model = Tiny().to(memory_format=layout)
    twin = copy.deepcopy(model)
    step, masked = step_of(model, images, recipe), step_of(twin, images, recipe)
    for name, kept in masked.kept.items():
        twin.get_parameter(name).register_hook(lambda gradient, kept=kept: gradient * kept)
    masked.apply_mask_ = lambda: None
    losses = [[epoch.loss for epoch in fit(each, torch.arange(30), recipe, seed=1)] for each in (step, masked)]
    assert losses[0] == losses[1] and equal_weights(copy_weights(model), copy_weights(twin))
    assert not equal_weights(copy_weights(model), copy_weights(Tiny()))
    assert all((model.get_parameter(name)[~layer] == 0).all() for name, layer in step.mask.items())


@every_recipe
def test_a_step_that_is_loaded_again_equals_a_new_one(tiny, images, recipe):
    """Nothing of a round's optimiser is left for the next, and its buffers are the same ones."""
    ticket, fresh = pruned_ticket(tiny), copy.deepcopy(tiny)
    step = step_of(tiny, images, recipe)
    where = [buffer.data_ptr() for buffer in step.momentum()]
    list(fit(step, torch.arange(30), recipe, seed=9))
    assert any(buffer.any() for buffer in step.momentum()) == bool(recipe.momentum or recipe.optimizer == "adam")
    step.load_(ticket)
    assert not any(buffer.any() for buffer in step.momentum())
    assert where == [buffer.data_ptr() for buffer in step.momentum()]
    again, new = (
        [epoch.loss for epoch in fit(each, torch.arange(30), recipe, seed=1)]
        for each in (step, step_of(fresh, images, recipe))
    )
    assert again == new and equal_weights(copy_weights(tiny), copy_weights(fresh))


@every_recipe
def test_a_training_goes_on_from_what_was_saved(images, recipe):
    """Weights and state, contiguous as in a file, into channels-last buffers: the bits of an unbroken training."""
    torch.manual_seed(1)
    model = Tiny().to(memory_format=torch.channels_last)
    twin = copy.deepcopy(model)
    whole = [epoch.loss for epoch in fit(step_of(model, images, recipe), torch.arange(30), recipe, seed=1)]
    first = step_of(twin, images, recipe)
    list(islice(fit(first, torch.arange(30), recipe, seed=1), 1))
    saved = [buffer.clone(memory_format=torch.contiguous_format) for buffer in first.momentum()]
    later = Step(copy.deepcopy(twin), images, recipe)
    later.load_(Ticket(first.mask, copy_weights(twin)))
    later.load_momentum_(saved)
    rest = [epoch.loss for epoch in fit(later, torch.arange(30), recipe, seed=1, done=4)]
    assert rest == whole[1:] and equal_weights(copy_weights(later.model), copy_weights(model))


def test_the_state_is_zeroed_but_for_second_moments_on_request(tiny):
    parameters = list(tiny.parameters())
    optimizer = build_optimizer(parameters, torch.tensor(0.1), ADAM)
    reset_(optimizer, 0.25)
    first, second, steps = optimizer_state(optimizer)
    assert not any(buffer.any() for buffer in (*first, *steps)) and all((buffer == 0.25).all() for buffer in second)
    assert [buffer.shape for buffer in second] == [parameter.shape for parameter in parameters]
    assert {buffer.shape for buffer in steps} == {torch.Size([])}


def test_label_smoothing_is_of_the_training_loss_alone(tiny, images):
    """The loss that is logged is that which is minimised; who is right, in training and evaluation, is as without."""
    still, twin = Images(images.images, images.labels), copy.deepcopy(tiny)
    found = {}
    for smoothing, model in ((0.0, tiny), (0.3, twin)):
        recipe = Recipe(epochs=1, milestones=(), lr=1e-30, batch_size=40, label_smoothing=smoothing)
        step = Step(model, still, recipe)
        step.load_(Ticket(pruner.dense(model), copy_weights(model)))
        (epoch,) = fit(step, torch.arange(40), recipe, seed=0)
        found[smoothing] = epoch, Evaluator(model).accuracy(still)
    (plain, accuracy), (smoothed, same) = found.values()
    assert torch.equal(plain.right, smoothed.right) and accuracy == same
    tiny.train()
    logits = tiny(to_input(still.images))
    uniform = -logits.log_softmax(1).mean().item()  # the cross entropy of a target that is even over the classes
    assert smoothed.loss == pytest.approx(0.7 * plain.loss + 0.3 * uniform, rel=1e-5) != plain.loss
