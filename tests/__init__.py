"""Tests; helpers.py has what they share."""
