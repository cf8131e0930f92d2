"""The channels of a network that can be left out, and the smaller network without them."""
