"""`safetensors`: weights that are zero where they are dropped, masks as `NAME_mask` (bool), facts in the header.

The header's values are text, as the format asks for; those that are no text here are JSON. `masked` lists the layers
with a mask, `sha256` is the checksum of all tensors. The examples that the ticket was found with are left out. A file
of others is read as well: `NAME_mask` beside NAME is a mask if it has its shape and nothing but zeros and ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lottery.checkpointing.atomic_file import DamagedFile, write_atomically
from lottery.checkpointing.checkpoint import masked_state
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, check_version, checkpoint_content, checksum, format_of
from lottery.formats.registry import require
from pruner import Mask, Weights
from utils import InputError

NAME = "safetensors"
NUMBERS = ("ticket_version", "step", "prunings", "kept", "prunable", "density", "seed", "classes", "image_size")
NO_TEXT = (*NUMBERS, "accuracy", "normalization", "settings", "masked")  # values of the header that are JSON
LENGTH_BYTES, LARGEST_HEADER = 8, 100_000_000  # of the number before the header; what the library reads


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    write_file(ticket, config.output, NAME)


def write_file(ticket: ExportedTicket, path: Path, ticket_format: str) -> None:
    """InputError if the network has a tensor of a mask's name."""
    from safetensors.torch import save

    tensors = named_masks(ticket.masked_weights, ticket.mask)
    metadata = ticket.metadata(ticket_format)
    metadata |= {"settings": ticket.settings, "masked": list(ticket.mask), "sha256": checksum(tensors), "format": "pt"}
    found = save(tensors, {name: text(value) for name, value in metadata.items() if value is not None})
    write_atomically(path, lambda file: file.write(found))


def named_masks(weights: Weights, mask: Mask) -> dict[str, Tensor]:
    masks = {f"{name}_mask": layer.contiguous() for name, layer in mask.items()}
    if same := sorted(weights.keys() & masks.keys()):
        raise InputError(f"the network has a tensor {same[0]} of its own, the name of a mask: give another --to")
    return weights | masks


def text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as the format does: with the length of a header, and its brace."""
    try:
        with path.open("rb") as file:
            start, size = file.read(LENGTH_BYTES + 1), path.stat().st_size
    except OSError:
        return False
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return start[LENGTH_BYTES:] == b"{" and length <= min(size, LARGEST_HEADER)


def read(path: Path) -> dict:
    """The content of a checkpoint; DamagedFile if it is not as it was written."""
    tensors, header = load(path)
    if format_of({"metadata": header}) is None:
        return {"state_dict": foreign_state(tensors), "metadata": header}
    check_version(path, header)
    if checksum(tensors) != header.get("sha256"):
        raise DamagedFile(f"{path} is damaged: its checksum does not match")
    settings, masked = header.pop("settings"), header.pop("masked")
    mask = {name: tensors.pop(f"{name}_mask").bool() for name in masked}
    return checkpoint_content(tensors, mask, header, settings)


def load(path: Path) -> tuple[Weights, dict[str, Any]]:
    """The tensors of a file, and its header's values."""
    require(NAME, f"{path} is a safetensors file: reading it")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, parsed(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(f"{path} is no safetensors file, or a damaged one: {error}") from None


def parsed(header: Mapping[str, str]) -> dict[str, Any]:
    """The header's values, those of convert.py as they were; those of others stay text."""
    ours = "ticket_format" in header
    return {name: json.loads(value) if ours and name in NO_TEXT else value for name, value in header.items()}


def foreign_state(tensors: Weights) -> Weights:
    """The state_dict of a file that another tool wrote."""
    mask = {name: tensors[f"{name}_mask"] for name in tensors if is_masked(name, tensors)}
    masks = {f"{name}_mask" for name in mask}
    weights = {name: value for name, value in tensors.items() if name not in masks}
    return masked_state(weights, {name: layer.bool() for name, layer in mask.items()})


def is_masked(name: str, tensors: Weights) -> bool:
    mask = tensors.get(f"{name}_mask")
    return mask is not None and mask.shape == tensors[name].shape and bool(((mask == 0) | (mask == 1)).all())
