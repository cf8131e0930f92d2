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
    image_size: int | None = None  # of the images of the ONNX network; None: as the run recorded
    command: str = ""  # as it was typed, for a model card
