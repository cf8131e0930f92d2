"""Weights as other tools keep them: their names, number formats and wrappings, read as this network's."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from lottery.checkpointing.checkpoint import masked_state, read
from lottery.tickets.load import TicketFiles
from lottery.tickets.state_dict_formats import renaming
from lottery.tickets.ticket_file import TicketFile
from lottery.training.step import copy_weights
from models import build_model
from tests.helpers import pruned_ticket, run
from utils import InputError

NORM = {"mean": [0.5] * 3, "std": [0.5] * 3}


def users_network():
    """As --arch tests.networks:tiny has it, behind ``network.`` and the normalisation."""
    torch.manual_seed(3)
    return build_model("tests.networks:tiny", classes=10, channels=3, image_size=8, **NORM)


def saved(path, content):
    """As another tool writes it: without our checksum, tensors as they are."""
    torch.save(content, path)
    return TicketFile(path)


def prefixed(prefix, state):
    return OrderedDict((f"{prefix}{name}", value) for name, value in state.items())


def inner(model):
    """A state_dict of the user's network alone."""
    return model.network.state_dict()


WAYS = {
    "the user's own": inner,
    "DataParallel": lambda model: nn.DataParallel(model.network).state_dict(),
    "DataParallel of ours": lambda model: prefixed("module.", model.state_dict()),
    "torch.compile": lambda model: torch.compile(model.network).state_dict(),
    "torch.compile of a part": lambda model: {
        name.replace("network.", "network._orig_mod."): value for name, value in model.state_dict().items()
    },
    "compiled, then parallel": lambda model: prefixed("module._orig_mod.", inner(model)),
    "a module that holds it": lambda model: prefixed("model.", inner(model)),
    "both": lambda model: prefixed("module.model.", inner(model)),
}


@pytest.mark.parametrize("way", WAYS)
def test_names_of_other_tools_are_read_as_the_networks(tmp_path, way):
    model = users_network()
    found, notes = saved(tmp_path / "file.pt", WAYS[way](model)).starting_weights(model)
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    assert [note for note in notes if "is read as this network's" in note]
    found, mask, _ = TicketFile(tmp_path / "file.pt").trained_weights(model)
    assert mask == {} and torch.equal(found["network.0.weight"], model.state_dict()["network.0.weight"])


def test_the_networks_own_names_are_not_touched(tmp_path):
    """Not even where they begin as a wrapper's do."""
    assert renaming(["model.a", "model.b"], {"model.a", "model.b"}.__eq__) == {
        "model.a": "model.a",
        "model.b": "model.b",
    }
    assert renaming(["model.a"], {"network.model.a"}.__eq__) == {"model.a": "network.model.a"}
    assert renaming(["module.a", "b"], {"a", "b"}.__eq__) == {"module.a": "module.a", "b": "b"}, "not all of them"
    model = users_network()
    assert saved(tmp_path / "file.pt", model.state_dict()).starting_weights(model)[1] == []


def test_masks_have_the_names_of_their_weights(tmp_path):
    model = users_network()
    ticket = pruned_ticket(model)
    state = {name.removeprefix("network."): value for name, value in masked_state(ticket.weights, ticket.mask).items()}
    state = prefixed("module.", {name: value for name, value in state.items() if "normalize" not in name})
    file = tmp_path / "masked.pt"
    saved(file, {"state_dict": state, "init_weight": prefixed("module.", inner(model))})
    found = TicketFiles.read(file, file).load(model)
    assert found.start == "ticket" and found.ticket.mask.keys() == ticket.mask.keys()
    assert all(torch.equal(layer, ticket.mask[name]) for name, layer in found.ticket.mask.items())
    assert len(found.notes) == len(set(found.notes)) == 2, "the names, and that there is no checksum"
    TicketFiles.read(file, file).check_kept(ticket.mask, model)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_a_state_dict_may_be_wrapped(tmp_path, tiny, key):
    file = saved(tmp_path / "file.pt", {"epoch": 7, key: tiny.state_dict(), "optimizer": {"state": {}}})
    assert torch.equal(file.starting_weights(tiny)[0]["fc.weight"], tiny.fc.weight)
    assert torch.equal(file.trained_weights(tiny)[0]["fc.weight"], tiny.fc.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_are_cast_and_said(tmp_path, tiny, dtype):
    state = {
        name: value.to(dtype) if value.is_floating_point() else value for name, value in copy_weights(tiny).items()
    }
    found, notes = saved(tmp_path / "file.pt", state).starting_weights(tiny)
    assert all(found[name].dtype == value.dtype for name, value in tiny.state_dict().items())
    assert torch.equal(found["fc.weight"], state["fc.weight"].float())
    (note,) = notes
    assert f"cast from {str(dtype).removeprefix('torch.')} to float32" in note


def test_a_mask_whose_file_has_rounded_weights_knows_them_rounded(tmp_path, tiny):
    """And the network's own normalisation as well, which no note says to be another."""
    model = users_network()
    ticket = pruned_ticket(model)
    half = {name: value.half() if value.is_floating_point() else value for name, value in ticket.weights.items()}
    mask = saved(tmp_path / "half.pt", {"state_dict": masked_state(half, ticket.mask), "init_weight": half}).path
    init = saved(tmp_path / "whole.pt", ticket.weights).path
    found = TicketFiles.read(init, mask).load(model)
    assert found.start == "ticket" and torch.equal(found.ticket.weights["network.0.weight"], model.network[0].weight)
    assert not [note for note in TicketFile(mask).starting_weights(model)[1] if "normalisation" in note]


def test_numbers_that_the_format_does_not_hold_are_refused(tmp_path, tiny):
    state = copy_weights(tiny)
    state["fc.bias"] = torch.full((3,), 1e300, dtype=torch.float64)
    with pytest.raises(InputError, match=r"fc\.bias holds values that are not finite"):
        saved(tmp_path / "file.pt", state).starting_weights(tiny)
    state["fc.bias"] = torch.zeros(3, dtype=torch.complex64)
    with pytest.raises(InputError, match=r"complex64 numbers in fc\.bias: real ones are needed"):
        saved(tmp_path / "file.pt", state).starting_weights(tiny)


def test_tensors_without_plain_values_are_refused(tmp_path, tiny):
    state = copy_weights(tiny)
    state["fc.weight"] = state["fc.weight"].to_sparse()
    with pytest.raises(InputError, match="sparse, quantized or without values"):
        saved(tmp_path / "file.pt", state).starting_weights(tiny)


def test_parameters_are_read_as_plain_tensors(tmp_path, tiny):
    state = {
        name: nn.Parameter(value) if value.is_floating_point() else value for name, value in copy_weights(tiny).items()
    }
    file = saved(tmp_path / "file.pt", {"state_dict": state, "init_weight": state})
    assert not any(value.requires_grad for value in read(tmp_path / "file.pt")["init_weight"].values())
    found = TicketFiles.read(file.path, file.path).load(tiny)
    assert found.start == "ticket" and found.origin["checksum"]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.int64])
def test_masks_of_any_format(tmp_path, tiny, dtype):
    ticket = pruned_ticket(tiny)
    state = masked_state(ticket.weights, ticket.mask)
    state = {name: value.to(dtype) if name.endswith("_mask") else value for name, value in state.items()}
    mask = saved(tmp_path / "file.pt", state).mask(tiny)
    assert all(torch.equal(layer, ticket.mask[name]) for name, layer in mask.items())


def test_what_does_not_fit_is_named_on_both_sides(tmp_path, tiny):
    state = copy_weights(tiny)
    state["head.weight"] = state.pop("fc.weight")
    state["head.bias"] = state.pop("fc.bias")
    words = (
        "this network expects fc.bias (and 1 more), the file has no such tensor; the file has head.bias (and 1 more)"
    )
    with pytest.raises(InputError, match=re.escape(words)):
        saved(tmp_path / "file.pt", state).starting_weights(tiny)
    with pytest.raises(InputError, match="the file has deeper, this network has no such tensor"):
        saved(tmp_path / "file.pt", copy_weights(tiny) | {"deeper": torch.zeros(1)}).starting_weights(tiny)


def test_a_training_begins_with_half_precision_weights_of_a_parallel_network(tmp_path):
    """From the command: all of it at once, and nothing but the numbers decides whether it is the ticket."""
    flags = "--dataset digits --arch tests.networks:tiny --epochs 1 --decreasing_lr 1 --batch_size 64 --gpu -1"
    run("imp", f"{flags} --pruning_times 1", tmp_path / "imp")
    ticket = tmp_path / "imp/1checkpoint.pth.tar"
    start = {name.removeprefix("network."): value for name, value in read(ticket)["init_weight"].items()}
    half = {f"module.{name}": nn.Parameter(value.half()) if value.is_floating_point() else value
            for name, value in start.items() if "normalize" not in name}  # fmt: skip
    torch.save({"model": half}, tmp_path / "half.pt")
    out = run("train", f"{flags} --init_dir {tmp_path}/half.pt --mask_dir {ticket}", tmp_path / "train")
    assert "cast from float16 to float32" in out and "has module.0.weight for network.0.weight" in out
    assert "which it was not found with" in out, "rounded weights are others"
    begun = read(tmp_path / "train/checkpoint.pth.tar")["init_weight"]["network.0.weight"]
    assert torch.equal(begun, start["0.weight"].half().float())
