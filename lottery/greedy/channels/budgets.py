"""The layers that a command asks for, by name or pattern, and their budgets, as a share or number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from utils import InputError

if TYPE_CHECKING:  # flags are checked before torch is imported
    from lottery.channels.groups import ChannelGroup, ChannelGroups


class LayerRequest(NamedTuple):
    """One entry of --layers."""

    pattern: str  # a layer's name, or a pattern with * ? [ ]
    budget: str | None  # its own, if it has one

    @property
    def is_name(self) -> bool:
        return not any(sign in self.pattern for sign in "*?[")


class PlannedLayer(NamedTuple):
    """A layer to select in."""

    group: ChannelGroup
    budget: int | None  # channels to keep; None: as many as the tolerance needs


def parse_layers(text: str | None) -> list[LayerRequest]:
    """The entries of --layers, such as 'layer1.*=0.4,layer2.0.conv1=16'; InputError for an invalid budget."""
    if text is None:
        return []
    entries = [LayerRequest(name.strip(), budget if sign else None) for name, sign, budget in
               (entry.partition("=") for entry in text.split(","))]  # fmt: skip
    if any(not entry.pattern for entry in entries):
        raise InputError(f"--layers must be names of convolutions with commas between, got {text!r}")
    for entry in entries:
        if entry.budget is not None:
            check_budget(entry.budget, f"--layers {entry.pattern}")
    return entries


def check_budget(text: str, flag: str) -> str:
    """The budget unchanged; InputError unless it is a share of the channels or a number of them."""
    try:
        valid = int(text) >= 1 if text.strip().isdecimal() else 0 < float(text) <= 1
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"{flag} must be a share of the channels above 0 and up to 1.0, such as 0.5, or a number of channels from "
            f"1 up, got {text}"
        )
    return text


def channels_within(budget: str, group: ChannelGroup, flag: str) -> int:
    """The number of a group's channels that a budget allows: a share is rounded, to at least one."""
    if not budget.strip().isdecimal():
        return max(1, round(float(budget) * group.channels))
    if int(budget) > group.channels:
        raise InputError(f"{flag} {budget} is above the width of {group.producer}, which has {group.channels} channels")
    return int(budget)


def plan_layers(
    found: ChannelGroups, requests: Sequence[LayerRequest], keep: str | None, arch: str
) -> dict[str, PlannedLayer]:
    """The layers to select in, front to back, with their budgets: those requested, or all that can be pruned if none
    are, without those whose budget is all of their channels.

    `keep` is the budget of layers without one of their own. InputError for a layer that does not exist or cannot be
    pruned, with the reason, for a budget above the width, and if no layer is left.
    """
    if not found.groups:
        raise InputError(f"--arch {arch} has no convolution whose channels can be dropped{first_reason(found)}")
    wanted: dict[str, LayerRequest] = {}
    for request in requests or [LayerRequest("*", None)]:
        wanted |= dict.fromkeys(matching_layers(found, request), request)  # the last request for a layer counts
    planned = {}
    for name, group in found.groups.items():
        if name in wanted:
            own = wanted[name].budget
            flag = "--keep" if own is None else f"--layers {wanted[name].pattern}"
            budget = own if own is not None else keep
            channels = None if budget is None else channels_within(budget, group, flag)
            if channels != group.channels:
                planned[name] = PlannedLayer(group, channels)
    if not planned:
        raise InputError("nothing is to be selected: the budget of every layer asked for is all of its channels")
    return planned


def matching_layers(found: ChannelGroups, request: LayerRequest) -> list[str]:
    """The prunable layers that a request names; InputError if there are none."""
    if request.is_name and request.pattern in found.reasons:
        raise InputError(f"--layers {request.pattern} cannot be pruned: {found.reasons[request.pattern]}")
    if request.is_name and request.pattern in found.others:
        kind = found.others[request.pattern]
        raise InputError(
            f"--layers {request.pattern} cannot be pruned: it is a {kind}, and channels are of convolutions"
        )
    names = [name for name in found.groups if fnmatchcase(name, request.pattern)]
    if not names:
        raise InputError(
            f"--layers {request.pattern} names no layer that can be pruned, which are {', '.join(found.groups)}"
        )
    return names


def first_reason(found: ChannelGroups) -> str:
    """The reason for the first layer that cannot be pruned."""
    return "".join(f": {name}: {reason}" for name, reason in [*found.reasons.items()][:1])
