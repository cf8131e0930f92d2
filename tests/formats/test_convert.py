"""Tickets that leave this suite and come back, in every form that holds a mask."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import convert
import verify
from lottery.checkpointing.checkpoint import read, split_state
from lottery.formats.model_card import PAPER_OF_CRITERION, PAPER_OF_METHOD
from lottery.formats.registry import FORMATS
from lottery.pruning_at_init.criteria import CRITERIA
from lottery.sparse_training.config import METHODS
from lottery.tickets.plain_ticket import plain_ticket
from lottery.tickets.ticket_file import TicketFile
from tests.formats.own_network import NETWORK, own_arch
from tests.helpers import SETTINGS, assert_same, equal_weights, run, run_in_process

FORMS = [name for name, form in FORMATS.items() if form.masks and name != "open_lth"]  # of any network


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A search of a user's own network: two prunings, rewound to the end of the first epoch."""
    folder = tmp_path_factory.mktemp("search")
    flags = "--dataset digits --epochs 2 --decreasing_lr 1 --batch_size 64 --gpu -1 --pruning_times 2"
    run("imp", f"{flags} --arch {own_arch(folder)} --prune_type rewind_lt --rewind_epoch 0", folder / "imp")
    return folder / "imp"


@pytest.fixture(scope="module")
def ticket(search):
    return search / "2checkpoint.pth.tar"


def converted(ticket, to, folder, *flags):
    """The path of the ticket in another form; what was printed must name it."""
    output = folder / f"ticket{FORMATS[to].ending}"
    status, out, err = run_in_process(convert, ticket, "--to", to, "--output", output, *flags)
    assert status == 0, err
    assert str(output) in out
    return output


def kept(weights, mask):
    """The weights without those that the mask drops."""
    return {name: value[mask[name]] if name in mask else value for name, value in weights.items()}


def read_names(ticket):
    """The names of the tensors in the user's own network."""
    return {name.removeprefix("network.") for name in read(ticket)["init_weight"] if name.startswith("network.")}


def assert_same_ticket(path, ticket):
    """The file holds the masks, kept weights and buffers of the ticket to the bit, normalisation included."""
    source, found = TicketFile(ticket), TicketFile(path)
    mask = source.trained[1]
    assert equal_weights(mask, found.trained[1])
    assert equal_weights(kept(source.starting_state, mask), kept(found.starting_state, mask))
    assert plain_ticket(path).weights.keys() == read_names(ticket)
    assert (found.step, found.settings, found.origin["prunings"]) == (source.step, source.settings, 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_ticket_comes_back_to_the_bit(ticket, tmp_path, form):
    assert_same_ticket(converted(ticket, form, tmp_path), ticket)


@pytest.mark.parametrize("form", FORMS)
def test_forms_convert_to_each_other(ticket, tmp_path, form):
    path = ticket
    for number, each in enumerate((form, *FORMS)):
        (tmp_path / str(number)).mkdir()
        path = converted(path, each, tmp_path / str(number))
    assert_same_ticket(path, ticket)


@pytest.mark.parametrize("form", FORMS)
def test_a_ticket_that_left_trains_to_the_same_bits(ticket, search, tmp_path, form):
    flags = (
        f"--dataset digits --epochs 1 --decreasing_lr= --batch_size 64 --gpu -1 --arch {search.parent}/own_net.py:net"
    )
    back = converted(ticket, form, tmp_path)
    for name, path in ("source", ticket), ("back", back):
        out = run("train", f"{flags} --init_dir {path} --mask_dir {path}", tmp_path / name)
        assert f"the ticket in {path}" in re.sub(r"\s+", " ", out)
    trained, again = (read(tmp_path / name / "checkpoint.pth.tar") for name in ("source", "back"))
    assert_same(trained["state_dict"], again["state_dict"], "state_dict")
    assert trained["result"] == again["result"]
    assert not torch.equal(trained["state_dict"]["network.5.weight"], read(ticket)["init_weight"]["network.5.weight"])


@pytest.mark.parametrize("form", FORMS)
def test_trained_weights_leave_and_are_no_starting_point(search, tmp_path, form):
    source = search / "1checkpoint.pth.tar"
    path = converted(source, form, tmp_path, "--trained")
    plain = plain_ticket(source, trained=True)
    back = plain_ticket(path, trained=True)
    assert equal_weights(plain.weights, back.weights) and equal_weights(plain.mask, back.mask)
    assert torch.equal(plain.mean, back.mean) and torch.equal(plain.std, back.std)
    status, _, err = run_in_process(convert, path, "--to", "masked", "--output", tmp_path / "no.pt")
    assert status == 2 and "holds no weights that a ticket starts from: --trained takes" in err


@pytest.mark.parametrize("form", FORMS)
def test_verify_reads_it(ticket, tmp_path, form):
    status, out, _ = run_in_process(verify, converted(ticket, form, tmp_path))
    assert status == 0 and re.search(r"checksum +holds", out)


@pytest.mark.parametrize("form", FORMS)
def test_verify_compares_it_with_the_run_beside_it(search, tmp_path, form):
    for name in ("1checkpoint.pth.tar", "2checkpoint.pth.tar", "epoch_1_rewind_weight.pt"):
        (tmp_path / name).write_bytes((search / name).read_bytes())
    status, out, _ = run_in_process(verify, converted(tmp_path / "2checkpoint.pth.tar", form, tmp_path))
    for invariant in ("subset of the mask before", "rewinding weights", "starting weights"):
        assert re.search(rf"{invariant} +holds", out)
    assert status == 0
    weights = torch.load(tmp_path / "epoch_1_rewind_weight.pt")
    weights["network.5.bias"] += 1
    torch.save(weights, tmp_path / "epoch_1_rewind_weight.pt")
    content = read(tmp_path / "1checkpoint.pth.tar")
    content["init_weight"] = weights
    torch.save(content, tmp_path / "1checkpoint.pth.tar")
    status, out, _ = run_in_process(verify, tmp_path / f"ticket{FORMATS[form].ending}")
    assert status == 1 and re.search(r"rewinding weights +BROKEN +network.5.bias differs", out)


@pytest.mark.parametrize("form", FORMS)
def test_an_altered_file_is_refused(ticket, tmp_path, form):
    path = converted(ticket, form, tmp_path)
    file = path / "model.safetensors" if path.is_dir() else path
    content = bytearray(file.read_bytes())
    content[len(content) * 9 // 10 if form in ("safetensors", "hugging_face") else len(content) // 2] ^= 1
    file.write_bytes(content)
    status, out, _ = run_in_process(verify, path)
    assert status == 1 and "damaged" in out


def test_a_network_of_the_suite_keeps_all_its_names(tmp_path):
    flags = f"{SETTINGS} --epochs 1 --decreasing_lr= --prune_type lt --pruning_times 1"
    run("imp", flags.replace("tests.networks:tiny", "lenet300"), tmp_path / "imp")
    ticket = tmp_path / "imp/1checkpoint.pth.tar"
    found = torch.load(converted(ticket, "masked", tmp_path), weights_only=True)
    assert found["state_dict"].keys() == read(ticket)["init_weight"].keys()
    assert found["metadata"]["arch"] == "lenet300" and found["metadata"]["weights"] == "starting"


def test_the_prune_form_loads_into_a_network_that_torch_pruned(ticket, search, tmp_path):
    names = {}
    exec(NETWORK, names)
    network = names["net"](10)
    torch_prune.identity(network[0], "weight")
    file = torch.load(converted(ticket, "prune", tmp_path), weights_only=True)
    network.load_state_dict(file["state_dict"])
    network(torch.rand(1, 3, 8, 8))
    plain = plain_ticket(ticket)
    assert torch.equal(network[0].weight, plain.weights["0.weight"])
    dropped = network[0].weight_orig[~plain.mask["0.weight"]]
    assert torch.equal(dropped, read(ticket)["init_weight"]["network.0.weight"][~plain.mask["0.weight"]])


def test_weights_for_load_state_dict_are_zero_where_they_are_dropped(ticket, tmp_path):
    from safetensors.torch import load_file

    plain = plain_ticket(ticket)
    masked = torch.load(converted(ticket, "masked", tmp_path), weights_only=True)["state_dict"]
    for state in masked, load_file(converted(ticket, "safetensors", tmp_path)):
        assert torch.equal(state["0.weight"], plain.weights["0.weight"])
    assert (plain.weights["0.weight"] == 0).any()


def test_a_kept_weight_of_zero_is_kept(ticket, tmp_path):
    content = read(ticket)
    content["init_weight"]["network.0.weight"].zero_()
    torch.save(content, tmp_path / "zero.pth.tar")
    for form in FORMS:
        mask = TicketFile(converted(tmp_path / "zero.pth.tar", form, tmp_path)).trained[1]
        assert torch.equal(mask["network.0.weight"], plain_ticket(ticket).mask["0.weight"])


def test_compact_is_small_where_few_weights_are_kept(tmp_path):
    weights = nn.Linear(1000, 1000).state_dict()
    mask = {"weight": torch.rand(1000, 1000, generator=torch.Generator().manual_seed(0)) < 0.03}
    state = {"weight_orig": weights["weight"], "weight_mask": mask["weight"].float(), "bias": weights["bias"]}
    torch.save(state, tmp_path / "state.pt")
    size = converted(tmp_path / "state.pt", "compact", tmp_path).stat().st_size
    exact = 4 * int(mask["weight"].sum()) + 1_000_000 // 8 + 4 * 1000
    assert exact < size < exact + 4000


def test_a_state_dict_without_a_record_stays_one(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "plain.pt")
    path = converted(tmp_path / "plain.pt", "safetensors", tmp_path)
    assert TicketFile(path).recorded_start is None and TicketFile(path).trained[1] == {}
    assert TicketFile(path).starting_state.keys() == {"weight", "bias"}


WEIGHTS = {"fc.weight": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), "fc.bias": torch.ones(2)}
FC = {"fc.weight": torch.tensor([[1, 0, 1], [0, 1, 1]])}
BESIDE = WEIGHTS | {"fc.weight_mask": FC["fc.weight"]}


@pytest.mark.parametrize(
    "content",
    [
        {"model": WEIGHTS, "mask": FC},
        {"net": WEIGHTS, "masks": {"module.fc.weight": FC["fc.weight"].float()}},
        {"state_dict": {f"module.{name}": value for name, value in WEIGHTS.items()}, "mask": FC},
        {"model_state_dict": BESIDE},
        BESIDE,
    ],
)
def test_masks_that_people_keep_beside_weights_leave_with_them(tmp_path, content):
    torch.save(content, tmp_path / "theirs.pt")
    weights, mask = TicketFile(converted(tmp_path / "theirs.pt", "masked", tmp_path)).trained
    plain = {name.removeprefix("module."): value for name, value in weights.items()}
    found = {name.removeprefix("module."): layer for name, layer in mask.items()}
    assert equal_weights(found, {"fc.weight": FC["fc.weight"].bool()})
    assert equal_weights(plain, WEIGHTS | {"fc.weight": WEIGHTS["fc.weight"] * FC["fc.weight"]})


def test_a_mask_beside_weights_that_fits_none_of_them_is_refused(tmp_path):
    torch.save({"model": WEIGHTS, "mask": {"conv.weight": FC["fc.weight"]}}, tmp_path / "theirs.pt")
    refused("has a mask for conv.weight, which is no parameter of the network whose weights it holds",
            tmp_path / "theirs.pt", "--to", "masked")  # fmt: skip
    torch.save({"model": WEIGHTS, "mask": {"fc.weight": torch.ones(2)}}, tmp_path / "theirs.pt")
    refused("the mask of fc.weight is 2, its parameter 2 x 3", tmp_path / "theirs.pt", "--to", "masked")


def test_the_prune_form_keeps_dropped_weights_of_a_network_that_torch_pruned(tmp_path):
    layer = nn.Linear(3, 2)
    torch_prune.custom_from_mask(layer, "weight", FC["fc.weight"])
    torch.save(layer.state_dict(), tmp_path / "theirs.pt")
    path = converted(tmp_path / "theirs.pt", "prune", tmp_path)
    assert equal_weights(read(path)["state_dict"], dict(layer.state_dict()))


@pytest.mark.parametrize("form", ["masked", "prune"])
def test_the_examples_of_a_ticket_of_the_2021_code_leave_with_it(tmp_path, form):
    """Which are an array there; without them a split that mixes them with validation could not be refused."""
    theirs = {"state_dict": WEIGHTS, "init_weight": WEIGHTS, "state": 1, "result": {}, "sequence": np.array([5, 2])}
    torch.save(theirs, tmp_path / "1checkpoint.pth.tar")
    assert TicketFile(converted(tmp_path / "1checkpoint.pth.tar", form, tmp_path)).sequence.tolist() == [5, 2]


def test_the_header_of_safetensors_says_what_it_is(ticket, tmp_path):
    from safetensors import safe_open

    with safe_open(converted(ticket, "safetensors", tmp_path), "pt") as file:
        header = file.metadata()
        assert file.get_tensor("0.weight_mask").dtype is torch.bool
    assert (header["format"], header["weights"], header["dataset"]) == ("pt", "starting", "digits")
    assert json.loads(header["masked"]) == ["0.weight"] and header["seed"] == "0" and header["script"] == "main_imp.py"
    assert header["density"] == str(plain_ticket(ticket).mask["0.weight"].float().mean(dtype=torch.float64).item())


def test_a_file_of_safetensors_that_others_wrote_is_read(tmp_path):
    from safetensors.torch import save_file

    weight, mask = torch.rand(2, 3) + 1, torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.uint8)
    save_file({"fc.weight": weight, "fc.weight_mask": mask, "x_mask": torch.rand(3)}, tmp_path / "model.bin")
    state, found = TicketFile(tmp_path / "model.bin").trained
    assert torch.equal(found["fc.weight"], mask.bool()) and torch.equal(state["fc.weight"], weight * mask)
    assert state.keys() == {"fc.weight", "x_mask"}


def test_the_folder_for_the_hub_has_a_card_of_its_run(search, tmp_path):
    folder = converted(search / "1checkpoint.pth.tar", "hugging_face", tmp_path)
    assert {file.name for file in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert list(tmp_path.iterdir()) == [folder]
    summary, card = json.loads((search / "summary.json").read_text()), (folder / "README.md").read_text()
    row = summary["rounds"][1]
    accuracy = f"| test accuracy, trained by its own run, best validation epoch | {row['test']:.2f} % |"
    assert summary["command"] in card and accuracy in card
    assert f"| weights kept | {row['kept']} of 108 prunable ones, density {row['density']:.4f} |" in card
    assert "Frankle & Carbin" in card and "Linear Mode Connectivity" in card and "Less Data is More" not in card
    config = json.loads((folder / "config.json").read_text())
    assert (config["density"], config["dataset"], config["weights"]) == (row["density"], "digits", "starting")


def test_the_card_of_a_single_training_has_its_accuracy(tmp_path):
    run(
        "train", "--dataset digits --arch mlp2 --epochs 1 --batch_size 64 --decreasing_lr= --gpu -1", tmp_path / "dense"
    )
    row = json.loads((tmp_path / "dense" / "summary.json").read_text())["rounds"][0]
    folder = converted(tmp_path / "dense" / "model_SA_best.pth.tar", "hugging_face", tmp_path, "--trained")
    card = (folder / "README.md").read_text()
    assert f"| test accuracy, of these weights | {row['test']:.2f} % |" in card
    assert "| weights kept | all: the network is dense |" in card and "prunings" not in card


def test_a_card_takes_no_numbers_from_another_runs_summary(ticket, search, tmp_path):
    (tmp_path / "2checkpoint.pth.tar").write_bytes(ticket.read_bytes())
    summary = json.loads((search / "summary.json").read_text())
    summary["settings"]["seed"] = 1
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    card = (converted(tmp_path / "2checkpoint.pth.tar", "hugging_face", tmp_path) / "README.md").read_text()
    assert "main_imp.py --" not in card and "accuracy" not in card


def test_a_folder_that_cannot_be_written_leaves_nothing(ticket, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lottery.formats.hugging_face.write_text", full)
    status, _, err = run_in_process(convert, ticket, "--to", "hugging_face", "--output", tmp_path / "hub")
    assert status == 1 and "cannot be written" in err and list(tmp_path.iterdir()) == []


# --- bad input --------------------------------------------------------------------------------------------------------


def refused(message, *words):
    status, out, err = run_in_process(convert, *words)
    assert status == 2 and not out
    assert len(err.splitlines()) == 1 and re.search(message, err), err


def test_bad_input_is_one_sentence(ticket, tmp_path, monkeypatch):
    (tmp_path / "empty.pt").touch()
    (tmp_path / "noise.pt").write_bytes(b"noise")
    damaged = bytearray(ticket.read_bytes())
    damaged[damaged.rfind(b"PK\x01\x02")] ^= 1  # in the directory of the archive
    (tmp_path / "damaged.pt").write_bytes(damaged)
    refused("missing.pt does not exist", tmp_path / "missing.pt", "--to", "masked")
    refused("empty.pt is empty", tmp_path / "empty.pt", "--to", "masked")
    refused("noise.pt is no checkpoint, or a damaged one", tmp_path / "noise.pt", "--to", "masked")
    refused("damaged.pt is damaged: its checksum does not match", tmp_path / "damaged.pt", "--to", "masked")
    refused("is a directory, a file is needed", ticket.parent, "--to", "masked")
    refused("--to must be given", ticket)
    refused("invalid choice: 'maskd'.*did you mean masked", ticket, "--to", "maskd")
    refused("holds no trained weights", ticket, "--to", "masked", "--trained")
    refused("exists: nothing is replaced", ticket, "--to", "masked", "--output", tmp_path / "empty.pt")
    assert not (tmp_path / "empty.pt").stat().st_size
    monkeypatch.setattr("lottery.formats.registry.find_spec", lambda name: None)
    refused("the format safetensors needs the package safetensors, .*: pip install safetensors",
            ticket, "--to", "safetensors", "--output", tmp_path / "new")  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_a_file_of_a_later_version_is_refused(ticket, tmp_path):
    path = converted(ticket, "compact", tmp_path)
    content = read(path)
    content["metadata"]["ticket_version"] = 2
    torch.save(content, path)
    refused("is of version 2 of its format, of which this suite reads 1", path, "--to", "masked")


def test_the_output_lies_beside_the_ticket_by_default(ticket, tmp_path):
    copy = tmp_path / "2checkpoint.pth.tar"
    copy.write_bytes(ticket.read_bytes())
    for words in (copy, "--to", "compact"), (tmp_path / "2checkpoint.compact.pt", "--to", "masked"):
        assert run_in_process(convert, *words)[0] == 0
    assert {file.name for file in tmp_path.iterdir()} == {copy.name, "2checkpoint.compact.pt", "2checkpoint.masked.pt"}
    assert split_state(read(copy)["state_dict"])[1].keys() == {"network.0.weight"}


def test_the_directory_one_is_in_has_a_name_to_go_by(ticket, tmp_path, monkeypatch):
    monkeypatch.chdir(converted(ticket, "hugging_face", tmp_path))
    assert run_in_process(convert, ".", "--to", "masked")[0] == 0
    assert (tmp_path / "ticket.masked.pt").is_file()


def test_a_model_card_knows_the_paper_of_every_method():
    assert PAPER_OF_METHOD.keys() == METHODS.keys()
    assert CRITERIA.keys() - PAPER_OF_CRITERION.keys() == {"random", "magnitude"}, "which have none"
