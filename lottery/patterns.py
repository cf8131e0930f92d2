"""N:M patterns: masks that keep N of every M consecutive input weights, as the 2:4 of NVIDIA's sparse tensor cores.

A group is M consecutive inputs of one output: of a Linear weight (out, in) M neighbours along `in`; of a Conv2d weight
(out, in / groups, kh, kw) M neighbouring input channels at one place (kh, kw) of one filter. A convolution computed as
a matrix product sums over them, and NVIDIA's ASP groups them so (Mishra et al., "Accelerating Sparse Deep Neural
Networks", 2021, arXiv 2104.08378). A pattern fits a layer whose number of inputs, `in` or in / groups, M divides.

Importing this module does not import torch.
"""

from typing import TYPE_CHECKING, NamedTuple

from utils import listed

if TYPE_CHECKING:  # flags are checked before torch is imported
    from torch import Tensor

    from pruner import Mask, Scores

LARGEST = 32  # inputs in a group
ALLOWED = f"N:M with whole numbers 1 <= N < M <= {LARGEST}, such as 2:4"


class Pattern(NamedTuple):
    """Keep `kept` (N) of every `group` (M) consecutive input weights."""

    kept: int
    group: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The pattern in "2:4"; ValueError for anything else than 1 <= N < M <= 32."""
        parts = text.split(":")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(f"a pattern must be {ALLOWED}, got {text!r}")
        kept, group = map(int, parts)
        if not 1 <= kept < group <= LARGEST:
            raise ValueError(f"a pattern must be {ALLOWED}, got {text!r}")
        return cls(kept, group)

    def fits(self, layer: "Tensor") -> bool:
        """Whether M divides the number of inputs of a layer with this weight or mask, (out, in, ...)."""
        return layer.ndim > 1 and layer.shape[1] % self.group == 0

    def groups(self, layer: "Tensor") -> "Tensor":
        """(g, M): the groups of a layer that it fits, (out, in, ...)."""
        return layer.movedim(1, -1).reshape(-1, self.group)


# --- masks ------------------------------------------------------------------------------------------------------------


def prune_to_pattern(mask: "Mask", scores: "Scores", pattern: Pattern) -> "Mask":
    """Keep the N highest-scoring of the M weights in each group of each layer that the pattern fits.

    Of equal scores those first in the group are dropped, as `pruner.drop` does. Weights that `mask` drops stay dropped,
    so that of a dense mask each group keeps exactly N. Layers that the pattern does not fit stay as they are.

    Raises ValueError for NaN scores.
    """
    return {name: _prune_layer(layer, scores[name], pattern) for name, layer in mask.items()}


def _prune_layer(layer: "Tensor", scores: "Tensor", pattern: Pattern) -> "Tensor":
    if scores.isnan().any():
        raise ValueError("weights cannot be ranked: some are not a number")
    if not pattern.fits(layer):
        return layer
    moved = layer.movedim(1, -1)
    order = pattern.groups(scores.masked_fill(~layer, float("-inf"))).argsort(dim=1, stable=True)
    keeps = pattern.groups(layer).clone()  # which of each group, (g, M)
    keeps.scatter_(1, order[:, : pattern.group - pattern.kept], False)
    return keeps.view(moved.shape).movedim(-1, 1).contiguous()


def kept_by_pattern(mask: "Mask", pattern: Pattern) -> int:
    """How many weights pruning to the pattern leaves of layers of these shapes, all dense."""
    return sum(_kept_of(layer, pattern) for layer in mask.values())


def _kept_of(layer: "Tensor", pattern: Pattern) -> int:
    return layer.numel() // pattern.group * pattern.kept if pattern.fits(layer) else layer.numel()


def fitting(mask: "Mask", pattern: Pattern) -> list[str]:
    """The layers that the pattern fits."""
    return [name for name, layer in mask.items() if pattern.fits(layer)]


def has_pattern(layer: "Tensor", pattern: Pattern) -> bool:
    """Whether every group of a layer that the pattern fits keeps exactly N."""
    return bool((pattern.groups(layer).sum(1) == pattern.kept).all())


def find_pattern(mask: "Mask") -> Pattern | None:
    """The N:M pattern of a mask: one that all layers have that it fits and that are not dense, one layer at least.

    A mask may have several, as 1:2 is 2:4 as well: 4 is tried first, then the smallest group. None if there is none.
    """
    pruned = {name: layer for name, layer in mask.items() if not layer.all()}
    candidates = (_likely(pruned, group) for group in (4, *range(2, LARGEST + 1)))
    return next((found for found in candidates if found and _is_everywhere(pruned, found)), None)


def _likely(mask: "Mask", group: int) -> Pattern | None:
    """The only pattern with groups of this size that a mask can have, by its first group."""
    layers = (layer for layer in mask.values() if Pattern(1, group).fits(layer))
    kept = next((int(Pattern(1, group).groups(layer)[0].sum()) for layer in layers), 0)
    return Pattern(kept, group) if 0 < kept < group else None


def _is_everywhere(mask: "Mask", pattern: Pattern) -> bool:
    return all(has_pattern(mask[name], pattern) for name in fitting(mask, pattern))


# --- in words ---------------------------------------------------------------------------------------------------------


def misfit(pattern: Pattern) -> str:
    """What is wrong with a pattern that fits no layer."""
    return f"--pattern {pattern} fits no layer that is pruned: none has a number of inputs that {pattern.group} divides"


def pattern_notes(mask: "Mask", pattern: Pattern | None) -> list[str]:
    """Which layers a pattern leaves dense, since it does not fit them."""
    if pattern is None or not (dense := [name for name in mask if name not in fitting(mask, pattern)]):
        return []
    are, whose = ("stay", "their numbers") if len(dense) > 1 else ("stays", "its number")
    return [f"{listed(dense, shown=10)} {are} dense, since {pattern.group} does not divide {whose} of inputs"]
