"""How many weights each pruning of a search leaves: numbers only."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from pruner import kept_after
from utils import InputError


@dataclass(frozen=True)
class PruningPlan:
    """A share `rate` of the weights kept so far goes in every pruning; or, with `densities`, pruning k (from 1) leaves
    the k-th of these densities of all prunable weights, round(d n) of n."""

    rate: float | None
    densities: tuple[float, ...] | None = None

    @classmethod
    def from_settings(cls, settings: Mapping, rate: float | None) -> "PruningPlan":
        """The plan that a run's files record; `rate` is that of files that record none, as those of the 2021 code."""
        densities = settings.get("densities")
        return cls(settings.get("rate", rate), None if densities is None else tuple(densities))

    def kept(self, prunings: int, first: int, size: int) -> int:
        """How many weights are left after so many prunings of a mask that keeps `first` of `size` prunable weights.
        Beyond the last of the densities nothing is pruned."""
        if self.densities is None:
            return kept_after(prunings, self.rate, first)
        done = self.densities[:prunings]
        return round(done[-1] * size) if done else first

    def kept_next(self, prunings: int, kept: int, size: int) -> int:
        """How many are left by the next pruning, after so many, of a mask that keeps `kept` of `size`."""
        if self.densities is None:
            return kept_after(1, self.rate, kept)
        return self.kept(prunings + 1, kept, size)

    def check(self, prunings: int, first: int, size: int) -> None:
        """InputError if the last pruning of a mask that keeps `first` of `size` weights leaves nothing, or one of the
        densities leaves nothing to prune, as of two that come to one count."""
        if self.kept(prunings, first, size) == 0:
            raise InputError(f"{self.describe(prunings)} leaves none of the {first} prunable weights")
        if self.densities is not None and self.kept(1, first, size) >= first:
            raise InputError(
                f"--densities begins with {self.densities[0]}, but the first round has a density of {first / size:.4g} "
                "already: begin below it"
            )
        for k, (before, after) in enumerate(itertools.pairwise(self.densities or ()), 1):
            if self.kept(k, first, size) == self.kept(k + 1, first, size):
                raise InputError(
                    f"--densities {before},{after} are both {self.kept(k, first, size)} of {size} weights, so that the "
                    "second prunes nothing"
                )

    def describe(self, prunings: int) -> str:
        """The flags that gave it."""
        if self.densities is None:
            return f"--pruning_times {prunings} at --rate {self.rate}"
        return f"--densities {','.join(map(str, self.densities))}"

    @property
    def largest_share(self) -> float:
        """The largest share of the kept weights that a single pruning takes, of a dense network."""
        if self.densities is None:
            return self.rate
        return max(1 - after / before for before, after in zip((1.0, *self.densities), self.densities, strict=False))


def prunes_alike(a: Mapping, b: Mapping) -> bool:
    """Whether two searches with these settings prune to the same counts, one perhaps for longer than the other.

    Two rates do if they are equal, or if one of them is not recorded. Densities are compared by the counts that they
    come to, which takes the number of prunable weights: a run with --densities records it as `prunable`. They are not
    compared with a rate that is not recorded, nor with one of a search that began with a mask, on which its counts
    depend.
    """
    listed = [settings for settings in (a, b) if settings.get("densities")]
    if not listed:
        return a.get("rate", b.get("rate")) == b.get("rate", a.get("rate"))
    by_rate = len(listed) == 1
    if by_rate and (a.get("mask_dir") or b.get("mask_dir") or not (a.get("rate") or b.get("rate"))):
        return False
    weights = next((each["prunable"] for each in listed if "prunable" in each), None)
    if weights is None:
        return a.get("densities") == b.get("densities")
    first, second = (PruningPlan.from_settings(each, None) for each in (a, b))
    shared = range(1, min(len(each["densities"]) for each in listed) + 1)
    return all(first.kept(k, weights, weights) == second.kept(k, weights, weights) for k in shared)
