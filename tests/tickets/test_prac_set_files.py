"""Files that name examples by number, on the data they were made on and on others."""

import numpy as np
import pytest
import torch
from PIL import Image

from lottery.checkpointing.checkpoint import read, write
from lottery.tickets.prac_set_files import check_sets, read_sets
from utils import InputError

SHORT = "--arch tests.networks:tiny --epochs 2 --decreasing_lr 1 --batch_size 16 --pruning_times 1".split()
FIXED = [*SHORT, "--prac_epochs", "fixed"]
EXAMPLES = 48


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_image(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey images, 24 each to train on."""
    for seed in range(EXAMPLES):
        save_image(tmp_path / "images" / "train" / "ab"[seed % 2] / f"{seed:02}.png", seed)
    for name in "ab":
        save_image(tmp_path / "images" / "test" / name / "1.png", 100)
    return tmp_path / "images"


def on(folder, *more):
    return ["--dataset", "imagefolder", "--data", folder, *more]


@pytest.fixture
def found(call, folder, tmp_path):
    """A PrAC run on the folder."""
    status, _, err = call("main_PrAC_imp", *FIXED, *on(folder), "--save_dir", tmp_path / "PrAC")
    assert status == 0, err
    return tmp_path / "PrAC"


def test_a_set_found_before_an_image_was_added_is_refused(call, folder, found, tmp_path):
    """The picture moves all numbers behind it: the same numbers would mean other examples."""
    save_image(folder / "train" / "a" / "00_new.png", 99)
    snip = ["--criterion", "snip", "--density", 0.5, "--arch", "tests.networks:tiny"]
    for script, path, words in (
        ("main_PrAC_imp", found, FIXED),
        ("main_imp", found / "0checkpoint.pth.tar", FIXED),
        ("main_init", found / "0checkpoint.pth.tar", snip),
    ):
        status, _, err = call(script, *words, *on(folder), "--prac_set", path, "--save_dir", tmp_path / "run")
        assert status == 2 and len(err.splitlines()) == 1
        assert "0checkpoint.pth.tar was found on other data" in err and "data checksum was" in err
        assert not (tmp_path / "run").exists()


def test_a_set_found_on_these_data_is_taken_without_a_word(call, folder, found, tmp_path):
    status, out, err = call(
        "main_imp", *FIXED, *on(folder, "--prac_set", found / "0checkpoint.pth.tar", "--save_dir", tmp_path / "run")
    )
    assert status == 0, err
    assert "note: --prac_set" not in out
    assert (
        read(tmp_path / "run" / "0checkpoint.pth.tar")["sequence"].tolist()
        == read(found / "0checkpoint.pth.tar")["sequence"].tolist()
    )


@pytest.mark.parametrize("of", ["a .npy file", "the 2021 code"])
def test_a_set_that_does_not_know_its_data_is_taken_and_said(call, folder, found, tmp_path, of):
    content = read(found / "0checkpoint.pth.tar")
    if of == "a .npy file":
        file = tmp_path / "set.npy"
        np.save(file, content["sequence"].numpy())
    else:
        file = tmp_path / "0checkpoint.pth.tar"
        write(file, {"state": 0, "sequence": content["sequence"], "state_dict": content["state_dict"]})
    for script, words in (("main_imp", FIXED), ("main_init", ["--criterion", "snip", "--density", 0.5, *SHORT[:2]])):
        there = ["--prac_set", file, "--save_dir", tmp_path / script]
        status, out, err = call(script, *words, *on(folder, *there))
        assert status == 0, err
        assert f"note: --prac_set {file} does not say on which data" in out


def test_a_set_found_on_images_of_another_size_is_taken_and_said(call, folder, found, tmp_path):
    there = ["--image_size", 8, "--prac_set", found / "0checkpoint.pth.tar", "--save_dir", tmp_path / "run"]
    status, out, err = call("main_imp", *FIXED, *on(folder, *there))
    assert status == 0, err
    assert "was found with --image_size None, here it is 8" in out


def test_a_control_of_a_run_on_other_data_is_refused(call, folder, found, tmp_path):
    save_image(folder / "train" / "b" / "99.png", 99)
    like = ["--like_run", found, "--members", "random", "--save_dir", tmp_path / "run"]
    status, _, err = call("main_PrAC_imp", *FIXED, *on(folder, *like))
    assert status == 2 and "was found on other data or another split" in err


def test_a_run_begun_before_an_image_was_added_does_not_go_on_and_says_what_to_do(call, folder, found):
    save_image(folder / "test" / "a" / "2.png", 99)
    status, _, err = call("main_PrAC_imp", *FIXED, *on(folder), "--save_dir", found)
    assert status == 2 and "data checksum was" in err
    assert "Give --data as it was (an image that was added, removed or exchanged makes it other data)" in err


@pytest.mark.parametrize(
    "listed, words",
    [
        (np.arange(EXAMPLES), None),
        (np.arange(40), "lists 40 of the 48 training examples; they are the first of them: was it made when"),
        (np.arange(8, 48), "lists 40 of the 48 training examples; the others are not used"),
    ],
)
def test_a_split_that_leaves_examples_out_is_said(call, folder, tmp_path, listed, words):
    np.save(tmp_path / "split.npy", np.random.default_rng(0).permutation(listed))
    there = ["--split_file", tmp_path / "split.npy", "--save_dir", tmp_path / "run"]
    status, out, err = call("main_train", *SHORT[:-2], *on(folder, *there))
    assert status == 0, err
    assert (words in out) if words else ("note: --split_file" not in out)


def test_verify_refuses_the_split_of_another_run(call, folder, found, tmp_path):
    np.save(tmp_path / "split.npy", np.arange(EXAMPLES))
    status, out, _ = call("verify", found / "0checkpoint.pth.tar", "--split_file", tmp_path / "split.npy")
    assert status == 1 and "made with another split than --split_file" in out
    assert call("verify", found / "0checkpoint.pth.tar")[0] == 0


def test_flags_that_say_nothing_of_the_data_make_no_other_data(call, folder, found, tmp_path):
    """A setting that came later than the run's, as --inverted once did, is none of the data's."""
    words = "--criterion snip --density 0.5 --inverted --arch tests.networks:tiny".split()
    given = ["--prac_set", found / "0checkpoint.pth.tar", "--save_dir", tmp_path / "run"]
    status, _, err = call("main_init", *words, *on(folder), *given)
    assert status == 0, err


def test_a_set_with_examples_outside_the_split_is_refused(tmp_path):
    np.save(tmp_path / "set.npy", np.array([1, 2, 3, 9]))
    sets = read_sets(tmp_path / "set.npy", rounds=5)
    with pytest.raises(InputError, match="2 of 4 examples outside"):
        check_sets(sets, torch.tensor([1, 2, 4, 5, 7, 8, 10, 11]), tmp_path / "set.npy")


def test_a_directory_with_too_few_rounds_is_refused(tmp_path):
    with pytest.raises(InputError, match="0checkpoint"):
        read_sets(tmp_path, rounds=2)


def test_a_set_in_a_2021_checkpoint_is_read(reference_checkpoint):
    (given,) = read_sets(reference_checkpoint("prac"), rounds=3)
    assert len(given.entries) == 890 and (np.diff(given.entries) > 0).all() and given.settings is None


def test_a_checkpoint_without_a_set_is_refused(reference_checkpoint):
    with pytest.raises(InputError, match="holds no PrAC set"):
        read_sets(reference_checkpoint("imp"), rounds=3)
