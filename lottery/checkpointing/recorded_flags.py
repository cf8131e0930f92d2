"""Flags that the run of a file was given, in words, so that a refusal can say what to give here.

`content` is that of one of the run's checkpoints, or its settings alone as {"settings": settings}; `directory` is where
it lies, perhaps beside the run's summary.json. What neither records is left out.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path

from lottery.checkpointing.metrics import read_summary
from lottery.checkpointing.run_directory import RunDirectory
from models.families import RESNETS

SAME_RUN = ("script", "seed", "data checksum", "split checksum")  # settings that a run's files share


def split_flags(directory: Path, content: Mapping) -> str | None:
    """The flags of the split: "--split_file FILE --val_fraction 0.1", or "--val_fraction 0.1 and no --split_file".

    None if the run's command is not known.
    """
    command, settings = _records(directory, content).get("command"), content.get("settings") or {}
    if not command or "val_fraction" not in settings:
        return None
    try:
        file = _flag(command, "split_file")
    except ValueError:  # a command edited by hand
        return None
    share = f"--val_fraction {settings['val_fraction']}"
    return f"--split_file {shlex.quote(file)} {share}" if file else f"{share} and no --split_file"


def data_flags(directory: Path, content: Mapping) -> str | None:
    """The flags of the data: "--dataset imagefolder --data birds", with --data_in where images stayed in their files.
    None if the data set is not known."""
    settings, folder = content.get("settings") or {}, _records(directory, content).get("data")
    if "dataset" not in settings:
        return None
    where = f" --data {shlex.quote(folder)}" if folder else ""
    files = " --data_in files" if settings.get("data_in") == "files" else ""
    return f"--dataset {shlex.quote(settings['dataset'])}{where}{files}"


def network_flags(content: Mapping) -> str | None:
    """The flags of the network: "--arch res18 --stem cifar"; a ResNet alone has a stem. None if the network is not
    known."""
    settings = content.get("settings") or {}
    arch = settings.get("arch")
    stem = f" --stem {settings['stem']}" if arch in RESNETS and "stem" in settings else ""
    return f"--arch {shlex.quote(arch)}{stem}" if arch else None


def _records(directory: Path, content: Mapping) -> Mapping:
    """What tells of the run beside its settings: the file itself, if it has its command, or else the summary.json
    beside it, unless that is another run's."""
    return content if content.get("command") else run_summary(directory, content.get("settings") or {})


def run_summary(directory: Path, settings: Mapping) -> Mapping:
    """The summary.json in a directory if it is of the run with these settings; empty otherwise."""
    summary = read_summary(RunDirectory(directory).summary) or {}
    there = summary.get("settings") or {}
    return summary if there and all(there.get(name) == settings.get(name) for name in SAME_RUN) else {}


def _flag(command: str, name: str) -> str | None:
    """The last value of a flag in a command; None if it has none."""
    words = shlex.split(command)
    values = [words[i + 1] for i, word in enumerate(words[:-1]) if word == f"--{name}"]
    values += [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    return values[-1] if values else None
