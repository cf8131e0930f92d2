"""Coverage-centric sampling: a small set that covers easy and hard examples alike.

Zheng et al., "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023 (arXiv 2210.15809): leave out the
hardest examples, cut the rest into strata of equal width by difficulty, and spread the budget over the strata, from the
smallest up. The paper scores difficulty by the area under the margin, by forgetting and by others, and tunes the share
of the hardest, beta, for each size of set.
"""

import numpy as np
import torch
from torch import Tensor

STRATA = 50  # the paper's k


def coverage_centric(indices: Tensor, scores: Tensor, keep: int, beta: float, random: np.random.Generator) -> Tensor:
    """`keep` of (n,) `indices`, whose (n,) `scores` are higher for harder examples; sorted.

    Of the hardest, floor(beta n) are left out, ties at random; fewer where `keep` needs them. A stratum gives its share
    of the budget that is left, budget / strata left, or all its examples if it has fewer; which ones is drawn.
    """
    shuffled = torch.from_numpy(random.permutation(len(indices))).to(indices.device)
    hardest = min(int(beta * len(indices)), len(indices) - keep)
    rest = shuffled[scores[shuffled].argsort(stable=True)][: len(indices) - hardest]
    rest = rest[torch.from_numpy(random.permutation(len(rest))).to(rest.device)]  # within a stratum: at random
    numbers = strata(scores[rest])
    counts = torch.bincount(numbers, minlength=STRATA).tolist()
    chosen = [rest[numbers == stratum][:quota] for stratum, quota in enumerate(quotas(counts, keep))]
    return indices[torch.cat(chosen)].sort().values


def strata(scores: Tensor) -> Tensor:
    """(m,) int64: the stratum, of STRATA of equal width between the lowest and the highest score, of each example."""
    low, high = scores.min(), scores.max()
    width = (high - low).double() / STRATA
    return ((scores - low).double() / width).nan_to_num(0.0).long().clamp(0, STRATA - 1)


def quotas(counts: list[int], budget: int) -> list[int]:
    """How many examples each stratum of so many gives: the smallest first, each at most its share of what is left."""
    order = sorted((stratum for stratum, count in enumerate(counts) if count), key=lambda stratum: counts[stratum])
    found = [0] * len(counts)
    for done, stratum in enumerate(order):
        found[stratum] = min(counts[stratum], budget // (len(order) - done))
        budget -= found[stratum]
    return found
