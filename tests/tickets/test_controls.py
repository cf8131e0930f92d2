"""Controls: exact counts, chance of their own, dense weights; and from a ticket's file to a trained network."""

import json

import pytest
import torch
import torch.nn.utils.prune as torch_prune

import pruner
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.tickets.controls import CONTROLS, RandomSource, coincidence, controlled
from lottery.training.step import copy_weights
from pruner import Ticket
from tests.helpers import Tiny, one_sentence
from utils import InputError, RandomStream, generator, torch_seed
from verify import main as verify

QUICK = "--dataset digits --arch tests.networks:tiny --epochs 1 --decreasing_lr 1 --batch_size 64".split()
MASKED = ["random_mask", "one_shot", "dense"]  # the controls with a mask of their own


def fresh(purpose):
    torch.manual_seed(torch_seed(7, purpose=purpose))
    return copy_weights(Tiny())


def control(name, ticket, seed=7):
    return controlled(name, ticket, RandomSource(seed, fresh))


@pytest.fixture
def ticket(tiny):
    """As training would leave it, its mask is not the one that its starting weights' magnitudes give."""
    dense = pruner.dense(tiny)
    return Ticket(pruner.prune(dense, pruner.random_scores(dense, generator(3)), 0.4), copy_weights(tiny))


def counts(mask):
    return {name: int(layer.sum()) for name, layer in mask.items()}


# --- the functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_changes_one_part_of_a_ticket_and_leaves_the_ticket_alone(ticket, name):
    before = Ticket(*({key: value.clone() for key, value in part.items()} for part in ticket[:2]))
    found = control(name, ticket)
    assert pruner.same(found.mask, ticket.mask) == (name not in MASKED)
    same = [torch.equal(found.weights[key], value) for key, value in ticket.weights.items()]
    assert all(same) == (name in MASKED)
    assert pruner.same(ticket.mask, before.mask)
    assert all(torch.equal(ticket.weights[key], value) for key, value in before.weights.items())


def test_reinit_is_the_networks_own_initialisation(ticket):
    found = control("reinit", ticket)
    assert all(torch.equal(value, fresh(RandomStream.FRESH_WEIGHTS)[name]) for name, value in found.weights.items())


def test_a_random_mask_keeps_as_many_in_each_layer(ticket):
    found = control("random_mask", ticket)
    assert counts(found.mask) == counts(ticket.mask)
    assert pruner.same(found.mask, control("random_mask", ticket).mask)
    assert not pruner.same(found.mask, control("random_mask", ticket, seed=8).mask)


def test_every_weight_is_as_likely_to_be_kept():
    """2 of 5 weights, 2 000 masks: each weight 800 times, standard deviation 22."""
    ticket = Ticket({"a": torch.tensor([1, 1, 0, 0, 0]).bool()}, {"a": torch.ones(5)})
    times = sum(CONTROLS["random_mask"].make(ticket, RandomSource(seed, fresh)).mask["a"].int() for seed in range(2000))
    assert times.sum() == 4000 and ((times - 800).abs() < 100).all(), times


def test_one_shot_agrees_with_torch_prune(tiny, ticket):
    found = control("one_shot", ticket)
    kept = pruner.count(ticket.mask)
    assert pruner.count(found.mask) == kept
    layers = {name: tiny.get_submodule(name.removesuffix(".weight")) for name in ticket.mask}
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()],
        torch_prune.L1Unstructured,
        amount=pruner.size(ticket.mask) - kept,
    )
    assert all(torch.equal(layer.weight_mask.bool(), found.mask[name]) for name, layer in layers.items())


def test_dense_keeps_whatever_the_mask_decides_about(tiny, ticket):
    found = control("dense", ticket)
    assert pruner.same(found.mask, pruner.dense(tiny)) and not pruner.same(found.mask, ticket.mask)


@pytest.mark.parametrize("kept", range(1, 10))
def test_one_shot_counts_exactly_under_ties(kept):
    """Whatever the number, which need not be what a pruning rate gives."""
    mask = {"a": torch.zeros(6, dtype=torch.bool), "b": torch.zeros(4, dtype=torch.bool)}
    mask["a"][: min(kept, 6)], mask["b"][: max(0, kept - 6)] = True, True
    found = control("one_shot", Ticket(mask, {"a": torch.ones(6), "b": torch.full((4,), -2.0)}))
    assert counts(found.mask) == {"a": max(0, kept - 4), "b": min(kept, 4)}


@pytest.mark.parametrize("name", MASKED)
def test_masked_starting_weights_are_refused(ticket, name):
    masked = ticket._replace(weights=dict(ticket.weights))
    for key, layer in ticket.mask.items():
        masked.weights[key] = masked.weights[key] * layer
    with pytest.raises(InputError, match="needs the dense ones"):
        control(name, masked)
    control("reinit", masked)


@pytest.mark.parametrize("rate", [0.05, 0.4])
@pytest.mark.parametrize("name", MASKED)
def test_starting_weights_that_an_earlier_mask_dropped_are_refused(ticket, name, rate):
    """As those of a search that began with a ticket: the first mask dropped few weights or many."""
    dense = {key: torch.ones_like(layer) for key, layer in ticket.mask.items()}
    earlier = pruner.prune(dense, pruner.random_scores(dense, generator(5)), rate)
    mask = pruner.prune(earlier, pruner.random_scores(earlier, generator(4)), 0.5)
    weights = {key: value * earlier[key] if key in earlier else value for key, value in ticket.weights.items()}
    with pytest.raises(InputError, match=r"zero at [0-9]+ % of where.*needs the dense ones"):
        control(name, Ticket(mask, weights))


@pytest.mark.parametrize("name", MASKED)
def test_a_layer_initialised_with_zeros_is_no_masked_one(ticket, name):
    weights = ticket.weights | {"conv2.weight": torch.zeros_like(ticket.weights["conv2.weight"])}
    control(name, ticket._replace(weights=weights))


def test_a_control_that_would_be_the_ticket_is_none(tiny):
    """A mask that drops nothing has controls on weights drawn afresh only; shuffling may change nothing in small layers
    alone."""
    dense = Ticket(pruner.dense(tiny), copy_weights(tiny))
    for name, why in {"random_mask": "stays the same", "dense": "drops nothing"}.items():
        with pytest.raises(InputError, match=f"--control {name} is the ticket itself: .*{why}"):
            control(name, dense)
    assert pruner.same(control("reinit", dense).mask, dense.mask)
    only = dense.mask | {"conv1.weight": torch.zeros(4, 1, 3, 3, dtype=torch.bool)}
    with pytest.raises(InputError, match="stays the same"):
        control("random_mask", Ticket(only, copy_weights(tiny)))


def test_a_network_that_seeds_torch_itself_has_no_weights_drawn_afresh(ticket):
    with pytest.raises(InputError, match="same weights whatever the seed"):
        controlled("reinit", ticket, RandomSource(7, lambda purpose: ticket.weights))


def test_a_one_shot_ticket_is_its_own_one_shot_control_and_is_said_to_be(tiny, ticket):
    """That says how its mask was found, and that no search did better; there is no other one-shot mask of it."""
    assert coincidence("one_shot", control("one_shot", ticket), ticket) == []
    own = control("one_shot", ticket)
    (note,) = coincidence("one_shot", control("one_shot", own), own)
    assert note == "--control one_shot is the ticket itself: its mask keeps the largest of its starting weights"


# --- from file to trained network -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    import main_imp

    folder = tmp_path_factory.mktemp("controls") / "imp"
    words = [*QUICK, "--pruning_times", "3", "--rate", "0.5", "--gpu", "-1", "--save_dir", str(folder)]
    assert main_imp.main(words) == 0
    return folder


def trained(call, ticket, folder, name, *more):
    words = [*QUICK, "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", folder, *more]
    status, out, err = call("main_train", *words, "--control", name)
    assert status == 0, err
    return read(folder / "checkpoint.pth.tar"), out


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_trained_in_the_tickets_place(call, search, tmp_path, name, capsys):
    """With the seed of the search. It is said in one line, and is in the run's settings, with the ticket's origin."""
    ticket = search / "3checkpoint.pth.tar"
    saved, out = trained(call, ticket, tmp_path / "run", name)
    assert [line for line in out.splitlines() if f"--control {name}: " in line and CONTROLS[name].help in line]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["settings"]["control"] == saved["settings"]["control"] == name
    assert summary["ticket"]["file"] == str(ticket) and summary["ticket"]["prunings"] == 3
    theirs, mask = read(ticket), split_state(saved["state_dict"])[1]
    own = split_state(theirs["state_dict"])[1]
    assert pruner.count(mask) == (0 if name == "dense" else pruner.count(own)), "a dense network has no mask"
    assert pruner.same(mask, own) == (name not in MASKED)
    for key, layer in own.items():
        start, first = saved["init_weight"][key], theirs["init_weight"][key]
        assert torch.equal(start, first) == (name in MASKED), key
        assert (start == first).all() if name in MASKED else (start != first).all(), key
        regained = mask.get(key, torch.ones_like(layer)) & ~layer
        assert bool(regained.any()) == (name in MASKED) and (start[regained] != 0).all(), key
    assert verify([str(tmp_path / "run" / "checkpoint.pth.tar")]) == 0, capsys.readouterr().out


def test_the_dense_control_is_the_dense_network_from_the_tickets_weights(call, search, tmp_path):
    saved, _ = trained(call, search / "3checkpoint.pth.tar", tmp_path / "control", "dense")
    words = [*QUICK, "--init_dir", search / "3checkpoint.pth.tar", "--save_dir", tmp_path / "plain"]
    assert call("main_train", *words)[0] == 0
    plain = read(tmp_path / "plain" / "checkpoint.pth.tar")
    assert all(torch.equal(value, plain["state_dict"][name]) for name, value in saved["state_dict"].items())


def test_a_random_mask_of_a_2021_ticket_has_dense_weights(call, tmp_path, reference_checkpoint):
    path = reference_checkpoint("imp")
    words = ["--dataset", "digits", "--epochs", "1", "--init_dir", path, "--mask_dir", path]
    status, _, err = call("main_train", *words, "--control", "random_mask", "--save_dir", tmp_path / "run")
    assert status == 0, err
    saved = read(tmp_path / "run" / "checkpoint.pth.tar")
    mask, own = (split_state(content["state_dict"])[1] for content in (saved, read(path)))
    assert counts(mask) == counts(own)
    for name, layer in mask.items():
        regained = layer & ~own[name]
        assert regained.any() and (saved["init_weight"][name][regained] != 0).all(), name


def test_a_control_goes_on_as_itself_only(call, search, tmp_path):
    ticket = search / "2checkpoint.pth.tar"
    trained(call, ticket, tmp_path / "run", "random_mask")
    _, out = trained(call, ticket, tmp_path / "run", "random_mask")
    assert "this training is finished" in out
    words = [*QUICK, "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", tmp_path / "run"]
    for other in [], ["--control", "one_shot"]:
        status, _, err = call("main_train", *words, *other)
        assert status == 2 and "control was random_mask, is" in err


def test_what_has_no_control_is_one_sentence(call, search, tmp_path):
    dense, ticket = search / "0checkpoint.pth.tar", search / "2checkpoint.pth.tar"
    words = [*QUICK, "--control", "reinit"]
    one_sentence(call, "main_train", words, tmp_path, "needs a ticket's mask: give --mask_dir")
    both = [*words, "--mask_dir", ticket, "--weights", ticket]
    one_sentence(call, "main_train", both, tmp_path, "draws its weights, --weights gives others: give one of them")
    one_sentence(call, "main_train", [*words, "--init_dir", ticket], tmp_path, "needs a ticket's mask: give --mask_dir")
    one_sentence(call, "main_train", [*words, "--mask_dir", dense], tmp_path, "needs a ticket's mask: there is none")
    one_sentence(call, "main_train", [*QUICK, "--control", "luck"], tmp_path, "--control.*luck.*reinit")
    content = read(ticket)
    masked = split_state(content["state_dict"])[1]
    start = {name: value * masked.get(name, True) for name, value in content["init_weight"].items()}
    write(tmp_path / "masked.pth.tar", content | {"init_weight": start})
    words = [*QUICK, "--init_dir", tmp_path / "masked.pth.tar", "--mask_dir", ticket, "--control", "random_mask"]
    one_sentence(call, "main_train", words, tmp_path, "needs the dense ones")
