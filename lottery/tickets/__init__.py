"""Tickets and PrAC sets: read from files, checked against network and data, and saved."""
