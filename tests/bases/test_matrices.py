"""The matrices of each basis, and what holds of coefficients in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import pruner
from lottery.bases.basis import Basis, basis_in, build_basis, same_basis
from lottery.bases.blocks import in_whole_rows, of_rows, row_magnitude, rows
from lottery.bases.config import BasisConfig
from lottery.bases.matrices import dct, haar, hadamard, left_singular_vectors, random_rotation
from lottery.training.training_run import silence
from utils import InputError

SHAPES = {"fc": (6, 10), "conv": (5, 3, 3, 3), "pixels": (4, 24), "volume": (2, 3, 2, 2, 5)}
KINDS = ("dct", "haar", "random", "svd")
KEPT_BESIDE = ("_orig", "_kept")  # endings of a layer's weights and their mask in a file


def gaussian(shapes=SHAPES, dtype=torch.float64, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, dtype=dtype, generator=drawn) for name, shape in shapes.items()}


def basis(kind, weights, axes=None, seed=0):
    return build_basis(BasisConfig(kind, axes), weights, seed, {"pixels": (2, 3, 4)})


def rotation(n):
    return random_rotation(n, np.random.default_rng(0))


@pytest.mark.parametrize("make", [dct, haar, rotation])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 13, 28])
def test_rows_are_orthonormal_for_any_length(make, n):
    assert torch.allclose(make(n) @ make(n).T, torch.eye(n, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_hadamard_has_entries_of_one_size(n):
    assert torch.allclose(hadamard(n) @ hadamard(n).T, torch.eye(n, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(hadamard(n).abs(), torch.full((n, n), n**-0.5, dtype=torch.float64))


@pytest.mark.parametrize("make", [dct, haar])
def test_smooth_bases_begin_with_the_mean(make):
    assert torch.allclose(make(9)[0], torch.full((9,), 1 / 3, dtype=torch.float64))


def test_haar_splits_into_halves():
    first, last = haar(4)[1], haar(4)[3]
    assert torch.allclose(first, torch.tensor([0.5, 0.5, -0.5, -0.5], dtype=torch.float64))
    assert torch.allclose(last, torch.tensor([0, 0, 2**-0.5, -(2**-0.5)], dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 3, 3, 3)])
def test_rows_in_the_svd_basis_have_the_singular_values_as_norms(shape):
    weights = gaussian({"w": shape})["w"]
    norms = (left_singular_vectors(weights) @ weights.reshape(shape[0], -1)).norm(dim=1)
    values = torch.linalg.svdvals(weights.reshape(shape[0], -1))
    assert torch.allclose(norms[: len(values)], values)
    assert norms[len(values) :].abs().sum() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_give_the_weights_back_and_have_their_norm(kind):
    weights = gaussian()
    found = basis(kind, weights)
    coefficients = found.coefficients(weights, weights)
    for name, value in weights.items():
        assert coefficients[name].shape == value.shape
        assert not torch.allclose(coefficients[name], value)
        assert torch.allclose(found.layers[name].weights(coefficients[name]), value, atol=1e-12)
        assert torch.allclose(coefficients[name].norm(), value.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_removing_a_coefficient_moves_the_weights_by_its_size(kind):
    weights = gaussian()
    found = basis(kind, weights)
    coefficients = found.coefficients(weights, weights)
    for name, value in weights.items():
        kept = torch.ones_like(value)
        kept.view(-1)[3] = 0
        moved = found.layers[name].project(value, kept) - value
        assert torch.allclose(moved.norm(), coefficients[name].reshape(-1)[3].abs())


@pytest.mark.parametrize("kind", KINDS)
def test_projecting_twice_is_projecting_once(kind):
    weights = gaussian(dtype=torch.float32)
    found, once = basis(kind, weights), {name: value.clone() for name, value in weights.items()}
    kept = {name: (torch.rand_like(value) < 0.3).float() for name, value in weights.items()}
    found.like(weights).project_(once, kept)
    twice = {name: value.clone() for name, value in once.items()}
    found.like(weights).project_(twice, kept)
    coefficients = found.coefficients(once, once)
    for name, value in once.items():
        assert torch.allclose(value, twice[name], atol=1e-6)
        assert coefficients[name][kept[name] == 0].abs().max() < 1e-6


def test_only_the_chosen_axes_are_transformed():
    weights = gaussian()
    found = basis("dct", weights, ("in",)).coefficients(weights, weights)
    assert torch.allclose(found["fc"], weights["fc"] @ dct(10).T)
    assert torch.allclose(found["conv"], torch.einsum("ij,ojhw->oihw", dct(3), weights["conv"]))
    assert torch.allclose(
        found["pixels"].view(4, 2, 3, 4),
        torch.einsum("ij,ocjw,vw->ociv", dct(3), weights["pixels"].view(4, 2, 3, 4), dct(4)),
    )
    kernel = basis("dct", weights, ("kernel",)).coefficients(weights, weights)
    assert torch.allclose(kernel["conv"], torch.einsum("ij,vw,ocjw->ociv", dct(3), dct(3), weights["conv"]))
    assert torch.equal(kernel["fc"], weights["fc"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_gives_the_same_basis(kind):
    weights = gaussian()
    found = basis(kind, weights, seed=5)
    again = Basis.from_record(found.record())
    assert again.config == found.config
    assert again.per_output == found.per_output and again.layers.keys() == found.layers.keys()
    for name, layer in found.layers.items():
        assert again.layers[name].view == layer.view
        assert all(torch.equal(again.layers[name].matrices[axis], value) for axis, value in layer.matrices.items())
    assert [each.tobytes() for each in again.arrays()] == [each.tobytes() for each in found.arrays()]
    assert found.stored_numbers == (36 + 25 + 16 + 4 if kind == "svd" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_are_not_transformed_do_not_shift_those_behind_them(kind):
    weights = gaussian({"fc": (4, 6), "conv": (4, 6, 3, 3), "point": (4, 6, 1, 1), "last": (4, 6, 3, 3)})
    axes = ("out",) if kind == "svd" else ("out", "in") if kind == "hadamard" else ("kernel",)
    weights = {name: value[:, :4] for name, value in weights.items()} if kind == "hadamard" else weights
    found = basis(kind, weights, axes)
    older = found.record()
    for layer in older["layers"].values():
        layer.pop("number", None)
    state = {f"{name}{ending}": value for name, value in weights.items() for ending in KEPT_BESIDE}
    content = {"basis": older, "state_dict": state | {"fifth_kept": None}}
    for again in (Basis.from_record(found.record()), basis_in(content)):
        for name, layer in found.layers.items():
            assert all(torch.equal(again.layers[name].matrices[axis], value) for axis, value in layer.matrices.items())
        assert same_basis(again, found)
    if kind == "random":
        assert found.record()["layers"]["last"]["number"] == 3
        shifted = Basis.from_record(older)
        assert not same_basis(shifted, found), "read without the names of all layers it is another basis"


ATTENTION = {"embed": (8, 8), "out_proj": (8, 8), "in_proj": (24, 8)}  # with --prune_also, in the order of the mask


def in_a_file(weights, record):
    """A checkpoint with a mask of coefficients: tensors are in the order of the network's parameters."""
    order = ("embed", "in_proj", "out_proj")
    return {"basis": record, "state_dict": {f"{name}{end}": weights[name] for name in order for end in KEPT_BESIDE}}


def test_weights_of_prune_also_keep_the_matrices_that_were_drawn_for_them():
    weights = gaussian(ATTENTION)
    found = basis("random", weights)
    again = basis_in(in_a_file(weights, found.record()))
    assert {name: layer.number for name, layer in again.layers.items()} == {"embed": 0, "out_proj": 1, "in_proj": 2}
    for name, layer in found.layers.items():
        assert all(torch.equal(again.layers[name].matrices[axis], value) for axis, value in layer.matrices.items())
    assert same_basis(again, found)


@pytest.mark.parametrize("shapes", [ATTENTION, ATTENTION | {"embed": (4, 6, 3, 3), "in_proj": (4, 6, 3, 3)}])
def test_records_without_the_numbers_that_are_places_in_them_are_read(shapes):
    """Older ones: of layers that are all transformed they have no number, else those behind one that is not."""
    weights = gaussian(shapes)
    found = basis("random", weights, None if shapes == ATTENTION else ("kernel",))
    older = found.record()
    for place, layer in enumerate(older["layers"].values()):
        if layer["number"] == place:
            del layer["number"]
    assert same_basis(basis_in(in_a_file(weights, older)), found)


def test_a_random_basis_follows_from_its_seed_and_differs_between_layers():
    weights = gaussian({"a": (6, 6), "b": (6, 6)})
    one, two = basis("random", weights), basis("random", weights, seed=1)
    drawn = [one.layers["a"].matrices[0], one.layers["a"].matrices[1], one.layers["b"].matrices[0]]
    drawn.append(two.layers["a"].matrices[0])
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert torch.equal(drawn[0], basis("random", weights).layers["a"].matrices[0])


@pytest.mark.parametrize("kind", ["random", "svd"])
def test_another_number_of_threads_gives_the_same_bits(kind):
    weights, before = gaussian({"a": (300, 200)}), torch.get_num_threads()
    found = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        found.append(basis(kind, weights).layers["a"].matrices[0])
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_gaussian_weights_stay_gaussian():
    """In every rotated basis, so that none is better at initialisation: the largest tenth has the same share."""
    weights = gaussian({"w": (200, 300)})
    energy = [
        basis(kind, weights).coefficients(weights, weights)["w"].square().flatten().sort(descending=True).values
        for kind in ("dct", "haar", "random")
    ]
    canonical = weights["w"].square().flatten().sort(descending=True).values
    for each in energy:
        assert abs(each[:6000].sum() - canonical[:6000].sum()) < 0.01 * canonical.sum()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ((("canonical"), ("in",)), "give --basis"),
        (("svd", ("in",)), "outputs alone"),
        (("hadamard", ("kernel",)), "leaves kernels"),
        (("dct", None, "filter"), "--block row"),
        (("dct", ("in",), "row"), "transforms out"),
        (("canonical", None, "row"), "transforms out"),
    ],
)
def test_what_does_not_go_together_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        BasisConfig(*config)


def test_layers_that_a_basis_is_not_made_for_are_refused():
    with pytest.raises(InputError, match="power of two, fc has one of 6"):
        basis("hadamard", gaussian())
    with pytest.raises(InputError, match="10000 places"):
        basis("dct", {"w": torch.empty(2, 10000)})
    with pytest.raises(InputError, match="transforms nothing"):
        basis("dct", gaussian({"fc": (6, 10)}), ("kernel",))


def test_axes_are_all_if_none_are_given():
    assert BasisConfig("dct").basis_axes == ("out", "in", "kernel")
    assert BasisConfig("svd").basis_axes == ("out",)
    assert BasisConfig("haar", ("kernel", "in")).basis_axes == ("in", "kernel")
    assert BasisConfig().basis_axes is None


def test_rows_are_pruned_as_one():
    weights = {"a": torch.tensor([[3.0, 4.0], [0.0, 1.0]]), "b": torch.full((1, 3, 1, 3), 2.0)}
    mask = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    scores = row_magnitude(weights, mask)
    assert torch.allclose(scores["a"], torch.tensor([12.5**0.5, 0.5**0.5])) and scores["b"].tolist() == [2]
    left = of_rows(pruner.drop(rows(mask), scores, 1), mask)
    assert left["a"].tolist() == [[True, True], [False, False]] and bool(left["b"].all())
    assert in_whole_rows(left)
    left["a"][0, 0] = False
    assert not in_whole_rows(left)


@pytest.mark.parametrize(
    ("emitting", "told"),
    [
        (None, "with pruned ones go their biases and the batch norm behind them"),  # as an older file has it
        ((), "pruned ones emit nothing, biases and batch norm included"),
        (("a.weight", "b.weight"), "emit nothing, biases and batch norm included, but those of a, b may: what lies"),
    ],
)
def test_it_is_told_which_pruned_filters_may_emit_something(emitting, told):
    found = replace(build_basis(BasisConfig(block="filter"), gaussian(), 0, {}), emitting=emitting)
    again = Basis.from_record(found.record()).renamed({"a.weight": "c.weight"}).renamed({"c.weight": "a.weight"})
    assert again.emitting == emitting
    assert told in silence(again) and silence(again).endswith(("them", "included", "into other numbers"))
