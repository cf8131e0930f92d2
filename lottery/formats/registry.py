"""The formats that convert.py writes, by name. Importing this module does not import torch.

A further format is a module of its name in this package, with `write(ticket, config)`, which may return lines to print,
and an entry in `FORMATS`; one that can be read back has a branch in `read_content` (reading.py).
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from utils import InputError


class Format(NamedTuple):
    """A form of a ticket outside this suite."""

    ending: str  # of the name of its file or directory
    help: str
    needs: tuple[str, ...] = ()  # packages that it is written with, beyond requirements.txt
    masks: bool = True  # whether it holds the mask, so that it can be read back as a ticket
    builds: bool = False  # whether the network is built for it, for images of some size


FORMATS = {
    "masked": Format(".masked.pt", "a state_dict, zero where weights are dropped, and the mask beside it"),
    "prune": Format(".prune.pt", "NAME_orig and NAME_mask, as torch.nn.utils.prune has them"),
    "safetensors": Format(".safetensors", "a state_dict with masks as NAME_mask, and a header", ("safetensors",)),
    "compact": Format(".compact.pt", "the kept values alone, and the mask in one bit a weight"),
    "hugging_face": Format(
        ".hugging_face", "a folder with model.safetensors, config.json and a model card", ("safetensors",)
    ),
    "onnx": Format(
        ".onnx",
        "the network with its normalisation, without its mask",
        ("onnx", "onnxscript"),
        masks=False,
        builds=True,
    ),
    "sliced": Format(
        ".sliced.pt",
        "a smaller dense network, without channels and neurons that emit nothing",
        masks=False,
        builds=True,
    ),
    "open_lth": Format(".open_lth", "a directory as open_lth has for a level, if the network is one of its own"),
}

FOLDERS = {  # format -> files that a directory of it holds
    "hugging_face": ("config.json", "model.safetensors"),
    "open_lth": ("mask.pth",),
    "open_lth level": ("main/mask.pth",),
}


def writer(name: str) -> Callable:
    """The function of a format that writes an `ExportedTicket` as a `ConversionConfig` says."""
    return import_module(f"lottery.formats.{name}").write


def check_packages(name: str) -> None:
    """InputError if a package that the format is written or read with is not installed."""
    for package in FORMATS[name].needs:
        require(package, f"the format {name}")


def require(package: str, what: str) -> None:
    """InputError if the package, which `what` needs, is not installed."""
    if find_spec(package) is None:
        raise InputError(f"{what} needs the package {package}, which is not installed: pip install {package}")


def folder_format(path: Path) -> str | None:
    """The format of a directory that holds a ticket; None for any other path."""
    return next((name for name, files in FOLDERS.items() if all((path / file).is_file() for file in files)), None)
