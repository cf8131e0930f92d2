"""What a search prunes: weights, or their coefficients in another basis; each by itself, or whole rows of them."""

from collections.abc import Mapping

from torch import Tensor

from lottery.bases.basis import Basis
from lottery.bases.blocks import in_whole_rows, row_magnitude, units
from lottery.bases.config import SVD, BasisConfig
from lottery.search.config import SearchConfig
from lottery.tickets.given_masks import check_pruned_layers
from lottery.tickets.network_basis import basis_of_network
from lottery.training.context import TrainingContext
from pruner import Mask, Scores, Ticket, Weights, count, magnitude, size
from utils import InputError


class PrunedUnits:
    """The basis of a search's masks, and the units that they keep or drop.

    The dense network of round 0 has no basis, and is trained alike whatever the basis is; the first pruning brings it
    in. That of svd is made of the weights that round 0 leaves, and stays; any other is known from the beginning.
    InputError for a given ticket in another basis or with masks for other layers, and for a layer that a basis is not
    made for.
    """

    def __init__(self, config: SearchConfig, context: TrainingContext, given: Ticket):
        self.config, self.context, self.names = config.basis, context, list(context.dense())
        if given.mask:
            check_pruned_layers(config.ticket.mask_dir, given.mask, self.names)
            _check_basis(config.basis, given)
        self.known: Basis | None = None
        if given.basis or not (self.config.is_plain or self.config.basis == SVD):
            self.take(given.basis or self._built(given.weights))

    def take(self, basis: Basis | None) -> None:
        """From now on this basis is used; None leaves it open."""
        if basis is not None:
            self.known, self.on_device = basis, basis.like(self.context.step.parameters)

    def basis(self, weights: Weights) -> Basis | None:
        """The basis that a pruning of these weights is made in; None for the canonical one."""
        return self._built(weights) if self.known is None and self.config.basis == SVD else self.known

    def _built(self, weights: Mapping[str, Tensor]) -> Basis:
        prunable, context = {name: weights[name] for name in self.names}, self.context
        return basis_of_network(self.config, context.model, prunable, context.seed, context.train.at(slice(1)))

    def units(self, mask: Mask) -> Mask:
        """The mask of what is pruned as one: itself, or {name: (out,)} for rows."""
        return units(mask, self.config)

    def counts(self, mask: Mask) -> tuple[int, int]:
        """How many units it keeps, and how many there are."""
        found = self.units(mask)
        return count(found), size(found)

    def magnitude(self, weights: Mapping[str, Tensor], mask: Mask) -> Scores:
        """|c| of each coefficient c of the weights, which are the weights themselves in the canonical basis; of each
        row the root of the mean square."""
        values = weights
        if self.config.transforms:
            basis = self.on_device if self.known else self._built(weights)  # svd: of the weights as they are
            values = basis.coefficients(weights, mask)
        return row_magnitude(values, mask) if self.config.in_blocks else magnitude(values, mask)


def _check_basis(config: BasisConfig, ticket: Ticket) -> None:
    """InputError unless the search prunes what the mask of a given ticket is one of."""
    found = ticket.basis.config if ticket.basis else BasisConfig()
    if found != config and not (found.is_plain and not config.transforms):
        theirs = f"coefficients ({found.describe()})" if found.transforms else found.describe() or "weights"
        asked = config.describe() or "single weights"
        raise InputError(f"--mask_dir has a mask of {theirs}, this search prunes {asked}: give the same --basis, "
                         "--basis_axes and --block")  # fmt: skip
    if config.in_blocks and not in_whole_rows(ticket.mask):
        raise InputError(f"--block {config.block} prunes whole rows, the mask in --mask_dir keeps parts of some")
