"""The training subset of a run."""

from lottery.greedy.neurons.setup import training_subset


def test_a_smaller_set_of_the_same_seed_lies_in_a_larger_one():
    small, large, other = (training_subset(1000, *args).tolist() for args in ((30, 0), (300, 0), (30, 1)))
    assert len(set(small)) == 30 and set(small) < set(large) and set(small) != set(other)
    assert training_subset(1000, None, 0).tolist() == list(range(1000))
