"""The flags that main_imp.py and main_PrAC_imp.py share. Importing this module does not import torch."""

from lottery.cli.flags import add_rewind_lr
from lottery.cli.parser import Parser
from lottery.cli.shards import add_shards
from lottery.cli.types import count_from_0, densities, number, path, pattern, positive_int, share
from lottery.patterns import LARGEST
from lottery.search.config import PRUNING_TIMES, RATE
from lottery.tickets.config import REWIND_EPOCH

REWINDING = {
    "lt": "their initial values",
    "rewind_lt": "those after --rewind_epoch",
    "pt": "those of the trained dense network at its best validation epoch",
}


def add_pruning(flags: Parser, prune_types: tuple[str, ...]) -> None:
    """Iterative magnitude pruning and rewinding, with the given choices of `REWINDING`, on one GPU or many."""
    add_shards(flags)
    group = flags.add_argument_group("iterative magnitude pruning")
    group.add_argument(
        "--pruning_times",
        type=positive_int,
        help=f"rounds: trainings, each followed by a pruning; {PRUNING_TIMES} if not given",
    )
    group.add_argument("--rate", type=share, help=f"share of the kept weights that a round prunes; {RATE} if not given")
    group.add_argument(
        "--densities",
        type=densities,
        metavar="0.64,0.26,0.07",
        help="instead of both: the density of the prunable weights after each pruning, as many rounds as there are "
        "values; round(d x n) of n weights are kept",
    )
    group.add_argument(
        "--pattern",
        type=pattern,
        metavar="2:4",
        help="instead of all three: one pruning that keeps the 2 largest of every 4 consecutive input weights (along "
        "the input channels of a convolution) in each layer whose number of inputs 4 divides, and other layers whole; "
        f"or another N:M pattern, with M up to {LARGEST}",
    )
    add_rewinding(group, prune_types)
    group.add_argument(
        "--between",
        choices=("rewind", "continue"),
        default="rewind",
        help="what a round after the first begins with: the rewound weights; or the trained ones that the round before "
        "left, as learning-rate rewinding does (Renda et al., ICLR 2020). Either way the ticket that is written is "
        "rewound",
    )
    add_rewind_lr(group, "a round begins in the schedule where the weights it is rewound to stand")


def add_rewinding(group, prune_types: tuple[str, ...]) -> None:
    """Which weights a ticket starts from, with the given choices of `REWINDING`; and whether classifiers are pruned."""
    group.add_argument(
        "--prune_type",
        choices=prune_types,
        default="lt",
        help="what kept weights go back to: " + "; ".join(f"{name}: {REWINDING[name]}" for name in prune_types),
    )
    group.add_argument(
        "--rewind_epoch",
        type=count_from_0,
        help=f"rewind_lt: the (0-based) epoch after which the weights are kept for rewinding, so 2 is after 3 epochs "
        f"({REWIND_EPOCH} if neither it nor --rewind_iteration is given)",
    )
    group.add_argument(
        "--rewind_iteration",
        type=count_from_0,
        metavar="N",
        help="rewind_lt: instead, the optimiser steps of round 0 after which they are kept, in mid-epoch if need be",
    )
    group.add_argument(
        "--prune_classifier",
        action="store_true",
        help="prune the weights of the classifier, the layer that makes the logits, as well",
    )
    group.add_argument(
        "--prune_also",
        nargs="+",
        metavar="NAME",
        help="prune these weights as well, which belong to no Conv2d or Linear layer: names of parameters, or their "
        "last parts, such as in_proj_weight; or all: those of attention, recurrent layers, 1-d, 3-d and transposed "
        "convolutions",
    )


def add_early_stop(flags: Parser, eps: float | None) -> None:
    """The early-bird test; `eps` None leaves it off unless asked for."""
    group = flags.add_argument_group("early stop: end a round when the mask has settled")
    off = "" if eps else "; off if not given"
    group.add_argument(
        "--eb_eps",
        type=number(float, "a number above 0, at most 1", lambda value: 0 < value <= 1),
        default=eps,
        help="mask distance below which the mask counts as settled. Distances grow with the steps between two masks, "
        f"so small data needs a smaller one (0.01 to 0.03){off}",
    )
    if eps:
        group.add_argument("--no_early_stop", action="store_true", help="train every round to the end of its schedule")
    group.add_argument("--queue_length", type=positive_int, default=5, help="distances in a row that must be below it")
    group.add_argument(
        "--eb_interval",
        choices=("epoch", "steps"),
        default="epoch",
        help="compare masks after every epoch, or after as many steps as an epoch on all the data has, so that eps "
        "means the same on a small set; either way a round ends with a whole epoch",
    )
    group.add_argument(
        "--eb_arm",
        choices=("exceed", "none"),
        default="exceed",
        help="count distances from the first one above --eb_eps on, or from the start",
    )


def add_savings(flags: Parser) -> None:
    """What costs are compared with."""
    group = flags.add_argument_group("savings")
    group.add_argument(
        "--vanilla_epochs",
        type=positive_int,
        metavar="N",
        help="count savings against vanilla IMP whose trainings have N epochs, those that tickets are retrained for, "
        "if rounds of this search are shorter; --epochs if not given. It changes nothing that is found",
    )


def add_given_set(flags: Parser) -> None:
    """A search on examples that are given."""
    group = flags.add_argument_group("a given PrAC set, and epochs on any set")
    group.add_argument(
        "--prac_set",
        type=path,
        metavar="FILE|DIR",
        help="search on this set, found earlier with this or another architecture: the directory of a PrAC run (round "
        "k uses its round-k set), or a .npy file or checkpoint (its set from round 0 on). A checkpoint's set is "
        "refused on other data; a .npy file, which does not say on which it was found, is taken",
    )
    group.add_argument(
        "--prac_epochs",
        choices=("scaled", "fixed"),
        default="scaled",
        help="on a set P of the training split D0: epochs, milestones and warm-up times |P|/|D0|, or unchanged",
    )
