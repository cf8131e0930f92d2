"""Formats in which tickets leave this suite and come back: one module for each, with its writer and its reader."""
