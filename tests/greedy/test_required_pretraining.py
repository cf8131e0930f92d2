"""From which iteration on a selected network is good enough."""

from lottery.greedy.required_pretraining import first_matches


def metrics(accuracy):
    return {"train": accuracy, "test": accuracy - 10}


def test_the_first_match_is_with_the_dense_network_at_the_end():
    found = [
        {"iteration": 0, "dense": metrics(50), "selected": metrics(80)},  # better than its dense one
        {"iteration": 5, "dense": metrics(90), "selected": metrics(88.9), "fine_tuned": metrics(89)},
        {"iteration": 9, "dense": metrics(90), "selected": metrics(89), "fine_tuned": metrics(99)},
    ]
    assert first_matches(found, metrics(90), 1.0) == {
        "selected": {"train": 9, "test": 9},
        "fine_tuned": {"train": 5, "test": 5},
    }
    assert first_matches(found[:1], metrics(90), 1.0)["selected"] == {"train": None, "test": None}
