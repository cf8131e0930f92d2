"""verify.py on elastic tickets: is each what its source gives?"""

import re

import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import masked_state, read, write
from models import build_model
from tests.helpers import pruned_ticket


def write_source(folder, arch="mlp2", seed=0, mask=None):
    """A ticket whose weights lie in one file and whose mask in another."""
    torch.manual_seed(seed)
    model = build_model(arch, classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    ticket = pruned_ticket(model)
    mask = mask or ticket.mask
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "weights.pt", ticket.weights)
    write(folder / "mask.pth.tar", {"state_dict": masked_state(ticket.weights, mask), "init_weight": None})


@pytest.fixture
def study(tmp_path, call):
    """A folder with a source and the elastic ticket made of it."""
    folder = tmp_path / "study"
    write_source(folder / "source")
    carry_over(call, folder, "mlp2", "mlp4")
    return folder


def carry_over(call, folder, source, target, *more):
    files = ["--init_dir", folder / "source" / "weights.pt", "--mask_dir", folder / "source" / "mask.pth.tar"]
    words = ["--source_arch", source, "--target_arch", target, *files, "--save_dir", folder / "elastic", *more]
    status, _, err = call("main_elastic", *words)
    assert status == 0, err


def verdict(verify, folder):
    """Exit status, and what is said of the elastic ticket's source."""
    status, told = verify(folder / "elastic" / "checkpoint.pth.tar")
    return status, re.search(r"^  the source, transferred again +(.*)$", told.out, re.M)[1]


def test_an_elastic_ticket_is_what_its_source_gives(study, verify):
    assert verdict(verify, study) == (0, "holds   equal to its source, transferred again")


def test_a_source_that_was_moved_with_its_ticket_is_found(study, verify, tmp_path, monkeypatch):
    moved = study.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert verdict(verify, moved)[1].startswith("holds")
    (moved / "elastic").rename(tmp_path / "alone")
    status, told = verify(tmp_path / "alone" / "checkpoint.pth.tar")
    assert status == 0 and "its source is gone" in told.out


def test_a_ticket_that_was_moved_away_from_its_source_finds_it(study, verify, tmp_path):
    elsewhere = tmp_path / "a" / "b" / "c"
    elsewhere.mkdir(parents=True)
    (study / "elastic").rename(elsewhere / "elastic")
    assert verdict(verify, elsewhere)[1].startswith("holds")


@pytest.mark.parametrize("file", ["weights.pt", "mask.pth.tar"])
def test_a_source_that_is_gone_is_told(study, verify, file):
    (study / "source" / file).unlink()
    status, seen = verdict(verify, study)
    assert status == 0 and seen == f"-       not checked: its source is gone: {study / 'source' / file} is not there"


def test_another_ticket_in_the_place_of_the_source_is_told(study, verify):
    write_source(study / "source", seed=1)
    status, seen = verdict(verify, study)
    assert status == 0 and seen.startswith("-")
    assert re.search(r"now another ticket is in .*weights.pt and .*mask.pth.tar, checksum \w{8}, not \w{8}$", seen)


def test_a_damaged_source_is_told(study, verify):
    file = study / "source" / "mask.pth.tar"
    file.write_bytes(file.read_bytes()[:-100])
    status, seen = verdict(verify, study)
    assert status == 0 and seen.startswith("-") and "mask.pth.tar is" in seen


def drop(content):
    """One weight less, in the mask and in the trained weights."""
    place = int(content["state_dict"]["fc3.weight_mask"].view(-1).nonzero()[0])
    for part in "mask", "orig":
        content["state_dict"][f"fc3.weight_{part}"].view(-1)[place] = 0


def shift(content):
    """Another start of the training, and the network stands there."""
    content["init_weight"]["fc3.bias"] += 1
    content["state_dict"]["fc3.bias"] += 1


def remap(content):
    content["settings"]["block_mapping"] = "0:0;1:1,2;2:3"


@pytest.mark.parametrize(
    "change, said",
    [
        (drop, "fc3.weight differs from the mask of its source, transferred again"),
        (shift, "fc3.bias differs from its source, transferred again"),
        (remap, "its source cannot be transferred as it says: no source unit is mapped to unit 4 of stage 1"),
    ],
)
def test_an_elastic_ticket_that_is_not_what_its_source_gives_is_found_out(study, verify, change, said):
    file = study / "elastic" / "checkpoint.pth.tar"
    content = read(file)
    change(content)
    write(file, content)
    status, told = verify(file)
    assert status == 1 and said in told.out
    assert told.out.count("BROKEN") == 1, told.out


def test_a_mask_that_drops_nothing_in_what_is_left_holds(tmp_path, verify, call):
    """The file of such a ticket keeps no mask."""
    model = build_model("mlp4", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    mask = pruner.dense(model)
    mask["fc4.weight"][0] = False
    write_source(tmp_path / "source", "mlp4", mask=mask)
    carry_over(call, tmp_path, "mlp4", "mlp2")
    assert verdict(verify, tmp_path)[1].startswith("holds")


def test_a_file_that_does_not_tell_its_source_is_not_judged(study, verify):
    file = study / "elastic" / "checkpoint.pth.tar"
    content = read(file)
    del content["carried_from"]
    write(file, content)
    status, seen = verdict(verify, study)
    assert status == 0 and "does not say where its source lies" in seen


def test_a_described_family_is_checked_without_its_networks(tmp_path, verify, call, monkeypatch):
    """What the description said stands in the file; no function that a file names is called."""
    arches = "tests.networks:alternating_shallow", "tests.networks:alternating_deep"
    model = build_model(arches[0], classes=10, channels=1, image_size=None, mean=[0.5], std=[0.5])
    ticket = pruned_ticket(model)
    (tmp_path / "source").mkdir()
    write(tmp_path / "source" / "weights.pt", ticket.weights)
    write(tmp_path / "source" / "mask.pth.tar", {"state_dict": masked_state(ticket.weights, ticket.mask)})
    family = tmp_path / "family.toml"
    family.write_text(
        'kind = "k"\nclassifier = ["network.fc"]\n[[stages]]\nunits = ["network.convs.*", "network.norms.*"]'
    )
    carry_over(call, tmp_path, *arches, "--family", family)
    family.unlink()

    def never(*_):
        raise AssertionError("a file's function is called")

    monkeypatch.setattr("models.build.call_user_function", never)
    assert verdict(verify, tmp_path) == (0, "holds   equal to its source, transferred again")
