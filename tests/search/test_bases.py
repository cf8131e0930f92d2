"""Searches in another basis: their masks are of coefficients, and all else holds as of any search."""

import itertools
import json

import pytest
import torch

import main_channels
import pruner
from lottery.bases.basis import basis_in
from lottery.checkpointing.checkpoint import read, split_state, split_ticket
from tests.helpers import (
    REWIND,
    SAVING,
    assert_same_files,
    checkpoints,
    equal_weights,
    one_sentence,
    run,
    run_in_process,
    run_killed,
    run_to,
)
from utils import InputError

FLAGS = f"{REWIND} --epochs 3 --decreasing_lr 2 --pruning_times 2 {SAVING}"
CASES = {
    "dct": ("imp", "--basis dct --eb_eps 0.02"),
    "haar": ("PrAC", "--basis haar --basis_axes in kernel --eb_eps 0.02 --cep pruned"),
    "svd_rows": ("imp", "--basis svd --block row --eb_eps 0.02"),
    "filters": ("imp", "--block filter"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished search of each case."""
    folder = tmp_path_factory.mktemp("bases")
    for name, (script, flags) in CASES.items():
        run(script, f"{FLAGS} {flags}", folder / name)
    return folder


def tickets(folder):
    """Weights, mask and basis of each round's checkpoint."""
    return [(*split_ticket(saved["state_dict"]), basis_in(saved)) for saved in checkpoints(folder)]


def test_round_0_is_the_dense_training_whatever_the_basis(found):
    first = [read(found / name / "0checkpoint.pth.tar") for name in ("dct", "svd_rows", "filters")]
    for other in first[1:]:
        assert equal_weights(first[0]["state_dict"], other["state_dict"])
    assert all("basis" not in saved for saved in first)


@pytest.mark.parametrize("name", ["dct", "haar"])
def test_masks_of_coefficients_are_nested_with_exact_counts(found, name):
    (_, dense, _), *pruned = tickets(found / name)
    assert dense == {}
    kept, before = 3 * 8 * 9 + 8 * 16 * 9, None
    for weights, mask, basis in pruned:
        assert pruner.count(mask) == (kept := kept - round(0.2 * kept))
        assert before is None or all((layer <= before[layer_name]).all() for layer_name, layer in mask.items())
        before, coefficients = mask, basis.coefficients(weights, mask)
        for layer_name, layer in mask.items():
            assert coefficients[layer_name][~layer].abs().max() < 1e-6
            assert weights[layer_name].count_nonzero() == layer.numel(), "the weights themselves are dense"


def test_the_first_mask_drops_the_smallest_coefficients_of_round_0(found):
    (trained, _, _), (_, mask, basis), _ = tickets(found / "dct")
    coefficients = basis.coefficients(trained, mask)
    expected = pruner.prune({name: torch.ones_like(layer) for name, layer in mask.items()},
                            pruner.magnitude(coefficients, mask), 0.2)  # fmt: skip
    assert pruner.same(mask, expected)


def test_the_svd_basis_is_that_of_round_0_and_stays(found):
    (trained, _, _), (weights, mask, basis), (_, last, later) = tickets(found / "svd_rows")
    for name, layer in basis.layers.items():
        unfolded = trained[name].double().flatten(1)
        norms = (layer.matrices[0] @ unfolded).norm(dim=1)
        assert torch.allclose(norms[: min(unfolded.shape)], torch.linalg.svdvals(unfolded))
        assert torch.equal(layer.matrices[0], later.layers[name].matrices[0])
        rank = int(mask[name].flatten(1).any(1).sum())
        assert torch.linalg.matrix_rank(weights[name].flatten(1), rtol=1e-5) == min(rank, *unfolded.shape)
    rows = [sum(int(layer.flatten(1).any(1).sum()) for layer in each.values()) for each in (mask, last)]
    assert rows == [24 - round(0.2 * 24), 24 - round(0.2 * 24) - round(0.2 * rows[0])]


def test_a_pruned_filter_emits_nothing(found):
    (_, _, _), (weights, mask, _), _ = tickets(found / "filters")
    dropped = 0
    for conv, norm in (("network.0", "network.1"), ("network.3", "network.4")):
        gone = ~mask[f"{conv}.weight"].flatten(1).any(1)
        assert torch.equal(gone, ~mask[f"{conv}.weight"].flatten(1).all(1)), "whole filters"
        for part in (f"{norm}.weight", f"{norm}.bias", f"{conv}.bias"):
            assert part not in weights or (not weights[part][gone].any() and weights[part][~gone].all())
        dropped += int(gone.sum())
    assert dropped == round(0.2 * 24)


@pytest.mark.parametrize("name", ["haar", "svd_rows", "filters"])
def test_a_killed_search_ends_where_an_unbroken_one_does(found, tmp_path, monkeypatch, name):
    script, flags = CASES[name]
    run_killed(monkeypatch, script, f"{FLAGS} {flags}", tmp_path, every=4)
    assert_same_files(tmp_path, found / name)


@pytest.mark.parametrize("name", CASES)
def test_its_files_hold_what_they_should(found, name):
    import verify

    files = sorted((found / name).glob("*.pth.tar"))
    status, out, _ = run_in_process(verify, *files)
    assert status == 0 and "BROKEN" not in out
    assert "starting weights                 holds" in out


def test_verify_sees_a_coefficient_that_has_come_back(found, tmp_path):
    import verify
    from lottery.checkpointing.checkpoint import write

    saved = read(found / "dct" / "2checkpoint.pth.tar")
    name = next(each for each in saved["state_dict"] if each.endswith("_orig"))
    saved["state_dict"][name][0, 0, 0, 0] += 0.01
    write(tmp_path / "2checkpoint.pth.tar", saved)
    status, out, _ = run_in_process(verify, tmp_path / "2checkpoint.pth.tar")
    assert status == 1 and "dropped weights                  BROKEN" in out


TRAINING = FLAGS[: FLAGS.index("--prune_type")] + "--epochs 2 --decreasing_lr 1"


@pytest.mark.parametrize(
    ("name", "control"),
    [("dct", None), ("filters", None), ("dct", "reinit"), ("haar", "one_shot"), ("svd_rows", "one_shot")]
    + [(name, "random_mask") for name in ("dct", "svd_rows", "filters")],
)
def test_a_ticket_and_its_controls_are_trained_in_its_basis(found, tmp_path, name, control):
    file = found / name / "2checkpoint.pth.tar"
    more = f" --control {control}" if control else ""
    said = run("train", f"{TRAINING} --init_dir {file} --mask_dir {file}{more}", tmp_path)
    trained = read(tmp_path / "checkpoint.pth.tar")
    (weights, mask), basis = split_ticket(trained["state_dict"]), basis_in(trained)
    ticket = split_ticket(read(file)["state_dict"])[1]
    assert {each: int(layer.sum()) for each, layer in mask.items()} == {
        each: int(layer.sum()) for each, layer in ticket.items()
    } or control == "one_shot"
    assert pruner.same(mask, ticket) == (control in (None, "reinit"))
    for each, values in basis.coefficients(weights, mask).items():
        assert not (values[~mask[each]].abs() > 1e-6).any()
    assert trained["settings"]["block"] == basis.config.block
    assert ("given: the ticket in" in said) == (control != "reinit")


def test_an_all_kept_control_is_the_dense_training(found, tmp_path):
    file = found / "dct" / "2checkpoint.pth.tar"
    run("train", f"{TRAINING} --init_dir {file} --mask_dir {file} --control dense", tmp_path / "control")
    run("train", f"{TRAINING} --init_dir {file}", tmp_path / "dense")
    both = [read(tmp_path / each / "checkpoint.pth.tar")["state_dict"] for each in ("control", "dense")]
    assert equal_weights(*both)


def test_a_search_goes_on_from_a_ticket_in_its_basis_alone(found, tmp_path):
    file = found / "dct" / "1checkpoint.pth.tar"
    given = f"{REWIND} --epochs 2 --decreasing_lr 1 --pruning_times 1 --init_dir {file} --mask_dir {file}"
    given = given.replace("--prune_type rewind_lt --rewind_epoch 1", "")
    run("imp", f"{given} --basis dct", tmp_path / "same")
    (_, first, _), (_, mask, basis) = tickets(tmp_path / "same")
    assert pruner.count(mask) == pruner.count(first) - round(0.2 * pruner.count(first))
    assert basis.config.basis == "dct"
    out = run("imp", f"{given} --basis haar", tmp_path / "other", expect=2)
    assert "has a mask of coefficients (dct), this search prunes haar" in out
    assert "this search prunes single weights" in run("imp", given, tmp_path / "other", expect=2)


def test_other_readers_refuse_a_mask_of_coefficients(found, tmp_path):
    import convert
    import main_dst
    import main_elastic
    import main_init

    file = found / "dct" / "2checkpoint.pth.tar"
    with pytest.raises(InputError, match="one of coefficients in another basis"):
        split_state(read(file)["state_dict"])
    out = run_to(2, convert, file, "--to", "safetensors", "--output", tmp_path / "ticket")
    assert "has a mask of coefficients (dct)" in out
    words = f"{TRAINING} --method gmp --density 0.1 --init_dir {file} --mask_dir {file}".split()
    said = run_to(2, main_dst, *words, "--save_dir", tmp_path / "dst")
    assert "has a mask of coefficients (dct)" in said
    common = "--dataset digits --arch mlp2 --criterion magnitude --density 0.5 --basis dct --basis_axes in"
    run_to(0, main_init, *common.split(), "--save_dir", tmp_path / "init")
    file = tmp_path / "init" / "checkpoint.pth.tar"
    words = ("--source_arch", "mlp2", "--target_arch", "mlp3", "--init_dir", file, "--mask_dir", file)
    assert "coefficients (dct (in))" in run_to(2, main_elastic, *words, "--save_dir", tmp_path / "elastic")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--basis dct --optimizer adam", "does not commute with a basis"),
        ("--basis dct --pattern 2:4", "--pattern 2:4 keeps weights of each group"),
        ("--block filter --pattern 2:4", "--block filter prunes otherwise"),
        ("--basis hadamard", "power of two"),
        ("--basis_axes in", "give --basis, too"),
        ("--basis svd --basis_axes in", "transforms the outputs alone"),
        ("--basis dct --block filter", "--block row prunes"),
        ("--block row", "give a --basis that transforms out"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, flags, message):
    call = lambda script, *words: run_in_process(__import__(script), *words)  # noqa: E731
    words = f"--dataset digits --arch lenet300 --gpu -1 {flags}".split()
    one_sentence(call, "main_imp", words, tmp_path, message)


def test_weights_that_are_not_zero_are_those_of_the_round(tmp_path):
    """Not of the next one, whose mask is on the network by then to find what it misjudges."""
    run("PrAC", f"{FLAGS} --rate 0.8 --basis haar --basis_axes in kernel --cep pruned", tmp_path)
    row = json.loads((tmp_path / "summary.json").read_text())["rounds"][1]
    state = read(tmp_path / "1checkpoint.pth.tar")["state_dict"]
    numbers = {name: layer["nonzero"] for name, layer in row["layers"].items()}
    assert numbers == {name: state[f"{name}_orig"].count_nonzero() for name in numbers}
    assert sum(numbers.values()) > sum(layer["kept"] for layer in row["layers"].values())


def test_adam_cannot_train_a_ticket_in_a_basis(found, tmp_path):
    file = found / "dct" / "2checkpoint.pth.tar"
    out = run("train", f"{TRAINING} --init_dir {file} --mask_dir {file} --optimizer adam", tmp_path, expect=2)
    assert "does not commute with a basis" in out


def test_costs_claim_no_savings(found):
    summary = json.loads((found / "dct" / "summary.json").read_text())
    first, second = summary["rounds"]
    assert all(layer["nonzero"] == layer["size"] for layer in second["layers"].values())
    assert "nonzero" not in str(first["layers"])
    from lottery.training.costs import masked_flops

    assert masked_flops(summary["flops"], second) == pytest.approx(masked_flops(summary["flops"], first))
    filters = json.loads((found / "filters" / "summary.json").read_text())
    ratios = [masked_flops(filters["flops"], row) for row in filters["rounds"]]
    assert all(after < before for before, after in itertools.pairwise(ratios))


@pytest.mark.parametrize("form", ["masked", "prune", "compact", "safetensors"])
def test_a_pruned_filter_emits_nothing_elsewhere(found, tmp_path, form):
    """The form holds the masks of biases and batch norms as well, and their starting values are zero."""
    import convert
    import verify
    from lottery.tickets.ticket_file import TicketFile

    file, output = found / "filters" / "2checkpoint.pth.tar", tmp_path / "ticket"
    assert "of 1,368 prunable weights are kept" in run_to(0, convert, file, "--to", form, "--output", output)
    status, told, _ = run_in_process(verify, output)
    assert status == 0 and "15 of 24 rows kept" in told, told
    source, other = TicketFile(file), TicketFile(output)
    mask, whole = source.trained[1], other.trained[1]
    assert set(whole) - set(mask) == {part for parts in source.basis.per_output.values() for part in parts}
    for conv, norm in (("network.0", "network.1"), ("network.3", "network.4")):
        gone = ~mask[f"{conv}.weight"].flatten(1).any(1)
        for part in ("weight", "bias"):
            assert torch.equal(~whole[f"{norm}.{part}"], gone)
            assert not other.starting_state[f"{norm}.{part}"][gone].any()
    assert gone.any()


def test_channels_are_not_selected_under_a_mask_of_coefficients(found, tmp_path):
    file = found / "dct" / "1model_SA_best.pth.tar"
    flags = f"--dataset digits --arch tests.networks:tiny --batch_size 64 --init_dir {file} --select_examples 64"
    out = run_to(2, main_channels, *flags.split(), "--save_dir", tmp_path / "run")
    assert "has a mask of coefficients (dct), a mask of single weights is needed here" in " ".join(out.split())
