"""Greedy forward selection (Ye et al., ICML 2020): a small subnetwork of a trained network, found without training.

Selection starts from nothing and adds, again and again, the one neuron or channel that lowers the loss most. Wolfe et
al. (arXiv 2108.00259) ask how long the dense network has to be trained before this gives a good subnetwork.
"""
