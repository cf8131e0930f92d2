"""Settings of main_init.py, as a frozen dataclass. Importing this module does not import torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from lottery.bases.config import BasisConfig
from lottery.checkpointing.run_settings import WHETHER_GIVEN, RunConfig
from lottery.pruning_at_init.criteria import CRITERIA
from lottery.tickets.config import TicketConfig
from lottery.training.config import DataConfig, DeviceConfig, ModelConfig
from utils import InputError


@dataclass(frozen=True)
class PruningAtInitConfig:
    """A ticket of main_init.py.

    Exactly one of `density`, `sparsity`, `like` and `pattern` says how many weights it keeps; InputError otherwise.
    """

    run: RunConfig
    criterion: str  # a key of `criteria.CRITERIA`
    device: DeviceConfig = field(default_factory=DeviceConfig)
    # Images are scored as they are, without augmentation.
    data: DataConfig = field(default_factory=lambda: DataConfig(no_augmentation=True))
    model: ModelConfig = field(default_factory=ModelConfig)
    ticket: TicketConfig = field(default_factory=TicketConfig)  # the weights to score; no mask is read
    weights: str = "starting"  # which weights of `init_dir` are scored and written: starting or trained
    density: float | None = None
    sparsity: float | None = None
    like: Annotated[Path | None, WHETHER_GIVEN] = None  # keep as many weights as the ticket in this checkpoint
    pattern: str | None = None  # "2:4": in one pruning 2 of every 4 consecutive input weights (lottery/patterns.py)
    basis: BasisConfig = field(default_factory=BasisConfig)  # of whose coefficients are kept
    ranking: str = "global"  # a key of `criteria.RANKINGS`
    iterations: int = 1
    inverted: bool = False  # a control: keep the lowest scores
    prune_classifier: bool = False
    allow_empty_layers: bool = False
    prac_set: Annotated[Path | None, WHETHER_GIVEN] = None  # score on this set instead of all training examples
    score_examples: int | None = None  # score on so many of the training examples, drawn with the seed
    batch_size: int = 128

    def __post_init__(self):
        if sum(given is not None for given in (self.density, self.sparsity, self.like, self.pattern)) != 1:
            ways = "density, sparsity, like and pattern"
            raise InputError(f"give exactly one of {ways}, which say how many weights are kept")
        if self.basis.transforms and not CRITERIA[self.criterion].in_other_bases:
            raise InputError(
                f"--criterion {self.criterion} scores weights by their absolute values, which another basis does not "
                f"have: omit --basis {self.basis.basis}"
            )

        if self.basis.in_blocks and self.ranking == "erk":
            raise InputError(
                f"--ranking erk divides single weights among layers, --block {self.basis.block} prunes blocks of them: "
                "give --ranking global or uniform"
            )

    @property
    def starts_trained(self) -> bool:
        """Whether the weights that are scored and written are trained ones."""
        return self.weights == "trained"

    @property
    def inputs(self) -> list[Path | None]:
        """The files that are read."""
        return [self.ticket.init_dir, self.prac_set, self.like]
