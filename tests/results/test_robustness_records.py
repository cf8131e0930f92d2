"""robustness.json, whole and damaged."""

import json

from lottery.results.robustness_records import read_attacks, write_attacks

ATTACK = {"attack": {"eps": "8/255", "pgd_steps": 3, "pgd_step_size": "2/255"}, "rounds": []}
ROW = {"round": 0, "density": 1.0, "examples": 5, "clean": 90.0, "fgsm": 60.0, "pgd": 50.0}


def test_attacks_come_back_as_they_were_written(tmp_path):
    assert read_attacks(tmp_path / "robustness.json") == []
    attacks = [ATTACK | {"rounds": [ROW]}, ATTACK]
    write_attacks(tmp_path / "robustness.json", attacks)
    assert read_attacks(tmp_path / "robustness.json") == attacks


def test_a_damaged_file_is_not_an_empty_one(tmp_path):
    without_clean = {key: value for key, value in ROW.items() if key != "clean"}
    entries = [ATTACK | {"attack": {}}, ATTACK | {"rounds": [without_clean]}]
    damaged = [{}, {"attacks": 3}, *({"attacks": [entry]} for entry in entries)]
    for text in ("{", "[]", *map(json.dumps, damaged)):
        (tmp_path / "robustness.json").write_text(text)
        assert read_attacks(tmp_path / "robustness.json") is None, text
