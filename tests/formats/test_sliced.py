"""Networks without their silenced channels, by convert.py."""

import re

import pytest
import torch

import convert
import main_channels
import main_init
from dataset import Images, to_input
from lottery.channels.slicing import load_sliced, relative_difference
from lottery.formats import sliced as module
from lottery.tickets.export import exported_ticket
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights, load_weights_
from models import build_model
from pruner import Ticket
from tests.helpers import CHANNELS_SHORT, equal_weights, run_in_process

NETWORKS = {"lenet300": "lenet300", "tiny": "tests.networks:tiny", "projections": "res14s_projection"}
BLOCKS = (
    "--dataset digits --criterion magnitude --block filter --ranking uniform --density 0.3 --batch_size 64 --gpu -1"
)


@pytest.fixture(scope="module")
def tickets(tmp_path_factory):
    """A ticket of each network with 30 % of its filters, and one of single weights."""
    folder = tmp_path_factory.mktemp("sliced")
    runs = {name: f"{BLOCKS} --arch {arch}" for name, arch in NETWORKS.items()}
    runs["weights"] = f"{BLOCKS.replace('--block filter', '')} --arch lenet300"
    for name, flags in runs.items():
        status, _, err = run_in_process(main_init, *flags.split(), "--save_dir", folder / name)
        assert status == 0, err
    return {name: folder / name / "checkpoint.pth.tar" for name in runs}


def converted(ticket, output, *more):
    return run_in_process(convert, ticket, "--to", "sliced", "--output", output, *more)


def masked_network(arch, ticket):
    """The network of a ticket's file under its mask, weights and mask as they are given to a training."""
    found = exported_ticket(ticket)
    mean, std = found.facts["normalization"]["mean"], found.facts["normalization"]["std"]
    model = build_model(arch, classes=10, channels=1, image_size=8, mean=mean, std=std)
    names = {name: f"{found.facts.get('prefix', '')}{name}" for name in found.weights}
    own = {names[name]: value for name, value in found.masked_weights.items()}
    load_weights_(model, copy_weights(model) | own)
    return model, {names[name]: layer for name, layer in found.mask.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_the_masked_network_does(tickets, tmp_path, name):
    status, out, err = converted(tickets[name], tmp_path / "small.pt")
    assert status == 0, err
    small, (masked, _) = load_sliced(tmp_path / "small.pt"), masked_network(NETWORKS[name], tickets[name])
    assert relative_difference(masked, small, torch.rand(20, 1, 8, 8)) <= 1e-5
    left, whole = (sum(each.numel() for each in network.parameters()) for network in (small, masked))
    assert left < whole and f"{left:,} of {whole:,} parameters" in out
    assert 0 < float(re.search(r"parameters, ([\d.]+) % of the FLOPs", out)[1]) < 100


def test_every_pruned_neuron_of_an_mlp_is_left_out(tickets, tmp_path):
    converted(tickets["lenet300"], tmp_path / "small.pt")
    small, (_, mask) = load_sliced(tmp_path / "small.pt"), masked_network("lenet300", tickets["lenet300"])
    for name in ("fc1", "fc2"):
        assert small.get_submodule(name).out_features == int(mask[f"{name}.weight"].any(1).sum())


@pytest.mark.parametrize("name", ["lenet300", "tiny"])
def test_it_trains_as_the_ticket_does(tickets, tmp_path, name):
    """As an ordinary network, without a mask: its filters are all that the ticket's mask keeps."""
    converted(tickets[name], tmp_path / "small.pt")
    small, (masked, mask) = load_sliced(tmp_path / "small.pt"), masked_network(NETWORKS[name], tickets[name])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (80, 8, 8, 1), dtype=torch.uint8, generator=generator)
    recipe = Recipe(epochs=3, milestones=(), batch_size=20, lr=0.05)
    for network, kept in ((small, {}), (masked, mask)):
        step = Step(network, Images(images, torch.arange(80) % 10), recipe)
        step.load_(Ticket(kept, copy_weights(network)))
        for _ in fit(step, torch.arange(80), recipe, seed=0):
            pass
    x = to_input(images[:20])
    assert relative_difference(masked, load_sliced(tmp_path / "small.pt"), x) > 0.05, "training did something"
    assert relative_difference(masked, small, x) < 1e-3


def test_the_ticket_of_selected_channels_is_the_sliced_network_of_its_run(tmp_path):
    status, _, err = run_in_process(main_channels, *CHANNELS_SHORT.split(), "--save_dir", tmp_path / "run")
    assert status == 0, err
    status, _, err = converted(tmp_path / "run/1checkpoint.pth.tar", tmp_path / "small.pt", "--trained")
    assert status == 0, err
    found, expected = load_sliced(tmp_path / "small.pt"), load_sliced(tmp_path / "run/1sliced.pt")
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_onnx_without_them_has_the_same_logits(tickets, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    sizes, logits = [], []
    images = torch.rand(4, 1, 8, 8).numpy()
    for more in ([], ["--sliced"]):
        output = tmp_path / f"network{len(more)}.onnx"
        flags = [tickets["lenet300"], "--to", "onnx", "--output", output, *more]
        status, _, err = run_in_process(convert, *flags)
        assert status == 0, err
        sizes.append(output.stat().st_size)
        session = onnxruntime.InferenceSession(output.read_bytes(), providers=["CPUExecutionProvider"])
        logits.append(torch.from_numpy(session.run(["logits"], {"images": images})[0]))
    assert sizes[1] < 0.6 * sizes[0]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["compact", "safetensors"])
def test_it_is_made_of_forms_that_order_tensors_otherwise(tickets, tmp_path, form):
    """Away from their run, whose summary says how many classes there are."""
    assert run_in_process(convert, tickets["lenet300"], "--to", form, "--output", tmp_path / "form")[0] == 0
    status, _, err = converted(tmp_path / "form", tmp_path / "small.pt")
    assert status == 0, err
    converted(tickets["lenet300"], tmp_path / "direct.pt")
    small, direct = load_sliced(tmp_path / "small.pt"), load_sliced(tmp_path / "direct.pt")
    assert equal_weights(small.state_dict(), direct.state_dict())


def test_where_nothing_can_be_left_out_nothing_is_written(tickets, tmp_path):
    status, _, err = converted(tickets["weights"], tmp_path / "small.pt")
    assert status == 2 and "has no channel or neuron that can be left out" in err
    assert not (tmp_path / "small.pt").exists()


def test_another_network_is_not_written(tickets, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "emitting_channels", lambda _, groups, *__: {
        group.producer: torch.arange(group.channels) > 100 for group in groups
    })  # fmt: skip
    status, _, err = converted(tickets["lenet300"], tmp_path / "small.pt")
    assert status == 1 and "logits of the sliced and the masked network differ" in err
    assert not (tmp_path / "small.pt").exists()


def test_flags_of_other_forms_are_refused(tickets, tmp_path):
    ticket = tickets["lenet300"]
    status, _, err = run_in_process(convert, ticket, "--to", "masked", "--sliced")
    assert status == 2 and "--sliced is of --to onnx, got --to masked" in err
    status, _, err = run_in_process(convert, ticket, "--to", "masked", "--image_size", 8)
    assert status == 2 and "--image_size is of --to onnx and sliced: --to masked holds no size of images" in err


def test_it_is_no_ticket(tickets, tmp_path):
    converted(tickets["lenet300"], tmp_path / "small.pt")
    status, _, err = run_in_process(convert, tmp_path / "small.pt", "--to", "masked")
    assert status == 2 and "small.pt is a sliced network, which holds no mask" in err
