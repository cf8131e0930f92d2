"""Masks from scores: exactly as many weights as asked for, ranked over all layers or in each."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pruner
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.criteria import RANKINGS, kept_by_iteration
from lottery.pruning_at_init.pruning import keep_highest, kept_count
from utils import InputError


@pytest.mark.parametrize("ranking", RANKINGS)
def test_masks_of_iterations_are_nested_and_exact(tiny, ranking):
    mask, random = pruner.dense(tiny), np.random.default_rng(0)
    for number in kept_by_iteration(pruner.size(mask), 17, 6):
        smaller = keep_highest(mask, pruner.random_scores(mask, random), number, RANKINGS[ranking])
        assert pruner.count(smaller) == number
        assert not any((layer & ~mask[name]).any() for name, layer in smaller.items())
        mask = smaller
    assert pruner.count(mask) == 17


def test_ranking_by_layer_keeps_the_highest_of_each():
    mask = {"a": torch.ones(2, 2, dtype=torch.bool), "b": torch.ones(2, 4, dtype=torch.bool)}
    scores = {"a": torch.tensor([[1.0, 2], [3, 4]]), "b": torch.tensor([[10.0, 20, 30, 40], [50, 60, 70, 80]])}
    found = keep_highest(mask, scores, 6, RANKINGS["uniform"])
    assert found["a"].tolist() == [[False, False], [True, True]]
    assert found["b"].tolist() == [[False] * 4, [True] * 4]
    assert pruner.count({"a": keep_highest(mask, scores, 6, RANKINGS["global"])["a"]}) == 0


@pytest.mark.parametrize(
    "asked, message",
    [({"density": 0.0}, r"--density 0\.0 keeps 0 of 252"), ({"sparsity": 0.0}, r"--sparsity 0\.0 keeps 252 of 252")],
)
def test_a_share_of_zero_is_no_ticket(tiny, asked, message):
    with pytest.raises(InputError, match=f"{message} prunable weights: that is no ticket"):
        kept_count(PruningAtInitConfig(run=None, criterion="snip", **asked), SimpleNamespace(model=tiny))
