"""How many weights each pruning of a search leaves, and which by their scores."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from lottery.bases.blocks import of_rows, rows
from lottery.patterns import Pattern, misfit, pattern_notes, prune_to_pattern
from pruner import Mask, Scores, drop, kept_after
from utils import InputError

KEPT_BY_PATTERN = "kept by pattern"  # in settings: how many weights pruning to an N:M pattern leaves


@dataclass(frozen=True)
class PruningPlan:
    """A share `rate` of the weights kept so far goes in every pruning; or, with `densities`, pruning k (from 1) leaves
    the k-th of these densities of all prunable weights, round(d n) of n; or, with a `pattern`, the only pruning leaves
    N of M in each layer that it fits, `kept_by_pattern` weights in all."""

    rate: float | None
    densities: tuple[float, ...] | None = None
    pattern: Pattern | None = None
    kept_by_pattern: int = 0

    @classmethod
    def from_settings(cls, settings: Mapping, rate: float | None) -> "PruningPlan":
        """The plan that a run's files record; `rate` is that of files that record none, as those of the 2021 code."""
        densities, pattern = settings.get("densities"), settings.get("pattern")
        return cls(
            settings.get("rate", rate),
            None if densities is None else tuple(densities),
            Pattern.parse(pattern) if pattern else None,
            settings.get(KEPT_BY_PATTERN, 0),
        )

    def kept(self, prunings: int, first: int, size: int) -> int:
        """How many weights are left after so many prunings of a mask that keeps `first` of `size` prunable weights.
        Beyond the last of the densities, or the only pruning to a pattern, nothing is pruned."""
        if self.pattern:
            return self.kept_by_pattern if prunings else first
        if self.densities is None:
            return kept_after(prunings, self.rate, first)
        done = self.densities[:prunings]
        return round(done[-1] * size) if done else first

    def kept_next(self, prunings: int, kept: int, size: int) -> int:
        """How many are left by the next pruning, after so many, of a mask that keeps `kept` of `size`."""
        if self.densities is None and not self.pattern:
            return kept_after(1, self.rate, kept)
        return self.kept(prunings + 1, kept, size)

    def check(self, prunings: int, first: int, size: int) -> None:
        """InputError if the last pruning of a mask that keeps `first` of `size` weights leaves nothing, or one of the
        densities leaves nothing to prune, as of two that come to one count, or a pattern finds no layer that it fits,
        or a mask that is pruned already."""
        if self.pattern:
            self._check_pattern(first, size)
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

    def _check_pattern(self, first: int, size: int) -> None:
        if first < size:
            raise InputError(
                f"--pattern {self.pattern} prunes a dense network, this one keeps {first} of {size} weights"
            )
        if self.kept_by_pattern == size:
            raise InputError(misfit(self.pattern))

    def notes(self, mask: Mask) -> list[str]:
        """Which layers of this mask are left dense, and why."""
        return pattern_notes(mask, self.pattern)

    def describe(self, prunings: int) -> str:
        """The flags that gave it."""
        if self.pattern:
            return f"--pattern {self.pattern}"
        if self.densities is None:
            return f"--pruning_times {prunings} at --rate {self.rate}"
        return f"--densities {','.join(map(str, self.densities))}"

    @property
    def largest_share(self) -> float:
        """The largest share of the kept weights that a single pruning takes, of a dense network."""
        if self.pattern:
            return 1 - self.pattern.kept / self.pattern.group
        if self.densities is None:
            return self.rate
        return max(1 - after / before for before, after in zip((1.0, *self.densities), self.densities, strict=False))


def pruned(mask: Mask, scores: Scores, number: int, pattern: Pattern | None) -> Mask:
    """The mask that a pruning gives: to the pattern if there is one, otherwise without the `number` lowest of all, of
    whole rows where the scores are those of rows, (out,)."""
    if pattern:
        return prune_to_pattern(mask, scores, pattern)
    if any(scores[name].shape != layer.shape for name, layer in mask.items()):
        return of_rows(drop(rows(mask), scores, number), mask)
    return drop(mask, scores, number)


def prunes_alike(a: Mapping, b: Mapping) -> bool:
    """Whether two searches with these settings prune to the same counts, one perhaps for longer than the other.

    Two rates do if they are equal, or if one of them is not recorded. Densities are compared by the counts that they
    come to, which takes the number of prunable weights: a run with --densities records it as `prunable`. They are not
    compared with a rate that is not recorded, nor with one of a search that began with a mask, on which its counts
    depend. A pattern prunes as the same pattern does.
    """
    if a.get("pattern") or b.get("pattern"):
        return a.get("pattern") == b.get("pattern")
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
