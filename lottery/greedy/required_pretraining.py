"""How much pre-training a subnetwork needs (Wolfe et al., arXiv 2108.00259), read off what was measured along it.

A network is good enough if it is at most `delta` points of accuracy below the dense one at the end of its pre-training.
The dense network of the same iteration would not do to compare with: before that is trained any selection is better.
Importing this module does not import torch.
"""

from collections.abc import Mapping, Sequence

NETWORKS, MEASURED = ("selected", "fine_tuned"), ("train", "test")


def first_match(
    points: Sequence[Mapping], network: str, measured: str, dense: Mapping[str, float], delta: float
) -> int | None:
    """The first iteration at which a network is good enough by this accuracy, None for never.

    `points`, in the order of their iterations, have what was `measured` of each network; one may lack the network.
    """
    enough = (p["iteration"] for p in points if network in p and p[network][measured] >= dense[measured] - delta)
    return next(enough, None)


def first_matches(points: Sequence[Mapping], dense: Mapping[str, float], delta: float) -> dict[str, dict]:
    """The first good iterations as selected and as fine-tuned, on the examples trained on and on the test set."""
    return {
        network: {measured: first_match(points, network, measured, dense, delta) for measured in MEASURED}
        for network in NETWORKS
    }
