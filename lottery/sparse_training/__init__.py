"""Networks that are pruned while they train, in one training (main_dst.py)."""
