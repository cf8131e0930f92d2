"""The TOML file that describes a user's own family of networks: which modules are units, and which are fixed.

    kind = "ResNets of basic blocks"
    stem = ["network.conv1", "network.bn1"]   # before the stages; `normalize` is added to it
    classifier = ["network.fc"]               # after the stages; the last module gives the logits

    [[stages]]                                # each stage, in order
    units = "network.layer1.*"                # * is a unit's number, from 0 up; the network determines how many
    fixed = []                                # what a stage has once, such as ConvNeXt's downsampling between stages
    first = 1                                 # this many units at the beginning keep their place,
    last = 0                                  # and this many at the end

Names are those of modules, or of parameters outside any listed module, as in the `state_dict`, where a network named
package.module:function is called `network`. Together they must cover every parameter and buffer exactly once. `stem`,
`fixed`, `first` and `last` are optional, with defaults [], [], 1 and 0. `units` is

    "network.layer1.*"                          where a unit is one module,
    ["blocks.*.conv", "norms.*"]                where it is several, or
    [["features.0", "features.1"], "features.3"]

a list with the names of each unit's modules (or its only module) where no number distinguishes units. Members that
differ in more than the number of units have their own tables, named as in --source_arch or --target_arch, whose entries
override the above:

    [members."torchvision.models:vgg13_bn"]
    stages = [{ units = [["network.features.0", "network.features.1"], ["network.features.3", "network.features.4"]] }]

Importing this module does not import torch.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import InputError, read_toml

from .units import NORMALIZATION, Family, Stage, Unit, owners

FORM = ("stem", "classifier", "stages")
KEYS = ("kind", *FORM, "members")
STAGE = ("units", "fixed", "first", "last")
STAR = "*"


@dataclass(frozen=True)
class Description:
    """A validated description. `content` is the file's, plain data that a checkpoint can hold.

    InputError names the file and what is wrong in it.
    """

    file: str
    content: Mapping

    def __post_init__(self):
        check_keys(self.file, self.content, KEYS)
        if not isinstance(self.content.get("kind"), str) or not self.content["kind"]:
            raise InputError(f"{self.file} needs kind = a few words that name the family")
        check_members(self.file, self.content.get("members", {}))
        check_alike({where: checked_stages(where, form) for where, form in self._forms().items()})

    def _forms(self) -> dict[str, Mapping]:
        """The shared description, if complete, and that of each member with its own table, by their name in errors."""
        shared = {key: value for key, value in self.content.items() if key in FORM}
        members = self.content.get("members", {})
        own = {self._where(arch): shared | form for arch, form in members.items()}
        return own if members and not {"classifier", "stages"} <= shared.keys() else {self.file: shared} | own

    def _where(self, arch: str) -> str:
        return f"{self.file}, member {arch}"

    def _form(self, arch: str) -> Mapping:
        forms = self._forms()
        form = forms.get(self._where(arch), forms.get(self.file))
        if form is None:
            raise InputError(f"{self.file} describes {', '.join(self.content['members'])}, not {arch}")
        return form

    @property
    def checksum(self) -> str:
        """CRC-32 of the content, which identifies the family in a ticket's settings."""
        return f"{zlib.crc32(json.dumps(self.content, sort_keys=True).encode()):08x}"

    def classifier(self, arch: str) -> Unit:
        return tuple(self._form(arch)["classifier"])

    def member(self, arch: str, names: Iterable[str]) -> Family:
        """The network `arch`, whose parameters and buffers have these `names`, as a member of the family.

        InputError unless each name belongs to exactly one part and every part has one.
        """
        form, names = self._form(arch), tuple(names)
        stages = tuple(
            self._stage(stage, f"stage {number} of {arch}", names) for number, stage in enumerate(form["stages"], 1)
        )
        stem = dict.fromkeys((NORMALIZATION, *form.get("stem", [])))
        family = Family(self.content["kind"], tuple(stem), stages, self.classifier(arch))
        check_parts(self.file, arch, family, names)
        return family

    def _stage(self, form: Mapping, name: str, names: Sequence[str]) -> Stage:
        units, first, last = form["units"], form.get("first", 1), form.get("last", 0)
        if patterns := unit_patterns(units):
            found = units_found(self.file, patterns, name, names)
        else:
            found = tuple((unit,) if isinstance(unit, str) else tuple(unit) for unit in units)
        if len(found) < first + last:
            raise InputError(
                f"{self.file}: {name} has {len(found)} units, fewer than first = {first} and last = {last}"
            )
        return Stage(found, first, last, tuple(form.get("fixed", [])))


def read_description(path: Path) -> Description:
    """Read and validate a description file; InputError if it is invalid."""
    return Description(str(path), read_toml(path))


# --- units by pattern -------------------------------------------------------------------------------------------------


def unit_patterns(units: str | Iterable) -> list[str]:
    """The patterns of a unit's modules; empty if `units` lists the units by name."""
    every = [units] if isinstance(units, str) else units
    return list(every) if all(isinstance(pattern, str) and STAR in pattern for pattern in every) else []


def units_found(file: str, patterns: Sequence[str], stage: str, names: Sequence[str]) -> tuple[Unit, ...]:
    """The units of a stage whose modules match the patterns; all patterns must match equally many, numbered from 0."""
    counts = {pattern: count_found(file, pattern, stage, names) for pattern in patterns}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[fewest] < counts[most]:
        raise InputError(
            f"{file}: in {stage}, {fewest} finds {counts[fewest]} units and {most} finds {counts[most]}: "
            "a unit needs all its modules"
        )
    return tuple(tuple(pattern.replace(STAR, str(unit)) for pattern in patterns) for unit in range(counts[most]))


def count_found(file: str, pattern: str, stage: str, names: Sequence[str]) -> int:
    """The number of modules or parameters that match the pattern."""
    before, after = map(re.escape, pattern.split(STAR))
    whole = re.compile(rf"{before}(0|[1-9]\d{{0,8}}){after}(\.|$)", re.ASCII)
    numbers = {int(found[1]) for found in map(whole.match, names) if found}
    if not numbers:
        raise InputError(f"{file}: {pattern} finds nothing in {stage}: * is a number, and a name is a whole one")
    if missing := set(range(len(numbers))) - numbers:
        raise InputError(f"{file}: in {stage}, {pattern} finds number {max(numbers)} but not {min(missing)}")
    return len(numbers)


# --- checks -----------------------------------------------------------------------------------------------------------


def check_parts(file: str, arch: str, family: Family, names: Sequence[str]) -> None:
    """InputError unless every name belongs to exactly one module of the family and every module has one."""
    belongs = {name: owners(name, family.modules) for name in names}
    for name, found in belongs.items():
        if not found:
            raise InputError(f"{file}: {name} of {arch} belongs to no part: to no stem, stage or classifier")
        if len(found) > 1:
            raise InputError(f"{file}: {name} of {arch} belongs to two parts: {found[0]} and {found[1]}")
    there = {NORMALIZATION, *(module for found in belongs.values() for module in found)}
    if missing := [module for module in family.modules if module not in there]:
        raise InputError(f"{file}: {arch} has no parameter or buffer in {missing[0]}")


def check_keys(where: str, table: object, known: Sequence[str]) -> None:
    if not isinstance(table, Mapping):
        raise InputError(f"{where} must be a table of {', '.join(known)}, got {table!r}")
    if strangers := table.keys() - set(known):
        raise InputError(f"{where} has {sorted(strangers)[0]}: only {', '.join(known)} are known")


def check_members(file: str, members: object) -> None:
    if not isinstance(members, Mapping):
        raise InputError(f"{file}: members must be tables named as --source_arch is, got {members!r}")
    for arch, form in members.items():
        check_keys(f"{file}, member {arch}", form, FORM)


def checked_stages(where: str, form: Mapping) -> list[Mapping]:
    """The stages of a network's description; InputError if it is invalid."""
    for key in "classifier", "stages":
        if not form.get(key):
            raise InputError(f"{where} has no {key}")
    if not isinstance(form["stages"], list):
        raise InputError(f"{where}: stages must be tables, [[stages]], got {form['stages']!r}")
    for key in "stem", "classifier":
        check_names(f"{where}: {key}", form.get(key, []))
    for number, stage in enumerate(form["stages"], 1):
        check_stage(f"{where}: stage {number}", stage)
    return form["stages"]


def check_stage(where: str, stage: Any) -> None:
    check_keys(where, stage, STAGE)
    check_names(f"{where}: fixed", stage.get("fixed", []))
    for key in "first", "last":
        if type(stage.get(key, 0)) is not int or stage.get(key, 0) < 0:
            raise InputError(f"{where}: {key} must be a whole number from 0 up, got {stage[key]!r}")
    if not stage.get("units"):
        raise InputError(f"{where} has no units")
    check_units(where, stage["units"])


def check_units(where: str, units: object) -> None:
    if not isinstance(units, str | list) or (isinstance(units, str) and STAR not in units):
        raise InputError(f"{where}: units must be a name with * or a list, got {units!r}")
    patterns = unit_patterns(units)
    for pattern in patterns:
        if pattern.count(STAR) > 1:
            raise InputError(f"{where}: a unit has one number, one *, got {pattern!r}")
    for unit in [] if patterns else units:
        check_names(f"{where}: a unit in a list without *", [unit] if isinstance(unit, str) else unit)
        if not unit:
            raise InputError(f"{where}: a unit in its list has no modules")


def check_names(where: str, names: object) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) and name and STAR not in name for name in names):
        raise InputError(f"{where} must be a list of names, got {names!r}")


def check_alike(stages: Mapping[str, Sequence[Mapping]]) -> None:
    """InputError unless all members have equally many stages, with the same `first` and `last`."""
    (first, expected), *others = stages.items()
    for where, found in others:
        if len(found) != len(expected):
            raise InputError(
                f"{where} has {len(found)} stages, {first} has {len(expected)}: they must have equally many"
            )
        for number, (a, b) in enumerate(zip(found, expected, strict=True), 1):
            for key, default in ("first", 1), ("last", 0):
                if a.get(key, default) != b.get(key, default):
                    raise InputError(f"{where}: stage {number} has another {key} than in {first}")
