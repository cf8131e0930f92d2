"""verify.py and convert.py on files that others wrote: masks beside weights, and what is no ticket at all."""

import pytest
import torch
from safetensors.torch import save_file

import convert
from lottery.checkpointing.checkpoint import read
from lottery.tickets.ticket_file import TicketFile
from tests.helpers import run_in_process

LAYER = torch.arange(1.0, 13.0).reshape(3, 4)
WEIGHTS = {"fc1.weight": LAYER, "fc1.bias": torch.ones(3), "fc2.weight": LAYER[:2, :3].clone()}
MASK = (torch.arange(12) % 3 > 0).reshape(3, 4)  # which keeps 8


@pytest.fixture
def both(tmp_path, verify):
    """What verify.py, and then convert.py, say of a file with this content: each with its status."""

    def run(content):
        file = tmp_path / "theirs.pt"
        torch.save(content, file)
        status, told = verify(file)
        converted = run_in_process(convert, file, "--to", "masked", "--output", tmp_path / "out.pt")
        for words in (told.err, converted[2]):
            assert len(words.splitlines()) <= 1 and "Traceback" not in words
        return (status, told.out), (converted[0], converted[1] + converted[2])

    return run


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": WEIGHTS, "mask": {"fc1.weight": MASK}},
        {"model": WEIGHTS, "masks": {"module.fc1.weight": MASK.float()}},
        WEIGHTS | {"fc1.weight_mask": MASK.int()},
        {"fc1.weight_orig" if name == "fc1.weight" else name: value for name, value in WEIGHTS.items()}
        | {"fc1.weight_mask": MASK.float()},
    ],
)
def test_masks_beside_weights_are_read_as_convert_reads_them(both, content):
    (verified, seen), (converted, said) = both(content)
    assert verified == converted == 0
    assert "8 of 12 weights kept, 0.6667" in seen and "it counts the layers that have a mask" in seen
    assert "8 of 12 prunable weights are kept, density 0.6667, of the layers that have a mask" in said


def test_weights_under_a_mask_are_looked_at_as_they_are(both):
    content = {"state_dict": WEIGHTS, "mask": {"fc1.weight": MASK}}
    assert "dropped weights                  -       4 dropped weights are not zero: a training" in both(content)[0][1]


def test_weights_under_a_mask_that_are_zero_hold(both):
    content = {"state_dict": WEIGHTS | {"fc1.weight": LAYER * MASK}, "mask": {"fc1.weight": MASK}}
    assert "dropped weights                  holds   every dropped weight is zero" in both(content)[0][1]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ({"fc1.weight": MASK * 3}, "the mask of fc1.weight holds 3"),
        ({"fc1.weight": torch.full((3, 4), torch.nan)}, "the mask of fc1.weight holds nan"),
        ({"fc1.weight": torch.ones(3)}, "the mask of fc1.weight is 3, its parameter 3 x 4"),
        ({"fc9.weight": MASK}, "has a mask for fc9.weight, which is no parameter"),
        ({"fc1.weight": MASK.float().to_sparse()}, "the mask of fc1.weight is sparse"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"result": {}, "init_weight": WEIGHTS}])
def test_a_mask_that_does_not_fit_is_broken(both, mask, says, more):
    """Also in what looks like a checkpoint of the 2021 code."""
    (verified, seen), (converted, said) = both({"state_dict": WEIGHTS, "mask": mask} | more)
    assert (verified, converted) == (1, 2)
    assert "readable                         BROKEN" in seen and says in seen and says in said


def test_a_mask_beside_its_weight_in_safetensors_that_does_not_fit_is_broken(tmp_path, verify):
    save_file(WEIGHTS | {"fc1.weight_mask": MASK * 2.0}, tmp_path / "theirs.safetensors")
    status, told = verify(tmp_path / "theirs.safetensors")
    assert status == 1 and "the mask of fc1.weight holds 2" in told.out


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": None},
        {"state_dict": [LAYER]},
        {"state_dict": {"a": {"b": LAYER}}},
        WEIGHTS | {"fc1.weight": LAYER.to_sparse()},
        {"state_dict": WEIGHTS, "init_weight": {"a": 1}},
        {"state_dict": WEIGHTS, "init_weight": [1]},
        {"state_dict": WEIGHTS, "init_weight": WEIGHTS, "sequence": "abc", "state": 1},
        {"state_dict": WEIGHTS, "settings": {}, "metadata": {"ticket_format": "masked", "ticket_version": 1}},
        {"state_dict": WEIGHTS, "mask": {}, "metadata": {"ticket_format": "masked", "ticket_version": 1}},
        {"settings": {}, "metadata": {"ticket_format": "compact", "ticket_version": 1}},
        {"state_dict": WEIGHTS, "mask": {"a": 1}, "settings": {}}
        | {"metadata": {"ticket_format": "masked", "ticket_version": 1}},
    ],
)
def test_what_is_no_ticket_is_refused_in_a_sentence(both, content):
    (verified, seen), (converted, said) = both(content)
    assert (verified, converted) == (1, 2)
    assert "readable                         BROKEN" in seen and said.count("\n") == 1


@pytest.mark.parametrize(
    "more",
    [
        {"settings": "adam"},
        {"settings": None},
        {"history": 5, "state": "done", "metadata": "mine"},
        {"format": 3},
        {"masks": 5},
        {"basis": "x"},
        {"format": "pt", "settings": {}, "init_weight": WEIGHTS},
    ],
)
def test_entries_of_others_under_names_of_this_suite_say_nothing(both, more):
    (verified, _), (converted, said) = both({"state_dict": WEIGHTS} | more)
    assert verified == converted == 0 and "holds no mask: the dense network" in said


def test_a_state_dict_may_have_tensors_of_any_name(tmp_path, both):
    (verified, seen), (converted, _) = both(WEIGHTS | {"settings": torch.ones(2), "state": torch.ones(1)})
    assert verified == converted == 0 and "5 tensors of finite numbers" in seen
    assert TicketFile(tmp_path / "out.pt").starting_state.keys() == WEIGHTS.keys() | {"settings", "state"}


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_of_eight_bits_are_checked_and_converted(tmp_path, both, verify, kind):
    state = {name: value.to(kind) for name, value in WEIGHTS.items()}
    (verified, seen), (converted, _) = both({"state_dict": state, "mask": {"fc1.weight": MASK}})
    assert verified == converted == 0 and "3 tensors of finite numbers" in seen
    found = read(tmp_path / "out.pt")["state_dict"]["fc1.weight"]
    assert found.dtype == kind and torch.equal(found.float(), LAYER.to(kind).float() * MASK)
    save_file(state, tmp_path / "theirs.safetensors")
    assert verify(tmp_path / "theirs.safetensors")[0] == 0


def test_weights_of_eight_bits_that_are_not_finite_are_broken(both):
    (verified, seen), _ = both({"fc.weight": torch.tensor([1, torch.nan]).to(torch.float8_e4m3fn)})
    assert verified == 1 and "finite weights                   BROKEN  fc.weight is not finite" in seen


def test_a_foreign_file_among_the_checkpoints_of_a_run_is_no_checkpoint(tmp_path, verify):
    torch.save({"state_dict": None, "settings": "x"}, tmp_path / "0checkpoint.pth.tar")
    torch.save({"state_dict": WEIGHTS, "state": 1, "result": {}}, tmp_path / "1checkpoint.pth.tar")
    assert verify(tmp_path / "1checkpoint.pth.tar")[0] == 0
