"""How much pre-training a subnetwork needs (Wolfe et al., arXiv 2108.00259), from measurements along it.

A network is good enough if it is at most `delta` points of accuracy below the dense one at the end of its pre-training.
It is not compared with the dense network of the same iteration: any selection beats that before it is trained.
Importing this module does not import torch.
"""

from collections.abc import Mapping, Sequence

NETWORKS, MEASURED = ("selected", "fine_tuned"), ("train", "test")


def first_match(
    points: Sequence[Mapping], network: str, measured: str, dense: Mapping[str, float], delta: float
) -> int | None:
    """The first iteration at which a network is good enough by this accuracy; None if it never is.

    `points` are in the order of their iterations, and hold accuracies by network; the network may be absent from some.
    """
    enough = (p["iteration"] for p in points if network in p and p[network][measured] >= dense[measured] - delta)
    return next(enough, None)


def first_matches(points: Sequence[Mapping], dense: Mapping[str, float], delta: float) -> dict[str, dict]:
    """`first_match` of the selected and of the fine-tuned network, on the training examples and on the test set."""
    return {
        network: {measured: first_match(points, network, measured, dense, delta) for measured in MEASURED}
        for network in NETWORKS
    }
