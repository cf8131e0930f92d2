"""One run: schedules, batches, the step, and fit, each against an independent way to the same."""

import copy
import itertools
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune as torch_prune
from torch import nn

import pruner
from dataset import augment, draw_epoch, to_input, visits
from lottery.training.evaluation import Evaluator
from lottery.training.loop import fit
from lottery.training.recipe import Recipe, batches, steps_per_epoch
from lottery.training.step import Step, copy_weights, load_weights_
from pruner import Ticket
from tests.helpers import Tiny, needs_cuda, pruned_ticket

RECIPE = Recipe(epochs=5, milestones=(2, 4), warmup=1, lr=0.05, batch_size=8)


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_learning_rate_equals_torchs_schedulers():
    """Warm-up then steps, against torch's LinearLR and MultiStepLR; their epochs are our steps here."""
    recipe, steps = Recipe(epochs=6, milestones=(3, 5), warmup=2, lr=0.2), 4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 8, 1, total_iters=7)
    drops = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3 * steps, 5 * steps])
    for epoch, step in itertools.product(range(6), range(steps)):
        assert recipe.lr_at(epoch, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step(), warm.step(), drops.step()


def test_scaling_truncates_and_keeps_milestones_apart():
    paper = Recipe()
    assert paper.scaled(45_000, 45_000) == paper
    half = paper.scaled(24_168, 45_000)
    assert (half.epochs, half.milestones) == (97, (48, 73))
    tiny = paper.scaled(1, 45_000)
    assert (tiny.epochs, tiny.milestones, tiny.warmup) == (1, (1, 2), 0)
    assert Recipe(warmup=15).scaled(1, 2).warmup == 7
    for part in range(1, 1000, 7):
        scaled = paper.scaled(part, 1000)
        assert scaled.epochs == max(1, 182 * part // 1000)
        assert all(0 < a < b for a, b in itertools.pairwise(scaled.milestones))


@pytest.mark.parametrize("n", [2, 7, 8, 9, 16, 17, 25, 33, 100])
def test_batches_cover_every_example_once_and_none_has_one(n):
    plan = batches(n, 8)
    assert [i for batch in plan for i in range(n)[batch]] == list(range(n))
    assert all(batch.stop - batch.start >= 2 for batch in plan)
    assert steps_per_epoch(n, 8) == len(plan) == (n // 8 if n % 8 == 1 else -(-n // 8))


# --- the step ---------------------------------------------------------------------------------------------------------


def plain_losses(model, mask, data, indices, recipe, seed):
    """The usual way: torch's pruning, a fresh for-loop optimiser, the learning rate set by hand; loss of each step."""
    for name, layer in mask.items():
        torch_prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", layer)
    more = {"weight_decay": recipe.weight_decay, "foreach": False}
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), recipe.lr, (recipe.momentum, 0.999), **more)
    else:
        optimizer = torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, nesterov=recipe.nesterov, **more)
    losses, plan = [], batches(len(indices), recipe.batch_size)
    model.train()
    for epoch in range(recipe.epochs):
        draws = draw_epoch(len(indices), data.padding, data.flips, (seed, 0, epoch))
        for step, batch in enumerate(plan):
            chosen = indices[draws.order[batch]]
            images = augment(data.images[chosen], draws.top[batch], draws.left[batch], draws.flip[batch], data.padding)
            optimizer.param_groups[0]["lr"] = recipe.lr_at(epoch, step, len(plan))
            pixels = to_input(images).to(next(model.parameters()).dtype)
            loss = F.cross_entropy(model(pixels), data.labels[chosen], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, nesterov=True, schedule="cosine", label_smoothing=0.2),
        replace(RECIPE, optimizer="adam", lr=0.003, weight_decay=0.01, schedule="linear"),
        replace(RECIPE, optimizer="adam", lr=0.003, momentum=0.5, gamma=0.3, label_smoothing=0.1),
    ],
    ids=["sgd", "nesterov", "adam", "adam with smoothing"],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_zeroing_after_the_step_equals_masked_gradients(tiny, images, memory_format, recipe):
    """Against torch.nn.utils.prune, which masks in the forward pass and so masks gradients, and against torch's
    optimisers without fusing."""
    twin, ticket = copy.deepcopy(tiny), pruned_ticket(tiny)
    tiny.to(memory_format=memory_format)
    indices = torch.arange(30)
    step = Step(tiny, images, recipe)
    step.load_(ticket)
    ours = [epoch.loss for epoch in fit(step, indices, recipe, seed=1)]
    theirs = torch.tensor(plain_losses(twin, ticket.mask, images, indices, recipe, 1), dtype=torch.float64).view(5, -1)
    sizes = torch.tensor([batch.stop - batch.start for batch in batches(30, 8)], dtype=torch.float64)
    # Adam divides by the size of a gradient, so that rounding errors of small ones are as large as others: the weights
    # have moved by up to 0.04 in the end.
    of_losses, of_weights = (1e-3, 5e-4) if recipe.optimizer == "adam" else (1e-4, 1e-5)
    assert ours == pytest.approx(((theirs * sizes).sum(1) / 30).tolist(), rel=of_losses)
    for name, value in tiny.state_dict().items():
        module, _, leaf = name.rpartition(".")
        other = getattr(twin.get_submodule(module), leaf)
        torch.testing.assert_close(value, other, rtol=1e-3, atol=of_weights)


def test_the_step_is_as_close_to_float64_as_a_straightforward_one(images):
    """channels_last and fused SGD round elsewhere, not more: the losses of 20 steps, summed over eight networks."""
    recipe, apart = Recipe(epochs=5, milestones=(2, 4), lr=0.05, batch_size=8), torch.zeros(2, dtype=torch.float64)
    for seed in range(8):
        torch.manual_seed(seed)
        network = Tiny()
        ticket = pruned_ticket(network)
        exact = copy.deepcopy(network).double()
        step = Step(copy.deepcopy(network).to(memory_format=torch.channels_last), images, recipe)
        step.load_(ticket)
        ours, plan = [], batches(30, 8)
        for epoch in range(recipe.epochs):
            drawn = visits(torch.arange(30), draw_epoch(30, images.padding, images.flips, (seed, 0, epoch)))
            step.model.train()
            for number, batch in enumerate(plan):
                step.lr.fill_(recipe.lr_at(epoch, number, len(plan)))
                step.loss_sum.zero_()
                step(drawn[:, batch])
                ours.append(step.loss_sum.item() / drawn[:, batch].shape[1])
        plain = plain_losses(network, ticket.mask, images, torch.arange(30), recipe, seed)
        true = torch.tensor(plain_losses(exact, ticket.mask, images, torch.arange(30), recipe, seed))
        apart += torch.stack([(torch.tensor(found) - true).abs().sum() for found in (ours, plain)])
    assert 0 < apart[0] <= 2 * apart[1]


def test_dropped_weights_are_exactly_zero_after_every_step(tiny, images):
    ticket = pruned_ticket(tiny)
    step = Step(tiny, images, RECIPE)
    step.load_(ticket)
    batch = visits(torch.arange(8), draw_epoch(8, 1, True, (0, 0, 0)))
    for _ in range(3):
        step(batch)
        for name, layer in ticket.mask.items():
            assert (tiny.get_parameter(name)[~layer] == 0).all() and (tiny.get_parameter(name)[layer] != 0).any()


def test_a_mask_may_name_any_parameter(tiny, images):
    ticket = Ticket({"fc.weight": torch.tensor([[True] * 3 + [False] * 3] * 3), "bn1.weight": torch.arange(4) > 1},
                    copy_weights(tiny))  # fmt: skip
    step = Step(tiny, images, RECIPE)
    step.load_(ticket)
    list(fit(step, torch.arange(30), RECIPE, seed=0))
    assert (tiny.fc.weight[:, 3:] == 0).all() and (tiny.bn1.weight[:2] == 0).all()


def test_a_step_that_is_loaded_again_equals_a_new_one(tiny, images):
    """Zeroed momentum is a fresh optimiser: a round leaves nothing behind for the next."""
    ticket, indices = pruned_ticket(tiny), torch.arange(30)
    used, fresh = copy.deepcopy(tiny), copy.deepcopy(tiny)
    step = Step(used, images, RECIPE)
    step.load_(ticket)
    list(fit(step, indices, RECIPE, seed=9))
    losses = []
    for again in (step, Step(fresh, images, RECIPE)):
        again.load_(ticket)
        losses.append([epoch.loss for epoch in fit(again, indices, RECIPE, seed=1)])
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(used.parameters(), fresh.parameters(), strict=True))


def test_a_new_ticket_is_written_into_the_same_buffers(tiny, images):
    """So that a captured step stays valid over rounds; and the ticket given is not changed by the next."""
    step, first, second = Step(tiny, images, RECIPE), pruned_ticket(tiny, 0.2), pruned_ticket(tiny, 0.5)
    kept = pruner.count(first.mask)
    where = []
    for ticket in (first, second):
        step.load_(ticket)
        buffers = [*step.parameters.values(), *step.momentum(), *step.kept.values(), step.lr]
        where.append([buffer.data_ptr() for buffer in buffers])
    assert where[0] == where[1]
    assert pruner.same(step.mask, second.mask) and pruner.count(first.mask) == kept


def test_loading_contiguous_momentum_into_channels_last_buffers(tiny, images):
    """Fused SGD on a CPU ignores strides: momentum from a file must be laid out like the weight it belongs to."""
    twins = [copy.deepcopy(tiny), copy.deepcopy(tiny).to(memory_format=torch.channels_last)]
    ticket, momentum = pruned_ticket(tiny), [torch.randn_like(p) for p in tiny.parameters()]
    for twin in twins:
        step = Step(twin, images, RECIPE)
        step.load_(ticket)
        step.load_momentum_([value.contiguous() for value in momentum])
        list(islice(fit(step, torch.arange(30), RECIPE, seed=0), 1))
    for a, b in zip(*(twin.parameters() for twin in twins), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


# --- fit --------------------------------------------------------------------------------------------------------------


def trained(model, images, recipe=RECIPE, **more):
    step = Step(model, images, recipe)
    step.load_(pruned_ticket(model))
    return list(fit(step, torch.arange(3, 33), recipe, seed=1, **more))


def test_right_is_aligned_with_the_indices(tiny, images):
    """Who was right, in an epoch whose learning rate is 0 and whose batch norm sees one whole batch each time."""
    frozen = Recipe(epochs=1, milestones=(), lr=0.0, batch_size=40)
    still = images.__class__(images.images, images.labels)  # no augmentation
    indices = torch.tensor([39, 2, 17, 5, 28, 30])
    step = Step(tiny, still, frozen)
    step.load_(Ticket(pruner.dense(tiny), copy_weights(tiny)))
    (epoch,) = fit(step, indices, frozen, seed=0)
    tiny.train()
    expected = tiny(to_input(still.images[indices])).argmax(1) == still.labels[indices]
    assert epoch.right.tolist() == expected.tolist()


def test_snapshots_are_the_weights_after_that_many_steps(images):
    """One in mid-epoch equals a run that ends there; one at an epoch's end equals the model then."""
    torch.manual_seed(3)
    first = Tiny()
    second = copy.deepcopy(first)
    epochs = trained(first, images, snapshot_at={6, 8})
    assert [sorted(epoch.snapshots) for epoch in epochs] == [[], [6, 8], [], [], []]
    step = Step(second, images, RECIPE)
    step.load_(pruned_ticket(second))
    list(islice(fit(step, torch.arange(3, 33), RECIPE, seed=1), 2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in epochs[1].snapshots[8].items())
    assert any(not torch.equal(value, epochs[1].snapshots[8][name]) for name, value in epochs[1].snapshots[6].items())


def test_starting_later_runs_the_rest_of_the_same_schedule(tiny, images):
    twin = copy.deepcopy(tiny)
    whole = trained(tiny, images)
    rest = trained(twin, images, done=3 * 4)
    assert [epoch.number for epoch in rest] == [3, 4]
    assert [epoch.lr for epoch in rest] == [epoch.lr for epoch in whole[3:]]


def test_beginning_in_mid_epoch_is_going_on_from_there(tiny, images):
    """Without momentum, which a snapshot does not hold, weights, learning rates and examples are the same."""
    recipe, twin = replace(RECIPE, momentum=0.0), copy.deepcopy(tiny)
    whole = trained(tiny, images, recipe, snapshot_at={6})
    step = Step(twin, images, recipe)
    step.load_(pruned_ticket(twin)._replace(weights=whole[1].snapshots[6]))
    rest = list(fit(step, torch.arange(3, 33), recipe, seed=1, done=6))
    assert [(epoch.number, epoch.steps, epoch.lr) for epoch in rest] == [
        (epoch.number, 2 if epoch.number == 1 else 4, epoch.lr) for epoch in whole[1:]
    ]
    assert all(torch.equal(value, tiny.state_dict()[name]) for name, value in twin.state_dict().items())
    assert [epoch.loss for epoch in rest[1:]] == [epoch.loss for epoch in whole[2:]]
    right = dict(zip(whole[1].examples.tolist(), whole[1].right.tolist(), strict=True))
    assert len(rest[0].examples) == 30 - 2 * 8 and len(set(rest[0].examples.tolist())) == 14
    assert [right[example] for example in rest[0].examples.tolist()] == rest[0].right.tolist()


def test_seed_round_and_epoch_decide_everything(images):
    losses = {}
    for key in [(1, 0), (1, 0), (1, 1), (2, 0)]:
        torch.manual_seed(3)
        model = Tiny()
        step = Step(model, images, RECIPE)
        step.load_(Ticket(pruner.dense(model), copy_weights(model)))
        torch.rand(7)  # nothing may depend on the global generator
        found = [epoch.loss for epoch in fit(step, torch.arange(30), RECIPE, seed=key[0], round=key[1])]
        assert losses.setdefault(key, found) == found
    assert len({tuple(value) for value in losses.values()}) == 3


def test_dropout_too_is_a_function_of_seed_round_and_epoch(tiny, images):
    """A resumed run has no generator state, and must draw the same."""
    network = nn.Sequential(tiny, nn.Dropout(0.5))
    twin = copy.deepcopy(network)
    whole = trained(network, images)
    torch.rand(3)
    step = Step(twin, images, RECIPE)
    step.load_(pruned_ticket(twin))
    broken = list(islice(fit(step, torch.arange(3, 33), RECIPE, seed=1), 2))
    weights, momentum = copy_weights(twin), [value.clone() for value in step.momentum()]
    step.load_(Ticket(step.mask, weights))
    step.load_momentum_(momentum)
    torch.rand(5)
    broken += list(fit(step, torch.arange(3, 33), RECIPE, seed=1, done=2 * 4))
    assert [epoch.loss for epoch in broken] == [epoch.loss for epoch in whole]


def test_frozen_parameters_stay_as_they_are(tiny, images):
    """Weight decay must not shrink what has no gradient."""
    tiny.fc.weight.requires_grad_(False)
    before = tiny.fc.weight.clone()
    trained(tiny, images)
    assert torch.equal(tiny.fc.weight, before)


# --- predictions ------------------------------------------------------------------------------------------------------


def test_predictions_do_not_depend_on_batches_or_touch_the_model(tiny, images):
    before = copy_weights(tiny)
    many = images.__class__(images.images.repeat(7, 1, 1, 1), images.labels.repeat(7))
    indices = torch.randperm(280, generator=torch.Generator().manual_seed(0))
    tiny.eval()
    expected = torch.stack([tiny(to_input(many.images[i : i + 1])).argmax(1)[0] for i in indices.tolist()])
    evaluator = Evaluator(tiny)
    assert torch.equal(evaluator(many, indices), expected)
    assert all(torch.equal(value, tiny.state_dict()[name]) for name, value in before.items())
    right = (expected == many.labels[indices]).double().mean().item()
    assert evaluator.accuracy(many, indices) == pytest.approx(100 * right)


def test_weights_that_do_not_fit_are_refused(tiny):
    with pytest.raises(KeyError, match="fc"):
        load_weights_(tiny, {name: value for name, value in copy_weights(tiny).items() if not name.startswith("fc")})


# --- on a GPU, where there is one -------------------------------------------------------------------------------------


@needs_cuda
def test_a_gpu_trains_as_the_cpu_does(tiny, images):
    from dataset import Images

    twin = copy.deepcopy(tiny)
    on_gpu = Images(images.images.cuda(), images.labels.cuda(), images.padding, images.flips)
    losses = []
    for model, data in ((tiny, images), (twin.cuda().to(memory_format=torch.channels_last), on_gpu)):
        step = Step(model, data, RECIPE)
        step.load_(pruned_ticket(model))
        indices = torch.arange(30, device=data.images.device)
        losses.append([epoch.loss for epoch in fit(step, indices, RECIPE, seed=1)])
        for name, layer in step.mask.items():
            assert (model.get_parameter(name)[~layer] == 0).all()
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
