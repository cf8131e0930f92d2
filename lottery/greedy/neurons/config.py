"""Settings of main_greedy.py, as frozen dataclasses with the flags' names and defaults.

Importing this module does not import torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from lottery.checkpointing.run_settings import NOT_RECORDED, RunConfig
from lottery.training.config import DeviceConfig

INTERVAL = 1000  # iterations between selections, unless others are asked for


def every_interval(iterations: int) -> tuple[int, ...]:
    """The iterations to select at by default: every `INTERVAL` of the pre-training, from 0 on."""
    return tuple(range(0, iterations + 1, INTERVAL))


@dataclass(frozen=True)
class TaskConfig:
    """Which examples train and test, and what the network has to compute for them."""

    dataset: str = "digits"
    data: Annotated[Path | None, NOT_RECORDED] = Path("data")  # the data set's directory, if it has one
    image_size: int | None = None
    examples: int | None = None  # size of the training subset, drawn with the seed; None: all training examples
    target: str = "halves"  # one of greedy.names.TARGETS


@dataclass(frozen=True)
class PretrainingConfig:
    """The dense two-layer network and its training by plain SGD."""

    hidden: int = 10000  # neurons
    activation: str = "relu"  # one of greedy.names.ACTIVATIONS
    loss: str = "squared"  # to train and to select by: one of greedy.names.LOSSES
    iterations: int = 8000
    batch_size: int = 128
    lr: float = 0.2  # in mean-field units: the step is `hidden` times larger


@dataclass(frozen=True)
class NeuronSelectionConfig:
    """One run of main_greedy.py: pre-training, selections along it, and their fine-tuning."""

    run: RunConfig
    device: DeviceConfig = field(default_factory=DeviceConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    prune_at: tuple[int, ...] = every_interval(PretrainingConfig.iterations)  # rising, none beyond the last iteration
    neurons: int = 200  # picks per selection
    fine_tune: int = 1000  # SGD steps on each selected network
    delta: Annotated[float, NOT_RECORDED] = 1.0  # points of accuracy below the dense network that are good enough
    memory: int = 4096  # MiB for the activations of all neurons on all examples

    @property
    def memory_bytes(self) -> int:
        return self.memory * 2**20
