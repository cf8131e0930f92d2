"""Which layers a command asks for, and how many channels of each: by name, by pattern, as a share or a number."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from utils import InputError

if TYPE_CHECKING:  # flags are checked before torch is imported
    from lottery.greedy.channels.groups import Group, Layers


class Asked(NamedTuple):
    """One entry of --layers: a layer's name, or a pattern of names with * ? [ ], and its own budget if it has one."""

    pattern: str
    budget: str | None

    @property
    def is_name(self) -> bool:
        return not any(sign in self.pattern for sign in "*?[")


class Layer(NamedTuple):
    """A layer to select in."""

    group: Group
    budget: int | None  # channels to keep; None: as many as the tolerance takes


def asked_layers(text: str | None) -> list[Asked]:
    """'layer1.*=0.4,layer2.0.conv1=16' by its entries, none for None; InputError for a budget that is none."""
    if text is None:
        return []
    entries = [Asked(name.strip(), budget if sign else None) for name, sign, budget in
               (entry.partition("=") for entry in text.split(","))]  # fmt: skip
    if any(not entry.pattern for entry in entries):
        raise InputError(f"--layers must be names of convolutions with commas between, got {text!r}")
    for entry in entries:
        if entry.budget is not None:
            check_budget(entry.budget, f"--layers {entry.pattern}")
    return entries


def check_budget(text: str, flag: str) -> str:
    """The budget, if it is one; InputError otherwise."""
    try:
        right = int(text) >= 1 if text.strip().isdecimal() else 0 < float(text) <= 1
    except ValueError:
        right = False
    if not right:
        raise InputError(
            f"{flag} must be a share of the channels above 0 and up to 1.0, such as 0.5, or a number of channels from "
            f"1 up, got {text}"
        )
    return text


def channels_in(budget: str, group: Group, flag: str) -> int:
    """The channels that a budget gives a group: its number, or its share of them, rounded, one at least."""
    if not budget.strip().isdecimal():
        return max(1, round(float(budget) * group.channels))
    if int(budget) > group.channels:
        raise InputError(f"{flag} {budget} is above the width of {group.producer}, which has {group.channels} channels")
    return int(budget)


def plan(layers: Layers, asked: Sequence[Asked] | None, keep: str | None, arch: str) -> dict[str, Layer]:
    """The layers to select in, front to back, with their budgets: of those that can be pruned the ones that are `asked`
    for, all if none are, without those that may keep every channel.

    InputError for a layer that does not exist or cannot be pruned, with the reason, for a budget above the width, and
    where nothing is left to do.
    """
    if not layers.groups:
        raise InputError(f"--arch {arch} has no convolution whose channels can be dropped{why_not(layers)}")
    wanted: dict[str, Asked] = {}
    for entry in asked or [Asked("*", None)]:
        wanted |= dict.fromkeys(matching(layers, entry), entry)  # a later entry counts for what both name
    found = {}
    for name, group in layers.groups.items():
        if name in wanted:
            own = wanted[name].budget
            flag = "--keep" if own is None else f"--layers {wanted[name].pattern}"
            budget = own if own is not None else keep
            channels = None if budget is None else channels_in(budget, group, flag)
            if channels != group.channels:
                found[name] = Layer(group, channels)
    if not found:
        raise InputError("nothing is to be selected: the budget of every layer asked for is all of its channels")
    return found


def matching(layers: Layers, entry: Asked) -> list[str]:
    """The layers that can be pruned and that an entry names."""
    if entry.is_name and entry.pattern in layers.reasons:
        raise InputError(f"--layers {entry.pattern} cannot be pruned: {layers.reasons[entry.pattern]}")
    if entry.is_name and entry.pattern in layers.others:
        kind = layers.others[entry.pattern]
        raise InputError(f"--layers {entry.pattern} cannot be pruned: it is a {kind}, and channels are of convolutions")
    found = [name for name in layers.groups if fnmatchcase(name, entry.pattern)]
    if not found:
        raise InputError(
            f"--layers {entry.pattern} names no layer that can be pruned, which are {', '.join(layers.groups)}"
        )
    return found


def why_not(layers: Layers) -> str:
    """The reason for the first layer that cannot be pruned."""
    return "".join(f": {name}: {reason}" for name, reason in [*layers.reasons.items()][:1])
