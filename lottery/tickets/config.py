"""Settings: which ticket a run begins with. Importing this module does not import torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from lottery.checkpointing.run_settings import NOT_RECORDED, WHETHER_GIVEN

REWIND_EPOCH = 2  # the 0-based epoch whose weights a ticket is rewound to, where neither it nor an iteration is given


@dataclass(frozen=True)
class TicketConfig:
    """A ticket from files: starting weights and mask, from one checkpoint or from two. Without either the dense
    network, freshly drawn."""

    init_dir: Annotated[Path | None, WHETHER_GIVEN] = None  # the file of the starting weights
    mask_dir: Annotated[Path | None, WHETHER_GIVEN] = None  # the file of the mask
    new_classifier: bool = False  # leave the ticket's classifier out
    weights: Annotated[Path | None, NOT_RECORDED] = None  # pre-trained, instead of drawn; recorded by their checksum

    @property
    def files(self) -> list[Path | None]:
        """The files that are read."""
        return [self.init_dir, self.mask_dir, self.weights]

    @property
    def given(self) -> bool:
        return bool(self.init_dir or self.mask_dir)
