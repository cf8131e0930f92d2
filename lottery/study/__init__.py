"""Studies, grids of runs: the file, the jobs planned from it, and their processes or SLURM script."""
