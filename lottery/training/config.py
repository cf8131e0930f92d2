"""Settings of a training: device, data, network and recipe, each a frozen dataclass.

Defaults are those of the flags. Importing this module does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from lottery.checkpointing.run_settings import NOT_RECORDED, RunConfig
from lottery.readers.source import Source
from lottery.training.recipe import Recipe


@dataclass(frozen=True)
class DeviceConfig:
    """Where a run computes; devices differ in rounding alone."""

    gpu: Annotated[int | None, NOT_RECORDED] = None  # CUDA device; -1: the CPU; None: the first usable GPU or the CPU
    deterministic: Annotated[bool, NOT_RECORDED] = False


@dataclass(frozen=True)
class ArithmeticConfig:
    """How a training computes."""

    precision: str = "auto"  # auto, fp32, tf32 or bf16
    compile: Annotated[str, NOT_RECORDED] = "auto"  # auto, on or off
    shards: int = 1  # parts of a batch that are computed by themselves, which ranks share out


@dataclass(frozen=True)
class DataConfig:
    """Which examples train, validate and test."""

    dataset: str = "digits"
    data: Annotated[Path | None, NOT_RECORDED] = Path("data")  # the data set's directory, if it has one
    image_size: int | None = None
    split_file: Annotated[Path | None, NOT_RECORDED] = None  # the split itself is recorded by its checksum
    val_fraction: float = 0.1
    no_augmentation: bool = False
    data_in: str = "memory"  # or files: images of a folder that are read for every batch
    augmentation: str = "crop"  # of image_files.AUGMENTATIONS
    workers: Annotated[int | None, NOT_RECORDED] = None  # processes that read files; None: one for each core
    # From Python: a data set that is in memory (readers/arrays.py), instead of files; `dataset` is then its name.
    source: Annotated[Source | None, NOT_RECORDED] = None


@dataclass(frozen=True)
class ModelConfig:
    """Which network."""

    arch: str = "res20s"
    stem: str = "imagenet"
    normalization: str = "dataset"  # dataset or imagenet
    # From Python: a function of the number of classes that returns the network; `arch` is then its name.
    network: Annotated[Callable[[int], Any] | None, NOT_RECORDED] = None


@dataclass(frozen=True)
class TrainingConfig:
    """All that a training needs: the run it belongs to, where it computes, its data, network and recipe."""

    run: RunConfig
    device: DeviceConfig = field(default_factory=DeviceConfig)
    arithmetic: ArithmeticConfig = field(default_factory=ArithmeticConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: Recipe = field(default_factory=Recipe)
