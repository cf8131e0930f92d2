"""The content of a file that holds a ticket, whatever its format."""

from collections.abc import Mapping
from pathlib import Path

from lottery.checkpointing import atomic_file, checkpoint
from lottery.formats import compact, hugging_face, masked, npz, open_lth, prune, safetensors
from lottery.formats.exported_ticket import check_version, format_of
from lottery.formats.masks import with_masks
from lottery.formats.registry import folder_format
from utils import InputError

STORED = {module.NAME: module.content for module in (masked, prune, compact)}  # formats in files of torch.save


def read_content(path: Path) -> dict:
    """The content of a checkpoint as `TicketFile` knows it, from a file or directory of any format that is read here:
    "state_dict" (`NAME_orig` and `NAME_mask`, or plain), "init_weight" if there are starting weights, "settings",
    "metadata", and "masks" of people's own (masks.py). The format is recognised by what is there, not by the
    name alone; what is not recognised is read as a checkpoint.

    InputError for a file that is none; DamagedFile if its checksum does not match.
    """
    if folder_format(path) == hugging_face.NAME:
        return hugging_face.read(path)
    if open_lth.is_level(path):
        return open_lth.read(path)
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty: tensors by name are needed")
    if npz.is_npz(path):
        return with_masks(npz.read(path))
    if safetensors.is_safetensors(path):
        return with_masks(safetensors.read(path))
    stored = checkpoint.read(path)
    if "kept_channels" in stored:
        raise InputError(
            f"{path} is a sliced network, which holds no mask: lottery.channels.slicing.load_sliced loads it, and what "
            "it was made from is the ticket"
        )
    if (found := format_of(stored)) not in STORED:
        return with_masks(stored)
    check_version(path, stored["metadata"])
    return STORED[found](stored)


def has_checksum(path: Path, content: Mapping) -> bool:
    """Whether `content`, which `read_content` gave, was compared with a checksum."""
    metadata = content.get("metadata")
    return (isinstance(metadata, Mapping) and "sha256" in metadata) or (
        path.is_file() and atomic_file.has_checksum(path)
    )
