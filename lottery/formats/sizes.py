"""What convert.py says of a ticket that it wrote: how much is kept, and how many bytes that takes."""

import io
from pathlib import Path

import torch

from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import (
    UNFINISHED,
    ExportedTicket,
    counted_layers,
    unfinished_note,
    which_weights,
)
from pruner import Weights


def size_lines(ticket: ExportedTicket, config: ConversionConfig) -> list[str]:
    written, dense = bytes_of(config.output), state_dict_bytes(ticket.complete_weights)
    share = f"{100 * written / dense:.1f} % of the dense state_dict's {dense:,}"
    notes = [f"note: {unfinished_note(config.ticket)}"] if ticket.facts.get("trained_until") == UNFINISHED else []
    return [*notes, kept_line(ticket), f"{config.output} is written: {written:,} bytes, {share}."]


def kept_line(ticket: ExportedTicket) -> str:
    """What is kept, and which weights these are."""
    facts = ticket.facts
    step = "" if facts.get("step") is None else f", after step {facts['step']} of the schedule"
    if not ticket.mask:
        return f"The file holds no mask: the dense network, {which_weights(facts)}{step}."
    return (
        f"{facts['kept']:,} of {facts['prunable']:,} prunable weights are kept, density {facts['density']:.4f}"
        f"{counted_layers(facts)}: {which_weights(facts)}{step}."
    )


def bytes_of(path: Path) -> int:
    """Of a file, or of all files of a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def state_dict_bytes(weights: Weights) -> int:
    """What torch.save makes of them."""
    file = io.BytesIO()
    torch.save(weights, file)
    return file.tell()
