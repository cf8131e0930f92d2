"""Whether starting weights are those that a mask was found with: by their numbers, from the files to the report."""

import json

import pytest
import torch

import report
from lottery.checkpointing.checkpoint import masked_state, read, write
from lottery.tickets.controls import CONTROLS
from lottery.tickets.load import TicketFiles, checksum
from lottery.tickets.starting_weights import STARTS, describe, draws_alike
from lottery.training.step import copy_weights
from pruner import Ticket, apply_, dense, magnitude, prune
from tests.helpers import Tiny, run

HERE = {"seed": 3, "arch": "tiny", "stem": "imagenet"}  # of the run
SEARCH = HERE | {"script": "main_imp.py", "init_dir": False}


def drawn(seed):
    torch.manual_seed(seed)
    return copy_weights(Tiny())


def trained(weights):
    """Other weights than these, the normalisation's statistics among them."""
    return {name: value + 1 for name, value in weights.items()}


def write_ticket(path, start, settings=SEARCH, rate=0.4, **more):
    """A checkpoint of a ticket that starts from these weights, and its path."""
    mask = prune(dense(Tiny()), magnitude(trained(start), dense(Tiny())), rate) if rate else {}
    weights = trained(start)
    apply_(weights, mask)
    content = {"state_dict": masked_state(weights, mask), "init_weight": start, "init_step": 0, "settings": settings}
    write(path, content | {"history": [{}], "result": {}, "state": 2} | more)
    return path


def given(init, mask, seed=3, trained=False, **more):
    torch.manual_seed(seed)
    return TicketFiles.read(init, mask).load(Tiny(), trained=trained, drawn_with=HERE | {"seed": seed}, **more)


# --- the decision -----------------------------------------------------------------------------------------------------


def test_the_numbers_decide_not_the_names_of_files(tmp_path):
    rewound = trained(drawn(3))
    ticket = write_ticket(tmp_path / "5checkpoint.pth.tar", rewound)
    write(tmp_path / "epoch_3_rewind_weight.pt", rewound)
    earlier = write_ticket(tmp_path / "4checkpoint.pth.tar", rewound, rate=0.2)
    other = write_ticket(tmp_path / "other.pth.tar", drawn(5))
    for init in ticket, tmp_path / "epoch_3_rewind_weight.pt", earlier:
        assert given(init, ticket).start == "ticket", init
    assert given(other, ticket).start == "other" == given(ticket, other).start
    assert given(None, other).start == "initial", "drawn with its search's seed, and not rewound to"
    assert given(None, other, seed=4).start == "drawn"
    assert given(ticket, None).start == "dense"
    assert given(None, None).start is None and given(None, None).origin is None


def test_weights_drawn_with_the_seed_of_the_search_are_the_tickets_where_it_rewinds_to_them(tmp_path):
    ticket = write_ticket(tmp_path / "ticket.pth.tar", drawn(3))
    assert given(None, ticket).start == "ticket" and given(None, ticket, seed=4).start == "drawn"


def test_what_the_mask_drops_is_never_seen_and_does_not_count(tmp_path):
    ticket = write_ticket(tmp_path / "ticket.pth.tar", drawn(5))
    masked = drawn(5)
    apply_(masked, TicketFiles.read(None, ticket).mask.mask(Tiny()))
    write(tmp_path / "masked.pt", masked)
    assert given(tmp_path / "masked.pt", ticket).start == "ticket"
    masked["bn1.running_var"] += 1
    write(tmp_path / "masked.pt", masked)
    assert given(tmp_path / "masked.pt", ticket).start == "other", "batch norm's statistics are a part of the start"


def test_a_mask_whose_file_has_no_starting_weights_is_unconfirmed(tmp_path):
    ticket = write_ticket(tmp_path / "ticket.pth.tar", drawn(5))
    write(tmp_path / "bare.pt", read(ticket)["state_dict"])
    assert given(ticket, tmp_path / "bare.pt").start == "unknown" == given(None, tmp_path / "bare.pt").start
    (note,) = given(ticket, tmp_path / "bare.pt").description
    assert "cannot be known" in note


def test_a_file_that_has_no_mask_is_the_dense_network(tmp_path):
    first = write_ticket(tmp_path / "0checkpoint.pth.tar", drawn(5), rate=0)
    other = write_ticket(tmp_path / "other.pth.tar", drawn(6))
    assert given(first, first).start == "ticket", "the one after no pruning"
    found = given(other, first)
    assert found.start == "dense" and found.origin["file"] == str(other), "its weights are all that is used"
    assert given(None, first, seed=9).start is None, "drawn, and nothing is left of the file"


def test_trained_weights_belong_to_the_mask_if_both_trainings_began_alike(tmp_path):
    before = write_ticket(tmp_path / "4checkpoint.pth.tar", drawn(5), rate=0.2)
    ticket = write_ticket(tmp_path / "5checkpoint.pth.tar", drawn(5))
    other = write_ticket(tmp_path / "other.pth.tar", drawn(6), rate=0)
    assert given(before, ticket, trained=True).start == "ticket"
    assert given(other, ticket, trained=True).start == "other"
    write(tmp_path / "trained.pt", read(other)["state_dict"])
    assert given(tmp_path / "trained.pt", ticket, trained=True).start == "unknown"
    selected = write_ticket(tmp_path / "at_trained.pth.tar", read(other)["state_dict"])
    assert given(other, selected, trained=True).start == "ticket", "a mask that was found at trained weights"


def test_a_new_classifier_and_another_normalisation_are_the_networks_own(tmp_path):
    ticket = write_ticket(tmp_path / "ticket.pth.tar", drawn(5))
    torch.manual_seed(3)
    found = TicketFiles.read(ticket, ticket).load(Tiny(classes=7), new_classifier=True)
    assert found.start == "ticket" and len(found.ticket.weights["fc.bias"]) == 7


def test_which_searches_drew_the_weights_that_this_run_draws():
    assert all(draws_alike(SEARCH | {"script": script}, HERE) for script in ("main_imp.py", "main_dst.py"))
    others = {"seed": 4}, {"arch": "vgg"}, {"init_dir": True}, {"script": "main_elastic.py"}
    assert not any(draws_alike(SEARCH | other, HERE) for other in others) and not draws_alike({}, HERE)


def test_the_records_have_both_files_and_what_they_are(tmp_path):
    ticket, other = (write_ticket(tmp_path / f"{seed}.pth.tar", drawn(seed)) for seed in (5, 6))
    found = given(other, ticket)
    origin = found.origin
    assert origin.items() >= {"file": str(ticket), "prunings": 2, "settings": SEARCH, "start": "other"}.items()
    assert (origin["init_file"], origin["mask_file"]) == (str(other), str(ticket))
    assert origin["checksum"] == checksum(Ticket(found.ticket.mask, found.ticket.weights))
    assert origin["weights"] == {"file": str(other), "prunings": 2, "settings": SEARCH}
    assert given(None, ticket).origin["init_file"] is None


@pytest.mark.parametrize("start", STARTS)
def test_each_kind_is_said_in_one_line(start):
    (line,) = describe(start, "MASK", None if start in ("drawn", "initial") else "INIT")
    assert line.startswith("given: ") and ("MASK" in line or start == "dense") and "{" not in line


# --- from the command to the report -----------------------------------------------------------------------------------

TINY = "--dataset digits --arch tests.networks:tiny --epochs 1 --decreasing_lr 1 --batch_size 64 --gpu -1"


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """Of two seeds, their weights rewound to step 12."""
    folder = tmp_path_factory.mktemp("searches")
    for seed in 0, 1:
        flags = f"--prune_type rewind_lt --rewind_iteration 12 --pruning_times 1 --rate 0.5 --seed {seed}"
        run("imp", f"{TINY} {flags}", folder / f"imp_{seed}")
    return folder


@pytest.fixture(scope="module")
def trainings(searches, tmp_path_factory):
    """Of their tickets, of one file without the other, and of both mixed up: what each said, and its records."""
    folder = tmp_path_factory.mktemp("trainings")
    a, b = (searches / f"imp_{seed}" / "1checkpoint.pth.tar" for seed in (0, 1))
    (rewinding,) = a.parent.glob("*rewind_weight.pt")
    flags = {
        "ticket": f"--init_dir {a} --mask_dir {a}",
        "again": f"--init_dir {rewinding} --mask_dir {a}",
        "drawn": f"--mask_dir {b}",
        "initial": f"--mask_dir {a}",
        "other": f"--init_dir {a} --mask_dir {b}",
        "dense": f"--init_dir {a}",
        "reinit": f"--mask_dir {a} --control reinit",
    }
    return folder, {name: run("train", f"{TINY} {words}", folder / name) for name, words in flags.items()}


def test_a_training_says_and_records_what_it_trains(trainings):
    folder, out = trainings
    kinds = {name: name for name in STARTS if name != "unknown"} | {"again": "ticket"}
    for name, kind in kinds.items():
        summary = json.loads((folder / name / "summary.json").read_text())
        assert f"note: given: {STARTS[kind].help[:10].format(mask='', init='')}" in out[name]
        assert summary["ticket"]["start"] == summary["settings"]["ticket start"] == kind
    assert "given:" not in out["reinit"], "a control that has other weights does without those that were drawn"


def test_the_report_shows_them_as_what_they_are_and_counts_each_once(searches, trainings, tmp_path, capsys):
    folder, out = trainings
    paths = [*map(str, searches.iterdir()), *(str(folder / name) for name in out)]
    assert report.main([*paths, "--output", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "again repeats the method, seed and ticket of trainings0/ticket, which alone is counted" in told
    text = (tmp_path / "tables" / "runs.csv").read_text()
    found = {row.split(",")[0].rpartition("/")[2]: row for row in text.splitlines()}
    expected = {
        "ticket": "IMP",
        "drawn": f"IMP, {CONTROLS['reinit'].name}",
        "reinit": f"IMP, {CONTROLS['reinit'].name}",
        "initial": "IMP, on its initial weights",
        "other": "IMP, mask on other weights",
        "dense": "IMP, dense",
    }
    for name, method in expected.items():
        assert f'"{method}, retrained"' in found[name] or f",{method}," in found[name], found[name]
    assert "again" not in found


def test_a_search_from_a_mask_on_other_weights_is_another_method(searches, tmp_path, capsys):
    a, b = (searches / f"imp_{seed}" / "1checkpoint.pth.tar" for seed in (0, 1))
    out = run("imp", f"{TINY} --pruning_times 1 --init_dir {a} --mask_dir {b}", tmp_path / "mixed")
    assert "note: given: the mask of" in out and "no ticket of either" in out
    run("imp", f"{TINY} --pruning_times 1 --init_dir {a} --mask_dir {a}", tmp_path / "whole")
    assert report.main([str(tmp_path / "mixed"), str(tmp_path / "whole"), "--output", str(tmp_path / "report")]) == 0
    table = (tmp_path / "report" / "tables" / "runs.csv").read_text()
    assert "IMP, from a mask on other weights" in table and "IMP, from a ticket" in table
