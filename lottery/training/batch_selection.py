"""InfoBatch: leave out, in each epoch, some of the examples that are learned well, without bias.

Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024 (arXiv 2303.04947). In
epoch t an example whose last loss lies below the mean loss is left out with probability r; if it is trained on all the
same, its loss counts 1 / (1 - r) times. The expected sum of all gradients is then that of all examples. From the
fraction delta of the epochs on nothing is left out.

Shapes: N examples in the training set, n trained on, b in a batch.
"""

import torch
from torch import Tensor

from lottery.training.recipe import Recipe
from utils import RandomStream, generator

UNSEEN = -1.0  # in the place of a loss, which is never negative


class BatchSelection:
    """The last loss of every example and its weight in this epoch, in fixed buffers: a captured step reads and writes
    the same addresses for ever.

    Losses are of training: of the augmented image, in train mode, before the update. An example without a loss is never
    left out, and has no part in the mean.
    """

    def __init__(self, recipe: Recipe, examples: int, device: torch.device):
        self.rate, self.end = recipe.selection_rate, recipe.selection_until
        self.losses = torch.full((examples,), UNSEEN, device=device)  # (N,)
        self.weights = torch.ones(examples, device=device)  # (N,)

    def reset_(self) -> None:
        """Forget all losses, for a new training."""
        self.losses.fill_(UNSEEN)
        self.weights.fill_(1.0)

    def weigh(self, losses: Tensor, index: Tensor) -> Tensor:
        """The mean of the (b,) losses of the examples `index`, weighted; keeps the losses."""
        self.losses[index] = losses.detach()
        return (losses * self.weights[index]).mean()

    def select_(self, visits: Tensor, seed: tuple[int, int, int], progress: float) -> Tensor:
        """Those of an epoch's visits, (4, n), that are trained on, and the weights of their examples.

        Random numbers are drawn by `seed` = (seed, round, epoch), one for each of the n positions, whatever the losses
        are. `progress` is the fraction of the epochs that is over. All are trained on if fewer than two would be left,
        which batch norm needs. The host waits once, for their number.
        """
        self.weights.fill_(1.0)
        if progress >= self.end:
            return visits
        losses = self.losses[visits[0]]
        seen = losses != UNSEEN
        mean = (losses.double() * seen).sum() / seen.sum()
        low = seen & (losses < mean)
        drawn = generator(*seed, purpose=RandomStream.BATCH_SELECTION).random(visits.shape[1])
        kept = ~(low & torch.from_numpy(drawn < self.rate).to(low.device))
        selected = visits[:, kept]
        if selected.shape[1] < 2:
            return visits
        self.weights[visits[0]] = torch.where(low, 1 / (1 - self.rate), 1.0)
        return selected


def build_selection(recipe: Recipe, examples: int, device: torch.device) -> BatchSelection | None:
    """What the recipe asks for; None if every epoch trains on all examples."""
    return None if recipe.batch_selection is None else BatchSelection(recipe, examples, device)
