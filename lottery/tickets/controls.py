"""Controls for a ticket: the same training without one of the things that make it a ticket.

    controlled("random_mask", ticket, RandomSource(seed=0, weights=draw))

A ticket is worth something if it trains better than its controls: its mask on other weights (Frankle & Carbin, "The
Lottery Ticket Hypothesis", ICLR 2019), another mask with as many weights in each layer, a mask that costs no search
(baselines of Chen et al., "The Elastic Lottery Ticket Hypothesis", NeurIPS 2021), or no mask at all, which tells what
the training does by itself. Each control is a function of the ticket that returns a new one; masks are put on dense
weights, never on weights that are masked already.

The ticket of a criterion has one more, its inversion, which needs the scores: `main_init.py --inverted`.

A further control is one function and one entry in `CONTROLS`. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from utils import InputError, RandomStream, generator

ROUNDING = 1e-6  # of coefficients, relative to the largest weight of their layer
FEW = 0.01  # share of the dropped weights that may be zero by chance

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pruner import Mask, Ticket, Weights


class RandomSource(NamedTuple):
    """What a control may draw from: the `seed`, and `weights`, the network's initialisation drawn for a purpose."""

    seed: int
    weights: Callable[[int], Weights]


def reinit(ticket: Ticket, source: RandomSource) -> Ticket:
    """The ticket's mask on weights drawn afresh, which are not those that a search with this seed starts from.

    InputError for a network that has the same weights whatever is drawn.
    """
    initial, fresh = source.weights(RandomStream.INITIAL_WEIGHTS), source.weights(RandomStream.FRESH_WEIGHTS)
    if all(bool((fresh[name] == initial[name]).all()) for name in ticket.mask):
        raise InputError(
            "--control reinit: this network has the same weights whatever the seed (does its constructor seed torch "
            "or load weights?), so that none are drawn afresh"
        )
    return ticket._replace(weights=fresh, step=0)


def random_mask(ticket: Ticket, source: RandomSource) -> Ticket:
    """The ticket's starting weights under a uniformly random mask with as many kept weights in each layer: the ticket's
    own mask, shuffled within each layer (Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing
    the Mark?", ICLR 2021).

    Of a mask that keeps whole rows, whole rows are shuffled. InputError if the starting weights are masked: most of
    those that such a mask keeps would start, and be, at zero.
    """
    from lottery.bases.blocks import of_rows, rows

    _check_dense_start(ticket)
    random = generator(source.seed, purpose=RandomStream.RANDOM_MASK)
    if not _in_rows(ticket):
        return ticket._replace(mask={name: _shuffled(layer, random) for name, layer in ticket.mask.items()})
    shuffled = {name: _shuffled(layer, random) for name, layer in rows(ticket.mask).items()}
    return ticket._replace(mask=of_rows(shuffled, _whole(ticket.mask)))


def one_shot(ticket: Ticket, source: RandomSource) -> Ticket:
    """The ticket's starting weights under the mask that keeps the largest of them, ranked over all layers at once, and
    exactly as many as the ticket's mask.

    InputError if the starting weights are masked: their largest are the ticket's own.
    """
    from lottery.bases.blocks import of_rows, row_magnitude, rows
    from pruner import count, drop, magnitude, size

    _check_dense_start(ticket)
    mask, whole, values = ticket.mask, _whole(ticket.mask), _coefficients(ticket)
    if _in_rows(ticket):
        kept = rows(mask)
        left = drop(_whole(kept), row_magnitude(values, mask), size(kept) - count(kept))
        return ticket._replace(mask=of_rows(left, whole))
    return ticket._replace(mask=drop(whole, magnitude(values, mask), size(mask) - count(mask)))


def dense(ticket: Ticket, source: RandomSource) -> Ticket:
    """The ticket's starting weights without a mask. Trained weights (rules.py) are the dense network's, trained on.

    InputError if the starting weights are masked: those that the mask drops would start at zero.
    """
    _check_dense_start(ticket)
    return ticket._replace(mask=_whole(ticket.mask), basis=None)


class Control(NamedTuple):
    """A control for a ticket."""

    name: str  # in a report, after the name of the ticket's method
    help: str
    make: Callable[[Ticket, RandomSource], Ticket]
    coincides: str  # when it equals the ticket
    may_coincide: bool = False  # whether that is allowed: it tells how the ticket was found
    fresh: bool = False  # whether it has freshly drawn weights instead of the ticket's
    maskless: bool = False  # whether it has no mask, and so is the same for all tickets of a search


CONTROLS = {
    "reinit": Control(
        "re-initialised",
        "its mask on weights drawn afresh",
        reinit,
        "its starting weights are those drawn afresh",
        fresh=True,
    ),
    "random_mask": Control(
        "random mask",
        "its starting weights under a random mask that keeps as many weights in each layer, which is its own mask "
        "shuffled within each layer",
        random_mask,
        "its mask stays the same when its layers, or the few weights that they keep or drop, are shuffled",
    ),
    "one_shot": Control(
        "one-shot magnitude",
        "its starting weights under the mask that keeps as many of them, the largest over all layers",
        one_shot,
        "its mask keeps the largest of its starting weights",
        may_coincide=True,
    ),
    "dense": Control("dense", "its starting weights without any mask", dense, "its mask drops nothing", maskless=True),
}


def is_maskless(control: str | None) -> bool:
    """Whether the control of this name has no mask; False for a name that this version does not know."""
    return control in CONTROLS and CONTROLS[control].maskless


def controlled(control: str, ticket: Ticket, source: RandomSource) -> Ticket:
    """The control of this name, made from the ticket.

    InputError for a ticket without a mask, and for one that equals its control, unless that `may_coincide`.
    """
    if not ticket.mask:
        raise InputError(f"--control {control} needs a ticket's mask: there is none in --mask_dir")
    found = CONTROLS[control].make(ticket, source)
    if (equal := coincidence(control, found, ticket)) and not CONTROLS[control].may_coincide:
        raise InputError(f"{equal[0]}: there is nothing to compare it with")
    return found


def coincidence(control: str, found: Ticket, ticket: Ticket) -> list[str]:
    """A note if the control equals its ticket in mask and kept weights."""
    same = all(_same_layer(found, ticket, name) for name in ticket.mask)
    return [f"--control {control} is the ticket itself: {CONTROLS[control].coincides}"] if same else []


def _same_layer(a: Ticket, b: Ticket, name: str) -> bool:
    kept, equal = b.mask[name], a.weights[name] == b.weights[name]
    return bool((a.mask[name] == kept).all()) and bool((equal if b.masks_coefficients else equal[kept]).all())


def _check_dense_start(ticket: Ticket) -> None:
    """InputError for weights that have been masked, by this mask or an earlier one: drawn or trained weights are hardly
    ever zero. A layer that is all zero was initialised so."""
    values, weights = _coefficients(ticket), ticket.weights
    dropped = {name: values[name][~layer] for name, layer in ticket.mask.items() if weights[name].any()}
    number = sum(len(found) for found in dropped.values())
    # Coefficients that a mask has dropped are zero but for rounding.
    below = {name: ROUNDING * weights[name].abs().max() if ticket.masks_coefficients else 0 for name in dropped}
    zero = sum(int((found.abs() <= below[name]).sum()) for name, found in dropped.items())
    if zero > FEW * number:
        where = "wherever" if zero == number else f"at {100 * zero / number:.0f} % of where"
        raise InputError(
            f"the starting weights are zero {where} the ticket's mask drops them: this control needs the dense ones, "
            "give a file with those as --init_dir"
        )


def _coefficients(ticket: Ticket) -> Weights:
    """What its mask keeps and drops: the starting weights, or their coefficients in its basis."""
    return ticket.basis.coefficients(ticket.weights, ticket.mask) if ticket.basis else ticket.weights


def _in_rows(ticket: Ticket) -> bool:
    """Whether whole rows were pruned as one."""
    return bool(ticket.basis and ticket.basis.config.in_blocks)


def _shuffled(layer: Tensor, random: np.random.Generator) -> Tensor:
    """A mask of one layer that keeps as many weights, each choice of them as likely as any other."""
    import torch

    chosen = random.choice(layer.numel(), int(layer.sum()), replace=False)
    mask = torch.zeros(layer.numel(), dtype=torch.bool)
    mask[torch.from_numpy(chosen)] = True
    return mask.view(layer.shape)


def _whole(mask: Mask) -> Mask:
    from pruner import whole

    return whole(mask)
