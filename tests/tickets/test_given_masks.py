"""Masks that people make themselves, as they save them: with torch, NumPy or safetensors, under names of their own."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune as torch_prune

import main_train
import verify
from lottery.checkpointing.atomic_file import DamagedFile
from lottery.checkpointing.checkpoint import masked_state
from lottery.formats import npz
from lottery.tickets.load import TicketFiles
from lottery.tickets.ticket_file import TicketFile
from lottery.training.step import copy_weights
from models import build_model
from tests.helpers import Tiny, equal_weights, run_in_process
from utils import InputError


@pytest.fixture
def mask():
    """For the prunable layers of Tiny, without its classifier: every third weight is dropped."""
    return {
        name: (torch.arange(value.numel()) % 3 > 0).reshape(value.shape)
        for name, value in Tiny().named_parameters()
        if name in ("conv1.weight", "conv2.weight")
    }


def loaded(file, model, init=None):
    found = TicketFiles.read(init, file).load(model)
    return found.ticket.mask, [note for note in found.notes if "checksum" not in note]


def refusal(file, model):
    with pytest.raises(InputError) as error:
        loaded(file, model)
    assert str(error.value).startswith(str(file)), "the file is named"
    return str(error.value).removeprefix(str(file))


SAVERS = {
    "torch.pt": torch.save,
    "torch.pth": lambda mask, path: torch.save({"mask": mask, "epoch": 3, "command": "python"}, path),
    "masks.pt": lambda mask, path: torch.save({"masks": mask, "state_dict": Tiny().state_dict()}, path),
    "beside.pt": lambda mask, path: torch.save(
        Tiny().state_dict() | {f"{name}_mask": layer for name, layer in mask.items()}, path
    ),
    "wrapped.pt": lambda mask, path: torch.save({"state_dict": mask}, path),
    "numpy.npz": lambda mask, path: np.savez(path, **{name: layer.numpy() for name, layer in mask.items()}),
    "small.npz": lambda mask, path: np.savez_compressed(path, **{f"{n}_mask": m.numpy() for n, m in mask.items()}),
    "a.safetensors": save_file,
    "b.safetensors": lambda mask, path: save_file({f"{name}_mask": layer for name, layer in mask.items()}, path),
}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float16])
@pytest.mark.parametrize("name", SAVERS)
def test_a_mask_is_read_however_it_is_saved(tmp_path, tiny, mask, name, dtype):
    SAVERS[name]({layer: value.to(dtype) for layer, value in mask.items()}, tmp_path / name)
    found, notes = loaded(tmp_path / name, tiny)
    assert equal_weights(found, mask)
    word = str(dtype).removeprefix("torch.")
    assert notes == ([] if dtype == torch.bool else [f"{tmp_path / name} holds masks as {word}: 1 is kept, 0 dropped"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", ""])
@pytest.mark.parametrize("ending", ["_mask", ""])
def test_names_of_other_tools_are_read_and_said(tmp_path, mask, prefix, ending):
    model = build_model("tests.networks:tiny", classes=10, channels=3, image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    masks = {f"{prefix}0.weight{ending}": torch.arange(model.network[0].weight.numel()) % 2 > 0}
    masks = {name: layer.reshape(model.network[0].weight.shape) for name, layer in masks.items()}
    torch.save(masks, tmp_path / "mask.pt")
    found, notes = loaded(tmp_path / "mask.pt", model)
    assert torch.equal(found["network.0.weight"], next(iter(masks.values())))
    assert f"has {prefix}0.weight for network.0.weight" in notes[0]


def test_layers_without_a_mask_are_kept_whole_and_count(tmp_path, tiny, mask):
    del mask["conv1.weight"]
    torch.save(mask, tmp_path / "mask.pt")
    found, notes = loaded(tmp_path / "mask.pt", tiny)
    assert found["conv1.weight"].all() and torch.equal(found["conv2.weight"], mask["conv2.weight"])
    assert list(found) == ["conv1.weight", "conv2.weight"]
    assert notes == [f"{tmp_path}/mask.pt has no mask for conv1.weight, which is prunable: it is kept whole"]


def test_a_classifier_may_have_one_and_a_bias_one_that_drops_nothing(tmp_path, tiny, mask):
    torch.save(mask | {"fc.weight": torch.eye(3, 6), "fc.bias": torch.ones(3)}, tmp_path / "mask.pt")
    found, _ = loaded(tmp_path / "mask.pt", tiny)
    assert list(found) == ["conv1.weight", "conv2.weight", "fc.weight"] and found["fc.weight"].sum() == 3
    torch.save(mask | {"fc.bias": torch.tensor([1, 0, 1])}, tmp_path / "mask.pt")
    assert refusal(tmp_path / "mask.pt", tiny).startswith(" has a mask that drops 1 of the 3 values of fc.bias")


def test_a_new_classifier_has_no_mask(tmp_path, tiny, mask):
    torch.save(mask | {"fc.weight": torch.zeros(100, 6)}, tmp_path / "mask.pt")
    found = TicketFiles.read(None, tmp_path / "mask.pt").load(tiny, new_classifier=True)
    assert equal_weights(found.ticket.mask, mask)


def test_a_mask_of_ones_is_the_dense_network(tmp_path, tiny, mask):
    torch.save({name: torch.ones_like(layer) for name, layer in mask.items()}, tmp_path / "mask.pt")
    found, notes = loaded(tmp_path / "mask.pt", tiny)
    assert found == {} and notes == [f"{tmp_path}/mask.pt holds no mask: the dense network is trained"]


def test_a_mask_that_keeps_nothing_is_refused(tmp_path, tiny, mask):
    """In any file; not if the layers without a mask are kept."""
    nothing = {name: torch.zeros_like(layer) for name, layer in mask.items()}
    torch.save(nothing, tmp_path / "mask.pt")
    assert refusal(tmp_path / "mask.pt", tiny) == " keeps none of 252 prunable weights: there is nothing to train"
    torch.save(masked_state(copy_weights(tiny), nothing), tmp_path / "mask.pt")
    assert refusal(tmp_path / "mask.pt", tiny) == " keeps none of 252 prunable weights: there is nothing to train"
    some = {"conv1.weight": nothing["conv1.weight"]}
    for content in some, masked_state(copy_weights(tiny), some):
        torch.save(content, tmp_path / "mask.pt")
        assert not loaded(tmp_path / "mask.pt", tiny)[0]["conv1.weight"].any()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"conv2.weight": torch.full((6, 4, 3, 3), 0.5)}, ": the mask of conv2.weight holds 0.5, where 0 and 1"),
        ({"conv2.weight": torch.full((6, 4, 3, 3), 2)}, ": the mask of conv2.weight holds 2, where 0 and 1"),
        ({"conv2.weight": torch.full((6, 4, 3, 3), torch.nan)}, ": the mask of conv2.weight holds nan, where 0 and 1"),
        (
            {"conv2.weight": torch.ones(6, 4, 5, 5)},
            ": the mask of conv2.weight is 6 x 4 x 5 x 5, its parameter 6 x 4 x 3 x 3",
        ),
        (
            {"conv3.weight": torch.ones(6, 4, 3, 3)},
            " has a mask for conv3.weight, which is no parameter of this network, as conv1.weight is",
        ),
        ({"conv2.weight": torch.eye(6).to_sparse()}, ": the mask of conv2.weight is sparse"),
    ],
)
def test_what_is_no_mask_is_named(tmp_path, tiny, mask, wrong, says):
    torch.save({"mask": mask | wrong}, tmp_path / "mask.pt")
    assert refusal(tmp_path / "mask.pt", tiny).startswith(says)
    torch.save(mask | wrong, tmp_path / "mask.pt")
    if not next(iter(wrong.values())).is_sparse:
        assert refusal(tmp_path / "mask.pt", tiny).startswith(says)


def test_files_without_a_mask_are_refused(tmp_path, tiny):
    path = tmp_path / "mask.npz"
    path.write_bytes(b"")
    assert refusal(path, tiny).startswith(" is empty")
    np.savez(path, weight=np.array([{"a": 1}], dtype=object))
    assert refusal(path, tiny).startswith(": weight is no array of numbers")
    np.savez(path, weight=np.zeros(3))
    path.write_bytes(path.read_bytes()[:-60])
    assert "damaged" in refusal(path, tiny)


class Explosive:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, tiny, capsys):
    torch.save({"mask": Explosive()}, tmp_path / "mask.pt")
    assert "refused: it holds more than tensors" in refusal(tmp_path / "mask.pt", tiny)
    assert "executed" not in capsys.readouterr().out


def test_masks_are_no_weights(tmp_path, tiny, mask):
    torch.save({name: layer.float() for name, layer in mask.items()}, tmp_path / "mask.pt")
    with pytest.raises(InputError, match="holds masks and no weights: it can be --mask_dir alone"):
        TicketFile(tmp_path / "mask.pt").starting_weights(tiny)
    status, out, _ = run_in_process(verify, tmp_path / "mask.pt")
    assert status == 1 and "holds masks and no weights" in out


def test_weights_beside_a_mask_start_as_they_are(tmp_path, tiny, mask):
    """Those that the mask drops, too: another mask may keep them."""
    for name in ("masks.pt", "beside.pt"):
        SAVERS[name](mask, tmp_path / name)
        torch.save({"state_dict": tiny.state_dict(), "masks": mask}, tmp_path / "masks.pt")
    weights, _ = TicketFile(tmp_path / "masks.pt").starting_weights(tiny)
    assert equal_weights(weights, copy_weights(tiny))
    status, out, _ = run_in_process(verify, tmp_path / "masks.pt")
    kept = sum(int(layer.sum()) for layer in mask.values())
    assert status == 0 and f"{kept} of 252 weights kept" in out


class MaskedLayer(nn.Module):
    """A network that masks its own weights, with a buffer beside them."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.hidden = nn.Linear(4, 4)
        self.hidden.register_buffer("weight_mask", torch.eye(4))


def test_a_networks_own_buffer_is_no_mask(tmp_path):
    model = MaskedLayer()
    torch.save(model.state_dict(), tmp_path / "file.pt")
    mask, _ = loaded(tmp_path / "file.pt", model, init=tmp_path / "file.pt")
    assert mask == {}
    weights, _ = TicketFile(tmp_path / "file.pt").starting_weights(model)
    assert equal_weights(weights, model.state_dict())


def test_torch_prunes_a_torchvision_network(tmp_path):
    """As its users save it, from DataParallel and in half precision; and its masks alone."""
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet18(num_classes=10)
    layers = [(module, "weight") for module in theirs.modules() if isinstance(module, nn.Conv2d)]
    torch_prune.global_unstructured(layers, torch_prune.L1Unstructured, amount=0.5)
    state = {f"module.{name}": value for name, value in theirs.half().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 90, "arch": "resnet18"}, tmp_path / "half.pth")
    masks = dict(theirs.named_buffers())
    torch.save({name: masks[name] for name in masks if name.endswith("_mask")}, tmp_path / "masks.pth")
    model = build_model("res18", classes=10, channels=3, image_size=32, mean=[0.5] * 3, std=[0.5] * 3)
    found, notes = loaded(tmp_path / "half.pth", model, init=tmp_path / "half.pth")
    assert equal_weights(found, {f"{name}.weight": m.weight_mask.bool() for name, m in theirs.named_modules()
                                 if hasattr(m, "weight_mask")})  # fmt: skip
    assert len(notes) == 2 and "cast from float16" in " ".join(notes)
    assert equal_weights(loaded(tmp_path / "masks.pth", model)[0], found)
    weights, _ = TicketFile(tmp_path / "half.pth").starting_weights(model)
    assert torch.equal(weights["conv1.weight"], theirs.conv1.weight_orig.float() * theirs.conv1.weight_mask.float())


def test_safetensors_of_a_plain_network(tmp_path, tiny):
    save_file(copy_weights(tiny), tmp_path / "net.safetensors")
    assert equal_weights(TicketFile(tmp_path / "net.safetensors").starting_weights(tiny)[0], copy_weights(tiny))


def test_a_network_trains_under_it(tmp_path):
    """An empty layer is warned of, as in a search."""
    flags = "--dataset digits --arch lenet300 --epochs 1 --decreasing_lr= --batch_size 512 --warmup 0 --gpu -1".split()
    masks = {"fc1.weight": np.zeros((300, 64), dtype=np.uint8), "fc2.weight": np.eye(100, 300, dtype=np.uint8)}
    np.savez(tmp_path / "mask.npz", **masks)
    status, out, err = run_in_process(
        main_train, *flags, "--mask_dir", tmp_path / "mask.npz", "--save_dir", tmp_path / "run"
    )
    assert status == 0, err
    said = re.sub(r"\s+", " ", out + err)
    assert "layer fc1.weight has no weights left" in said and "holds masks as uint8" in said
    weights, mask = TicketFile(tmp_path / "run/checkpoint.pth.tar").trained
    assert not weights["fc1.weight"].any() and mask["fc2.weight"].sum() == 100
    assert masked_state(weights, mask).keys() >= {"fc2.weight_mask"}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_told_in_a_sentence(tmp_path, save):
    save(tmp_path / "mask.npz", a=np.random.default_rng(0).random((30, 30)) < 0.5, b=np.arange(900))
    content = bytearray((tmp_path / "mask.npz").read_bytes())
    content[100:300] = bytes(255 - byte for byte in content[100:300])
    (tmp_path / "mask.npz").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"no file of numpy\.savez, or a damaged one"):
        npz.read(tmp_path / "mask.npz")
