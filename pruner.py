"""Masks: which weights a network keeps, and how pruning chooses them.

A mask is plain data: ``{parameter name: bool tensor of that parameter's shape}``, True where the weight is kept. It
lives beside the model, never inside it: the model's ``state_dict`` has the same keys pruned or dense. Scores have the
same form with numbers; the lowest are pruned first. Functions return new masks; only `apply_` changes weights.
"""

import copy
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lottery.bases.basis import Basis

Mask = dict[str, Tensor]
Scores = dict[str, Tensor]
Weights = dict[str, Tensor]  # a model's state_dict


class Ticket(NamedTuple):
    """A sparse subnetwork: the weights it keeps, and the values its training starts from.

    With a `basis` the mask is one of the weights' coefficients in it.
    """

    mask: Mask
    weights: Weights
    step: int | None = None  # the step of the training schedule after which `weights` were taken, if known
    basis: Basis | None = None

    @property
    def masks_coefficients(self) -> bool:
        """Whether its mask is one of coefficients in another basis, not of weights."""
        return self.basis is not None and self.basis.transforms


# --- masks -----------------------------------------------------------------------------------------------------------


def prunable(model: nn.Module, prune_classifier: bool = False) -> list[str]:
    """Names of the weights that may be pruned, in the model's order.

    These are the weights of all ``Conv2d`` layers, including the first convolution and 1x1 shortcuts, and of all
    ``Linear`` layers, the classifiers only with `prune_classifier`; no biases, no batch norm, nothing that is `frozen`.
    Behind them come the parameters in the model's `also_pruned`, if it has been set (lottery.training.also_pruned).
    Weights shared by several layers are listed once, under the parameter's first name. ValueError if there are none.
    """
    if names := prunable_if_any(model, prune_classifier):
        return names
    raise ValueError("the network has nothing to prune: no Conv2d or Linear layer beside its classifier")


def prunable_if_any(model: nn.Module, prune_classifier: bool = False) -> list[str]:
    """`prunable`, empty if there are none."""
    excluded, fixed = () if prune_classifier else classifiers(model), frozen(model)
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    names = [f"{name}.weight" for name in layers if name not in excluded and f"{name}.weight" not in fixed]
    names += [name for name in getattr(model, "also_pruned", ()) if name.rpartition(".")[0] not in excluded]
    first = dict(model.named_parameters()).keys()
    others = {name for name, _ in model.named_parameters(remove_duplicate=False)} - first  # of shared parameters
    return [name for name in names if name not in others]


def frozen(model: nn.Module) -> set[str]:
    """Names of the parameters that no training changes, since they do not require gradients, if others do."""
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return fixed if len(fixed) < len(dict(model.named_parameters())) else set()


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that produce the logits: the model's `classifier_names` if set, as for a user's network
    (models.custom), otherwise `last_linear`."""
    names = getattr(model, "classifier_names", None)
    return last_linear(model) if names is None else names


def last_linear(model: nn.Module) -> tuple[str, ...]:
    """The last ``Linear`` layer in the model's order, if any: the classifier of every built-in network."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return tuple(linears[-1:])


def never_pruned(model: nn.Module) -> dict[str, int]:
    """Name -> number of weights of the parameters that are never pruned, without biases and normalisation: those of
    attention (`in_proj_weight`), one-dimensional convolutions, embeddings and the like."""
    left_out = set(prunable_if_any(model, prune_classifier=True)) | frozen(model)
    norms = [name for name, module in model.named_modules() if hasattr(module, "normalized_shape")]
    return {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if name not in left_out and parameter.ndim > 1 and name.rpartition(".")[0] not in norms
    }


def dense(model: nn.Module, prune_classifier: bool = False) -> Mask:
    """The mask that keeps every prunable weight."""
    names = prunable(model, prune_classifier)
    return {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in names}


def count(mask: Mask) -> int:
    """The number of weights the mask keeps."""
    return sum(_counts(mask))


def _counts(mask: Mask) -> list[int]:
    """The number of weights kept in each layer, with a single transfer from the device."""
    return torch.stack([layer.sum() for layer in mask.values()]).tolist() if mask else []


def size(mask: Mask) -> int:
    """The number of prunable weights, kept or dropped."""
    return sum(layer.numel() for layer in mask.values())


def whole(mask: Mask) -> Mask:
    """The mask that drops nothing of what this one decides about."""
    return {name: torch.ones_like(layer) for name, layer in mask.items()}


def density(mask: Mask) -> float:
    """Share of the prunable weights that are kept; sparsity is 1 - density."""
    return count(mask) / size(mask)


def same(a: Mask, b: Mask) -> bool:
    """Whether two masks are equal."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def apply_(parameters: Mapping[str, Tensor], mask: Mask, basis: Basis | None = None) -> None:
    """Zero the weights that `mask` drops, or, with a basis, remove the coefficients. Called after every optimiser step,
    it keeps them at zero."""
    if basis:
        return basis.project_(parameters, mask)
    for name, layer in mask.items():
        parameters[name].mul_(layer)


# --- scores ----------------------------------------------------------------------------------------------------------


def magnitude(weights: Mapping[str, Tensor], mask: Mask) -> Scores:
    """|w|, the score of iterative magnitude pruning (Han et al., NeurIPS 2015; Frankle & Carbin, ICLR 2019)."""
    return {name: weights[name].detach().abs() for name in mask}


def random_scores(mask: Mask, random: np.random.Generator) -> Scores:
    """Scores drawn uniformly at random: the baseline of random pruning."""
    return {
        name: torch.from_numpy(random.random(layer.numel(), dtype=np.float32)).view(layer.shape).to(layer.device)
        for name, layer in mask.items()
    }


def prune(mask: Mask, scores: Scores, rate: float) -> Mask:
    """Drop the lowest-scoring `rate` of the weights `mask` keeps, ranked over all layers at once.

    Of the n weights that `mask` keeps, exactly ``round(rate * n)`` are dropped (see `drop`).

    Raises ValueError for a rate outside (0, 1) and for NaN scores.
    """
    if not 0 < rate < 1:
        raise ValueError(f"the pruning rate must lie in (0, 1), got {rate}")
    return drop(mask, scores, round(rate * count(mask)))


def drop(mask: Mask, scores: Scores, number: int) -> Mask:
    """Drop the `number` lowest-scoring of the weights `mask` keeps, ranked over all layers at once.

    The result is a subset of `mask` with exactly `number` fewer weights, ties or not: of equal scores, those first in
    layer order, then in row-major order, are dropped. The threshold is found by selection in O(n), without sorting.

    Raises ValueError for NaN scores; `number` must lie between 0 and ``count(mask)``.
    """
    kept = torch.cat([layer.reshape(-1) for layer in mask.values()])  # (m,) all prunable weights
    values = torch.cat([scores[name].reshape(-1) for name in mask]).masked_fill_(~kept, torch.inf)
    if values.isnan().any():
        raise ValueError("weights cannot be ranked: some are not a number")
    survives = kept & ~_lowest(values, kept, number)
    parts = survives.split([layer.numel() for layer in mask.values()])
    return {name: part.view(layer.shape) for (name, layer), part in zip(mask.items(), parts, strict=True)}


def drop_in_layers(mask: Mask, scores: Scores, numbers: Mapping[str, int]) -> Mask:
    """`drop` in each layer separately: `numbers[name]` weights of layer `name`."""
    return {name: drop({name: layer}, scores, numbers[name])[name] for name, layer in mask.items()}


def _lowest(values: Tensor, kept: Tensor, k: int) -> Tensor:
    """(m,) bool: the k lowest of the (m,) values among those `kept`, the first ones among equals; the values of the
    others must not be lower."""
    if k == 0:
        return torch.zeros_like(kept)
    threshold = _kth_lowest(values, k)
    lowest = values < threshold
    tied = ((values == threshold) & kept).nonzero().squeeze(1)
    lowest[tied[: k - int(lowest.sum())]] = True
    return lowest


def _kth_lowest(values: Tensor, k: int) -> Tensor:
    """The k-th lowest (from 1) of (m,) values, by selection."""
    if values.is_cuda:  # kthvalue uses a single block for a vector, topk all of them
        return values.topk(k, largest=False, sorted=False).values.max()
    return torch.from_numpy(np.partition(values.numpy(), k - 1))[k - 1]


# --- early-bird detection ---------------------------------------------------------------------------------------------


def distance(a: Mask, b: Mask, kept: int) -> float:
    """Number of entries in which two masks differ, divided by `kept`, the number of weights before this pruning.

    At pruning rate r it lies in [0, 2r]: a weight dropped in place of another counts twice.
    """
    return int(torch.stack([(a[name] ^ b[name]).sum() for name in a]).sum()) / kept


class EarlyBird:
    """Detects that the mask which pruning would give has settled (You et al., ICLR 2020; the PrAC paper, section 3).

    A queue holds the last `queue_length` distances between consecutive masks, initially ones; training may stop when
    all of them are below `eps`. With ``arm="exceed"`` distances are recorded from the first one above `eps` on, as in
    the PrAC authors' code; with ``arm="none"`` from the beginning. None is recorded before `warmup` epochs are over.
    Distances are compared as float32; one equal to `eps` neither arms the detector nor allows a stop.
    """

    def __init__(self, eps: float, queue_length: int = 5, warmup: int = 0, arm: str = "exceed"):
        self.eps, self.warmup = np.float32(eps), warmup
        self.queue = deque([1.0] * queue_length, maxlen=queue_length)  # newest first
        self.armed = arm == "none"
        self.mask: Mask | None = None
        self.distances: list[float] = []

    def update(self, epoch: int, mask: Mask, kept: int) -> bool:
        """Compare `mask` with the previous one; returns whether training may stop now. The first call returns False."""
        before, self.mask = self.mask, mask
        return before is not None and self.observe(epoch, distance(before, mask, kept))

    def observe(self, epoch: int, new: float) -> bool:
        """Record a distance measured at (0-based) `epoch`; returns whether training may stop now."""
        self.distances.append(new)
        self.armed |= bool(np.float32(new) > self.eps)
        if self.armed and epoch > self.warmup:
            self.queue.appendleft(new)
        return all(np.float32(old) < self.eps for old in self.queue)

    def state_dict(self) -> dict:
        """The state that a resumed run needs; the caller packs the mask."""
        return {"queue": list(self.queue), "armed": self.armed, "mask": self.mask, "distances": list(self.distances)}

    def load_state_dict(self, state: dict) -> None:
        self.queue.extendleft(reversed(state["queue"]))
        self.armed, self.mask = state["armed"], copy.copy(state["mask"])
        self.distances = list(state["distances"])


# --- counting ---------------------------------------------------------------------------------------------------------


def kept_after(prunings: int, rate: float, weights: int) -> int:
    """How many of `weights` weights are left after `prunings` prunings at `rate`."""
    for _ in range(prunings):
        dropped = round(rate * weights)
        if not dropped:  # nor will any later pruning drop one
            break
        weights -= dropped
    return weights


def whole_density(mask: Mask, parameters: Iterable[Tensor]) -> float:
    """Share of all parameters of the network that are left, including classifier, biases and batch norm."""
    total = sum(parameter.numel() for parameter in parameters)
    return (total - size(mask) + count(mask)) / total


def layer_counts(mask: Mask) -> dict[str, dict[str, int]]:
    """For each layer, its number of weights, of kept weights, of filters (output channels or neurons), and of filters
    without a weight left."""
    kept = _counts(mask)
    alive_rows = [layer.reshape(len(layer), -1).any(1) for layer in mask.values()]
    dead = torch.stack([(~rows).sum() for rows in alive_rows]).tolist() if mask else []
    return {
        name: {"size": layer.numel(), "kept": alive, "filters": len(layer), "dead_filters": empty}
        for (name, layer), alive, empty in zip(mask.items(), kept, dead, strict=True)
    }


def empty_layers(mask: Mask) -> list[str]:
    """Layers without a weight left: no signal passes them except through a shortcut."""
    return [name for name, layer in mask.items() if not layer.any()]
