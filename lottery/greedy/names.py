"""Values of flags and records of greedy selection. Importing this module does not import torch."""

ACTIVATIONS = ("relu", "tanh")
TARGETS = ("halves", "classes")
LOSSES = ("squared", "cross_entropy")
AVERAGE, ONES = CHANNEL_WEIGHTS = ("average", "ones")
WHOLE, LAYER = TOLERANCES = ("whole", "layer")
GREEDY = "greedy"  # how channels are selected, or by one of
RANDOM, MAGNITUDE = BASELINES = ("random", "magnitude")
