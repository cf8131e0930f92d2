"""Tickets found by scoring every weight once, without a search: random, magnitude, SNIP, GraSP and SynFlow."""
