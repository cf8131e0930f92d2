"""How starting weights relate to the mask they are trained under: the ones it was found with, or others.

A mask without its weights is no ticket (Frankle & Carbin, ICLR 2019), and it is easy to leave them out: by giving
--mask_dir alone, or another run's file as --init_dir. A checkpoint holds the weights that its tickets start from
(`init_weight`), so the values decide, not the file names: the same weights from another file, or drawn with the same
seed, make the same ticket. Only weights that the mask keeps are compared.

    start = classify_start(ticket, found_with, given=True, spared=("normalize",), ...)   # a key of STARTS

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lottery.checkpointing.script_names import Script
from lottery.tickets.controls import CONTROLS
from models.units import owners

if TYPE_CHECKING:
    from torch import Tensor

    from pruner import Mask, Ticket, Weights

TICKET, DRAWN, INITIAL, OTHER, DENSE, UNKNOWN = "ticket", "drawn", "initial", "other", "dense", "unknown"
DRAWING = ("seed", "arch", "stem", "weights checksum")  # settings that the weights a search begins with follow from


class Start(NamedTuple):
    """A kind of starting weights."""

    name: str  # in a report, after the name of the ticket's method
    begun: str  # what a report says of a search that began so
    help: str  # what it is, with the files {mask} and {init}
    amounts_to: str | None = None  # the control (controls.py) that training it amounts to


STARTS = {
    TICKET: Start("", "from a ticket", "the ticket in {mask}"),
    DRAWN: Start(
        CONTROLS["reinit"].name,
        "from a mask",
        "the mask of {mask} on weights drawn afresh, as --control reinit has: no ticket. Its own weights: --init_dir "
        "{mask}",
        "reinit",
    ),
    INITIAL: Start(
        "on its initial weights",
        "from a mask on its initial weights",
        "the mask of {mask} on the weights that its search began with, not those it was rewound to. Its own weights: "
        "--init_dir {mask}",
    ),
    OTHER: Start(
        "mask on other weights",
        "from a mask on other weights",
        "the mask of {mask} on the weights of {init}, which it was not found with: no ticket of either",
    ),
    DENSE: Start(
        CONTROLS["dense"].name,
        "from given weights",
        "the dense network from the weights of {init}, without any mask",
        "dense",
    ),
    UNKNOWN: Start(
        "weights unconfirmed",
        "from a mask on unconfirmed weights",
        "the mask of {mask} on {weights}; whether it was found with them cannot be known: the files do not say",
    ),
}


def classify_start(
    ticket: Ticket,
    found_with: Weights | None,
    *,
    began: Weights | None,
    given: bool,
    drawn_alike: bool,
    spared: Sequence[str],
) -> str | None:
    """How a ticket's weights relate to its mask, as a key of STARTS; None for the dense network, freshly drawn.

    `found_with`: the weights that the mask's file says its ticket starts from; None if it does not say.
    `began`: the weights that the training of the ticket's weights started from, which are the weights themselves if
    they have not been trained; None if not known.
    `given`: whether the weights come from a file. `drawn_alike`: whether freshly drawn weights are those that the
    mask's search drew. `spared` modules are not compared.
    """
    fitting = (each for each in (ticket.weights, began) if each is not None and found_with is not None)
    mask = {} if ticket.masks_coefficients else ticket.mask  # one of coefficients leaves no weight out of account
    if any(same_start(each, found_with, mask, spared) for each in fitting):
        return TICKET
    if not ticket.mask:
        return DENSE if given else None
    if found_with is None or began is None:
        return UNKNOWN
    if given:
        return OTHER
    return INITIAL if drawn_alike else DRAWN


def same_start(weights: Weights, others: Weights, mask: Mask, spared: Sequence[str] = ()) -> bool:
    """Whether two networks are equal in every weight that the mask keeps or does not mention."""
    return all(
        name in others and _same(value, others[name], mask.get(name))
        for name, value in weights.items()
        if not owners(name, spared)
    )


def _same(value: Tensor, other: Tensor, kept: Tensor | None) -> bool:
    """Equal in the coarser of their number formats: a file in half precision holds no more."""
    if value.shape != other.shape:
        return False
    coarser = min(value, other, key=lambda each: each.element_size()).dtype
    different = value.to(coarser) != other.to(coarser)
    return not bool((different if kept is None else different & kept).any())


def draws_alike(search: Mapping, here: Mapping) -> bool:
    """Whether a network with settings `here` draws the weights that a search with settings `search` began with."""
    script = Script.named(search.get("script"))
    begins_afresh = script is not None and script.finds_tickets and not search.get("init_dir")
    return begins_afresh and all(search.get(name) == here.get(name) for name in DRAWING)


def describe(start: str | None, mask: Path | None, init: Path | None) -> list[str]:
    """One line that says what was loaded; none for the dense network with freshly drawn weights."""
    if start is None:
        return []
    weights = f"the weights of {init}" if init else "weights drawn afresh"
    return [f"given: {STARTS[start].help.format(mask=mask, init=init, weights=weights)}"]
