"""Comparisons of runs, without drawing: methods, statistics, accuracy, costs, masks and verdicts."""
