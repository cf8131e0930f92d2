"""The examples that weights are scored on."""

import torch

from dataset import to_input
from lottery.pruning_at_init.examples import Batches


def test_examples_are_streamed(images):
    """One batch at a time is made into numbers: there is none before it is asked for, nor two at once."""
    batches = iter(Batches(images, torch.tensor([3, 1, 4, 5, 9, 2, 6]), 3))
    first, labels = next(batches)
    assert (
        torch.equal(first, to_input(images.images[[3, 1, 4]])) and labels.tolist() == images.labels[[3, 1, 4]].tolist()
    )
    assert [len(labels) for _, labels in batches] == [4], "a single example is no batch"
