"""The grid of a study: its points, where the runs of a point lie, and which flags they have."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.cli.registry import flag_names

Flags = dict[str, object]

# By script, the flag that names the PrAC run which a control follows.
FOLLOWING_FLAGS = {Script.IMP: "steps_of", Script.PRAC_IMP: "like_run"}
# Flags of runs that take several words.
OF_SEVERAL_WORDS = {"prune_also", "basis_axes"}
# What the tables of a study file hold beside flags.
NOT_FLAGS = {
    "methods": {"script", "prunings"},
    "retrain": {"prunings", "controls", "control_methods", "control_prunings", "rules", "dense"},
    "elastic": {"pairs", "controls"},
    "stability": {"prunings", "controls"},
}


def grid_points(grid: Mapping) -> list[Flags]:
    """Every combination of the grid's values; with [[grid.cases]], each case with every combination."""
    lists = {flag: values for flag, values in grid.items() if flag != "cases"}
    combinations = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    return [case | point for case in grid.get("cases", [{}]) for point in combinations]


def point_directory(point: Flags) -> Path:
    """seed_0, or cifar10/res20s/seed_0 where the grid has data sets and networks as well."""
    plain = ("dataset", "arch")  # flags whose values need no name before them
    names = (str(value) if flag in plain else f"{flag}_{value}" for flag, value in point.items() if flag != "data")
    return Path(*map(directory_name, names))


def directory_name(name: str) -> str:
    """A name with an underscore for whatever should not be in a directory's name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_")


def table_flags(part: str, table: Mapping) -> Flags:
    """The flags in a table of this part, without what else it holds."""
    return {name: value for name, value in table.items() if name not in NOT_FLAGS[part]}


def followed_method(method: Mapping) -> str | None:
    """The method whose run this one follows, if any; for scripts that follow none, `like` is a flag as any other."""
    return method.get("like") if method["script"] in FOLLOWING_FLAGS else None


def method_flags(content: Mapping, point: Flags, method: Mapping) -> Flags:
    """The flags of a method's run at a point of the grid."""
    shared, own = content.get("common", {}) | point, table_flags("methods", method)
    if followed_method(method) is not None:
        own.pop("like")
    script = Script(method["script"])
    shared |= content.get("search", {}) if script != Script.INIT else {}
    if not script.makes_one_ticket:
        return shared | own
    known = flag_names(script)
    return {name: value for name, value in shared.items() if name in known} | own


def training_flags(content: Mapping, point: Flags) -> Flags:
    """The flags of every training at a point of the grid."""
    return content.get("common", {}) | point | table_flags("retrain", content.get("retrain", {}))


def stability_flags(content: Mapping, point: Flags) -> Flags:
    """The flags of every stability run at a point of the grid."""
    return content.get("common", {}) | point | table_flags("stability", content["stability"])


def typed(flags: Flags) -> tuple[str, ...]:
    """Flags as words of a command: `true` is a flag without a value, `false` its absence; values of a list have commas
    between them, or are words of their own where the flag takes several."""
    words: list[str] = []
    for flag, value in flags.items():
        if value is not False:
            values = list(map(str, value)) if isinstance(value, list) else [str(value)]
            values = values if flag in OF_SEVERAL_WORDS else [",".join(values)]
            words += [f"--{flag}"] if value is True else [f"--{flag}", *values]
    return tuple(words)
