"""Tickets transferred to a deeper or shallower network of the same family (Chen et al., NeurIPS 2021)."""
