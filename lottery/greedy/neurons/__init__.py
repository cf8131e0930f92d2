"""Greedy selection of the neurons of a two-layer network, and what the theory promises of it."""
