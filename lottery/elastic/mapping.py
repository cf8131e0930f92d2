"""Elastic tickets: a ticket of one network, transferred to a deeper or shallower relative without a search.

    mapping = unit_mapping(family("res20s"), family("res56s"), "append")  # which source unit each target unit copies
    ticket = stretch(ticket, family("res20s"), family("res56s"), mapping)  # the ticket of res56s

Chen et al., "The Elastic Lottery Ticket Hypothesis", NeurIPS 2021, section 3: the mask, the rewound weights, and the
batch norm parameters and statistics of a unit are copied together, unchanged. Units and stages are data
(`models.units`). A mapping has a tuple for each stage, with the number of the source unit that each target unit copies.
Stages are counted from 1, the units of a stage from 0, as the paper's authors write them: "0:0;1:1,3;2:2,4" copies unit
1 to units 1 and 3. Functions are pure; nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from models.units import Family, Stage, Unit, owners
from utils import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from pruner import Mask, Ticket

UnitMapping = tuple[tuple[int, ...], ...]
ORDERS = ("append", "interpolate")
STAGE = re.compile(r"\d+:\d+(,\d+)*(;\d+:\d+(,\d+)*)*")


# --- which unit goes where --------------------------------------------------------------------------------------------


def read_mapping(source: Family, target: Family, order: str | None, text: str | None) -> UnitMapping:
    """The mapping that `text` writes out; if it is None, that of the paper's rules in this order."""
    return unit_mapping(source, target, order) if text is None else parse_mapping(text, source, target)


def unit_mapping(source: Family, target: Family, order: str) -> UnitMapping:
    """The mapping by the paper's rules.

    Units with a fixed place, such as the first of a stage, keep that place. A stretch replicates all the others, the
    earlier ones once more where not all can have equally many copies; a squeeze keeps the earliest. InputError if the
    two are not of one family, or a stage has nothing to replicate.
    """
    check_relatives(source, target)
    return tuple(
        stage_mapping(there, here, order, f"stage {number}")
        for number, (there, here) in enumerate(zip(source.stages, target.stages, strict=True), 1)
    )


def check_relatives(source: Family, target: Family) -> None:
    """InputError unless they differ in nothing but how many units their stages have."""
    if source.kind != target.kind or len(source.stages) != len(target.stages):
        raise InputError(f"a ticket stays in its family: it cannot go from the {source.kind} to the {target.kind}")


def stage_mapping(source: Stage, target: Stage, order: str, name: str = "this stage") -> tuple[int, ...]:
    """(units of the target,): the source unit that each copies; `name` is what an error calls the stage."""
    assert (source.first, source.last) == (target.first, target.last), "stages of relatives have the same places"
    if source.normal == 0 < target.normal:
        raise InputError(
            f"{name} cannot be stretched from {len(source.units)} to {len(target.units)} units: the source has none "
            "to replicate but those whose place is fixed"
        )
    normal = [source.first + unit for unit in replicated(source.normal, target.normal, order)]
    last = range(len(source.units) - source.last, len(source.units))
    return (*range(source.first), *normal, *last)


def replicated(source: int, target: int, order: str) -> list[int]:
    """(target,): which of the `source` units, numbered from 0, each target unit copies. From 2 to 5 units:

    append:       0 1 0 1 0    the row of units, repeated
    interpolate:  0 0 0 1 1    each unit's copies side by side

    A squeeze keeps the first `target` units in either order.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if target <= source:
        return list(range(target))
    units = [unit % source for unit in range(target)]
    return units if order == "append" else sorted(units)


def format_mapping(mapping: UnitMapping) -> str:
    """As the authors write it: "0:0;1:1,3;2:2,4", once if all stages are alike, else for each stage, divided by |."""
    stages = [_format_stage(stage) for stage in mapping]
    return stages[0] if len(set(stages)) == 1 else "|".join(stages)


def _format_stage(sources: Sequence[int]) -> str:
    copies = {unit: [str(copy) for copy, there in enumerate(sources) if there == unit] for unit in sorted(set(sources))}
    return ";".join(f"{unit}:{','.join(found)}" for unit, found in copies.items())


def parse_mapping(text: str, source: Family, target: Family) -> UnitMapping:
    """The inverse of `format_mapping`: one mapping for all stages, or one for each.

    Source units that are not named are dropped. InputError for malformed text, for units that do not exist, and for a
    target unit with no source or more than one.
    """
    check_relatives(source, target)
    stages = "".join(text.split()).split("|")
    if not all(STAGE.fullmatch(stage) for stage in stages):
        raise InputError(
            "a block mapping is source:targets;source:targets;..., such as 0:0;1:1,3;2:2,4, for all stages or, divided "
            f"by |, for each, got {text!r}"
        )
    if len(stages) not in (1, len(target.stages)):
        raise InputError(f"the block mapping has {len(stages)} stages, these networks have {len(target.stages)}")
    stages = stages * len(target.stages) if len(stages) == 1 else stages
    return tuple(
        _parse_stage(stage, there, here, number)
        for number, (stage, there, here) in enumerate(zip(stages, source.stages, target.stages, strict=True), 1)
    )


def _parse_stage(text: str, source: Stage, target: Stage, number: int) -> tuple[int, ...]:
    sources: dict[int, int] = {}
    for part in text.split(";"):
        unit, copies = part.split(":")
        for copy in map(int, copies.split(",")):
            _check_units(int(unit), source, copy, target, number)
            if copy in sources:
                raise InputError(f"{_named(target, copy, number)} is mapped to twice")
            sources[copy] = int(unit)
    for copy in range(len(target.units)):
        if copy not in sources:
            raise InputError(f"no source unit is mapped to {_named(target, copy, number)}")
    return tuple(sources[copy] for copy in range(len(target.units)))


def _check_units(unit: int, source: Stage, copy: int, target: Stage, number: int) -> None:
    for place, stage, role in (unit, source, "source"), (copy, target, "target"):
        last = len(stage.units) - 1
        if place > last:
            raise InputError(f"stage {number} of the {role} has the units 0 to {last}, the block mapping names {place}")


def _named(stage: Stage, unit: int, number: int) -> str:
    return f"unit {unit} of stage {number} of the target ({stage.units[unit][0]})"


# --- copying the ticket -----------------------------------------------------------------------------------------------


def stretch(ticket: Ticket, source: Family, target: Family, mapping: UnitMapping) -> Ticket:
    """The ticket of `target`: copies of mask and weights of stem, units and classifier, which share no memory.

    A mapping to a shallower target squeezes. InputError if a target unit has no source, or a tensor of the ticket
    belongs to no unit.
    """

    def transferred(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensors[there].clone() for name, there in origins(tensors, source, target, mapping).items()}

    return ticket._replace(mask=transferred(ticket.mask), weights=transferred(ticket.weights))


def origins(names: Iterable[str], source: Family, target: Family, mapping: UnitMapping) -> dict[str, str]:
    """For each parameter and buffer of the target, in order, the one of the source's `names` that it copies."""
    owner_by_name = {name: _owner(name, source) for name in names}
    return {
        here + name.removeprefix(there): name
        for there, here in _module_pairs(source, target, mapping)
        for name, owner in owner_by_name.items()
        if owner == there
    }


def _owner(name: str, source: Family) -> str:
    """The module among those of stem, units and classifier that a tensor belongs to."""
    found = owners(name, source.modules)
    if len(found) != 1:
        raise InputError(f"{name} must belong to one unit of the {source.kind}, it belongs to {len(found)}")
    return found[0]


def _module_pairs(source: Family, target: Family, mapping: UnitMapping) -> list[tuple[str, str]]:
    """Modules of the source, each with the one of the target that becomes its copy."""
    check_relatives(source, target)
    if len(mapping) != len(target.stages):
        raise InputError(f"the block mapping has {len(mapping)} stages, these networks have {len(target.stages)}")
    units: list[tuple[Unit, Unit]] = [(source.stem, target.stem)]
    for number, (there, here, sources) in enumerate(zip(source.stages, target.stages, mapping, strict=True), 1):
        if len(sources) < len(here.units):
            raise InputError(f"no source unit is mapped to {_named(here, len(sources), number)}")
        units.append((there.fixed, here.fixed))
        units += [(there.units[unit], copy) for unit, copy in zip(sources, here.units, strict=True)]
    units.append((source.classifier, target.classifier))
    return [pair for there, here in units for pair in _unit_pairs(there, here)]


def _unit_pairs(there: Unit, here: Unit) -> list[tuple[str, str]]:
    if len(there) != len(here):
        names = (f"{len(unit)} modules ({', '.join(unit) or 'none'})" for unit in (there, here))
        raise InputError("what has {} cannot be copied to what has {}".format(*names))
    return list(zip(there, here, strict=True))


# --- counts -----------------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """How many weights a mask covers in a part of a network, and how many of them it keeps."""

    part: str
    size: int
    kept: int

    @property
    def density(self) -> float:
        return self.kept / self.size if self.size else 1.0


def stage_counts(mask: Mask, member: Family) -> list[Count]:
    """Counts of the stem, each stage and the classifier, without parts that the mask does not cover."""
    stages = [stage.modules for stage in member.stages]
    names = ["stem", *(f"stage {number}" for number in range(1, len(stages) + 1)), "classifier"]
    counts = (
        _count(name, mask, unit) for name, unit in zip(names, [member.stem, *stages, member.classifier], strict=True)
    )
    return [count for count in counts if count.size]


def _count(part: str, mask: Mask, modules: Unit) -> Count:
    layers = [layer for name, layer in mask.items() if owners(name, modules)]
    return Count(part, sum(layer.numel() for layer in layers), sum(int(layer.sum()) for layer in layers))
