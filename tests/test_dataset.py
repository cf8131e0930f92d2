"""Examples: splits, augmentation, forgetting, CET, CEP."""

import itertools

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torchvision.transforms.functional import to_tensor

import dataset
from dataset import Forgetting, augment, disagreeing, draw_epoch, forgotten, most_forgotten, split
from tests.helpers import GOLDEN
from utils import InputError, digest, generator

# --- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 11, 19, 100, 50_000])
def test_a_split_is_disjoint_and_nine_tenths_train(n):
    permutation = np.random.default_rng(n).permutation(n)
    train, validation = split(permutation)
    assert len(train) == n * 9 // 10
    assert sorted(train.tolist() + validation.tolist()) == list(range(n))
    assert set(train.tolist()) == set(permutation[: n * 9 // 10].tolist())


def test_a_split_may_list_fewer_examples_than_there_are():
    train, validation = split(np.array([90, 7, 3, 55, 1, 20, 33, 41, 8, 99, 12]))
    assert train.tolist() == [1, 3, 7, 8, 20, 33, 41, 55, 90] and validation.tolist() == [12, 99]


def write(tmp_path, entries):
    path = tmp_path / "split.npy"
    np.save(path, entries)
    return path


@pytest.mark.parametrize(
    "entries, message",
    [
        (np.array([*range(20), 3]), "twice"),
        (np.arange(-1, 19), "example -1"),
        (np.arange(5, 25), "example 24, the training set has 20"),
        (np.arange(20.0), "integers"),
        (np.arange(20).reshape(4, 5), "shape"),
        (np.arange(9), "at least 10"),
        (np.array(["a"] * 20), "integers"),
    ],
)
def test_a_bad_split_file_is_refused(tmp_path, entries, message):
    path = write(tmp_path, entries)
    with pytest.raises(InputError, match=message) as error:
        dataset.read_permutation(path, 20)
    assert str(path) in str(error.value)


def test_a_split_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.npy").write_text("1 2 3")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("text.npy", "pickle.npy"):
        with pytest.raises(InputError, match=name):
            dataset.read_permutation(tmp_path / name, 20)


@pytest.mark.parametrize("counts", [(40, 40, 40), (100, 10, 37), (1, 5, 200)])
def test_the_default_split_is_stratified_and_depends_on_labels_alone(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(labels)
    train, validation = split(dataset.stratified_permutation(labels))
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    for label, members in enumerate(counts):
        assert abs(np.sum(labels[train] == label) - 0.9 * members) <= 1
    again = split(dataset.stratified_permutation(labels.copy()))
    assert torch.equal(train, again.train)


def test_shipped_files_are_used_for_their_data_sets():
    labels = np.zeros(50_000, dtype=np.int64)
    assert np.array_equal(dataset.default_permutation("cifar10", labels), np.arange(50_000))
    assert not np.array_equal(dataset.default_permutation("imagefolder", labels), np.arange(50_000))
    with pytest.raises(InputError, match="the training set has 100"):
        dataset.default_permutation("cifar10", labels[:100])


# --- augmentation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_augmentation_equals_torchvisions_for_the_same_draws(channels, padding):
    random = torch.Generator().manual_seed(padding)
    images = torch.randint(0, 256, (16, 12, 12, channels), dtype=torch.uint8, generator=random)
    draws = draw_epoch(16, padding, True, (0, 0, 0))
    ours = augment(images, draws.top, draws.left, draws.flip, padding)
    for image, top, left, flip, got in zip(images, *draws[1:], ours, strict=True):
        padded = TF.pad(image.permute(2, 0, 1), [padding] * 4)
        expected = TF.crop(padded, int(top), int(left), 12, 12)
        expected = TF.horizontal_flip(expected) if flip else expected
        assert torch.equal(got.permute(2, 0, 1), expected)


def test_input_is_scaled_as_torchvision_does():
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    assert torch.equal(dataset.to_input(images)[0], to_tensor(images[0].numpy()))


def test_draws_are_a_function_of_seed_round_and_epoch():
    same = [draw_epoch(50, 4, True, (3, 1, 7)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*same, strict=True))
    for other in [(4, 1, 7), (3, 2, 7), (3, 1, 8), (0, 0, 0)]:
        assert not torch.equal(same[0].order, draw_epoch(50, 4, True, other).order)


def test_draws_cover_the_range_and_respect_no_flips():
    draws = draw_epoch(2000, 4, True, (0, 0, 0))
    assert sorted(draws.order.tolist()) == list(range(2000))
    assert set(draws.top.tolist()) == set(draws.left.tolist()) == set(range(9))
    assert 0.4 < draws.flip.float().mean() < 0.6
    assert not draw_epoch(2000, 0, False, (0, 0, 0)).flip.any()


def test_streams_for_different_purposes_differ():
    first = [generator(0, 0, 0, purpose).integers(2**60) for purpose in range(4)]
    assert len({*first, generator(0, 1, 0, 0).integers(2**60), generator(0, 0, 1, 0).integers(2**60)}) == 6


# --- forgetting -------------------------------------------------------------------------------------------------------


def forgetting_loop(right):
    """The definition, one example and one epoch at a time (Toneva et al., 2019)."""
    events = []
    for history in right.T.tolist():
        count = sum(before and not now for before, now in itertools.pairwise(history))
        events.append(count if any(history) else dataset.NEVER_LEARNED)
    return events


def observe(right, indices=None):
    indices = torch.arange(right.shape[1]) if indices is None else indices
    forgetting = Forgetting(int(indices.max()) + 1)
    for row in right:
        forgetting.update(indices, row)
    return forgetting


@pytest.mark.parametrize("epochs", [1, 2, 17])
def test_forgetting_events_against_the_definition(epochs):
    right = torch.rand(epochs, 200, generator=torch.Generator().manual_seed(epochs)) < 0.6
    right[:, :10] = False
    assert observe(right).events().tolist() == forgetting_loop(right)


def test_events_by_hand():
    right = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 0, 0], [1, 1, 1, 0, 1], [0, 1, 1, 0, 0]], dtype=torch.bool)
    assert observe(right).events().tolist() == [2, 0, 0, dataset.NEVER_LEARNED, 2]


def test_forgetting_survives_a_resume():
    right = torch.rand(9, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    half, resumed = observe(right[:4]), Forgetting(30)
    resumed.load_state_dict(half.state_dict())
    for row in right[4:]:
        resumed.update(torch.arange(30), row)
    assert torch.equal(resumed.events(), observe(right).events())


# Rows of the golden data in which an example sits out an epoch: no run does that, its set is one throughout.
NO_RUN = ("gap", "first_minus1", "never_seen")


@pytest.mark.parametrize("seed", [0, 1])
def test_forgetting_agrees_with_the_2021_code(seed):
    data = np.load(GOLDEN / f"forget_seed{seed}.npz")
    rows = np.flatnonzero(~np.isin(data["kind"], NO_RUN))
    assert len(rows) > 200
    events = observe(torch.from_numpy(data["prediction"][rows].T == 1)).events()
    assert torch.where(events == dataset.NEVER_LEARNED, 200_000, events).tolist() == data["events"][rows].tolist()


def golden_events(seed):
    """The 2021 code's counts, and the examples it trained on; example i is row i."""
    data = np.load(GOLDEN / f"forget_seed{seed}.npz")
    return data, torch.from_numpy(data["events"]).int(), torch.from_numpy(np.flatnonzero(data["events"] != -1))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("threshold", [0, 2])
def test_cet_agrees_with_the_2021_code(seed, threshold):
    data, events, trained = golden_events(seed)
    assert forgotten(events, trained, threshold).tolist() == data[f"zero_out_thr{threshold}_sorted"].tolist()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rate, state", [(0.2, 1), (0.2, 2), (0.2, 3), (0.5, 1), (0.5, 2), (0.5, 3)])
def test_constent_agrees_with_the_2021_code_outside_ties(seed, rate, state):
    data, events, trained = golden_events(seed)
    name, keep = f"constent_rate{rate}_state{state}", int(270 * (1 - rate) ** state)
    must, tie = (set(data[f"{name}_{part}"].tolist()) for part in ("must", "tie"))
    ours = most_forgotten(events, trained, keep)
    assert must <= set(ours.tolist()) <= must | tie
    assert len(ours) == min(keep, len(trained))


def test_nothing_forgotten_gives_nothing_not_everything():
    """The 2021 code took the last 0 entries of a sorted list, which is all of them, validation images included."""
    indices = torch.tensor([2, 5, 9])
    events = torch.zeros(12, dtype=torch.int32)
    assert forgotten(events, indices, 0).tolist() == []
    assert most_forgotten(events, indices, 0).tolist() == []


def test_constent_takes_only_examples_that_were_scored():
    events = torch.zeros(12, dtype=torch.int32)
    events[[0, 1]] = 9  # not in the set: dropped before, or of the validation split
    assert most_forgotten(events, torch.tensor([2, 5, 9]), 10).tolist() == [2, 5, 9]


def test_ties_are_broken_by_index():
    events = torch.tensor([1, 2, 1, 2, 1], dtype=torch.int32)
    assert most_forgotten(events, torch.arange(5), 3).tolist() == [0, 1, 3]


def test_never_learned_is_above_every_threshold():
    events = observe(torch.zeros(3, 4, dtype=torch.bool)).events()
    assert forgotten(events, torch.arange(4), 300_000).tolist() == [0, 1, 2, 3]


# --- sets -------------------------------------------------------------------------------------------------------------


def test_cep_names_examples_by_their_index_in_the_training_set():
    whole = torch.tensor([3, 8, 20, 41])  # a split that is no arange
    dense, sparse = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 2, 1])
    assert disagreeing(dense, sparse, whole).tolist() == [8, 41]


def test_union_and_overlap():
    a, b = torch.tensor([9, 1, 4]), torch.tensor([4, 2])
    assert dataset.union(a, b).tolist() == [1, 2, 4, 9]
    assert dataset.overlap(a, b) == 1


def test_a_random_subset_is_one():
    whole = torch.arange(100) * 3
    chosen = dataset.random_subset(whole, 30, generator(0))
    assert len(set(chosen.tolist())) == 30 and set(chosen.tolist()) <= set(whole.tolist())
    assert chosen.tolist() == sorted(chosen.tolist())
    assert torch.equal(chosen, dataset.random_subset(whole, 30, generator(0)))
    assert not torch.equal(chosen, dataset.random_subset(whole, 30, generator(0, 1)))


def test_a_checksum_tells_data_apart():
    a = np.arange(10)
    assert digest(a) == digest(a.copy())
    assert len({digest(x) for x in (a, a[::-1], a[:9], a.astype(np.int32), a.reshape(2, 5))}) == 5
