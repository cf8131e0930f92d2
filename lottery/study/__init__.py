"""A grid of runs: its file, its jobs, and the processes that do them."""
