"""Greedy selection of the channels of a convolutional network, layer by layer."""
