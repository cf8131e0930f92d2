"""Batches in shards, by one process: what they give is what a batch gives, but for batch norm and rounding."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from dataset import Images, to_input
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.shards import changed, check_same, checksums, cut, join_parts, own_places
from lottery.training.step import Step, copy_weights
from pruner import Ticket, dense
from tests.helpers import equal_weights, pruned_ticket
from utils import InputError

RECIPE = Recipe(epochs=2, milestones=(), lr=0.05, batch_size=16)


class Plain(nn.Module):
    """Without batch norm, with a parameter that the loss does not depend on and buffers of many kinds."""

    def __init__(self):
        super().__init__()
        self.fc1, self.dropout, self.fc2 = nn.Linear(64, 12), nn.Dropout(0.0), nn.Linear(12, 3)
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("bounds", torch.tensor([-torch.inf, torch.inf, 0.1]))
        self.register_buffer("mean", torch.zeros(12, dtype=torch.float64))
        self.register_buffer("batches", torch.tensor(2**40))
        self.register_buffer("seen", torch.tensor(False))

    def forward(self, images):
        x = self.fc1(images.flatten(1))
        with torch.no_grad():
            self.mean.copy_(0.9 * self.mean + 0.1 * x.mean(0))
            self.batches += 1
            self.seen.fill_(True)
        return self.fc2(self.dropout(torch.relu(x)))


def trained(model, images, recipe=RECIPE, shards=1, n=35, seed=1):
    """A copy of the model after its training, and the epochs."""
    model = copy.deepcopy(model)
    step = Step(model, images, recipe, shards=shards)
    step.load_(Ticket(dense(model), copy_weights(model)))
    return model, list(fit(step, torch.arange(n), recipe, seed=seed))


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(value, b[name], atol=tolerance) for name, value in a.items())


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("b", [1, 2, 3, 5, 8, 17, 32, 33])
def test_a_batch_is_cut_as_evenly_as_can_be(shards, b):
    parts = cut(b, shards)
    real = [(places, share) for places, share in parts if share]
    assert len(parts) == shards and parts[len(real) :] == [(parts[0][0], 0.0)] * (shards - len(real))
    assert real[0][0].start == 0 and real[-1][0].stop == b
    assert all(one.stop == other.start for (one, _), (other, _) in pairwise(real))
    sizes = [places.stop - places.start for places, _ in real]
    assert max(sizes) - min(sizes) <= 1 and (min(sizes) >= 2 or len(sizes) == 1)
    assert [share * b for _, share in real] == pytest.approx(sizes)
    assert len(real) == shards or b < 2 * shards


@pytest.mark.parametrize("b", [1, 3, 5, 6, 16, 33])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_ranks_look_at_the_places_of_their_shards(monkeypatch, b, count):
    """Each place is some rank's, and at none does one look twice; where shards are missing, they are the first."""
    monkeypatch.setattr("lottery.ranks.count", lambda: count)
    found = []
    for rank in range(count):
        monkeypatch.setattr("lottery.ranks.rank", lambda number=rank: number)
        looked_at = [place for part in own_places(b, 8) for place in range(b)[part]]
        own = [set(range(b)[places]) for places, _ in cut(b, 8)[rank * 8 // count : (rank + 1) * 8 // count]]
        assert looked_at == sorted(set.union(*own))
        found.append(set(looked_at))
    assert set.union(*found) == set(range(b))


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adam", "lr": 0.002, "label_smoothing": 0.1}, {"batch_selection": "infobatch"}]
)
def test_shards_train_as_whole_batches_do_without_batch_norm(images, changes):
    """Of 35 examples, with a last batch of 3: shards of unequal sizes, and fewer of them."""
    torch.manual_seed(3)
    model, recipe = Plain(), replace(RECIPE, **changes)
    whole, epochs = trained(model, images, recipe)
    parts, same = trained(model, images, recipe, shards=4)
    assert close(dict(whole.named_parameters()), dict(parts.named_parameters()))
    assert [epoch.loss for epoch in same] == pytest.approx([epoch.loss for epoch in epochs], abs=1e-5)
    assert all(torch.equal(a.right, b.right) for a, b in zip(epochs, same, strict=True))
    assert torch.allclose(whole.mean, parts.mean) and torch.equal(whole.batches, parts.batches)
    assert parts.bounds.tolist() == model.bounds.tolist() and parts.seen and torch.equal(parts.unused, model.unused)


def test_batch_norm_normalises_each_shard_by_itself(tiny, images):
    """One step of two shards, against their losses computed apart; the running statistics are their mean."""
    still = Images(images.images, images.labels)
    step = Step(tiny, still, replace(RECIPE, momentum=0.0, weight_decay=0.0), shards=2)
    step.load_(Ticket(dense(tiny), copy_weights(tiny)))
    twins = [copy.deepcopy(tiny).train() for _ in range(2)]
    tiny.train()
    step(torch.stack([torch.arange(9), *torch.zeros(3, 9, dtype=torch.int64)]))
    for twin, places in zip(twins, (slice(0, 4), slice(4, 9)), strict=True):
        logits = twin(still.images[places].permute(0, 3, 1, 2) / 255)
        nn.functional.cross_entropy(logits, still.labels[places], reduction="sum").div(9).backward()
    for name, value in tiny.named_parameters():
        before, *gradients = (dict(model.named_parameters())[name] for model in (twins[0], *twins))
        expected = before - 0.05 * sum(gradient.grad for gradient in gradients)
        assert torch.allclose(value, expected, atol=1e-6), name
    first, second = (twin.bn1.running_var for twin in twins)
    assert torch.allclose(tiny.bn1.running_var, (4 * first + 5 * second) / 9)
    assert tiny.bn1.num_batches_tracked == 1


def test_each_shard_draws_by_a_seed_of_its_own(images):
    """The same in every run, and other draws in another shard, step, epoch or with another seed."""
    seen = []

    class Draws(Plain):
        def forward(self, images):
            seen.append(torch.rand(1).item())
            return super().forward(images)

    model = Draws()
    trained(model, images, shards=2, n=32)
    first, again, other = list(seen), trained(model, images, shards=2, n=32) and seen[len(seen) // 2 :], len(seen)
    assert first == again and len(set(first)) == 2 * 2 * 2
    trained(model, images, shards=2, n=32, seed=2)
    assert not set(seen[other:]) & set(first)


class LeavesOut(nn.Module):
    """Uses a layer at random, as stochastic depth does; `used` has for each forward pass whether it did."""

    def __init__(self):
        super().__init__()
        self.fc, self.used = nn.Linear(64, 3), []
        self.sometimes = nn.Linear(3, 3)

    def forward(self, images):
        x = self.fc(images.flatten(1))
        self.used.append(bool(torch.rand(()) < 0.5))
        return self.sometimes(x) if self.used[-1] else x


def test_a_layer_that_only_some_shards_use_is_trained_by_those(images):
    """Of two shards of eight images each gives half of the gradient of its own mean loss."""
    model = LeavesOut()
    step = Step(model, images, RECIPE, shards=2)
    visits = torch.stack([torch.arange(16), *[torch.zeros(16, dtype=torch.int64)] * 3])
    seen = set()
    for seed in range(12):
        model.used.clear()
        step.position = (seed, 0)
        step.differentiate(visits, model)
        used, found = list(model.used), copy_gradients(model.sometimes)
        seen.add(tuple(used))
        if not any(used):
            assert found is None
            continue
        expected = torch.zeros(3, 3)
        for part, uses in zip((slice(0, 8), slice(8, 16)), used, strict=True):
            if uses:
                logits = model.sometimes(model.fc(to_input(images.training_images(visits[:, part])).flatten(1)))
                loss = nn.functional.cross_entropy(logits, images.labels[visits[0, part]])
                expected += torch.autograd.grad(loss, model.sometimes.weight)[0] / 2
        assert torch.allclose(found, expected, atol=1e-6)
    assert {(True, False), (False, True), (False, False)} <= seen


def copy_gradients(layer):
    return None if layer.weight.grad is None else layer.weight.grad.clone()


def test_dropped_weights_stay_zero_and_momentum_goes_on(tiny, images):
    recipe = replace(RECIPE, epochs=3)
    step = Step(tiny, images, recipe, shards=4)
    ticket = pruned_ticket(tiny)
    step.load_(ticket)
    halves = []
    for epoch in fit(step, torch.arange(35), recipe, seed=1, snapshot_at={5}):
        halves += list(epoch.snapshots.values())
    assert all(not tiny.get_parameter(name)[~layer].any() for name, layer in ticket.mask.items())
    assert halves and all(buffer.any() for buffer in step.momentum())


def test_other_number_formats_are_refused(images):
    with pytest.raises(InputError, match=r"--shards 2 is for networks whose weights are float32, .* torch.float64"):
        Step(Plain().double(), images, RECIPE, shards=2)
    rotary = Plain()
    rotary.register_buffer("phases", torch.ones(2, dtype=torch.complex64))
    with pytest.raises(InputError, match=r"is for networks of real numbers, this one has a buffer of torch\.complex64"):
        Step(rotary, images, RECIPE, shards=2)


def test_a_checksum_sees_every_bit():
    tensors = [torch.zeros(5), torch.tensor(3), torch.tensor([True, False]), torch.ones(2, 3, dtype=torch.bfloat16).T]
    others = [torch.tensor([0.0, 0.0, -0.0, 0.0, 0.0]), torch.tensor(2), torch.tensor([True, True]), -tensors[3]]
    before = checksums(tensors)
    for place, other in enumerate(others):
        after = checksums([*tensors[:place], other, *tensors[place + 1 :]])
        assert (before != after).nonzero().flatten().tolist() == [place]
    check_same(tensors)  # one rank agrees with itself


def test_a_change_of_what_does_not_change_is_none():
    old = torch.tensor([torch.inf, -torch.inf, 1e30, 0.1])
    assert changed(old, old.clone(), 1 / 3, first=True).tolist() == [0, 0, 0, 0]
    count = torch.tensor(7)
    assert changed(count, count + 1, 0.5, first=True) == 1 and changed(count, count + 1, 0.5, first=False) == 0


def test_batches_are_joined_in_order(monkeypatch):
    """By as many ranks as one likes: each fills in its own, and knows their form even without any."""
    batches = list(torch.arange(10).split(4))
    expected = join_parts(batches, lambda own: [batch.double()[:, None] - 5 for batch in own])
    filled = []
    monkeypatch.setattr("lottery.ranks.maximum_", lambda bytes: filled.append(bytes.clone()))
    for number in range(4):
        monkeypatch.setattr("lottery.ranks.count", lambda: 4)
        monkeypatch.setattr("lottery.ranks.rank", lambda number=number: number)
        join_parts(batches, lambda own: [batch.double()[:, None] - 5 for batch in own])
    joined = torch.stack(filled).amax(0).view(torch.float64)
    assert equal_weights({"": expected}, {"": joined})
