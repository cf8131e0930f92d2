"""verify.py on files of searches and trainings, whole, broken and misplaced."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from lottery.checkpointing.checkpoint import read, write

QUICK = "--dataset digits --arch tests.networks:tiny --epochs 4 --decreasing_lr 2 --batch_size 64".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A search of each kind, made once."""
    folder, search = tmp_path_factory.mktemp("runs"), "--pruning_times 2 --gpu -1".split()
    rewind = "--prune_type rewind_lt --rewind_epoch 0".split()
    for script, name, more in [("main_PrAC_imp", "PrAC", rewind), ("main_imp", "imp", rewind), ("main_imp", "lt", [])]:
        assert __import__(script).main([*QUICK, *search, *more, "--save_dir", str(folder / name)]) == 0
    return folder


@pytest.fixture
def run(runs, tmp_path):
    """A copy that may be broken."""
    return shutil.copytree(runs / "PrAC", tmp_path / "PrAC")


@pytest.mark.parametrize("kind", ["PrAC", "imp", "lt"])
def test_the_tickets_of_a_search_obey_the_laws(runs, verify, kind):
    status, told = verify(*sorted((runs / kind).glob("*.tar")))
    assert status == 0 and "BROKEN" not in told.out, told.out
    last = told.out.split("2checkpoint.pth.tar:")[1].split("tar:")[0]
    assert last.count(" holds ") == 11, last


def test_a_training_is_checked_as_far_as_it_can_be(runs, verify, tmp_path, call):
    ticket = runs / "imp" / "1checkpoint.pth.tar"
    words = [*QUICK, "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", tmp_path]
    assert call("main_train", *words)[0] == 0
    status, told = verify(tmp_path / "checkpoint.pth.tar")
    assert status == 0 and "checksum" in told.out


@pytest.mark.parametrize("which", ["imp", "prac"])
def test_a_ticket_of_the_2021_code_is_checked_too(verify, reference_checkpoint, which):
    status, told = verify(reference_checkpoint(which))
    assert status == 0, told.out
    assert "unchecked" in told.out and "0.8000" in told.out
    status, told = verify(reference_checkpoint(which), "--rate", 0.3)
    assert status == 1 and "exact density                    BROKEN" in told.out


MASK = "network.3.weight_mask"


def revive(content, before):
    """A weight that the round before had dropped."""
    place = int((before["state_dict"][MASK] == 0).view(-1).nonzero()[0])
    content["state_dict"][MASK].view(-1)[place] = 1


def validate(content, before):
    content["sequence"][0] = content["validation"][0]


def half(content, before):
    content["state_dict"][MASK].view(-1)[0] = 0.5


def move(content, before):
    content["init_weight"]["network.3.weight"].add_(1)


@pytest.mark.parametrize(
    "change, law",
    [
        (revive, "exact density"),
        (revive, "subset of the mask before"),
        (validate, "no example validates"),
        (validate, "examples of the training split"),
        (half, "readable"),
        (move, "rewinding weights"),
        (move, "starting weights"),
    ],
)
def test_a_wrong_ticket_is_found_out(run, verify, change, law):
    """Written with a checksum that holds: it is the ticket that is wrong."""
    file = run / "2checkpoint.pth.tar"
    content = read(file)
    change(content, read(run / "1checkpoint.pth.tar"))
    write(file, content)
    status, told = verify(file)
    assert status == 1 and f"  {law:<31}  BROKEN" in told.out, told.out
    assert "2checkpoint.pth.tar" in told.err and len(told.err.splitlines()) == 1


def test_damage_is_found_out(run, verify):
    file = run / "1checkpoint.pth.tar"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 4
    file.write_bytes(whole)
    status, told = verify(file, run / "0checkpoint.pth.tar")
    assert status == 1 and "checksum does not match" in told.out
    assert "1 of 2 files" in told.err


@pytest.mark.parametrize(
    "file, other, seen",
    [
        ("1checkpoint", "PrAC/2checkpoint", "it was written as 2checkpoint.pth.tar"),
        ("1checkpoint", "PrAC/1model_SA_best", "it was written as 1model_SA_best.pth.tar"),
        ("1model_SA_best", "PrAC/1checkpoint", "it was written as 1checkpoint.pth.tar"),
        ("1model_SA_best", "imp/1model_SA_best", "has other settings: script was main_PrAC_imp.py, is main_imp.py"),
        ("1checkpoint", "lt/1checkpoint", "has other settings: script was"),
    ],
)
def test_a_whole_file_in_the_wrong_place_is_found_out(runs, run, verify, file, other, seen):
    shutil.copy(runs / f"{other}.pth.tar", run / f"{file}.pth.tar")
    status, told = verify(run / f"{file}.pth.tar")
    assert status == 1 and "its place in the run" in told.out and seen in told.out, told.out


def test_the_best_network_is_that_of_the_best_epoch(run, verify):
    file = run / "0model_SA_best.pth.tar"
    content = read(file)
    rows = read(run / "0checkpoint.pth.tar")["history"]
    place = rows.index(content["history"][-1])
    other = rows[: place + 2] if place + 1 < len(rows) else rows[:place]
    write(file, content | {"history": other})
    status, told = verify(file)
    assert status == 1 and "not the best network of 0checkpoint.pth.tar" in told.out


def test_our_own_file_without_its_checksum_is_broken(run, verify):
    file = run / "1checkpoint.pth.tar"
    torch.save(read(file), file)
    status, told = verify(file)
    assert status == 1 and "lost: every file of this suite is written with one" in told.out


def test_a_split_file_tells_what_an_old_file_does_not(verify, tmp_path, reference_checkpoint):
    path = reference_checkpoint("prac")
    trained = np.asarray(read(path)["sequence"])
    np.save(tmp_path / "right.npy", np.concatenate([trained, np.setdiff1d(np.arange(1437), trained)]))
    np.save(tmp_path / "wrong.npy", np.random.default_rng(0).permutation(1437))
    assert verify(path, "--split_file", tmp_path / "right.npy")[0] == 0
    status, told = verify(path, "--split_file", tmp_path / "wrong.npy")
    assert status == 1 and "validate" in told.out


def test_wrong_words_are_one_sentence(verify, tmp_path):
    assert verify()[0] == 2
    assert verify(tmp_path / "x", "--split_file", "nowhere.npy")[0] == 2
    status, told = verify(tmp_path / "nowhere.pth.tar")
    assert status == 2 and "nowhere.pth.tar does not exist" in told.err


def test_a_file_of_an_earlier_moment_is_told(runs, run, verify):
    """Whole, and of this very run: but the round after knows that it went on."""
    content = read(run / "1checkpoint.pth.tar")
    content["history"], content["epoch"] = content["history"][:1], 1
    write(run / "1checkpoint.pth.tar", content)
    status, told = verify(run / "1checkpoint.pth.tar")
    assert status == 1 and "1 epochs of a round that had 2, as 2checkpoint.pth.tar knows" in told.out


def test_a_file_of_the_2021_code_among_ours_is_told(run, verify, reference_checkpoint):
    shutil.copy(reference_checkpoint("imp"), run / "1checkpoint.pth.tar")
    status, told = verify(run / "1checkpoint.pth.tar")
    assert status == 1 and "not written by this suite, as 2checkpoint.pth.tar beside it was" in told.out


def test_a_ticket_that_convert_wrote_is_checked_beside_its_run(run, verify, call):
    assert call("convert", run / "1checkpoint.pth.tar", "--to", "masked")[0] == 0
    status, told = verify(run / "1checkpoint.masked.pt")
    assert status == 0 and "not checked: convert.py wrote it" in told.out, told.out


def test_a_foreign_state_that_is_no_number_says_nothing(tmp_path, verify):
    torch.save({"state_dict": torch.nn.Linear(4, 3).state_dict(), "state": "done"}, tmp_path / "theirs.pt")
    assert verify(tmp_path / "theirs.pt")[0] == 0


@pytest.mark.parametrize("key", [None, "model"])
def test_a_state_dict_of_torchs_own_pruning_is_checked_alone_or_under_a_key(tmp_path, verify, key):
    layer = prune.random_unstructured(torch.nn.Linear(4, 3), "weight", 0.5)
    torch.save({key: layer.state_dict()} if key else layer.state_dict(), tmp_path / "pruned.pt")
    status, told = verify(tmp_path / "pruned.pt")
    assert status == 0 and "6 of 12 weights kept" in told.out, told.out
