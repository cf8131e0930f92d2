"""Data sets on disk, read into arrays of bytes."""
