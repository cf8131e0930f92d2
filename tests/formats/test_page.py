"""docs/tickets_elsewhere.md: its examples as they stand there load the ticket into plain PyTorch."""

import sys

import pytest
import torch

from lottery.checkpointing.checkpoint import read
from lottery.formats.registry import FORMATS
from lottery.tickets.plain_ticket import plain_ticket
from tests.helpers import ROOT, equal_weights
from tests.test_library import run_page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What each example left, and the directory that they ran in."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        patch.delitem(sys.modules, "my_net", raising=False)
        return run_page("tickets_elsewhere.md", folder), folder


def test_every_example_loads_the_ticket(page):
    examples, folder = page
    plain = plain_ticket(folder / "runs/mine/2checkpoint.pth.tar")
    examples = [names for names in examples if "model" in names and "session" not in names]
    assert len(examples) == len(FORMATS) - 3, "ONNX has no state_dict, sliced and open_lth not this network"
    for names in examples:
        state = names["model"].state_dict()
        if "0.weight_orig" in state:
            state["0.weight"] = state.pop("0.weight_orig") * state.pop("0.weight_mask")
        assert equal_weights({name: state[name] for name in plain.weights}, plain.weights)


@torch.no_grad()
def test_onnx_computes_the_logits_of_the_trained_network(page):
    examples, folder = page
    ticket, network = plain_ticket(folder / "runs/mine/1checkpoint.pth.tar", trained=True), examples[0]["model"]
    network.load_state_dict(ticket.weights)
    onnx = next(names for names in examples if "logits" in names)
    images = (torch.from_numpy(onnx["images"]) - ticket.mean) / ticket.std
    torch.testing.assert_close(torch.from_numpy(onnx["logits"]), network.eval()(images), rtol=0, atol=1e-5)


def test_masks_are_loaded_where_an_example_has_them(page):
    examples, folder = page
    mask = plain_ticket(folder / "runs/mine/2checkpoint.pth.tar").mask["0.weight"]
    assert all(torch.equal(names["mask"]["0.weight"], mask) for names in examples if "mask" in names)
    assert sum("mask" in names for names in examples) >= 2


def test_the_ticket_that_came_back_was_trained(page):
    _, folder = page
    state = read(folder / "runs/back/checkpoint.pth.tar")["state_dict"]
    mask = plain_ticket(folder / "runs/mine/2checkpoint.pth.tar").mask["0.weight"]
    assert torch.equal(state["network.0.weight_mask"].bool(), mask)


def test_the_page_has_every_form():
    text = (ROOT / "docs/tickets_elsewhere.md").read_text()
    for name, form in FORMATS.items():
        assert f"| `{name}` |" in text and f"`5checkpoint{form.ending}`" in text
