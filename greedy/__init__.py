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
    needed.py     how much pre-training it needs, of neurons and of channels alike

The same for the channels of a convolutional network, layer by layer:

    groups.py     which channels can be dropped without touching anything but their own layers
    channels.py   which of them to keep: the algorithm
    slicing.py    the network without the others: as a mask, and as a smaller dense network
    gains.py      what the smaller network costs, beside the whole one
    layers.py     which layers a command asks for
    channel_baselines.py  selections that the greedy one has to be better than
    channel_setting.py  what a run works with, checked
    channel_point.py    selection in one network
    channel_run.py      a run: selections along a pre-training, or from given weights
    channel_tables.py   what a person sees of it

Importing this package does not import torch, so that a script can check its flags by the names below first.
"""

ACTIVATIONS = ("relu", "tanh")
TARGETS = ("halves", "classes")
LOSSES = ("squared", "cross_entropy")
AVERAGE, ONES = CHANNEL_WEIGHTS = ("average", "ones")
WHOLE, LAYER = TOLERANCES = ("whole", "layer")
GREEDY = "greedy"  # how channels are selected
RANDOM, MAGNITUDE = BASELINES = ("random", "magnitude")  # and how beside it
