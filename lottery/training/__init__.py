"""Training, evaluating and saving one network under a mask."""
