"""Sparsity in another basis: a mask of coefficients in the place of a mask of weights (docs/methods/bases.md)."""
