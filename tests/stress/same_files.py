"""Whether two runs left the same files, to the bit."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lottery.checkpointing.atomic_file import has_checksum
from lottery.checkpointing.checkpoint import read
from utils import InputError

RECORDS = (".json", ".jsonl")
NOT_COMPARED = {"seconds", "command", "version"}  # the keys whose values differ between two runs of one kind


def differences(a: Path, b: Path) -> list[str]:
    """What differs between the files of two runs, each difference by file and key; empty if they are equal to the bit.

    Wall-clock times, the command and the version aside; of a picture it is only asked that it is there and whole. Files
    whose names begin with a dot count: a finished run has none.
    """
    here, there = ({file.name for file in folder.iterdir()} for folder in (a, b))
    found = [f"{name} is in {a if name in here else b} only" for name in sorted(here ^ there)]
    for name in sorted(here & there):
        found += unlike(a / name, b / name)
    return found


def unlike(a: Path, b: Path) -> list[str]:
    """What differs between two files, or directories, of one name."""
    if a.is_dir() and b.is_dir():
        return differences(a, b)
    try:
        if a.suffix == ".png":
            return [f"{file} is no whole picture" for file in (a, b) if not whole_picture(file)]
        unsealed = [f"{file} is unsealed" for file in (a, b) if file.suffix not in RECORDS and not has_checksum(file)]
        return [*different(content(a), content(b), a.name), *unsealed]
    except (InputError, ValueError) as error:
        return [f"{a.name}: {error}"]


def content(file: Path) -> dict | list:
    """What a file says: a checkpoint, or records, an object a line or one in all. InputError or ValueError for none."""
    if file.suffix not in RECORDS:
        return read(file)
    text = file.read_text()
    return [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else json.loads(text)


def different(a, b, where: str) -> Iterator[str]:
    """The places in which two contents differ."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if not identical(a, b):
            yield where
    elif isinstance(a, dict) and isinstance(b, dict):
        yield from (f"{where}/{key}" for key in a.keys() ^ b.keys())
        for key in (a.keys() & b.keys()) - NOT_COMPARED:
            yield from different(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from different(one, other, f"{where}/{place}")
    elif repr(a) != repr(b):  # which, unlike ==, tells 1 from 1.0 and 0.0 from -0.0
        yield where


def identical(a: Tensor, b: Tensor) -> bool:
    """The same bytes, so that 0.0 is not -0.0 and a NaN is itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    one, other = (value.reshape(-1).contiguous().view(torch.uint8) for value in (a, b))
    return torch.equal(one, other)


def whole_picture(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            picture.load()
    except (OSError, SyntaxError):  # Pillow's PNG reader says SyntaxError for a broken chunk
        return False
    return True
