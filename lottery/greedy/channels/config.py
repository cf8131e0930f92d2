"""Settings of main_channels.py, as frozen dataclasses with the flags' names and defaults.

Importing this module does not import torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from lottery.checkpointing.run_settings import NOT_RECORDED, WHETHER_GIVEN
from lottery.greedy.names import AVERAGE, WHOLE
from lottery.training.config import TrainingConfig

KEEP = "0.5"  # the budget, where neither one nor a tolerance is asked for


@dataclass(frozen=True)
class BudgetConfig:
    """How many channels to keep, and of which layers: by `keep`, or by `top1_tol` if `keep` is None."""

    keep: str | None = KEEP  # share of each layer's channels, such as "0.5", or their number, such as "16"
    top1_tol: float | None = None  # or: the share of the accuracy that may be lost
    tolerance_of: str = WHOLE  # one of greedy.names.TOLERANCES
    layers: str | None = None  # "NAME[=BUDGET],..."; None: every layer whose channels can be dropped


@dataclass(frozen=True)
class SelectionConfig:
    """How channels are selected."""

    repeats: bool = False  # whether a channel may be picked more than once
    candidates: int = 50  # channels tried at each step, drawn at random; 0: all
    channel_weights: str = AVERAGE  # one of greedy.names.CHANNEL_WEIGHTS
    select_examples: int | None = None  # training examples to select by; None: setup.DEFAULT_EXAMPLES, or all if fewer
    select_batch: int = 128  # of them at each step
    layer_tuning: float = 0.0  # share of an epoch to train for after each layer
    memory: int = 2048  # MiB for what the examples are before a layer

    @property
    def memory_bytes(self) -> int:
        return self.memory * 2**20


@dataclass(frozen=True)
class ChannelSelectionConfig:
    """One run of main_channels.py: the trained network, the selections in it, and their fine-tuning.

    The network comes from `init_dir`; without, it is pre-trained by the recipe of `training` and selected from at the
    iterations `prune_at`, its end if that is None.
    """

    training: TrainingConfig
    init_dir: Annotated[Path | None, WHETHER_GIVEN] = None
    prune_at: tuple[int, ...] | None = None
    delta: Annotated[float, NOT_RECORDED] = 1.0  # points of accuracy below the dense network that are good enough
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    fine_tune_epochs: int = 10
    fine_tune_lr: float = 0.01
    baselines: tuple[str, ...] = ()  # of greedy.names.BASELINES: other ways to select, compared with greedy selection
    export: Annotated[Path | None, NOT_RECORDED] = None  # the file for the newest small network as a program
