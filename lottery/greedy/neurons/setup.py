"""What a run of neuron selection works with: its examples on their device, and the settings it records."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dataset import random_subset
from lottery.checkpointing.run_settings import run_settings
from lottery.greedy.neurons.config import NeuronSelectionConfig
from lottery.greedy.neurons.task import network_inputs, network_targets
from lottery.greedy.neurons.training import Examples
from lottery.readers.registry import read_source
from lottery.readers.source import Source
from lottery.training.devices import explain_out_of_memory, pick_device
from lottery.training.environment import environment, keep_freed_memory, set_determinism
from utils import InputError, RandomStream, generator


@dataclass(frozen=True)
class NeuronSetup:
    """Training subset and test set, and what is recorded of the run."""

    train: Examples
    test: Examples
    settings: dict
    environment: dict[str, str | int | bool]
    notes: list[str]  # on the files of the data set

    @property
    def device(self) -> torch.device:
        return self.train.inputs.device


def build_setup(config: NeuronSelectionConfig) -> NeuronSetup:
    """Read the data and place them on the device; InputError where flags and files do not go together."""
    keep_freed_memory()
    device, task = pick_device(config.device.gpu), config.task
    set_determinism(device, config.device.deterministic)
    source = read_source(task.dataset, task.data, task.image_size)
    train, test = examples_on(device, source, task.examples, task.target, config.run.seed)
    return NeuronSetup(
        train=train,
        test=test,
        settings=run_settings(config.run.script, config, contents={"data checksum": source.checksum}),
        environment=environment(device) | {"deterministic": config.device.deterministic},
        notes=list(source.notes),
    )


def examples_on(
    device: torch.device, source: Source, size: int | None, target: str, seed: int
) -> tuple[Examples, Examples]:
    """A training subset of this size, all if None, and the test set, on the device."""

    def prepared(images: Tensor, labels: Tensor) -> Examples:
        inputs = network_inputs(images.to(device), source.mean, source.std)
        return Examples(inputs, network_targets(labels.to(device), len(source.classes), target))

    indices = training_subset(len(source.train_labels) - source.validation, size, seed)
    train_images, test_images = source.in_memory()
    train = (torch.from_numpy(array)[indices] for array in (train_images, source.train_labels))
    test = (torch.from_numpy(array) for array in (test_images, source.test_labels))
    with explain_out_of_memory(f"the images of {source.name}", device):
        return prepared(*train), prepared(*test)


def training_subset(available: int, size: int | None, seed: int) -> Tensor:
    """Indices of `size` training examples, all if None. With one seed, a smaller subset lies in every larger one."""
    if size is not None and size > available:
        raise InputError(f"--examples {size} is more than the {available} examples of the training set")
    return random_subset(torch.arange(available), size or available, generator(seed, purpose=RandomStream.RANDOM_SET))
