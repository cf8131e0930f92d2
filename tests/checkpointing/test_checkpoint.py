"""Files: whole or absent, in the 2021 code's format, without code in them."""

import copy
import os
import pickle

import pytest
import torch

import pruner
from lottery.checkpointing import checkpoint
from lottery.checkpointing.checkpoint import masked_state, read, split_state, write
from lottery.tickets.load import TicketFile, TicketFiles
from lottery.training.step import copy_weights
from models import build_model
from pruner import Ticket
from tests.helpers import Tiny
from utils import InputError, RunError


def res20s(classes=10):
    torch.manual_seed(0)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return build_model("res20s", classes=classes, channels=3, image_size=32, mean=mean, std=std)


def ticket(model, rate=0.3):
    dense, weights = pruner.dense(model), copy_weights(model)
    mask = pruner.prune(dense, pruner.magnitude(weights, dense), rate)
    pruner.apply_(weights, mask)
    return Ticket(mask, weights)


# --- the format -------------------------------------------------------------------------------------------------------


def test_a_masked_state_has_the_reference_keys_and_comes_back(tiny):
    mask, weights, *_ = ticket(tiny)
    state = masked_state(weights, mask)
    assert (
        "conv1.weight_orig" in state
        and "conv1.weight" not in state
        and state["conv1.weight_mask"].dtype == torch.float32
    )
    again, mask_again = split_state(state)
    assert pruner.same(mask, mask_again)
    assert again.keys() == weights.keys() and all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_dense_state_has_plain_keys(tiny):
    weights = copy_weights(tiny)
    assert masked_state(weights, pruner.dense(tiny)).keys() == weights.keys()
    assert split_state(weights)[1] == {}


def test_ours_has_the_keys_and_shapes_of_the_reference_checkpoint(reference_checkpoint):
    theirs = read(reference_checkpoint("imp"))
    ours = masked_state(ticket(res20s()).weights, ticket(res20s()).mask)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs["state_dict"].items()}
    assert {k: v.dtype for k, v in ours.items()} == {k: v.dtype for k, v in theirs["state_dict"].items()}
    assert res20s().state_dict().keys() == theirs["init_weight"].keys()


@pytest.mark.parametrize("which", ["imp", "prac"])
def test_a_reference_checkpoint_is_a_ticket(reference_checkpoint, which):
    path, model = reference_checkpoint(which), res20s()
    mask = TicketFile(path).mask(model)
    weights, notes = TicketFile(path).starting_weights(model)
    assert pruner.count(mask) == 214_157 and notes == []
    theirs = torch.load(path, weights_only=False)  # a file of our own
    assert all(torch.equal(weights[name], value) for name, value in theirs["init_weight"].items())
    assert torch.equal(mask["conv1.weight"].float(), theirs["state_dict"]["conv1.weight_mask"])


def test_a_networks_own_buffer_may_end_in_mask():
    state = {"attn_mask": torch.eye(2), "w_orig": torch.ones(2), "w_mask": torch.tensor([0.0, 1.0])}
    weights, mask = split_state(state)
    assert list(mask) == ["w"] and set(weights) == {"attn_mask", "w"} and weights["w"].tolist() == [0, 1]


def test_mask_values_other_than_0_and_1_are_refused():
    with pytest.raises(InputError, match="other than 0 and 1"):
        split_state({"w_orig": torch.ones(2), "w_mask": torch.tensor([0.5, 1.0])})


def test_masks_pack_into_bits_and_back(tiny):
    mask = ticket(tiny).mask
    packed = checkpoint.pack_mask(mask)
    assert sum(layer["bits"].numel() for layer in packed.values()) <= pruner.size(mask) / 8 + len(mask)
    assert pruner.same(checkpoint.unpack_mask(packed, torch.device("cpu")), mask)
    assert checkpoint.pack_mask(None) is checkpoint.unpack_mask(None, torch.device("cpu")) is None


# --- tickets that do not fit ------------------------------------------------------------------------------------------


def saved(tmp_path, model, **more):
    mask, weights, *_ = ticket(model)
    path = tmp_path / "ticket.pth.tar"
    write(path, {"state_dict": masked_state(weights, mask), "init_weight": weights} | more)
    return path


@pytest.mark.parametrize("reader", [TicketFile.mask, TicketFile.starting_weights])
def test_a_ticket_of_another_network_is_refused(tmp_path, reader):
    path = saved(tmp_path, Tiny())
    with pytest.raises(InputError, match="belongs to another network"):
        reader(TicketFile(path), res20s())
    with pytest.raises(InputError, match=r"fc.*number of classes"):
        reader(TicketFile(path), Tiny(classes=7))


def test_a_smaller_networks_ticket_does_not_pass_as_a_part_of_a_larger_ones(tmp_path):
    """All of res20s's layers are in res32s, with the same shapes."""
    large = build_model("res32s", classes=10, channels=3, image_size=32, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(InputError, match="belongs to another network"):
        TicketFile(saved(tmp_path, res20s())).mask(large)


def test_normalisation_is_not_trusted_and_a_difference_is_mentioned(tmp_path, reference_checkpoint):
    model = build_model("res20s", classes=10, channels=3, image_size=32, mean=[0.1] * 3, std=[0.2] * 3)
    weights, notes = TicketFile(reference_checkpoint("imp")).starting_weights(model)
    assert torch.equal(weights["normalize.mean"], model.normalize.mean) and "normalisation" in notes[0]


def test_weights_from_before_the_rewinding_point_are_refused(tmp_path, tiny):
    with pytest.raises(InputError, match="before the rewinding point"):
        TicketFile(saved(tmp_path, tiny, init_weight=None)).starting_weights(tiny)


def test_a_plain_state_dict_gives_starting_weights(tmp_path, tiny):
    write(tmp_path / "epoch_3_rewind_weight.pt", copy_weights(tiny))
    weights, _ = TicketFile(tmp_path / "epoch_3_rewind_weight.pt").starting_weights(tiny)
    assert all(torch.equal(weights[name], value) for name, value in tiny.state_dict().items())


def test_starting_weights_that_are_not_finite_are_refused(tmp_path, tiny):
    weights = copy_weights(tiny)
    weights["fc.bias"][1] = float("nan")
    write(tmp_path / "broken.pt", weights)
    with pytest.raises(InputError, match=r"fc\.bias holds values that are not finite"):
        TicketFile(tmp_path / "broken.pt").starting_weights(tiny)


def test_a_ticket_shares_no_memory_with_the_network(tiny):
    """The network may live on a GPU and be trained on; the ticket's checksum and file must not change with it."""
    ticket, notes = TicketFiles.read(None, None).ticket(tiny)
    assert ticket.mask == {} and not notes
    torch.nn.init.zeros_(tiny.fc.weight)
    assert (ticket.weights["fc.weight"] != 0).any()


def test_a_trained_network_is_no_starting_point(tmp_path, tiny):
    write(tmp_path / "trained.pth.tar", {"state_dict": copy_weights(tiny), "result": {}})
    with pytest.raises(InputError, match="no starting weights"):
        TicketFile(tmp_path / "trained.pth.tar").starting_weights(tiny)


# --- files ------------------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    target = tmp_path / "was_here"
    for save in (lambda obj, path: torch.save(obj, path), lambda obj, path: path.write_bytes(pickle.dumps(obj))):
        save({"state_dict": Evil(target)}, tmp_path / "evil.pth.tar")
        with pytest.raises(InputError, match=r"evil\.pth\.tar"):
            read(tmp_path / "evil.pth.tar")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "other.pth.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pth\.tar"):
        read(tmp_path / "other.pth.tar")


def test_a_truncated_checkpoint_is_refused(tmp_path, tiny):
    path = saved(tmp_path, tiny)
    whole = path.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"ticket\.pth\.tar"):
            read(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, tiny, monkeypatch, error):
    path = saved(tmp_path, tiny)
    before = path.read_bytes()

    def full_disk(content, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(RunError, match=r"ticket\.pth\.tar cannot be written"):
        write(path, {"state_dict": copy_weights(tiny)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_is_written_does_not_change_with_further_training(tmp_path, tiny):
    weights = copy_weights(tiny)
    before = copy.deepcopy(weights)
    torch.nn.init.zeros_(tiny.conv1.weight)
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_a_checkpoint_has_the_common_keys_and_its_own():
    content = checkpoint.checkpoint_content({"a": torch.ones(2)}, {"seed": 1}, history=({"epoch": 0},), points=[])
    assert content.keys() == {"state", "state_dict", "history", "momentum", "settings", "format", "points"}
    assert (content["state"], content["momentum"], content["format"]) == (None, None, checkpoint.FORMAT)
    assert content["history"] == [{"epoch": 0}] and content["points"] == []
