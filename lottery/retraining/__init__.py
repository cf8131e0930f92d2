"""A ticket trained on all the training data, by the full schedule or by another rule."""
