"""Tickets found at once, without a search: SNIP, GraSP, SynFlow, magnitude and random choice."""
