"""The parts as a library: the examples of docs/library.md as they stand there, and what they are equal to."""

import re

import numpy as np
import pytest
import torch

import main_imp
from lottery.checkpointing.run_settings import RunConfig
from lottery.readers.arrays import source_from_arrays
from lottery.readers.registry import read_source
from lottery.search.config import ImpConfig, PruningConfig
from lottery.search.examples import FixedSets
from lottery.search.imp import ImpSearch
from lottery.search.settings import search_settings
from lottery.tickets.load import load_ticket
from lottery.training.config import DataConfig, DeviceConfig, ModelConfig, TrainingConfig
from lottery.training.context import build_context
from lottery.training.recipe import Recipe
from tests import networks
from tests.helpers import ROOT, checkpoints, run_in_process
from tests.stress.same_files import different
from utils import InputError

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), flags=re.S)


def run_example(number, folder, monkeypatch):
    """The names that an example of the page leaves, run in this directory."""
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    names = {"__name__": "example"}
    exec(compile(EXAMPLES[number], "docs/library.md", "exec"), names)
    return names


def test_the_search_of_the_first_example_finds_a_ticket_and_goes_on(tmp_path, monkeypatch, capsys):
    names = run_example(0, tmp_path, monkeypatch)
    mask = names["ticket"].mask
    assert sum(int(layer.sum()) for layer in mask.values()) == round(sum(layer.numel() for layer in mask.values()) / 4)
    capsys.readouterr()
    run_example(0, tmp_path, monkeypatch)
    assert "this search is finished" in capsys.readouterr().out


def test_the_masks_of_the_second_example_are_pruned_three_times(tmp_path, monkeypatch):
    names = run_example(1, tmp_path, monkeypatch)
    kept = 6400
    for _ in range(3):
        kept -= round(0.2 * kept)
    assert sum(int(layer.sum()) for layer in names["mask"].values()) == kept


def test_the_set_of_the_third_example_holds_what_was_forgotten_or_disagreed_about(tmp_path, monkeypatch):
    names = run_example(2, tmp_path, monkeypatch)
    differ = torch.nonzero(names["dense"] != names["sparse"])[:, 0]
    assert set(differ.tolist()) <= set(names["prac_set"].tolist()) and len(names["cet"])
    assert names["prac_set"].tolist() == sorted({*names["cet"].tolist(), *differ.tolist()})


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
