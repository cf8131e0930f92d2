"""Greedy forward selection (Ye et al., ICML 2020): a small subnetwork of a trained network, found without training.

Selection starts from nothing and adds one neuron or channel at a time, the one that lowers the loss most. Wolfe et al.
(arXiv 2108.00259) ask how long the dense network must be trained before this finds a good subnetwork.
"""
