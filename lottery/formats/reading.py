"""The content of a file that holds a ticket, whatever its format."""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType

from lottery.checkpointing import atomic_file, checkpoint
from lottery.formats import compact, hugging_face, masked, npz, open_lth, prune, safetensors
from lottery.formats.exported_ticket import check_version, format_of
from lottery.formats.masks import MASKS, is_tensors, with_masks
from lottery.formats.registry import folder_format
from utils import InputError

STORED = {module.NAME: module for module in (masked, prune, compact)}  # formats in files of torch.save
KINDS: dict[str, type | UnionType] = {  # of entries whose names others use for other things
    "format": int,
    "state": int | NoneType,
    "settings": dict,
    "history": list,
    "metadata": dict,
    "basis": dict,
    MASKS: dict,
}
OURS = ("format", "state", "settings", "history")  # what every checkpoint of this suite has


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
    stored = without_foreign_entries(checkpoint.read(path))
    if "kept_channels" in stored:
        raise InputError(
            f"{path} is a sliced network, which holds no mask: lottery.channels.slicing.load_sliced loads it, and what "
            "it was made from is the ticket"
        )
    if (found := format_of(stored)) not in STORED:
        return with_masks(stored)
    check_version(path, stored["metadata"])
    check_parts(path, stored, found)
    return STORED[found].content(stored)


def check_parts(path: Path, stored: Mapping, form: str) -> None:
    """InputError for a file that says that it is in a form and lacks a part of it."""
    for part, kind in {**STORED[form].PARTS, "settings": object}.items():
        found = stored.get(part)
        if not isinstance(found, dict) or not all(isinstance(value, kind) for value in found.values()):
            raise InputError(
                f"{path} says that it is a ticket in the form {form}, and has no {part} as that form has it"
            )


def without_foreign_entries(content: dict) -> dict:
    """The content of a file without what others keep under names of this suite's entries, such as settings that are a
    text; `format` counts only beside the other entries of OURS. A state_dict keeps all its tensors, under a key."""
    if is_tensors(content):
        return {"state_dict": content} if KINDS.keys() & content.keys() else content
    found = {name: value for name, value in content.items() if isinstance(value, KINDS.get(name, object))}
    if not found.keys() >= set(OURS):
        found.pop("format", None)
    return found


def has_checksum(path: Path, content: Mapping) -> bool:
    """Whether `content`, which `read_content` gave, was compared with a checksum."""
    metadata = content.get("metadata")
    return (isinstance(metadata, Mapping) and "sha256" in metadata) or (
        path.is_file() and atomic_file.has_checksum(path)
    )
