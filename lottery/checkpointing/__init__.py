"""A run's files: names, atomic writing, checksums, locking, records, and resuming."""
