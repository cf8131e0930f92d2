"""Finished runs, read back from their directories."""
