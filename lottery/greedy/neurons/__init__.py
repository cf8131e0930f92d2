"""Greedy selection of the neurons of a two-layer network, with the bounds of the theory."""
