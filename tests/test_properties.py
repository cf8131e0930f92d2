"""Laws of masks, splits, sets, the early stop and schedules, for whatever numbers hypothesis can think of.

The examples are the same in every run (derandomized), so that what is green here is green everywhere.
"""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dataset
import pruner
from dataset import NEVER_LEARNED, Forgetting
from lottery.checkpointing.checkpoint import masked_state, pack_mask, split_state, unpack_mask
from lottery.search.schedule import Schedule
from lottery.training.recipe import SCHEDULES, Recipe, batches, steps_per_epoch
from pruner import EarlyBird, count, distance, prune
from utils import InputError

settings.register_profile("laws", derandomize=True, deadline=None, database=None, max_examples=100)
settings.load_profile("laws")

RATES = st.floats(0, 1, exclude_min=True, exclude_max=True)
SHAPES = arrays.array_shapes(max_dims=4, max_side=4)


# --- masks ------------------------------------------------------------------------------------------------------------


@st.composite
def masks(draw, copies=1):
    """So many masks of one network of up to three layers."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=3))
    found = [
        {f"layer{i}": torch.from_numpy(draw(arrays.arrays(bool, shape))) for i, shape in enumerate(shapes)}
        for _ in range(copies)
    ]
    return found[0] if copies == 1 else found


@st.composite
def masks_and_scores(draw, sets=1):
    """A mask and scores for it, few enough to be equal often, the largest of them infinite."""
    mask = draw(masks())
    values = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
    scores = [
        {
            name: torch.from_numpy(draw(arrays.arrays(np.float32, tuple(layer.shape), elements=values)))
            for name, layer in mask.items()
        }
        for _ in range(sets)
    ]
    return mask, *scores


def flat(layers):
    return torch.cat([layer.reshape(-1) for layer in layers.values()]).tolist()


def pruned_by_sorting(mask, scores, rate):
    """The definition: of what is kept, in the order of layers and rows, the lowest go, the first of equals first."""
    kept = [place for place, alive in enumerate(flat(mask)) if alive]
    values = flat(scores)
    dropped = sorted(kept, key=lambda place: values[place])[: round(rate * len(kept))]
    return [alive and place not in set(dropped) for place, alive in enumerate(flat(mask))]


@given(masks_and_scores(), RATES)
def test_pruning_drops_the_lowest_scores_and_exactly_so_many(case, rate):
    mask, scores = case
    found = prune(mask, scores, rate)
    assert flat(found) == pruned_by_sorting(mask, scores, rate)
    assert count(found) == count(mask) - round(rate * count(mask))
    assert all((found[name] <= mask[name]).all() and found[name].shape == mask[name].shape for name in mask)


@given(st.integers(0, 10**6), RATES, st.integers(0, 40))
def test_what_is_kept_after_prunings_is_what_each_leaves(weights, rate, prunings):
    """And a number of prunings that nobody could do is answered at once."""
    expected = weights
    for _ in range(prunings):
        expected -= round(rate * expected)
    assert pruner.kept_after(prunings, rate, weights) == expected
    last = pruner.kept_after(10**30, rate, weights) if rate > 0.001 else 0
    assert round(rate * last) == 0


@given(masks_and_scores(), RATES, st.integers(-20, 20))
def test_pruning_looks_at_the_order_of_scores_alone(case, rate, power):
    mask, scores = case
    scaled = {name: value * 2.0**power for name, value in scores.items()}
    assert pruner.same(prune(mask, scores, rate), prune(mask, scaled, rate))


@given(masks(copies=3))
def test_the_distance_of_masks_is_one(three):
    a, b, c = three
    there, back = distance(a, b, 7), distance(b, a, 7)
    assert there == back >= 0
    assert (there == 0) == pruner.same(a, b)
    assert distance(a, c, 1) <= distance(a, b, 1) + distance(b, c, 1)


@given(masks_and_scores(sets=2), RATES)
def test_two_prunings_of_one_mask_differ_by_what_both_drop_at_most(case, rate):
    mask, scores, others = case
    assume(count(mask))
    dropped = round(rate * count(mask))
    found = distance(prune(mask, scores, rate), prune(mask, others, rate), count(mask))
    assert 0 <= found <= 2 * dropped / count(mask)
    assert round(found * count(mask)) % 2 == 0, "both keep as many, so each swap counts twice"


@given(masks())
def test_a_packed_mask_comes_back(mask):
    assert pruner.same(unpack_mask(pack_mask(mask), torch.device("cpu")), mask)


@given(masks(), st.data())
def test_weights_and_mask_come_back_from_one_state_dict(mask, data):
    numbers = st.floats(-9, 9, width=32)
    weights = {"bn.running_mean": torch.ones(3), "attention_mask": torch.zeros(2), "steps": torch.tensor(3)}
    for name, layer in mask.items():
        weights[name] = torch.from_numpy(data.draw(arrays.arrays(np.float32, tuple(layer.shape), elements=numbers)))
    back, found = split_state(masked_state(weights, mask))
    whole = all(bool(layer.all()) for layer in mask.values())
    assert found == {} if whole else pruner.same(found, mask)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(back[name], value * mask[name] if name in mask else value), name
    again, found_again = split_state(masked_state(back, found or mask))
    assert found_again.keys() == found.keys() and all(torch.equal(again[name], back[name]) for name in back)


# --- splits -----------------------------------------------------------------------------------------------------------


@given(st.permutations(range(40)), st.integers(10, 40))
def test_a_split_divides_what_is_listed(permutation, length):
    listed = permutation[:length]
    train, validation = dataset.split(np.array(listed))
    assert sorted(train.tolist() + validation.tolist()) == sorted(listed)
    assert len(train) == length * 9 // 10
    assert train.tolist() == sorted(listed[: len(train)]) and validation.tolist() == sorted(listed[len(train) :])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.data())
def test_any_first_part_of_a_stratified_permutation_is_proportional(labels, data):
    labels = np.array(labels)
    permutation = dataset.stratified_permutation(labels)
    assert sorted(permutation.tolist()) == list(range(len(labels)))
    part = data.draw(st.integers(0, len(labels)))
    classes, members = np.unique(labels, return_counts=True)
    for label, all_of_it in zip(classes, members, strict=True):
        share = all_of_it / len(labels)
        # Half an example off its place in the order of its class, and that of each other class moves the cut.
        found = np.sum(labels[permutation[:part]] == label)
        assert abs(found - part * share) <= 0.5 + share * len(classes) / 2 + 1e-9


LISTS = arrays.arrays(np.int64, st.integers(0, 30), elements=st.integers(-3, 40))


@given(LISTS)
def test_a_list_of_examples_is_taken_if_it_is_one_and_refused_otherwise(entries):
    try:
        assert np.array_equal(dataset.check_indices(entries, "it"), entries)
        taken = True
    except InputError:
        taken = False
    assert taken == (len(set(entries.tolist())) == len(entries) and all(entry >= 0 for entry in entries))


@given(LISTS)
@settings(max_examples=50)
def test_a_split_file_is_taken_if_it_permutes_enough_examples_that_are_there(entries):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "split.npy"
        np.save(file, entries)
        try:
            assert np.array_equal(dataset.read_permutation(file, 20), entries)
            taken = True
        except InputError as error:
            assert "split.npy" in str(error)
            taken = False
    listed = set(entries.tolist())
    assert taken == (10 <= len(entries) == len(listed) and listed <= set(range(20)))


@given(
    arrays.arrays(arrays.floating_dtypes() | arrays.boolean_dtypes() | st.just(np.dtype("U3")), arrays.array_shapes())
)
def test_what_is_no_list_of_whole_numbers_is_refused(entries):
    with pytest.raises(InputError):
        dataset.check_indices(entries, "it")


# --- forgetting -------------------------------------------------------------------------------------------------------


@st.composite
def trainings(draw):
    """Epochs over one set of examples of 12, each in an order of its own: (indices, right) by epoch."""
    chosen = draw(st.lists(st.integers(0, 11), min_size=1, unique=True))
    orders = draw(st.lists(st.permutations(chosen), min_size=1, max_size=8))
    return [(order, draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))) for order in orders]


def observed(epochs, examples=12):
    forgetting = Forgetting(examples)
    for indices, right in epochs:
        forgetting.update(torch.tensor(indices), torch.tensor(right))
    return forgetting.events().tolist()


@given(trainings())
def test_forgetting_is_counted_as_it_is_defined(epochs):
    """Toneva et al., ICLR 2019, one example at a time."""
    for example, events in enumerate(observed(epochs)):
        judged = [right[indices.index(example)] for indices, right in epochs if example in indices]
        times = sum(before and not now for before, now in itertools.pairwise(judged))
        assert events == (times if any(judged) else NEVER_LEARNED)


@given(trainings())
def test_forgetting_does_not_depend_on_the_order_of_examples(epochs):
    ordered = [zip(*sorted(zip(*epoch, strict=True)), strict=True) for epoch in epochs]
    assert observed(epochs) == observed([tuple(map(list, epoch)) for epoch in ordered])


@given(trainings(), st.integers(0, 8))
def test_forgetting_goes_on_from_its_state(epochs, done):
    first, second = Forgetting(12), Forgetting(12)
    for indices, right in epochs[:done]:
        first.update(torch.tensor(indices), torch.tensor(right))
    second.load_state_dict(first.state_dict())
    for indices, right in epochs[done:]:
        second.update(torch.tensor(indices), torch.tensor(right))
    assert second.events().tolist() == observed(epochs)


# --- sets -------------------------------------------------------------------------------------------------------------

SETS = st.sets(st.integers(0, 30)).map(lambda chosen: torch.tensor(sorted(chosen), dtype=torch.int64))
EVENTS = st.lists(st.integers(0, 4) | st.just(NEVER_LEARNED), min_size=31, max_size=31)


@given(SETS, SETS)
def test_union_and_overlap_are_those_of_sets(a, b):
    one, other = set(a.tolist()), set(b.tolist())
    assert dataset.union(a, b).tolist() == sorted(one | other) == dataset.union(b, a).tolist()
    assert dataset.overlap(a, b) == len(one & other) == dataset.overlap(b, a)


@given(EVENTS, SETS, st.integers(0, 5))
def test_cet_is_what_was_forgotten_more_often(events, indices, threshold):
    found = dataset.forgotten(torch.tensor(events), indices, threshold).tolist()
    assert found == [example for example in indices.tolist() if events[example] > threshold]
    assert set(found) >= set(dataset.forgotten(torch.tensor(events), indices, threshold + 1).tolist())


@given(EVENTS, SETS, st.integers(-2, 40))
def test_the_most_forgotten_are(events, indices, keep):
    found = dataset.most_forgotten(torch.tensor(events), indices, keep).tolist()
    ranked = sorted(indices.tolist(), key=lambda example: (-events[example], example))
    assert found == sorted(ranked[: max(keep, 0)])


@given(SETS, st.data())
def test_cep_is_where_two_networks_disagree(indices, data):
    classes = st.lists(st.integers(0, 2), min_size=len(indices), max_size=len(indices))
    a, b = (torch.tensor(data.draw(classes), dtype=torch.int64) for _ in range(2))
    found = dataset.disagreeing(a, b, indices)
    assert found.tolist() == [i for i, x, y in zip(indices.tolist(), a.tolist(), b.tolist(), strict=True) if x != y]
    assert torch.equal(found, dataset.disagreeing(b, a, indices))


@given(SETS, st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_a_random_subset_is_one_of_its_size(indices, keep, seed):
    found, again = (dataset.random_subset(indices, keep, np.random.default_rng(seed)).tolist() for _ in range(2))
    assert found == again == sorted(set(found)) and set(found) <= set(indices.tolist())
    assert len(found) == min(keep, len(indices))


# --- the early stop ---------------------------------------------------------------------------------------------------

EPS = st.floats(0, 1, exclude_min=True, width=32)
DISTANCES = st.lists(st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.3]) | st.floats(0, 2), max_size=25)
BIRDS = st.fixed_dictionaries(
    {
        "eps": EPS | st.sampled_from([0.01, 0.02, 0.05]),
        "queue_length": st.integers(1, 5),
        "warmup": st.integers(0, 4),
        "arm": st.sampled_from(["exceed", "none"]),
    }
)


def decisions(bird, distances, first=1):
    return [bird.observe(epoch, seen) for epoch, seen in enumerate(distances, start=first)]


@given(BIRDS, DISTANCES)
def test_the_bird_stops_where_the_last_recorded_distances_are_below_eps(flags, distances):
    eps, length = np.float32(flags["eps"]), flags["queue_length"]
    armed, recorded, expected = flags["arm"] == "none", [], []
    for epoch, seen in enumerate(np.float32(distances), start=1):
        armed = armed or seen > eps
        recorded += [seen] if armed and epoch > flags["warmup"] else []
        expected.append(len(recorded) >= length and all(old < eps for old in recorded[-length:]))
    assert decisions(EarlyBird(**flags), distances) == expected


@given(BIRDS, DISTANCES)
def test_a_bird_that_waits_never_stops_before_it_is_armed(flags, distances):
    bird = EarlyBird(**flags | {"arm": "exceed"})
    for epoch, seen in enumerate(distances, start=1):
        stops = bird.observe(epoch, seen)
        assert bird.armed == any(np.float32(old) > bird.eps for old in distances[:epoch])
        assert bird.armed or not stops


@given(BIRDS, EPS, DISTANCES)
def test_a_larger_eps_stops_wherever_a_smaller_one_does_without_arming(flags, other, distances):
    """With arming it need not: a larger eps may never be exceeded."""
    small, large = sorted([flags["eps"], other])
    strict, lenient = (EarlyBird(**flags | {"eps": eps, "arm": "none"}) for eps in (small, large))
    for early, late in zip(decisions(lenient, distances), decisions(strict, distances), strict=True):
        assert early or not late


@given(BIRDS, st.lists(st.lists(st.booleans(), min_size=6, max_size=6), max_size=12), st.integers(0, 12))
def test_a_bird_goes_on_from_its_state_with_the_same_decisions(flags, looks, done):
    """With masks, packed in between as a checkpoint does."""
    looks = [{"layer": torch.tensor(look)} for look in looks]
    unbroken, first, second = (EarlyBird(**flags) for _ in range(3))
    expected = [unbroken.update(epoch, look, 6) for epoch, look in enumerate(looks)]
    found = [first.update(epoch, look, 6) for epoch, look in enumerate(looks[:done])]
    state = first.state_dict()
    second.load_state_dict(state | {"mask": unpack_mask(pack_mask(state["mask"]), torch.device("cpu"))})
    found += [second.update(epoch, look, 6) for epoch, look in enumerate(looks[done:], start=min(done, len(looks)))]
    assert found == expected
    assert second.distances == unbroken.distances and second.queue == unbroken.queue


# --- schedules --------------------------------------------------------------------------------------------------------


@st.composite
def recipes(draw):
    epochs = draw(st.integers(1, 200))
    return Recipe(
        epochs=epochs,
        milestones=tuple(sorted(draw(st.sets(st.integers(1, 250), max_size=4)))),
        warmup=draw(st.integers(0, epochs)),
        batch_size=draw(st.integers(2, 64)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        gamma=draw(st.floats(0.01, 1)),
    )


@st.composite
def parts(draw):
    """(|P|, |D0|)"""
    whole = draw(st.integers(2, 50_000))
    return draw(st.integers(1, whole)), whole


@given(recipes(), parts())
def test_a_scaled_recipe_is_truncated_and_trains_at_least_one_epoch(recipe, part_of):
    part, whole = part_of
    scaled = recipe.scaled(part, whole)
    floors = [milestone * part // whole for milestone in recipe.milestones]
    assert scaled.epochs == max(1, recipe.epochs * part // whole)
    assert scaled.warmup == recipe.warmup * part // whole <= scaled.epochs
    assert scaled.milestones == tuple(sorted(set(scaled.milestones))) and len(scaled.milestones) == len(floors)
    assert all(milestone >= max(1, floor) for milestone, floor in zip(scaled.milestones, floors, strict=True))
    if floors == sorted(set(floors)) and 0 not in floors:
        assert list(scaled.milestones) == floors
    assert (scaled.lr, scaled.momentum, scaled.batch_size) == (recipe.lr, recipe.momentum, recipe.batch_size)
    assert recipe.scaled(whole, whole) == recipe


@given(recipes(), parts(), st.booleans(), st.booleans(), st.integers(0, 5), st.data())
def test_every_round_trains_at_least_one_epoch(recipe, part_of, rewind_lr, fixed, k, data):
    part, whole = part_of
    rewind_epoch = data.draw(st.integers(0, recipe.epochs - 1))
    schedule = Schedule(recipe, whole, whole, "rewind_lt", rewind_epoch, None, rewind_lr, fixed)
    here, step = schedule.round(k, part)
    first, within = divmod(step, steps_per_epoch(part, recipe.batch_size))
    assert 0 <= first < here.epochs and within == 0
    assert here == (recipe if fixed else recipe.scaled(part, whole))
    if k == 0 or not rewind_lr:
        assert first == 0
    else:
        assert first == min((rewind_epoch + 1) * (whole if fixed else part) // whole, here.epochs - 1)
    assert schedule.round(k, whole)[0] == recipe


@given(recipes(), st.integers(1, 5))
def test_the_learning_rate_rises_in_the_warm_up_and_never_after_it(recipe, steps):
    rates = [recipe.lr_at(epoch, step, steps) for epoch in range(recipe.epochs) for step in range(steps)]
    warm, rest = rates[: recipe.warmup * steps], rates[recipe.warmup * steps :]
    assert all(0 < rate <= recipe.lr for rate in rates)
    assert rest == sorted(rest, reverse=True)
    before_drops = warm[: recipe.milestones[0] * steps] if recipe.milestones else warm
    assert before_drops == sorted(set(before_drops))
    for epoch in range(recipe.warmup, recipe.epochs):
        drops = sum(epoch >= milestone for milestone in recipe.milestones)
        if recipe.schedule == "step":
            assert rates[epoch * steps] == pytest.approx(recipe.lr * recipe.gamma**drops)
    if recipe.schedule != "step" and recipe.warmup < recipe.epochs:
        assert rates[recipe.warmup * steps] == recipe.lr and rates[-1] <= 2 * recipe.lr / len(rest)


@given(st.integers(1, 300), st.integers(2, 70))
def test_batches_hold_every_example_once_and_never_one_alone(n, batch_size):
    found = batches(n, batch_size)
    sizes = [len(range(n)[batch]) for batch in found]
    assert [position for batch in found for position in range(n)[batch]] == list(range(n))
    assert len(found) == steps_per_epoch(n, batch_size)
    assert n == 1 or min(sizes) > 1
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1) and sizes[-1] <= batch_size + 1
    assert steps_per_epoch(n + 1, batch_size) >= steps_per_epoch(n, batch_size)
