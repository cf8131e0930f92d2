"""Group runs by their settings, and give each group a unique name.

As when a run is resumed, a setting that only one of two runs records is no difference, unless it is known what was done
before there was one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from lottery.checkpointing.run_settings import with_values_before

TASK = ("dataset", "data checksum", "split checksum", "arch", "stem", "image_size", "network")
# Settings that make no other method: those of the task, of one run, and of how far one ticket was pruned.
NOT_METHOD = {*TASK, "seed", "order_seed", "pruning_times", "ticket checksum", "init_dir", "mask_dir"}
NOT_METHOD |= {"control", "ticket start"}  # part of the name, see `ticket_origins.alteration`
NOT_METHOD |= {"density", "sparsity", "like", "allow_empty_layers", "kept", "prunable"}  # of main_init.py
NOT_METHOD |= {"kept by pattern"}  # follows from the network and the pattern
# Networks are trained alike if these are equal.
TRAINING_SETTINGS: tuple[str, ...] = (
    *("epochs", "batch_size", "lr", "momentum", "weight_decay", "warmup", "decreasing_lr", "precision"),
    *("schedule", "gamma", "optimizer", "nesterov", "label_smoothing"),
    *("batch_selection", "selection_rate", "selection_until"),
    "val_fraction",  # decides which examples train
    "normalization",
    *("augmentation", "no_augmentation"),
    "shards",  # whose examples batch norm normalises together
)
# Beginnings of settings that may differ by seed: the checksum of a given set, a round of the run that is followed.
BY_SEED = ("PrAC set of round", "like_run, round", "steps_of, round")
LONGEST = 40  # letters of a setting's value within a name
LONGEST_NAME = 48  # letters of a method's name with the settings that tell it from others


@dataclass
class Group:
    """Items that belong together, and the settings of the first of them."""

    settings: Mapping
    items: list = field(default_factory=list)
    name: str = ""
    base_name: str = ""
    difference: str = ""  # within the name: the settings that tell it from groups of the same base name


def differing(a: Mapping, b: Mapping, names: Iterable[str]) -> list[str]:
    """Those of these settings that both record, with different values; one that came later than either of them counts
    as what was done before there was one."""
    a, b = with_values_before(a), with_values_before(b)
    return [name for name in names if name in a and name in b and a[name] != b[name]]


def grouped(items: Iterable, settings: Callable, same: Callable[[Mapping, Mapping], bool]) -> list[Group]:
    """The items in groups: each joins the first group whose items all have the same settings, or begins a new one."""
    groups: list[Group] = []
    for item in items:
        mine = settings(item)
        fitting = (group for group in groups if all(same(settings(other), mine) for other in group.items))
        group = next(fitting, None)
        if group is None:
            groups.append(group := Group(mine))
        group.items.append(item)
    return groups


def name_groups_(groups: Sequence[Group], base_name: Callable[[Mapping], str], names: Iterable[str] = ()) -> None:
    """Name each group uniquely: by its base name, followed by the settings in which it differs from groups of the same
    base name, of these `names` or else of all that decide a method; at last by a number."""
    base_names = [base_name(group.settings) for group in groups]
    for group, name in zip(groups, base_names, strict=True):
        others = [other for other, its in zip(groups, base_names, strict=True) if its == name and other is not group]
        settings = with_values_before(group.settings)
        compared = list(names) or [setting for setting in settings if setting not in NOT_METHOD]
        different = dict.fromkeys(
            setting for other in others for setting in differing(group.settings, other.settings, compared)
        )
        telling = [setting for setting in different if settings[setting] not in ([], None)]
        group.base_name = name
        group.difference = ", ".join(f"{setting} {_value_text(settings[setting])}" for setting in telling)
        group.name = f"{name} ({group.difference})" if group.difference else name
    for name, times in Counter(group.name for group in groups).items():
        for number, group in enumerate([group for group in groups if group.name == name] if times > 1 else [], 1):
            group.name = f"{name} [{number}]"


def shorten_names_(groups: Sequence[Group], folder: Callable[[Any], Path | None] = lambda item: None) -> dict[str, str]:
    """Where names are too long to be read many times, put what is shorter in place of the settings within them. Returns
    what it stands for, by the short name.

    That is the name of the folder in which the user has each group's items ("IMP (short rounds)"; `folder` says where
    an item lies, if it counts), if all groups of this base name have one; otherwise a letter ("IMP (a)"), and the
    letters of one base name follow each other.
    """
    key = {}
    told = [group for group in groups if group.difference]
    long = [group for group in told if len(group.name) > LONGEST_NAME]
    for base_name in dict.fromkeys(group.base_name for group in long):
        alike = [group for group in told if group.base_name == base_name]
        others = {group.name for group in groups} - {group.name for group in alike}
        names = _named_by_folders(base_name, alike, folder)
        if not names or others & set(names):
            alike = [group for group in long if group.base_name == base_name]
            names = [f"{base_name} ({_letter(number)})" for number, _ in enumerate(alike, 1)]
        for group, name in zip(alike, names, strict=True):
            group.name = name
            key[name] = group.difference
    return key


def _named_by_folders(
    base_name: str, groups: Sequence[Group], folder: Callable[[Any], Path | None]
) -> list[str] | None:
    """A name for each group by a folder: the nearest one above all of its items that has one name for all of them, and
    that no other group has. None if there is no such folder."""
    for depth in (1, 2):  # NAME/seed_0 as well as seed_0/NAME
        each = [
            {Path(path).absolute().parts[-depth:][0] for item in group.items if (path := folder(item))}
            for group in groups
        ]
        folders = [name.replace("_", " ") for names in each if len(names) == 1 for name in names]
        told = [name.removeprefix(base_name).strip(" ,") for name in folders]
        if len(set(told)) == len(groups) and all(len(name) <= LONGEST for name in told):
            return [f"{base_name} ({name})" if name else base_name for name in told]
    return None


def _letter(number: int) -> str:
    """a to z, then aa, ab, ..."""
    before, last = divmod(number - 1, len(ascii_lowercase))
    return (_letter(before) if before else "") + ascii_lowercase[last]


def _value_text(value: object) -> str:
    """A setting's value within a name; a long one, such as the shapes of a network, is not spelled out."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else "another"
