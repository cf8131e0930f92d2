"""What convert.py and the model card say of the weights that they hold: which these are, and how good they were."""

import json

import pytest
import torch

import convert
from lottery.checkpointing.checkpoint import checkpoint_content, masked_state, write
from lottery.formats.registry import FORMATS
from tests.helpers import run_in_process

STATE = {"fc1.weight": torch.full((2, 3), 0.5), "fc1.bias": torch.zeros(2)}
MASK = {"fc1.weight": torch.tensor([[1, 0, 1], [1, 1, 0]]).bool()}
SETTINGS = {"script": "main_imp.py", "seed": 0, "arch": "mlp2", "data checksum": "d", "split checksum": "s"}
ROWS = [{"epoch": 0, "validation": 97.0, "test": 96.5}, {"epoch": 1, "validation": 60.0, "test": None}]
FORMS = [name for name, form in FORMATS.items() if form.masks and name != "open_lth"]


def checkpoint(folder, momentum=None, history=ROWS, **more):
    content = checkpoint_content(
        masked_state(STATE, MASK), SETTINGS, round=1, history=history, momentum=momentum, init_weight=STATE, **more
    )
    write(folder / "1checkpoint.pth.tar", content)
    return content


@pytest.fixture
def run(tmp_path):
    """A search whose second epoch was worse than its first: its checkpoint, its best network and its summary."""
    content = checkpoint(tmp_path)
    write(tmp_path / "1model_SA_best.pth.tar", {
        name: ROWS[:1] if name == "history" else value for name, value in content.items() if name != "momentum"
    })  # fmt: skip
    row = {"round": 1, "validation": 97.0, "test": 96.5, "best_epoch": 0}
    (tmp_path / "summary.json").write_text(json.dumps({"settings": SETTINGS, "rounds": [row]}))
    return tmp_path


def to(form, ticket, *flags):
    output = ticket.parent / f"{ticket.name}.{form}"
    status, out, err = run_in_process(convert, ticket, "--to", form, "--output", output, *flags)
    assert status == 0, err
    return output, out


def card(ticket, *flags):
    return (to("hugging_face", ticket, *flags)[0] / "README.md").read_text()


def accuracies(card):
    return [line.strip("| ") for line in card.splitlines() if "accuracy" in line]


def test_the_weights_of_the_last_epoch_have_its_accuracy(run):
    found = card(run / "1checkpoint.pth.tar", "--trained")
    assert "A sparse network with the weights at the end of its training, zero where" in found
    assert accuracies(found) == ["validation accuracy, of these weights | 60.00 %"]


def test_the_weights_of_the_best_epoch_are_called_so(run):
    found = card(run / "1model_SA_best.pth.tar", "--trained")
    assert "A sparse network with the weights of the best validation epoch, zero where" in found
    assert accuracies(found) == [
        "validation accuracy, of these weights | 97.00 %",
        "test accuracy, of these weights | 96.50 %",
    ]
    assert "the weights of the best validation epoch." in to("masked", run / "1model_SA_best.pth.tar", "--trained")[1]


def test_starting_weights_have_the_accuracy_of_their_run_at_its_best_epoch(run):
    found = card(run / "1model_SA_best.pth.tar")
    assert "that is still to be trained: the weights that it starts from" in found
    assert accuracies(found)[1] == "test accuracy, trained by its own run, best validation epoch | 96.50 %"


@pytest.mark.parametrize("form", FORMS)
def test_each_form_keeps_which_weights_they_are_and_how_good(run, form):
    first, _ = to(form, run / "1model_SA_best.pth.tar", "--trained")
    found = card(first, "--trained")
    assert "the weights of the best validation epoch" in found and "of these weights | 96.50 %" in found


def test_a_training_that_has_not_come_to_its_end_is_noted_and_recorded(tmp_path):
    checkpoint(tmp_path, momentum=[torch.zeros(2)])
    path = tmp_path / "1checkpoint.pth.tar"
    masked, said = to("masked", path, "--trained")
    note = "is of a training that has not come to its end: its weights are used as they are"
    assert f"note: {path} {note}" in said
    assert torch.load(masked)["metadata"]["trained_until"] == "unfinished"
    again, said = to("safetensors", masked, "--trained")
    assert note in said and "the weights of a training that has not come to its end" in card(again, "--trained")
    assert note not in to("compact", path)[1], "starting weights are what they are"


@pytest.mark.parametrize(("masked", "first"), [(True, "A lottery ticket"), (False, "A dense network")])
def test_weights_of_which_nothing_is_known_are_not_called_a_ticket_to_be_trained(tmp_path, masked, first):
    torch.save(masked_state(STATE, MASK if masked else {}), tmp_path / "theirs.pt")
    found = card(tmp_path / "theirs.pt")
    assert f"\n# {first}: a network on data not recorded\n" in found
    assert ": weights of which the file does not say what they are" in found and "still to be trained" not in found
    assert ("and its mask." in found) == ("multiply each weight by its mask" in found) == masked
    assert ("density 0.6667, of the layers that have a mask" in found) == masked


def test_a_dense_network_of_a_run_is_called_so(tmp_path):
    content = checkpoint_content(STATE, SETTINGS, history=ROWS, init_weight=STATE)
    write(tmp_path / "checkpoint.pth.tar", content)
    assert "A dense network with the weights at the end of its training, without a mask." in card(
        tmp_path / "checkpoint.pth.tar", "--trained"
    )
