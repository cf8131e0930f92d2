"""The flags of a run in words, from its own command and settings."""

import json

import pytest

from lottery.checkpointing.recorded_flags import data_flags, network_flags, split_flags

SETTINGS = {"script": "main_imp.py", "seed": 1, "dataset": "mnist", "arch": "res18", "stem": "cifar"}
SETTINGS |= {"data checksum": "d", "split checksum": "s", "val_fraction": 0.2}


def summary(folder, command, settings=SETTINGS):
    (folder / "summary.json").write_text(json.dumps({"command": command, "data": "my images", "settings": settings}))


@pytest.mark.parametrize(
    "words, expected",
    [
        ("--split_file a.npy", "--split_file a.npy --val_fraction 0.2"),
        ("--split_file 'a b.npy'", "--split_file 'a b.npy' --val_fraction 0.2"),
        ("--split_file=a.npy --split_file=b.npy", "--split_file b.npy --val_fraction 0.2"),
        ("--seed 1", "--val_fraction 0.2 and no --split_file"),
    ],
)
def test_the_split_is_that_of_the_command(tmp_path, words, expected):
    summary(tmp_path, f"python main_imp.py {words}")
    assert split_flags(tmp_path, {"settings": SETTINGS}) == expected
    assert split_flags(tmp_path / "none", {"settings": SETTINGS, "command": f"python x.py {words}"}) == expected


def test_what_is_not_known_is_left_out(tmp_path):
    assert split_flags(tmp_path, {"settings": SETTINGS}) is None, "no summary"
    assert data_flags(tmp_path, {"settings": SETTINGS}) == "--dataset mnist"
    in_files = {"dataset": "imagefolder", "data_in": "files"}
    assert data_flags(tmp_path, {"settings": in_files}) == "--dataset imagefolder --data_in files"
    summary(tmp_path, "python main_imp.py --split_file a.npy", SETTINGS | {"seed": 2})
    assert split_flags(tmp_path, {"settings": SETTINGS}) is None, "the summary is another run's"
    summary(tmp_path, "python main_imp.py --split_file a.npy")
    assert data_flags(tmp_path, {"settings": SETTINGS}) == "--dataset mnist --data 'my images'"
    foreign = {"state_dict": {}}
    assert split_flags(tmp_path, foreign) is data_flags(tmp_path, foreign) is network_flags(foreign) is None


def test_a_command_that_is_none_tells_nothing(tmp_path):
    summary(tmp_path, "python main_imp.py --split_file 'a.npy")
    assert split_flags(tmp_path, {"settings": SETTINGS}) is None


def test_a_network_that_has_a_stem_is_named_with_it():
    assert network_flags({"settings": SETTINGS}) == "--arch res18 --stem cifar"
    assert network_flags({"settings": SETTINGS | {"arch": "a b.py:net"}}) == "--arch 'a b.py:net'"
