"""Settings of main_elastic.py, as frozen dataclasses. Importing this module does not import torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from lottery.checkpointing.run_settings import NOT_RECORDED, RecordedAs, RunConfig
from models.description import Description


@dataclass(frozen=True)
class MappingConfig:
    """From which network to which, and where its units go: in the order of a rule, or as `block_mapping` says."""

    source_arch: str
    target_arch: Annotated[str, RecordedAs("arch")]  # that the ticket is then of
    stem: str = "imagenet"
    order: str | None = None  # one of `mapping.ORDERS`
    block_mapping: Annotated[str | None, NOT_RECORDED] = None  # recorded in the form that `format_mapping` gives it


@dataclass(frozen=True)
class ElasticConfig:
    """A ticket of main_elastic.py. The seed in `run` decides nothing: nothing is drawn."""

    run: RunConfig
    mapping: MappingConfig
    init_dir: Path  # the source ticket's starting weights
    mask_dir: Path  # the source ticket's mask
    family: Description | None = None  # what the units of both networks are; None for networks of this suite

    @property
    def files(self) -> dict[str, Path]:
        """The files of the source ticket, by the names of their flags."""
        return {"init_dir": self.init_dir, "mask_dir": self.mask_dir}
