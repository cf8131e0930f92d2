"""Coverage-centric sampling against the paper's algorithm, written down slowly."""

import numpy as np
import pytest
import torch

from lottery.search.coverage import STRATA, coverage_centric, quotas


def slow(scores, keep, beta):
    """The paper's algorithm on a list of scores: how many examples of each stratum it takes, by their scores."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    left = order[: len(order) - min(int(beta * len(order)), len(order) - keep)]
    low, high = scores[left[0]], scores[left[-1]]
    members = [[] for _ in range(STRATA)]
    for i in left:
        members[min(STRATA - 1, int((scores[i] - low) / ((high - low) / STRATA))) if high > low else 0].append(i)
    remaining, taken = [b for b in members if b], {}
    while remaining:
        smallest = min(remaining, key=len)
        number = min(len(smallest), keep // len(remaining))
        taken[frozenset(smallest)] = number
        keep -= number
        remaining.remove(smallest)
    return taken


@pytest.mark.parametrize("keep", [2, 49, 50, 51, 200, 890, 950, 1000])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["spread", "skewed", "ties"])
def test_it_is_the_papers_algorithm(kind, keep, beta):
    random = np.random.default_rng(1)
    values = {"spread": random.random(1000), "skewed": random.exponential(size=1000) ** 3}
    scores = np.float32(values.get(kind, random.integers(0, 5, 1000)))
    indices = torch.arange(1000) * 3 + 1
    chosen = coverage_centric(indices, torch.from_numpy(scores), keep, beta, np.random.default_rng(0))
    assert len(chosen) == keep == len(set(chosen.tolist())) and torch.equal(chosen, chosen.sort().values)
    places = {(int(i) - 1) // 3 for i in chosen}
    expected = slow(scores.astype(np.float64).tolist(), keep, beta)
    if kind != "ties":  # which of equally hard ones are left out is drawn
        assert {frozenset(members): len(members & places) for members in expected} == expected
    else:
        assert (
            sorted(expected.values())[-5:]
            == sorted(np.bincount(np.int64(scores[list(places)]), minlength=5).tolist())[-len(expected) :]
        )


def test_which_ones_is_drawn():
    scores, indices = torch.linspace(0, 1, 500), torch.arange(500)
    draws = [coverage_centric(indices, scores, 50, 0.1, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert max(draws[2]) < 450


def test_equal_scores_are_one_stratum():
    draws = [coverage_centric(torch.arange(20), torch.ones(20), 7, 0.5, np.random.default_rng(i)) for i in range(30)]
    assert {len(chosen) for chosen in draws} == {7}
    assert set(torch.cat(draws).tolist()) == set(range(20)), "which of them are the hardest is drawn"


def test_quotas_by_hand():
    """10 over strata of 1, 0, 20 and 4: 1 of one, then 4 of four (its share is 4), the rest of the largest."""
    assert quotas([1, 0, 20, 4], 10) == [1, 0, 5, 4]
    assert quotas([3, 3], 6) == [3, 3]
