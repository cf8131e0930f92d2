"""open_lth's directories of levels: its networks' names, its files, and what it checks when it loads them."""

import json

import pytest
import torch

import convert
import verify
from lottery.checkpointing.checkpoint import checkpoint_content, masked_state, write
from lottery.formats.open_lth_names import from_open_lth, to_open_lth
from lottery.tickets.load import TicketFiles
from lottery.tickets.ticket_file import TicketFile
from lottery.training.step import copy_weights
from models import build_model
from models.families import CIFAR_RESNETS, PROJECTION, VGG_UNITS
from pruner import count, prunable, size
from tests.helpers import equal_weights, network, pruned_ticket, run_in_process
from utils import InputError

LENET = {"fc_layers.0": (300, 784), "fc_layers.1": (100, 300), "fc": (10, 100)}
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def lenet():
    return build_model("lenet300", classes=10, channels=1, image_size=28, mean=[0.5], std=[0.5])


def lenet_state(seed):
    """The state_dict of mnist_lenet_300_100, as open_lth saves it."""
    random = torch.Generator().manual_seed(seed)
    weights = {f"{name}.weight": 0.1 * torch.randn(shape, generator=random) for name, shape in LENET.items()}
    return weights | {f"{name}.bias": torch.randn(shape[0], generator=random) for name, shape in LENET.items()}


def batch_norm(name):
    return [f"{name}.{part}" for part in BATCH_NORM]


def resnet_names(layers):
    """The state_dict keys of cifar_resnet_N: blocks are counted through, the first of stages 2 and 3 project."""
    units = (layers - 2) // 6
    names = ["conv.weight", *batch_norm("bn")]
    for block in range(3 * units):
        for number in 1, 2:
            names += [f"blocks.{block}.conv{number}.weight", *batch_norm(f"blocks.{block}.bn{number}")]
        if block in (units, 2 * units):
            names += [f"blocks.{block}.shortcut.0.weight", *batch_norm(f"blocks.{block}.shortcut.1")]
    return [*names, "fc.weight", "fc.bias"]


def vgg_names(units):
    """Those of cifar_vgg_N: a module for each unit, and one for each max-pool between stages."""
    names, place = [], 0
    for repeats in units:
        for number in range(place, place + repeats):
            names += [f"layers.{number}.conv.weight", f"layers.{number}.conv.bias", *batch_norm(f"layers.{number}.bn")]
        place += repeats + 1
    return [*names, "fc.weight", "fc.bias"]


def level(folder, seed=0, **models):
    """A level's directory with a mask that drops every third weight, and models."""
    (folder / "main").mkdir(parents=True)
    start = lenet_state(seed)
    mask = {name: (torch.arange(value.numel()) % 3 > 0).reshape(value.shape) for name, value in start.items()
            if name.endswith("weight")}  # fmt: skip
    torch.save({name: layer.int() for name, layer in mask.items()}, folder / "main/mask.pth")
    for name, state in (models or {"model_ep0_it0": start, "model_ep2_it100": lenet_state(seed + 1)}).items():
        torch.save(state, folder / f"main/{name}.pth")
    return folder


def names_here(arch):
    return [name for name in network(arch, inputs=784).state_dict() if not name.startswith("normalize")]


PAIRS = {name: resnet_names(6 * CIFAR_RESNETS[name][0] + 2) for name in CIFAR_RESNETS if name.endswith(PROJECTION)}
PAIRS |= {f"{name}_bn": vgg_names(units) for name, units in VGG_UNITS.items()}
PAIRS |= {"lenet300": list(lenet_state(0))}


@pytest.mark.parametrize("arch", PAIRS)
def test_its_networks_are_read_as_ours_and_back(arch):
    there, here = PAIRS[arch], names_here(arch)
    assert set(from_open_lth(there).values()) == set(here)
    assert {name: back for back, name in from_open_lth(there).items()} == to_open_lth(here)


@pytest.mark.parametrize("arch", ["res20s_projection", "vgg16_bn", "lenet300"])
def test_masks_without_weights_have_the_same_names(arch):
    """In the same order of layers as the network's own, so that none is taken for another of its shape."""
    here = prunable(network(arch, inputs=784), prune_classifier=True)
    there = [name for name in PAIRS[arch] if name.endswith("weight") and ".bn" not in f".{name}"]
    there = [name for name in there if "shortcut.1" not in name]
    found = from_open_lth(there)
    assert [found[name] for name in there if "shortcut" not in name and name != "fc.weight"] == [
        name
        for name in here
        if "downsample" not in name and name not in ("fc.weight", "fc3.weight", "classifier.weight")
    ]
    assert set(found.values()) == set(here)


@pytest.mark.parametrize("arch", ["res20s", "vgg16", "vgg16_bn_3fc"])
def test_networks_that_it_does_not_have(arch):
    assert to_open_lth(names_here(arch)) is None


def test_torchvisions_resnets_are_behind_a_model():
    here = names_here("res18")
    assert to_open_lth(here) == {name: f"model.{name}" for name in here}


@pytest.mark.parametrize("part", ["", "main"])
def test_a_level_is_a_ticket_with_its_earliest_weights(tmp_path, part):
    folder, model = level(tmp_path / "level_2") / part, lenet()
    found = TicketFiles.read(folder, folder).load(model)
    start = lenet_state(0)
    assert found.start == "ticket" and found.ticket.step == 0
    assert torch.equal(found.ticket.weights["fc2.weight"], start["fc_layers.1.weight"])
    assert torch.equal(found.ticket.mask["fc3.weight"], torch.arange(1000).reshape(10, 100) % 3 > 0)
    assert "has fc_layers.0.weight for fc1.weight" in found.notes[0]
    weights, mask, _ = TicketFile(folder).trained_weights(model)
    expected = lenet_state(1)["fc_layers.1.weight"] * mask["fc2.weight"]
    assert torch.equal(weights["fc2.weight"], expected), "the latest, under the mask"


def test_its_single_files_are_read_as_well(tmp_path):
    folder = level(tmp_path / "level_2") / "main"
    both = TicketFiles.read(folder, folder).load(lenet()).ticket
    each = TicketFiles.read(folder / "model_ep0_it0.pth", folder / "mask.pth").load(lenet()).ticket
    assert equal_weights(both.mask, each.mask) and equal_weights(both.weights, each.weights)


def test_a_level_whose_rewinding_point_is_in_epochs_does_not_say_its_step(tmp_path):
    folder = level(tmp_path / "a", model_ep1_it0=lenet_state(0), model_ep10_it0=lenet_state(1))
    assert TicketFile(folder).step is None
    assert torch.equal(TicketFile(folder).starting_state["fc.bias"], lenet_state(0)["fc.bias"]), "1 is before 10"
    folder = level(tmp_path / "b", model_ep0_it500=lenet_state(0))
    assert TicketFile(folder).step == 500
    with pytest.raises(InputError, match="holds no trained weights: the training it is for has not begun"):
        TicketFile(folder).trained_weights(lenet())


def test_a_level_without_a_network_is_a_mask(tmp_path):
    folder = level(tmp_path / "level_2", other=lenet_state(0))
    assert TicketFiles.read(None, folder).load(lenet()).ticket.mask["fc3.weight"].sum() == 666
    with pytest.raises(InputError, match="holds masks and no weights"):
        TicketFile(folder).starting_weights(lenet())


def test_a_mask_of_another_network_is_refused(tmp_path):
    folder = level(tmp_path / "level_2")
    torch.save({"fc_layers.7.weight": torch.ones(2)}, folder / "main/mask.pth")
    with pytest.raises(InputError, match=r"a mask for fc_layers\.7\.weight, which is no parameter of model_ep0_it0"):
        TicketFile(folder).starting_weights(lenet())
    model = build_model("lenet300", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    folder = level(tmp_path / "level_3")
    with pytest.raises(InputError, match=r"belongs to another network: fc1\.weight is 300 x 784 there, 300 x 64 here"):
        TicketFiles.read(folder, folder).load(model)


def test_verify_checks_a_level(tmp_path):
    status, out, _ = run_in_process(verify, level(tmp_path / "level_2"))
    assert status == 0 and "of 266,200 weights kept" in out


# --- writing ----------------------------------------------------------------------------------------------------------


def our_ticket(path):
    """A checkpoint of a search with projections, rewound to step 7, which drops half of its convolutions."""
    model = build_model("res20s_projection", classes=10, channels=3, image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    ticket = pruned_ticket(model, 0.5)
    more = {"init_weight": ticket.weights, "init_step": 7}
    write(path, checkpoint_content(masked_state(ticket.weights, ticket.mask), {}, round=1, **more))
    return model, ticket


def test_a_ticket_of_ours_leaves_and_comes_back(tmp_path):
    """As open_lth loads it: names of its network, an int32 mask for every convolution and linear layer."""
    model, ticket = our_ticket(tmp_path / "1checkpoint.pth.tar")
    status, _, err = run_in_process(convert, tmp_path / "1checkpoint.pth.tar", "--to", "open_lth")
    assert status == 0, err
    folder = tmp_path / "1checkpoint.open_lth/main"
    assert sorted(path.name for path in folder.iterdir()) == ["mask.pth", "model_ep0_it7.pth", "sparsity_report.json"]
    state, mask = torch.load(folder / "model_ep0_it7.pth"), torch.load(folder / "mask.pth")
    assert set(state) == set(resnet_names(20))
    assert set(mask) == {name for name, value in state.items() if value.ndim > 1}
    assert all(layer.dtype == torch.int32 and layer.shape == state[name].shape for name, layer in mask.items())
    report = json.loads((folder / "sparsity_report.json").read_text())
    assert report == {"total": size(ticket.mask) + 640, "unpruned": count(ticket.mask) + 640}, "with the classifier"
    back = TicketFiles.read(folder, folder).load(model).ticket
    assert equal_weights(ticket.weights, back.weights) and back.step == 7
    assert equal_weights(ticket.mask | {"fc.weight": torch.ones(10, 64, dtype=torch.bool)}, back.mask)


def test_a_level_converts_to_other_forms(tmp_path):
    output = tmp_path / "ticket.pt"
    status, _, err = run_in_process(convert, level(tmp_path / "level_2"), "--to", "masked", "--output", output)
    assert status == 0, err
    assert torch.load(output)["mask"].keys() == {f"{name}.weight" for name in LENET}
    assert TicketFiles.read(output, output).load(lenet()).start == "ticket"


@pytest.mark.parametrize(
    ("arch", "says"),
    [("res20s", "open_lth has no network with a tensor conv1.weight"), ("lenet300", "fc1.weight has 64 inputs")],
)
def test_a_network_that_it_does_not_have_is_named(tmp_path, arch, says):
    model = build_model(arch, classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    torch.save(copy_weights(model), tmp_path / "net.pt")
    status, _, err = run_in_process(convert, tmp_path / "net.pt", "--to", "open_lth")
    assert status == 2 and says in " ".join(err.split())
    assert not (tmp_path / "net.open_lth").exists()


def test_trained_weights_begin_no_level(tmp_path):
    status, _, err = run_in_process(convert, level(tmp_path / "level_2"), "--to", "open_lth", "--trained",
                                    "--output", tmp_path / "new" / "folders" / "out")  # fmt: skip
    assert status == 2 and "leave --trained out" in " ".join(err.split())
    assert not (tmp_path / "new").exists()
