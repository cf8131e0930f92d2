"""SET, RigL, AC/DC and DPF, change by change, against slow and literal versions of their papers' rules."""

import copy
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from dataset import augment, draw_epoch, to_input, visits
from lottery.sparse_training.alternating_compression import AlternatingCompression
from lottery.sparse_training.config import SparseTrainingConfig
from lottery.sparse_training.drop_and_grow import GradientGrowth, RandomGrowth, drop_by_sign, random_mask
from lottery.sparse_training.pruning_with_feedback import PruningWithFeedback
from lottery.sparse_training.schedule import UpdateSchedule, cosine, update_schedule
from lottery.tickets.layer_quotas import DISTRIBUTIONS
from lottery.training.config import TrainingConfig
from lottery.training.loop import fit
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step, copy_weights
from pruner import Ticket, count, dense, random_scores, size
from utils import RandomStream, generator

RECIPE = Recipe(epochs=5, milestones=(4,), lr=0.05, batch_size=8, weight_decay=0.01)  # 20 steps on 30 images
SCHEDULE = UpdateSchedule(0, 15, 3)
SEED = 4


def sparse_start(model, kept=0.3):
    mask = dense(model)
    return random_mask(mask, round(kept * size(mask)), DISTRIBUTIONS["erk"], SEED)


UPDATES = {
    "SET": lambda mask: RandomGrowth(SCHEDULE, 0.4, "magnitude", SEED),
    "SET by sign": lambda mask: RandomGrowth(SCHEDULE, 0.4, "sign", SEED),
    "RigL": lambda mask: GradientGrowth(SCHEDULE, 0.4, "magnitude", SEED),
    "AC/DC": lambda mask: AlternatingCompression(SCHEDULE, 0.2, mask),
    "DPF": lambda mask: PruningWithFeedback(SCHEDULE, 0.2, mask),
}
MOVING = ("SET", "SET by sign", "RigL")


def recorded(updates):
    """The updates, which keep what the step held before and after each change."""
    updates.seen, change_ = [], updates.change_

    def remembering(step, done, batch):
        before = state(step), copy.deepcopy(step.model), batch
        instead = change_(step, done, batch)
        updates.seen.append((done, *before, state(step)))
        return instead

    updates.change_ = remembering
    return updates


def state(step):
    """Mask, weights and the optimiser's numbers of each weight."""
    weights = {name: step.parameters[name].detach().clone() for name in step.kept}
    moments = {name: step.optimizer.state[step.parameters[name]] for name in step.kept}
    numbers = {
        name: [value.clone() for value in kinds.values() if value.shape == weights[name].shape]
        for name, kinds in moments.items()
    }
    return step.mask, weights, numbers


def train(method, model, images, recipe=RECIPE, **more):
    step = Step(model, images, recipe)
    mask = sparse_start(model) if method in MOVING else dense(model)
    step.load_(Ticket(mask, copy_weights(model)))
    updates = recorded(UPDATES[method](mask))
    updates.begin_(step)
    list(fit(step, torch.arange(30), recipe, seed=1, updates=updates, **more))
    return step, updates


@pytest.fixture(params=["sgd", "adam"])
def recipe(request):
    return replace(RECIPE, optimizer=request.param, lr=0.05 if request.param == "sgd" else 0.01)


# --- literal rules ----------------------------------------------------------------------------------------------------


def alpha(done):
    """alpha / 2 (1 + cos(pi t / T_end)) of the RigL paper."""
    return 0.4 / 2 * (1 + math.cos(done * math.pi / 15))


def smallest(places, weights, share):
    """So many of the places, those of smallest |w|."""
    return set(sorted(places, key=lambda place: abs(weights[place]))[: int(share * len(places))])


def literally_moved(method, done, layer, weights, growth):
    """The places that a layer keeps after a change: a set of numbers in row-major order."""
    kept = {place for place, keep in enumerate(layer) if keep}
    if method == "SET by sign":
        positive = {place for place in kept if weights[place] >= 0}
        dropped = smallest(positive, weights, alpha(done)) | smallest(kept - positive, weights, alpha(done))
    else:
        dropped = smallest(kept, weights, alpha(done))
    others = set(range(len(layer))) - (kept - dropped)
    return kept - dropped | set(sorted(others, key=lambda place: growth[place])[-len(dropped) :] if dropped else ())


def gradients(model, images, batch):
    """Those of the loss on a batch at the weights of the model, for all weights, by another way than the step's."""
    index, top, left, flip = batch
    pixels = augment(images.images[index], top, left, flip.bool(), images.padding)
    model = model.train()
    loss = F.cross_entropy(model(to_input(pixels)), images.labels[index])
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def growth_scores(method, done, mask, model, images, batch):
    if method == "RigL":
        return {name: value.abs() for name, value in gradients(model, images, batch).items()}
    return random_scores(mask, generator(SEED, epoch=done, purpose=RandomStream.GROWN_WEIGHTS))


@pytest.mark.parametrize("method", MOVING)
def test_weights_move_as_the_papers_say(method, tiny, images, recipe):
    step, updates = train(method, tiny, images, recipe)
    initial, explored = sparse_start(tiny), sparse_start(tiny)
    assert [done for done, *_ in updates.seen] == [0, 3, 6, 9, 12]  # at 15 nothing would be dropped
    for (done, (mask, weights, _), model, batch, (after, new, numbers)), record in zip(
        updates.seen, updates.records, strict=True
    ):
        growth = growth_scores(method, done, mask, model, images, batch)
        for name, layer in mask.items():
            flat = [tensor.reshape(-1).tolist() for tensor in (layer, weights[name], growth[name])]
            expected = literally_moved(method, done, *flat)
            assert {place for place, keep in enumerate(after[name].reshape(-1).tolist()) if keep} == expected
            come = after[name] & ~layer
            assert (new[name][come] == 0).all() and all((value[come] == 0).all() for value in numbers[name])
            assert torch.equal(new[name][after[name] & layer], weights[name][after[name] & layer])
            assert int(after[name].sum()) == int(initial[name].sum()) == record["layers"][name]
        explored = {name: layer | after[name] for name, layer in explored.items()}
        assert record["explored"] == count(explored) / size(explored)
        moved = sum(int((after[name] & ~layer).sum()) for name, layer in mask.items())
        assert record["grown"] == record["dropped"] == moved and (done > 9 or moved > 0)
    assert updates.settled and step.mask.keys() == initial.keys()


def test_a_change_of_rigl_takes_the_place_of_a_step_and_one_of_set_does_not(tiny, images):
    for method, steps in (("RigL", 15), ("SET", 20)):
        step = Step(copy.deepcopy(tiny), images, replace(RECIPE, optimizer="adam"))
        step.load_(Ticket(sparse_start(tiny), copy_weights(tiny)))
        updates = UPDATES[method](None)
        updates.begin_(step)
        epochs = list(fit(step, torch.arange(30), RECIPE, seed=1, updates=updates))
        assert {int(buffer) for buffer in step.momentum()[-2:]} == {steps}, "Adam counts them"
        assert all(len(epoch.examples) == 30 and 0 < epoch.loss < 5 for epoch in epochs), "all batches are recorded"
        assert updates.dense_gradient_examples(150) == (4 * 8 + 6 if method == "RigL" else 0)


def test_acdc_compresses_and_restores_in_turn(tiny, images, recipe):
    """Changes 0, 2, 4 compress, 1 and 3 restore, and the last one, which is number 5, compresses."""
    _, updates = train("AC/DC", tiny, images, recipe)
    whole, kept = dense(tiny), round(0.2 * size(dense(tiny)))
    assert [done for done, *_ in updates.seen] == [0, 3, 6, 9, 12, 15]
    for (_, (mask, weights, _), _, _, (after, new, numbers)), compressed in zip(
        updates.seen, [True, False, True, False, True, True], strict=True
    ):
        assert count(after) == (kept if compressed else size(whole))
        values = sorted((abs(value) for name in mask for value in weights[name][mask[name]].tolist()), reverse=True)
        for name, layer in after.items():
            if compressed:
                assert torch.equal(layer, mask[name] & (weights[name].abs() >= values[kept - 1]))
            come = layer & ~mask[name]
            assert (new[name][come] == 0).all() and all((value[come] == 0).all() for value in numbers[name])
            assert torch.equal(new[name], weights[name].where(layer & mask[name], 0))
    assert updates.records[4]["dropped"] > 0 == updates.records[5]["dropped"]
    assert updates.records[1]["grown"] == size(whole) - kept


def test_dpf_is_sgd_on_dense_weights_by_the_gradient_at_the_sparse_network(tiny, images):
    """w <- w - lr v, v <- mu v + g(m w) + decay w, m by |w| every 3 steps: dense weights, masks and momentum."""
    recipe, twin = replace(RECIPE, milestones=()), copy.deepcopy(tiny)
    step, updates = train("DPF", tiny, images, recipe)
    weights = {name: value.detach().clone() for name, value in twin.named_parameters()}
    speed = {name: torch.zeros_like(value) for name, value in weights.items()}
    mask, whole = dense(twin), size(dense(twin))
    for done in range(20):
        number, place = divmod(done, 4)
        if number * 4 + place in (0, 3, 6, 9, 12, 15):
            left = max(0.0, 1 - done / 15)
            kept = round((0.2 + 0.8 * left**3) * whole)
            ranked = sorted((abs(value) for name in mask for value in weights[name].reshape(-1).tolist()), reverse=True)
            mask = {name: weights[name].abs() >= ranked[kept - 1] for name in mask}
            found = next(after for at, *_, (after, _, _) in updates.seen if at == done)
            assert all(torch.equal(found[name], layer) for name, layer in mask.items()), f"after {done} steps"
        with torch.no_grad():
            for name, value in twin.named_parameters():
                value.copy_(weights[name] * mask.get(name, 1))
        drawn = visits(torch.arange(30), draw_epoch(30, images.padding, images.flips, (1, 0, number)))
        gradient = gradients(twin, images, drawn[:, batches(30, 8)[place]])
        for name, value in weights.items():
            speed[name] = 0.9 * speed[name] + gradient[name] + 0.01 * value
            weights[name] = value - 0.05 * speed[name]
    found = step.dropped.dense()
    assert all(torch.allclose(found[name], weights[name], atol=1e-6) for name in mask)
    assert all(torch.equal(step.parameters[name] != 0, mask[name]) for name in mask), "the network is sparse"
    assert any(record["grown"] for record in updates.records), "some weight came back"


@pytest.mark.parametrize("method", UPDATES)
def test_between_changes_it_is_plain_masked_training_to_the_bit(method, tiny, images, recipe):
    """From the last change on, with the weights and the momentum that were there."""
    plain = Step(copy.deepcopy(tiny), images, recipe)
    updates, last = UPDATES[method](dense(tiny)), 12 if method in MOVING else 15
    before_step_ = updates.before_step_

    def beside(step, done, batch):
        instead = before_step_(step, done, batch)
        if done == last:
            plain.load_(Ticket(step.mask, copy_weights(step.model)))
            plain.load_momentum_(step.momentum())
        if done >= last and not instead:
            plain.lr.copy_(step.lr)
            plain.model.train()
            plain(batch)
        return instead

    updates.before_step_ = beside
    step = Step(tiny, images, recipe)
    step.load_(Ticket(sparse_start(tiny) if method in MOVING else dense(tiny), copy_weights(tiny)))
    updates.begin_(step)
    list(fit(step, torch.arange(30), recipe, seed=1, updates=updates))
    found, expected = copy_weights(step.model), copy_weights(plain.model)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


# --- parts ------------------------------------------------------------------------------------------------------------


def test_dropping_by_sign_by_hand():
    mask = {"a": torch.tensor([True] * 7 + [False])}
    weights = {"a": torch.tensor([3.0, 1.0, -1.0, -4.0, 0.5, -2.0, -0.1, 0.0])}
    assert drop_by_sign(mask, weights, 0.5)["a"].tolist() == [True, True, False, True, False, True, False, False]


@pytest.mark.parametrize("distribution, per_layer", [("uniform", [9, 54]), ("erk", [26, 37])])
def test_a_random_start_has_the_quotas_of_its_layers(distribution, per_layer, tiny):
    """Of 36 weights of 1 x 4 x 3 x 3 and 216 of 4 x 6 x 3 x 3: by ERK 63 x 11 / 27 and 63 x 16 / 27, rounded."""
    mask = random_mask(dense(tiny), 63, DISTRIBUTIONS[distribution], SEED)
    assert [int(layer.sum()) for layer in mask.values()] == per_layer


def test_the_fraction_falls_to_zero_along_a_cosine():
    assert [cosine(0.3, t, 100) for t in (0, 50, 100)] == pytest.approx([0.3, 0.15, 0.0])


def config(method, **changes):
    return SparseTrainingConfig(TrainingConfig(run=None), method=method, **changes)


def test_schedules_go_with_the_length_of_the_training():
    """AC/DC's of the authors' CIFAR-10 runs: of 200 epochs sparse from 10, 50, 90, 130, 170, dense from 30, 70, ..."""
    acdc = update_schedule(config("acdc"), 200)
    assert acdc.steps() == [10, 30, 50, 70, 90, 110, 130, 150, 170]
    updates = AlternatingCompression(acdc, 0.1, {"a": torch.ones(10, dtype=torch.bool)})
    assert [step for step in acdc.steps() if updates.compresses(step)] == [10, 50, 90, 130, 170]
    rigl = update_schedule(config("rigl"), 97_656)
    assert (rigl.first, rigl.last, rigl.every) == (0, 75_195, 977)
    assert [update_schedule(config("rigl"), steps).every for steps in (60, 820, 2460, 25_320)] == [10, 82, 100, 253]
    assert update_schedule(config("dpf"), 60).every == 16
    assert update_schedule(config("rigl", update_every=100), 97_656).before_last().steps()[-1] == 75_100
    short = update_schedule(config("set"), 4).before_last()
    assert short.steps() == [0]


@pytest.mark.parametrize(
    "steps, rewinding, dense_phases",
    [
        (640, 94, [(158, 222), (286, 350), (414, 478)]),  # the next would begin 2 steps before the last change, of 544
        (640, 62, [(126, 190), (254, 318), (382, 446), (510, 544)]),  # the last one has more than half of 64 steps
        (55, 0, [(9, 15), (21, 27), (33, 39)]),  # of 5.5 steps, rounded to 6
    ],
)
def test_no_dense_phase_of_acdc_ends_as_soon_as_it_began(steps, rewinding, dense_phases):
    schedule = update_schedule(config("acdc"), steps, rewinding)
    updates = AlternatingCompression(schedule, 0.1, {"a": torch.ones(10, dtype=torch.bool)})
    changes = schedule.steps()
    begin_dense = [not updates.compresses(step) for step in changes]
    assert [pair for pair, dense in zip(pairwise(changes), begin_dense, strict=False) if dense] == dense_phases
    assert updates.compresses(changes[-1])


def test_settings_that_are_not_given_are_the_methods_own():
    assert (config("rigl").distribution, config("rigl").drop_fraction, config("rigl").drop) == ("erk", 0.3, None)
    assert (config("gmp").distribution, config("gmp").update_from) == (None, 0.2)
    assert config("static").update_from is None and config("set", drop="sign").drop == "sign"
