"""`hugging_face`: a folder for the hub, with model.safetensors, config.json and README.md, the model card.

The weights and masks are those of `safetensors`; config.json has the facts of its header.
"""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lottery.checkpointing.atomic_file import write_atomically, writing
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


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that is renamed to `path` once all of it is written, and is gone if it could not be."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with writing(path):
        temporary.mkdir()
        try:
            yield temporary
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))
