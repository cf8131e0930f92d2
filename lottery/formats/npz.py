"""Files of numpy.savez: arrays by name, weights or masks of people who do not use torch."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lottery.checkpointing.atomic_file import DamagedFile
from utils import InputError


def is_npz(path: Path) -> bool:
    """Whether it is a zip archive of .npy files, as a file of torch.save is not."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):  # damaged, which is said where it is read
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path) -> dict[str, Tensor]:
    """The arrays as tensors. InputError for one of Python objects, of which reading might run code."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _tensor(path, name, arrays) for name in arrays.files}
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedFile(f"{path} is no file of numpy.savez, or a damaged one: {error}") from None


def _tensor(path: Path, name: str, arrays: "np.lib.npyio.NpzFile") -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape))
    except (ValueError, TypeError):
        raise InputError(f"{path}: {name} is no array of numbers, tensors by name are needed") from None
