"""`hugging_face`: a folder for the hub, with model.safetensors, config.json and README.md, the model card.

The weights and masks are those of `safetensors`; config.json has the facts of its header.
"""

import json
from pathlib import Path

from lottery.checkpointing.atomic_file import new_folder, write_atomically
from lottery.checkpointing.recorded_flags import run_summary
from lottery.formats import safetensors
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket
from lottery.formats.model_card import model_card

NAME = "hugging_face"
WEIGHTS = "model.safetensors"


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    summary = run_summary(config.ticket.parent, ticket.settings)
    facts = json.dumps(ticket.metadata(NAME), indent=2, default=str) + "\n"
    with new_folder(config.output) as folder:
        safetensors.write_file(ticket, folder / WEIGHTS, NAME)
        write_text(folder / "config.json", facts)
        write_text(folder / "README.md", model_card(ticket, summary))


def read(folder: Path) -> dict:
    """The content of a checkpoint."""
    return safetensors.read(folder / WEIGHTS)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))
