"""Greedy forward selection (Ye et al., ICML 2020): a small subnetwork of a trained network, found without training.

Selection starts from nothing and adds, again and again, the one neuron that lowers the loss most. Wolfe et al. (arXiv
2108.00259) ask how long the dense network has to be trained before this gives a good subnetwork.

    selection.py  which neurons: the algorithm, for squared loss and for any other
    bounds.py     what the theory promises of it, and selections it has to be better than
    task.py       what a two-layer network is to compute: inputs, targets, loss, accuracy
    training.py   its training by plain SGD
    point.py      what selection finds in a network as it is, beside bounds and baselines
    two_layer.py  a run: selections along the pre-training of a two-layer network
    tables.py     what a person sees of it

Importing this package does not import torch, so that a script can check its flags by the names below first.
"""

ACTIVATIONS = ("relu", "tanh")
TARGETS = ("halves", "classes")
LOSSES = ("squared", "cross_entropy")
