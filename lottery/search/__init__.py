"""The search for tickets: iterative magnitude pruning, on all examples or on PrAC sets."""
