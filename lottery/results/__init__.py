"""Runs of every script, read back from their directories."""
