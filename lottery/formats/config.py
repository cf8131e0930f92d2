"""Settings of convert.py, as a frozen dataclass with the names of the flags. Importing this module does not import
torch."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """A ticket and the form in which it leaves."""

    ticket: Path  # a checkpoint, or what `read_content` reads
    to: str  # a key of FORMATS
    output: Path
    trained: bool = False  # the weights at the end, not those that the ticket starts from
    image_size: int | None = None  # of the images of a network that is built; None: as the run recorded
    sliced: bool = False  # whether the ONNX network lacks channels that emit nothing
    command: str = ""  # as it was typed, for a model card
