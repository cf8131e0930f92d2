"""The laws of tickets, and the script that checks them in files."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import torch

import pruner
from lottery.checkpointing.checkpoint import masked_state, read, write
from lottery.search import imp as search
from lottery.tickets import invariants
from lottery.tickets.invariants import TicketFacts, check
from lottery.training.step import copy_weights
from models import build_model
from pruner import Ticket
from tests.helpers import pruned_ticket

QUICK = "--dataset digits --arch tests.networks:tiny --epochs 4 --decreasing_lr 2 --batch_size 64".split()


@pytest.fixture
def ticket(tiny):
    """A fresh ticket, with all that can be known of it."""
    mask, weights, _ = pruned_ticket(tiny)
    started = {name: value * mask.get(name, True) for name, value in copy_weights(tiny).items()}
    return TicketFacts(
        mask=mask,
        weights=started,
        rewound=weights,
        untrained=True,
        kept=pruner.kept_after(1, 0.4, pruner.size(mask)),
        before=pruner.dense(tiny),
        rewinding=copy_weights(tiny),
        examples=torch.tensor([1, 4, 7]),
        training=torch.arange(8),
        validation=torch.tensor([8, 9]),
        carried=Ticket(mask, weights),
    )


def verdicts(evidence):
    return {found.law: found.holds for found in check(evidence)}


def test_a_right_ticket_obeys_every_law(ticket):
    assert verdicts(ticket) == dict.fromkeys(invariants.INVARIANTS, True)


def test_what_is_not_known_is_not_judged(ticket):
    bare = TicketFacts(mask=ticket.mask, weights=ticket.weights)
    found = verdicts(bare)
    assert {law for law, holds in found.items() if holds} == {"finite weights", "dropped weights"}
    assert set(found.values()) == {True, None}


def altered(mapping, name, index, value):
    changed = mapping[name].clone()
    changed.view(-1)[index] = value
    return mapping | {name: changed}


def test_each_law_is_broken_by_its_breach(ticket):
    first = next(iter(ticket.mask))
    dropped = int((~ticket.mask[first]).view(-1).nonzero()[0])
    alive = int(ticket.mask[first].view(-1).nonzero()[0])
    breaches = {
        "finite weights": {"weights": altered(ticket.weights, "fc.bias", 0, float("inf")), "untrained": False},
        "exact density": {"kept": ticket.kept + 1},
        "dropped weights": {"weights": altered(ticket.weights, first, dropped, 1e-30), "untrained": False},
        "subset of the mask before": {"before": altered(ticket.before, first, alive, False)},
        "rewinding weights": {"rewinding": altered(ticket.rewinding, "fc.bias", 0, 5.0)},
        "starting weights": {"weights": altered(ticket.weights, first, alive, 5.0)},
        "the source, carried over": {"carried": Ticket(altered(ticket.mask, first, alive, False), ticket.rewound)},
        "examples, each once": {"examples": torch.tensor([1, 4, 4])},
        "examples of the training split": {"training": torch.arange(7)},
        "no example validates": {"validation": torch.tensor([7, 9])},
    }
    assert breaches.keys() == invariants.INVARIANTS.keys()
    for law, breach in breaches.items():
        found = verdicts(dataclasses.replace(ticket, **breach))
        assert [name for name, holds in found.items() if holds is False] == [law]


# --- files ------------------------------------------------------------------------------------------------------------


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


@pytest.fixture
def verify(call, capsys):
    """verify.py on files: its status and what it printed of each law."""

    def check(*words):
        import verify

        status = verify.main([str(word) for word in words])
        return status, capsys.readouterr()

    return check


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
    assert status == 1 and "cannot be read" in told.out


def test_a_search_checks_what_it_makes(tmp_path, call, monkeypatch):
    """A pruning that kept one weight too many would not get past it."""

    def too_few(mask, scores, rate):
        return real(mask, scores, rate * 0.99)

    real = search.prune
    monkeypatch.setattr(search, "prune", too_few)
    status, _, err = call("main_imp", *QUICK, "--pruning_times", 1, "--save_dir", tmp_path)
    assert status == 1 and "exact density" in err and not (tmp_path / "1checkpoint.pth.tar").exists()


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


# --- elastic tickets --------------------------------------------------------------------------------------------------


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
    return status, re.search(r"^  the source, carried over +(.*)$", told.out, re.M)[1]


def test_an_elastic_ticket_is_what_its_source_gives(study, verify):
    assert verdict(verify, study) == (0, "holds   equal to its source, carried again")


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
        (drop, "fc3.weight differs from the mask of its source, carried again"),
        (shift, "fc3.bias differs from its source, carried again"),
        (remap, "its source cannot be carried over as it says: no source unit is mapped to unit 4 of stage 1"),
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
    assert verdict(verify, tmp_path) == (0, "holds   equal to its source, carried again")
