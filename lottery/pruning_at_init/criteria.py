"""The criteria by which weights are kept or dropped before training, by name, and the scopes they are ranked in.

A criterion gives every weight a score; the lowest scores are dropped, over all layers at once or by a quota for each
layer. To add a criterion, describe it in `CRITERIA` below, and define its score in scores.py under the same name
(`scores.SCORES`); flags, help, settings and reports follow from these two entries. Its paper goes into
`formats/model_card.PAPER_OF_CRITERION`.

Importing this module does not import torch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lottery.tickets.layer_quotas import DISTRIBUTIONS


class Criterion(NamedTuple):
    """What the command line and reports need to know of a criterion; its score is in scores.py."""

    name: str  # in reports
    help: str
    looks_at_examples: bool  # whether scores depend on examples
    # The published number of iterations of scoring and pruning; None if scores do not depend on which weights are left.
    iterations: int | None
    invertible: bool = True  # whether low scores mean anything, so that keeping those is a control
    in_other_bases: bool = True  # whether coefficients in another basis have such scores as well
    of_block: str = "sum"  # what the scores of a block's weights make its score by: a key of `scores.OF_BLOCK`
    # Where scores below 0 are meaningless: the networks on which there are none, in words.
    nonnegative_for: str = ""
    # Passes, forward and backward, that scoring once takes: over the examples, or of one image where it looks at none.
    passes: int = 1


CRITERIA = {
    "random": Criterion(
        "random mask",
        "every weight as likely as any other",
        looks_at_examples=False,
        iterations=None,
        invertible=False,
        of_block="first",
        passes=0,
    ),
    "magnitude": Criterion(
        "one-shot magnitude", "|w|", looks_at_examples=False, iterations=None, of_block="root mean square", passes=0
    ),
    "snip": Criterion(
        "SNIP",
        "|w dL/dw| of the loss L on examples (Lee et al., ICLR 2019)",
        looks_at_examples=True,
        iterations=1,
    ),
    "grasp": Criterion(
        "GraSP",
        "how much less the gradient would flow without the weight, on examples (Wang et al., ICLR 2020)",
        looks_at_examples=True,
        iterations=1,
        passes=2,
    ),
    "synflow": Criterion(
        "SynFlow",
        "the synaptic flow through the weight, without examples (Tanaka et al., NeurIPS 2020)",
        looks_at_examples=False,
        iterations=100,
        in_other_bases=False,
        nonnegative_for="whose layers pass more on if they get more, as attention, softmax, group and layer norm do "
        "not",
    ),
}


def kept_by_iteration(weights: int, kept: int, iterations: int) -> list[int]:
    """How many of `weights` are left after each iteration, (iterations,): the exponential schedule of SynFlow.

    After iteration i of n that is the share density ** (i / n), rounded; exactly `kept` after the last.
    """
    return [round(weights * (kept / weights) ** (i / iterations)) for i in range(1, iterations)] + [kept]


# --- rankings ---------------------------------------------------------------------------------------------------------


class Ranking(NamedTuple):
    """Among which weights scores are ranked: all of the network's, or those of each layer."""

    name: str  # in reports, after the criterion's
    help: str
    # From the shape of a layer's weights to its share of the kept weights, relative to other layers; None if layers
    # have no quotas.
    layer_share: Callable[[Sequence[int]], int] | None


RANKINGS = {
    "global": Ranking("", "over all layers at once", None),
    **{key: Ranking(each.name, f"in each layer, {each.help}", each.layer_share) for key, each in DISTRIBUTIONS.items()},
}
