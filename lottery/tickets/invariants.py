"""Ticket invariants: what must hold of every ticket, whoever found it.

Each check returns whether the invariant holds (None: not enough is known to tell), and what was seen, in words. The
pruning scripts check every ticket they make, `verify.py` checks those in files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lottery.bases.basis import Basis
from lottery.patterns import Pattern, fitting, has_pattern
from pruner import Mask, Ticket, Weights, apply_, count, size
from utils import listed

ROUNDING = 1e-5  # relative to the largest weight of a layer: of coefficients that should be zero
Seen = tuple[bool | None, str]  # whether an invariant holds (None: unknown), and what was seen


class Finding(NamedTuple):
    """The outcome of one check: whether the invariant holds (None: unknown), and what was seen."""

    invariant: str
    holds: bool | None
    seen: str


@dataclass(frozen=True)
class TicketFacts:
    """A ticket, and what is known of how it was made; None for what is not."""

    mask: Mask
    weights: Mapping[str, Tensor]  # the network's, in the file or in the step
    basis: Basis | None = None  # in which the mask is one of coefficients
    units: Mask | None = None  # whole rows, where the mask keeps and drops those
    rewound: Weights | None = None  # what training starts from
    untrained: bool = False  # whether the network is still at its start, the rewound weights
    continued: Weights | None = None  # the trained weights that it is still at, of a search that continues from them
    kept: int | None = None  # weights, or units, that the mask should keep
    pattern: Pattern | None = None  # the N:M pattern that the mask should have
    found_pattern: Pattern | None = None  # one that it has, where nothing says which it should have
    before: Mask | None = None  # the mask of the round before
    rewinding: Weights | None = None  # the rewinding point
    examples: Tensor | None = None  # int64 (n,) those of this round
    training: Tensor | None = None  # those of the training split
    validation: Tensor | None = None
    transferred: Ticket | None = None  # what transferring the source of an elastic ticket again gives
    not_transferred: Seen | None = None  # what there is to say of an elastic ticket where it could not be

    @property
    def masks_coefficients(self) -> bool:
        return self.basis is not None and self.basis.transforms


def check(ticket: TicketFacts) -> list[Finding]:
    """All invariants, in the order in which a reader would ask."""
    return [Finding(name, *invariant(ticket)) for name, invariant in INVARIANTS.items()]


def unknown(why: str) -> Seen:
    return None, f"not checked: {why}"


def finite(ticket: TicketFacts) -> Seen:
    """A buffer may hold infinities from the start, as a mask for attention does; training may bring in none."""
    rewound = ticket.rewound or {}
    wrong = {name: ~value.isfinite() if name in ticket.mask else value.isnan() for name, value in rewound.items()}
    broken = [name for name, places in wrong.items() if places.any()]
    for name, value in ticket.weights.items():
        usable, start = value.isfinite(), rewound.get(name)
        if start is not None and start.shape == value.shape:
            usable |= value == start.to(value.device)
        broken += [] if usable.all() else [name]
    parts = {**rewound, **ticket.weights}
    return not broken, f"{broken[0]} is not finite" if broken else f"{len(parts)} tensors of finite numbers"


def density(ticket: TicketFacts) -> Seen:
    if not ticket.mask:
        return None, "dense: no mask"
    units = ticket.mask if ticket.units is None else ticket.units
    kept, all = count(units), size(units)
    rows = any(layer.shape != ticket.mask[name].shape for name, layer in units.items())
    unit = "rows" if rows else "coefficients" if ticket.masks_coefficients else "weights"
    seen = f"{kept:,} of {all:,} {unit} kept, {kept / all:.4f}"
    if ticket.kept is None:
        return None, f"{seen}; not checked: how many it should be is not known"
    return kept == ticket.kept, seen if kept == ticket.kept else f"{seen}; it should be {ticket.kept:,}"


def n_of_m(ticket: TicketFacts) -> Seen:
    """Whether every layer that the pattern fits has it. A mask of which nothing says that it should have one cannot
    break it: layers that are dense are named."""
    pattern = ticket.pattern or ticket.found_pattern
    if pattern is None:
        return None, "none: the mask is unstructured" if ticket.mask else "dense: no mask"
    fits = fitting(ticket.mask, pattern)
    without = [name for name in fits if not has_pattern(ticket.mask[name], pattern)]
    others = [name for name in ticket.mask if name not in fits]
    seen = f"{pattern} in {len(fits) - len(without)} of {len(fits)} layers that it fits"
    seen += f"; not in {listed(without)}" if without else ""
    seen += f"; it does not fit {listed(others)}" if others else ""
    return (None if without and ticket.pattern is None else not without), seen


def dropped(ticket: TicketFacts) -> Seen:
    if not ticket.mask:
        return None, "dense: no mask"
    if ticket.masks_coefficients:
        return dropped_coefficients(ticket.weights, ticket.mask, ticket.basis)
    alive = {name: int((ticket.weights[name][~layer] != 0).sum()) for name, layer in ticket.mask.items()}
    total = sum(alive.values())
    return not total, f"{total:,} dropped weights are not zero" if total else "every dropped weight is zero"


def dropped_coefficients(weights: Mapping[str, Tensor], mask: Mask, basis: Basis) -> Seen:
    """Whether every dropped coefficient is zero but for rounding, relative to the layer's largest weight."""
    found, largest = basis.coefficients(weights, mask), 0.0
    for name, layer in mask.items():
        scale = float(weights[name].abs().max()) or 1.0
        largest = max(largest, float((found[name].abs() * ~layer).max()) / scale)
    seen = f"dropped coefficients are at most {largest:.1e} of their layer's largest weight"
    return largest <= ROUNDING, f"{seen}, {ROUNDING:.0e} allowed"


def subset(ticket: TicketFacts) -> Seen:
    if ticket.before is None:
        return unknown("the mask of the round before is not there")
    if not ticket.before:
        return True, "the round before was dense"
    if ticket.before.keys() != ticket.mask.keys():
        return False, "the round before has masks for other layers"
    back = sum(int((layer & ~ticket.before[name]).sum()) for name, layer in ticket.mask.items())
    return not back, f"{back:,} weights are back that were dropped before" if back else "nothing dropped has come back"


def rewound(ticket: TicketFacts) -> Seen:
    if ticket.rewound is None or ticket.rewinding is None:
        return unknown("there are no rewinding weights to compare with")
    return equal(ticket.rewound, ticket.rewinding, "the rewinding weights")


def start(ticket: TicketFacts) -> Seen:
    weights, which = ticket.continued, "the trained weights of the round before"
    if weights is None:
        weights, which = (ticket.rewound if ticket.untrained else None), "the rewound weights"
    if weights is None:
        return unknown("this network has been trained")
    if ticket.basis:
        return near_projection(ticket, weights, which)
    masked = {
        name: value * ticket.mask[name].to(value.device, value.dtype) if name in ticket.mask else value
        for name, value in weights.items()
    }
    return equal({name: ticket.weights.get(name) for name in masked}, masked, f"{which} under the mask")


def near_projection(ticket: TicketFacts, weights: Mapping[str, Tensor], which: str) -> Seen:
    """Whether the network's weights are these under the mask of coefficients, but for rounding."""
    here = {name: value.to(ticket.weights[name].device).clone() for name, value in weights.items()}
    apply_(here, ticket.mask, ticket.basis)
    for name, value in here.items():
        coefficients = name in ticket.mask and ticket.masks_coefficients
        near = ROUNDING * (float(value.abs().max()) if coefficients else 0)
        if float((ticket.weights[name] - value).abs().max() if value.numel() else 0) > near:
            return False, f"{name} differs from {which} under the mask"
    return True, f"equal to {which} under the mask{', but for rounding' if ticket.masks_coefficients else ''}"


def transferred(ticket: TicketFacts) -> Seen:
    if ticket.transferred is None:
        return ticket.not_transferred or unknown("it is no elastic ticket")
    what = "its source, transferred again"
    holds, seen = equal(ticket.mask, ticket.transferred.mask, f"the mask of {what}")
    return equal(ticket.rewound or {}, ticket.transferred.weights, what) if holds else (holds, seen)


def equal(weights: Mapping[str, Tensor | None], expected: Mapping[str, Tensor], what: str) -> Seen:
    """Whether weights are `expected`, to the bit."""
    if weights.keys() != expected.keys():
        return False, f"they are not {what}: other names"
    different = [name for name, value in expected.items() if weights[name] is None or not same(weights[name], value)]
    return not different, f"{different[0]} differs from {what}" if different else f"equal to {what}"


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.to(b.device), b)


def within_training(ticket: TicketFacts) -> Seen:
    if ticket.examples is None or ticket.training is None:
        return unknown("the examples or the training split are not known")
    strangers, n = int((~torch.isin(ticket.examples, ticket.training)).sum()), len(ticket.examples)
    return not strangers, f"{strangers:,} of {n:,} are not in it" if strangers else f"all {n:,} are in it"


def not_validation(ticket: TicketFacts) -> Seen:
    if ticket.examples is None or ticket.validation is None:
        return unknown("the examples or the validation split are not known")
    known, n = int(torch.isin(ticket.examples, ticket.validation).sum()), len(ticket.examples)
    return not known, f"{known:,} of {n:,} validate" if known else f"none of {n:,} does"


def each_once(ticket: TicketFacts) -> Seen:
    if ticket.examples is None:
        return unknown("the examples are not known")
    repeats = len(ticket.examples) - len(ticket.examples.unique())
    return not repeats, f"{repeats:,} of {len(ticket.examples):,} are there twice" if repeats else "each is there once"


INVARIANTS: dict[str, Callable[[TicketFacts], Seen]] = {
    "finite weights": finite,
    "exact density": density,
    "N:M pattern": n_of_m,
    "dropped weights": dropped,
    "subset of the mask before": subset,
    "rewinding weights": rewound,
    "starting weights": start,
    "the source, transferred again": transferred,
    "examples, each once": each_once,
    "examples of the training split": within_training,
    "no example validates": not_validation,
}
