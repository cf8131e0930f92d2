"""The parts as a library: the examples of docs/library.md as they stand there, and what they are equal to."""

import json
import re
import shlex
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

import main_imp
import main_PrAC_imp
from lottery.checkpointing.run_settings import RunConfig
from lottery.cli.registry import flag_names
from lottery.readers.arrays import source_from_arrays
from lottery.readers.registry import read_source
from lottery.search.config import ImpConfig, PruningConfig
from lottery.search.examples import FixedSets
from lottery.search.imp import ImpSearch
from lottery.search.settings import search_settings
from lottery.tickets.load import load_ticket
from lottery.tickets.plain_ticket import plain_ticket
from lottery.training.config import DataConfig, DeviceConfig, ModelConfig, TrainingConfig
from lottery.training.context import build_context
from lottery.training.recipe import Recipe
from models import build_model
from tests import networks
from tests.helpers import ROOT, checkpoints, run_in_process
from tests.stress.same_files import different
from utils import InputError

FENCED = re.compile(r"^```(python|bash)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def run_page(page, folder):
    """Run the examples of a page, one after the other, in this directory: what each one of Python leaves.

    One that begins with the name of a file is that file; commands are run as they stand, on the CPU.
    """
    found = []
    for language, text in FENCED.findall((ROOT / "docs" / page).read_text()):
        torch.manual_seed(0)
        if language == "bash":
            _, script, *words = shlex.split(text)
            gpu = ("--gpu", -1) if "gpu" in flag_names(script) else ()
            status, _, err = run_in_process(import_module(script.removesuffix(".py")), *words, *gpu)
            assert status == 0, err
        elif file := re.match(r"# (\w+\.py)\n", text):
            (folder / file[1]).write_text(text)
        else:
            found.append(found[-1] | {"__name__": "example"} if found else {"__name__": "example"})
            exec(compile(text, page, "exec"), found[-1])
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """By page, the names that its examples left, and the directory that they ran in."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for page in ("library.md", "data_and_models.md"):
            folder = tmp_path_factory.mktemp(page)
            patch.chdir(folder)
            patch.setattr(sys, "path", [str(folder), *sys.path])
            found[page] = run_page(page, folder), folder
    return found


def test_the_lines_of_the_readme_load_the_ticket_of_its_search(tmp_path, monkeypatch):
    """Its first search with rounds of one epoch; then the block of Python as it stands."""
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text()
    search = re.search(r"main_PrAC_imp\.py (--arch .*)", readme)[1]
    status, _, err = run_in_process(main_PrAC_imp, *shlex.split(search), "--epochs", 1, "--gpu", -1)
    assert status == 0, err
    names = {}
    exec(re.search(r"^```python\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)[1], names)
    kept, size = kept_after(300 * 64 + 100 * 300, 6), 300 * 64 + 100 * 300
    found = [names["model"][name].weight for name in ("fc1", "fc2")]
    assert sum(int((weight != 0).sum()) for weight in found) == kept < 0.3 * size
    assert torch.equal(names["model"]["fc3"].weight, names["file"]["init_weight"]["fc3.weight"])


def kept_after(weights, prunings):
    """How many of the weights are left after so many prunings of a fifth."""
    for _ in range(prunings):
        weights -= round(0.2 * weights)
    return weights


def test_five_lines_load_a_ticket_that_plain_ticket_loads_too(pages):
    examples, folder = pages["library.md"]
    plain, ticket = examples[0]["model"].state_dict(), examples[1]["ticket"]
    assert plain.keys() == ticket.weights.keys()
    assert all(torch.equal(plain[name], value) for name, value in ticket.weights.items())
    assert examples[0]["mask"].keys() == ticket.mask.keys() == {"0.weight"}
    assert torch.equal(examples[0]["mask"]["0.weight"].bool(), ticket.mask["0.weight"])
    assert int(ticket.mask["0.weight"].sum()) == kept_after(432, 2) == int((ticket.weights["0.weight"] != 0).sum())
    summary = json.loads((folder / "runs" / "mine" / "summary.json").read_text())
    assert summary["classes"] == list("0123456789")


def test_the_logits_of_the_plain_network_are_those_of_the_run(pages):
    examples, folder = pages["library.md"]
    names = examples[1]
    whole = build_model(f"{folder}/my_net.py:net", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    weights = checkpoints(folder / "runs" / "mine")[2]["init_weight"]
    mask = {f"network.{name}": layer for name, layer in names["ticket"].mask.items()}
    whole.load_state_dict({name: value * mask.get(name, 1) for name, value in weights.items()})
    images, bare = names["images"], names["model"].eval()
    normalised = (images.expand(-1, 3, -1, -1) - names["ticket"].mean) / names["ticket"].std
    torch.testing.assert_close(bare(normalised), whole.eval()(images))


def test_trained_weights_are_those_of_the_end_of_a_round_and_refused_where_there_are_none(pages):
    _, folder = pages["library.md"]
    runs = folder / "runs" / "mine"
    trained = plain_ticket(runs / "1checkpoint.pth.tar", trained=True)
    state = checkpoints(runs)[1]["state_dict"]
    assert torch.equal(trained.weights["0.weight"], state["network.0.weight_orig"] * state["network.0.weight_mask"])
    assert not torch.equal(trained.weights["5.weight"], plain_ticket(runs / "1checkpoint.pth.tar").weights["5.weight"])
    with pytest.raises(InputError, match="holds no trained weights: the training it is for has not begun"):
        plain_ticket(runs / "2checkpoint.pth.tar", trained=True)


def test_a_network_of_ours_has_no_plain_ticket(pages):
    _, folder = pages["data_and_models.md"]
    with pytest.raises(
        InputError, match=r"0checkpoint.pth.tar holds no network of your own, as of --arch .* models.build_model"
    ):
        plain_ticket(folder / "runs" / "my_digits" / "0checkpoint.pth.tar")


def test_the_masks_of_the_loop_are_pruned_three_times(pages):
    mask = pages["library.md"][0][2]["mask"]
    assert sum(int(layer.sum()) for layer in mask.values()) == kept_after(6400, 3)


def test_a_script_called_from_python_trains_the_ticket_of_own_data(pages):
    examples, folder = pages["library.md"]
    assert examples[3]["status"] == 0
    summary = json.loads((folder / "runs" / "my_digits_retrain" / "summary.json").read_text())
    assert summary["settings"]["dataset"] == "my_data.py:digits" and "data" not in summary
    assert summary["ticket"]["prunings"] == 2 and summary["examples"]["test"] == 397


def test_the_set_of_the_loop_holds_what_was_forgotten_or_disagreed_about(pages):
    names = pages["library.md"][0][4]
    differ = torch.nonzero(names["dense"] != names["sparse"])[:, 0]
    assert set(differ.tolist()) <= set(names["prac_set"].tolist()) and len(names["cet"])
    assert names["prac_set"].tolist() == sorted({*names["cet"].tolist(), *differ.tolist()})


def test_the_search_with_its_parts_finds_a_ticket_and_goes_on(pages, monkeypatch, capsys):
    examples, folder = pages["library.md"]
    names = examples[5]
    mask = names["ticket"].mask
    assert sum(int(layer.sum()) for layer in mask.values()) == round(sum(layer.numel() for layer in mask.values()) / 4)
    monkeypatch.chdir(folder)
    names["ImpSearch"](
        names["config"],
        names["context"],
        names["dense"],
        FixedSets([names["context"].training_indices]),
        names["settings"],
    ).run()
    assert "this search is finished" in capsys.readouterr().out


def test_the_data_of_the_page_of_data_sets_are_rounded(pages):
    _, folder = pages["data_and_models.md"]
    summary = json.loads((folder / "runs" / "my_digits" / "summary.json").read_text())
    assert summary["examples"] == {"train": 1260, "validation": 140, "test": 397} and summary["finished"]


def test_a_search_from_python_is_that_of_the_script_to_the_bit(tmp_path):
    """The digits as arrays and by --dataset, a network as a function and by --arch."""
    flags = "--dataset digits --arch tests.networks:tiny --epochs 2 --decreasing_lr 1 --batch_size 64 --gpu -1"
    pruning = "--pruning_times 1 --prune_type rewind_lt --rewind_epoch 0"
    status, _, err = run_in_process(main_imp, *flags.split(), *pruning.split(), "--save_dir", tmp_path / "script")
    assert status == 0, err
    digits = read_source("digits", tmp_path)
    arrays = digits.train_images, digits.train_labels, digits.test_images, digits.test_labels
    config = ImpConfig(
        training=TrainingConfig(
            run=RunConfig("main_imp.py", tmp_path / "library"),
            device=DeviceConfig(gpu=-1),
            data=DataConfig("mine", source=source_from_arrays(*arrays)),
            model=ModelConfig("mine", network=networks.tiny),
            recipe=Recipe(epochs=2, milestones=(1,), batch_size=64),
        ),
        pruning=PruningConfig(pruning_times=1, prune_type="rewind_lt", rewind_epoch=0),
    )
    context = build_context(config.training)
    dense = load_ticket(config.ticket, context)
    ImpSearch(
        config, context, dense, FixedSets([context.training_indices]), search_settings(config, context, dense)
    ).run()
    theirs, ours = checkpoints(tmp_path / "script"), checkpoints(tmp_path / "library")
    assert len(theirs) == len(ours) == 2
    for there, here in zip(theirs, ours, strict=True):
        for key in ("state_dict", "init_weight", "sequence"):
            assert list(different(there[key], here[key], key)) == []


IMAGES, LABELS = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train_images": IMAGES.astype(float)}, "training images must be square uint8 arrays .* got float64"),
        ({"test_images": IMAGES[:, :7]}, r"test images must be square .* got uint8 \(6, 7, 8\)"),
        ({"test_images": np.zeros((6, 9, 9), np.uint8)}, "must be alike"),
        ({"train_labels": LABELS[:5]}, r"training labels must be .* one for each of 6 images, got int64 \(5,\)"),
        ({"train_labels": LABELS - 1}, "whole numbers from 0 up"),
        ({"test_labels": LABELS + 1}, "test labels must be among the 3 classes"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(changes, message):
    given = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    with pytest.raises(InputError, match=message):
        source_from_arrays(**given | changes)
