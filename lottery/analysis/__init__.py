"""Analyses of tickets and trained networks: stability to SGD noise, robustness to attacks, verification of files."""
