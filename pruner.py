"""Which weights a network keeps.

A mask is plain data: ``{parameter name: bool tensor of that parameter's shape}``, True where the weight is kept. It
lives beside the model, never inside it: the model's ``state_dict`` has the same keys pruned or dense. A score is the
same with numbers; the lowest scores go first. Functions return new masks; the one that changes weights ends in an
underscore.
"""

import copy
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Mask = dict[str, Tensor]
Scores = dict[str, Tensor]
Weights = dict[str, Tensor]  # a model's state_dict


class Ticket(NamedTuple):
    """A sparse subnetwork: which weights it has, and the values its training starts from."""

    mask: Mask
    weights: Weights
    step: int | None = None  # of the training schedule, after which `weights` stand, where that is known


# --- masks -----------------------------------------------------------------------------------------------------------


def prunable(model: nn.Module, prune_classifier: bool = False) -> list[str]:
    """Names of the weights magnitude pruning considers, in the model's order.

    Every ``Conv2d`` weight, the first convolution and 1x1 shortcuts included, and the weights of ``Linear`` layers;
    those of the classifiers only with `prune_classifier`; neither biases nor batch norm. Weights that several layers
    share are named once, by the parameter's first name.
    """
    spared = () if prune_classifier else classifiers(model)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    names = [f"{name}.weight" for name in layers if name not in spared]
    if shared := _other_names(model):
        names = [name for name in names if name not in shared]
    if not names:
        raise ValueError("the network has nothing to prune: no Conv2d or Linear layer beside its classifier")
    return names


def _other_names(model: nn.Module) -> set[str]:
    """The names of parameters that have another one before."""
    return {name for name, _ in model.named_parameters(remove_duplicate=False)} - dict(model.named_parameters()).keys()


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """The names of the layers that make the logits: what the model says by its `classifier_names`, as a network of the
    user's own does (models.custom), or else `last_linear`."""
    names = getattr(model, "classifier_names", None)
    return last_linear(model) if names is None else names


def last_linear(model: nn.Module) -> tuple[str, ...]:
    """The last ``Linear`` layer in the model's order, if there is one: the classifier of every network of ours."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return tuple(linears[-1:])


def never_pruned(model: nn.Module) -> dict[str, int]:
    """How many weights each parameter has that no pruning here considers: all that are no biases and no scales, such as
    those of attention (`in_proj_weight`), of one-dimensional convolutions and of embeddings."""
    considered = set(prunable(model, prune_classifier=True))
    norms = [name for name, module in model.named_modules() if hasattr(module, "normalized_shape")]
    return {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if name not in considered and parameter.ndim > 1 and name.rpartition(".")[0] not in norms
    }


def dense(model: nn.Module, prune_classifier: bool = False) -> Mask:
    """The mask that keeps every prunable weight."""
    names = prunable(model, prune_classifier)
    return {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in names}


def count(mask: Mask) -> int:
    """How many weights the mask keeps."""
    return sum(_counts(mask))


def _counts(mask: Mask) -> list[int]:
    """Weights kept in each layer, with one transfer from the device for all of them."""
    return torch.stack([layer.sum() for layer in mask.values()]).tolist() if mask else []


def size(mask: Mask) -> int:
    """How many weights the mask decides about."""
    return sum(layer.numel() for layer in mask.values())


def density(mask: Mask) -> float:
    """Share of the prunable weights that are kept; sparsity is 1 - density."""
    return count(mask) / size(mask)


def same(a: Mask, b: Mask) -> bool:
    """Whether two masks of one network keep the same weights."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def apply_(parameters: Mapping[str, Tensor], mask: Mask) -> None:
    """Zero the weights `mask` drops. Called after every optimiser step, it keeps them at zero."""
    for name, layer in mask.items():
        parameters[name].mul_(layer)


# --- scores ----------------------------------------------------------------------------------------------------------


def magnitude(weights: Mapping[str, Tensor], mask: Mask) -> Scores:
    """|w|, the score of iterative magnitude pruning (Han et al., NeurIPS 2015; Frankle & Carbin, ICLR 2019)."""
    return {name: weights[name].detach().abs() for name in mask}


def random_scores(mask: Mask, random: np.random.Generator) -> Scores:
    """Scores drawn uniformly at random: the control every pruning criterion has to beat."""
    return {
        name: torch.from_numpy(random.random(layer.numel(), dtype=np.float32)).view(layer.shape).to(layer.device)
        for name, layer in mask.items()
    }


def prune(mask: Mask, scores: Scores, rate: float) -> Mask:
    """Drop the lowest-scoring `rate` of the weights `mask` keeps, ranked over all layers at once.

    The result keeps exactly ``n - round(rate * n)`` of the n weights of `mask`, as `drop` does it.

    Raises ValueError for a rate outside (0, 1) and for scores that are not numbers.
    """
    if not 0 < rate < 1:
        raise ValueError(f"the pruning rate must lie in (0, 1), got {rate}")
    return drop(mask, scores, round(rate * count(mask)))


def drop(mask: Mask, scores: Scores, number: int) -> Mask:
    """Drop the `number` lowest-scoring of the weights `mask` keeps, ranked over all layers at once.

    The result is a subset of `mask`, and exactly so many fewer are kept, ties or not: among equal scores those that
    come first in layer order, then in row-major order, are dropped. Nothing is sorted: the threshold is found by
    selection in O(n).

    Raises ValueError for scores that are not numbers; `number` must lie between 0 and the weights that are kept.
    """
    kept = torch.cat([layer.reshape(-1) for layer in mask.values()])  # (m,) all weights that the mask decides about
    values = torch.cat([scores[name].reshape(-1) for name in mask]).masked_fill_(~kept, torch.inf)
    if values.isnan().any():
        raise ValueError("weights cannot be ranked: some are not a number")
    survives = kept & ~_lowest(values, kept, number)
    parts = survives.split([layer.numel() for layer in mask.values()])
    return {name: part.view(layer.shape) for (name, layer), part in zip(mask.items(), parts, strict=True)}


def drop_in_layers(mask: Mask, scores: Scores, numbers: Mapping[str, int]) -> Mask:
    """`drop` in each layer on its own, as many weights of it as `numbers` says."""
    return {name: drop({name: layer}, scores, numbers[name])[name] for name, layer in mask.items()}


def _lowest(values: Tensor, kept: Tensor, k: int) -> Tensor:
    """(m,) bool: the k lowest of those (m,) values that are `kept`, which the others are not below; of equals the
    first."""
    if k == 0:
        return torch.zeros_like(kept)
    threshold = _kth_lowest(values, k)
    lowest = values < threshold
    tied = ((values == threshold) & kept).nonzero().squeeze(1)
    lowest[tied[: k - int(lowest.sum())]] = True
    return lowest


def _kth_lowest(values: Tensor, k: int) -> Tensor:
    """The k-th lowest (from 1) of (m,) values, by selection: nothing is sorted."""
    if values.is_cuda:  # where kthvalue works on a vector with a single block, topk with all of them
        return values.topk(k, largest=False, sorted=False).values.max()
    return torch.from_numpy(np.partition(values.numpy(), k - 1))[k - 1]


# --- when the mask settles -------------------------------------------------------------------------------------------


def distance(a: Mask, b: Mask, kept: int) -> float:
    """Entries in which two masks differ, divided by `kept`, the weights that were there before this pruning.

    At a pruning rate r it lies in [0, 2r]: a weight that swaps places with another counts twice.
    """
    return int(torch.stack([(a[name] ^ b[name]).sum() for name in a]).sum()) / kept


class EarlyBird:
    """Says when the mask that pruning would give has settled (You et al., ICLR 2020; the PrAC paper, section 3).

    Consecutive masks are compared. The last `queue_length` distances are kept, starting from ones; training may stop
    when all of them are below `eps`. With ``arm="exceed"`` a distance is recorded only from the first one above `eps`
    on, as the PrAC authors' code does; with ``arm="none"`` at once. None is recorded before `warmup` epochs are over.
    Distances are compared as float32 numbers: one that equals `eps` neither arms nor lets stop.
    """

    def __init__(self, eps: float, queue_length: int = 5, warmup: int = 0, arm: str = "exceed"):
        self.eps, self.warmup = np.float32(eps), warmup
        self.queue = deque([1.0] * queue_length, maxlen=queue_length)  # newest first
        self.armed = arm == "none"
        self.mask: Mask | None = None
        self.distances: list[float] = []

    def update(self, epoch: int, mask: Mask, kept: int) -> bool:
        """Compare `mask` with the one before it; whether training may stop now. The first mask only starts."""
        before, self.mask = self.mask, mask
        return before is not None and self.observe(epoch, distance(before, mask, kept))

    def observe(self, epoch: int, new: float) -> bool:
        """The decision alone: take in a distance seen at (0-based) `epoch`."""
        self.distances.append(new)
        self.armed |= bool(np.float32(new) > self.eps)
        if self.armed and epoch > self.warmup:
            self.queue.appendleft(new)
        return all(np.float32(old) < self.eps for old in self.queue)

    def state_dict(self) -> dict:
        """What a resumed run needs; the mask is left as it is, for the caller to pack."""
        return {"queue": list(self.queue), "armed": self.armed, "mask": self.mask, "distances": list(self.distances)}

    def load_state_dict(self, state: dict) -> None:
        self.queue.extendleft(reversed(state["queue"]))
        self.armed, self.mask = state["armed"], copy.copy(state["mask"])
        self.distances = list(state["distances"])


# --- what a mask leaves of a network ---------------------------------------------------------------------------------


def kept_after(prunings: int, rate: float, weights: int) -> int:
    """How many of so many weights are left after so many prunings at `rate`."""
    for _ in range(prunings):
        dropped = round(rate * weights)
        if not dropped:  # nor will any later pruning drop one
            break
        weights -= dropped
    return weights


def whole_density(mask: Mask, parameters: Iterable[Tensor]) -> float:
    """Share of all the network's parameters that are left: classifier, biases and batch norm counted in."""
    total = sum(parameter.numel() for parameter in parameters)
    return (total - size(mask) + count(mask)) / total


def layer_counts(mask: Mask) -> dict[str, dict[str, int]]:
    """By layer: its weights, those kept, its filters (output channels or neurons), and those without a weight left."""
    kept = _counts(mask)
    alive_rows = [layer.reshape(len(layer), -1).any(1) for layer in mask.values()]
    dead = torch.stack([(~rows).sum() for rows in alive_rows]).tolist() if mask else []
    return {
        name: {"size": layer.numel(), "kept": alive, "filters": len(layer), "dead_filters": empty}
        for (name, layer), alive, empty in zip(mask.items(), kept, dead, strict=True)
    }


def empty_layers(mask: Mask) -> list[str]:
    """Layers of which nothing is left: no signal passes them but through a shortcut."""
    return [name for name, layer in mask.items() if not layer.any()]
