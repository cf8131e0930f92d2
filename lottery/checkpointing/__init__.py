"""A run's files: their names, their checksums, who may write them, and where a run goes on."""
