"""main_elastic.py, and what becomes of its tickets."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import main_imp
import pruner
import verify
from lottery.checkpointing.checkpoint import masked_state, read, write
from lottery.training.step import copy_weights
from models import build_model

QUICK = "--dataset digits --epochs 1 --decreasing_lr 1 --batch_size 64".split()


ROUNDS = {"res14s": 1, "mlp2": 2}


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """A search for tickets in each of two small networks: where their files are."""
    folder = tmp_path_factory.mktemp("searches")
    for arch, rounds in ROUNDS.items():
        search = ["--pruning_times", str(rounds), "--prune_type", "rewind_lt", "--rewind_epoch", "0", "--gpu", "-1"]
        assert main_imp.main([*QUICK, "--arch", arch, *search, "--save_dir", str(folder / arch)]) == 0
    return folder


def words(file, source, target, folder):
    networks = ["--source_arch", source, "--target_arch", target]
    return [*networks, "--init_dir", file, "--mask_dir", file, "--save_dir", folder]


@pytest.mark.parametrize("source, target, more", [
    ("res14s", "res20s", []),
    ("mlp2", "mlp4", ["--order", "interpolate"]),
    ("mlp2", "mlp3", ["--block_mapping", "0:0;1:1,2;2:3"]),
    ("mlp2", "lenet300", []),
])  # fmt: skip
def test_an_elastic_ticket_is_a_ticket(searches, call, capsys, tmp_path, source, target, more):
    file = searches / source / f"{ROUNDS[source]}checkpoint.pth.tar"
    elastic_file = tmp_path / "elastic" / "checkpoint.pth.tar"
    status, out, err = call("main_elastic", *words(file, source, target, tmp_path / "elastic"), *more)
    assert status == 0 and not err
    model = build_model(target, classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    kept, of = (part.replace(",", "") for part in re.search(r"^all .* (\S+) +(\S+) +\S+$", out, re.M).groups())
    assert int(of) == pruner.size(pruner.dense(model))
    sparsity = re.search(rf"(\S+) % in {target}; the ticket is in {elastic_file}\n$", out)[1]
    assert sparsity == f"{100 * (1 - int(kept) / int(of)):.2f}"

    assert verify.main([str(elastic_file)]) == 0
    printed = capsys.readouterr().out
    for law in "checksum", "finite weights", "dropped weights", "starting weights", "no example validates":
        assert re.search(rf"{law} +holds", printed), law

    ticket = ["--init_dir", elastic_file, "--mask_dir", elastic_file]
    status, out, err = call("main_train", *QUICK, "--arch", target, *ticket, "--save_dir", tmp_path / "run")
    assert status == 0, err
    assert f"density {int(kept) / int(of):.4f}" in out
    trained, transferred = read(tmp_path / "run" / "checkpoint.pth.tar"), read(elastic_file)
    masks = [name for name in transferred["state_dict"] if name.endswith("_mask")]
    assert len(masks) == len(pruner.dense(model))
    assert all(torch.equal(trained["state_dict"][name], transferred["state_dict"][name]) for name in masks)
    assert all(torch.equal(value, transferred["init_weight"][name]) for name, value in trained["init_weight"].items())


def test_the_file_holds_the_stretched_ticket_and_what_is_known_of_the_search(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp3", tmp_path))[0] == 0
    there, here = read(file), read(tmp_path / "checkpoint.pth.tar")
    own = there["init_weight"], here["init_weight"]
    assert torch.equal(own[1]["fc3.weight"], own[0]["fc2.weight"]) and torch.equal(
        own[1]["fc2.bias"], own[0]["fc2.bias"]
    )
    for name, copy in ("fc1", "fc1"), ("fc2", "fc2"), ("fc2", "fc3"), ("fc3", "fc4"):
        for part in "orig", "mask":
            assert torch.equal(
                here["state_dict"][f"{copy}.weight_{part}"], there["state_dict"][f"{name}.weight_{part}"]
            )
    assert not torch.equal(here["state_dict"]["fc2.weight_orig"], own[1]["fc2.weight"]), "weights under the mask"
    assert torch.equal(here["sequence"].sort().values, there["sequence"].sort().values)
    assert torch.equal(here["validation"], there["validation"])
    settings, search = here["settings"], there["settings"]
    inherited = {name: search[name] for name in ("dataset", "image_size", "seed", "data checksum", "split checksum")}
    assert settings == inherited | {
        "script": "main_elastic.py", "arch": "mlp3", "source_arch": "mlp2", "stem": "imagenet", "order": "append",
        "block_mapping": "0:0;1:1,2;2:3", "family checksum": None, "ticket checksum": here["source"]["checksum"],
    }  # fmt: skip
    expected = {"file": str(file), "prunings": 2, "settings": search, "start": "ticket"}
    assert here["source"].items() >= expected.items()


def test_weights_and_mask_may_come_from_two_files(searches, call, tmp_path):
    rewound, mask = searches / "mlp2" / "epoch_1_rewind_weight.pt", searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(mask, "mlp2", "mlp3", tmp_path / "one"))[0] == 0
    assert call("main_elastic", *words(mask, "mlp2", "mlp3", tmp_path / "two"), "--init_dir", rewound)[0] == 0
    one, two = (read(tmp_path / name / "checkpoint.pth.tar") for name in ("one", "two"))
    for part in "init_weight", "state_dict":
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())


def test_examples_of_both_files_count(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    for name, seen in ("init", [5, 9, 3]), ("mask", [9, 700]):
        write(tmp_path / name, read(file) | {"sequence": torch.tensor(seen, dtype=torch.int32)})
    command = words(tmp_path / "mask", "mlp2", "mlp3", tmp_path / "out")
    assert call("main_elastic", *command, "--init_dir", tmp_path / "init")[0] == 0
    assert read(tmp_path / "out" / "checkpoint.pth.tar")["sequence"].tolist() == [3, 5, 9, 700]


def test_a_split_that_mixes_up_the_tickets_examples_is_refused(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp3", tmp_path / "elastic"))[0] == 0
    np.save(tmp_path / "split.npy", read(file)["sequence"].numpy()[:500])
    transferred = tmp_path / "elastic" / "checkpoint.pth.tar"
    more = ["--arch", "mlp3", "--init_dir", transferred, "--split_file", tmp_path / "split.npy"]
    status, _, err = call("main_train", *QUICK, *more, "--save_dir", tmp_path / "run")
    assert status == 2 and "found with 50 examples that validate here" in err


def test_a_ticket_of_the_2021_code_is_transferred_too(reference_checkpoint, call, tmp_path):
    file = reference_checkpoint("imp")
    status, out, err = call("main_elastic", *words(file, "res20s", "res14s", tmp_path / "elastic"))
    assert status == 0 and "carries no checksum" in out, err
    theirs, transferred = read(file), read(tmp_path / "elastic" / "checkpoint.pth.tar")
    assert all(torch.equal(value, theirs["init_weight"][name]) for name, value in transferred["init_weight"].items())
    expected = {"file": str(file), "prunings": theirs["state"], "settings": None, "start": "ticket"}
    assert transferred["source"].items() >= expected.items()


def test_an_elastic_ticket_can_be_transferred_again(searches, call, tmp_path):
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    assert call("main_elastic", *words(file, "mlp2", "mlp4", tmp_path / "up"))[0] == 0
    stretched = tmp_path / "up" / "checkpoint.pth.tar"
    assert call("main_elastic", *words(stretched, "mlp4", "mlp2", tmp_path / "down"))[0] == 0
    there, back = read(file), read(tmp_path / "down" / "checkpoint.pth.tar")
    for part in "init_weight", "state_dict":
        assert there[part].keys() == back[part].keys()
        assert all(torch.equal(value, back[part][name]) for name, value in there[part].items())
    assert back["source"]["source"]["file"] == str(file)


def test_the_same_command_again_changes_nothing_and_another_one_is_refused(searches, call, tmp_path):
    command = words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp4", tmp_path)
    first = call("main_elastic", *command)
    place = (tmp_path / "checkpoint.pth.tar").stat().st_ino
    assert call("main_elastic", *command) == first and first[0] == 0
    assert (tmp_path / "checkpoint.pth.tar").stat().st_ino == place, "not even written again"
    assert call("main_elastic", *command, "--stem", "imagenet")[0] == 0
    assert read(tmp_path / "checkpoint.pth.tar")["command"].endswith("--stem imagenet"), "the newest one"
    written = (tmp_path / "checkpoint.pth.tar").read_bytes()
    status, _, err = call("main_elastic", *command, "--target_arch", "mlp3")
    assert status == 2 and "arch was mlp4, is mlp3" in err and len(err.splitlines()) == 1
    assert (tmp_path / "checkpoint.pth.tar").read_bytes() == written
    assert call("main_elastic", *command, "--target_arch", "mlp3", "--overwrite")[0] == 0
    assert read(tmp_path / "checkpoint.pth.tar")["settings"]["arch"] == "mlp3"


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_another_scripts_directory_is_left_alone(searches, call, tmp_path, more):
    search = Path(shutil.copytree(searches / "mlp2", tmp_path / "search"))
    before = {file.name: file.read_bytes() for file in search.iterdir()}
    file = searches / "mlp2" / "2checkpoint.pth.tar"
    status, _, err = call("main_elastic", *words(file, "mlp2", "mlp3", search), *more)
    assert status == 2 and "main_imp.py" in err
    assert {file.name: file.read_bytes() for file in search.iterdir()} == before


def test_a_training_does_not_begin_where_a_ticket_lies(searches, call, tmp_path):
    assert call("main_elastic", *words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp3", tmp_path))[0] == 0
    transferred = tmp_path / "checkpoint.pth.tar"
    status, _, err = call("main_train", *QUICK, "--arch", "mlp3", "--mask_dir", transferred, "--save_dir", tmp_path)
    assert status == 2 and "holds a run of main_elastic.py: give another --save_dir" in err


@pytest.mark.parametrize(
    "more, said",
    [
        (["--source_arch", "res14"], "arch must be one of res14s, .*got 'res14'"),
        (["--target_arch", "tests.networks:tiny"], "units of tests.networks:tiny are not known"),
        (["--target_arch", "res20s"], "cannot go from the MLPs to the CIFAR ResNets"),
        (["--source_arch", "lenet300"], "stage 1 cannot be stretched from 2 to 4 units"),
        (["--source_arch", "mlp4"], r"2checkpoint\.pth\.tar belongs to another network than --source_arch.* no fc6"),
        (["--source_arch", "mlp3", "--target_arch", "mlp4"], "belongs to another network than --source_arch"),
        (["--stem", "cifar"], "stem cifar applies to res18"),
        (["--target_arch", "mlp2"], "--target_arch mlp2: what this mapping makes of the ticket is the ticket itself"),
        (["--order", "reverse"], "append.*interpolate"),
        (["--order", "append", "--block_mapping", "0:0;1:1,2;2:3"], "omit --order"),
        (["--block_mapping", ""], "got ''"),
        (["--block_mapping", "0:0;1:1;2:3"], r"unit 2 of stage 1 of the target \(fc3\)"),
        (["--block_mapping", "0:0;1:1;2:2,3"], r"fc3\.weight of the target is 300 x 300 and cannot be a copy of fc3"),
        (["--init_dir", "nowhere"], "--init_dir nowhere does not exist"),
        (["--mask_dir", "."], "--mask_dir . is a directory"),
        (["--mask_dir", "dense"], "holds no mask: the dense network is no ticket"),
        (["--init_dir", "text"], "is no checkpoint"),
        (["--init_dir", "early"], "written before the rewinding point"),
        (["--init_dir", "scalars"], "belongs to another network than --source_arch: it has no fc4$"),
        (["--init_dir", "no_normalisation"], "does not say how images are normalised, which is carried to the target"),
        (["--init_dir", "two_channels"], "no normalisation of grey or of colour images: its mean and std are 2, 1$"),
        (["--no_such_flag"], "no_such_flag"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_leaves_nothing(searches, call, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    dense = build_model("mlp2", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    write(Path("dense"), {"state_dict": copy_weights(dense), "init_weight": copy_weights(dense)})
    write(Path("early"), {"init_weight": None})
    write(Path("scalars"), {"init_weight": {"fc4.weight": torch.tensor(1.0)}})
    two = {"normalize.mean": torch.zeros(2), "normalize.std": torch.ones(1)}
    plain = {name: value for name, value in copy_weights(dense).items() if not name.startswith("normalize")}
    write(Path("no_normalisation"), {"init_weight": plain})
    write(Path("two_channels"), {"init_weight": copy_weights(dense) | two})
    Path("text").write_text("hello")
    command = words(searches / "mlp2" / "2checkpoint.pth.tar", "mlp2", "mlp3", "out")
    status, out, err = call("main_elastic", *command, *more)
    assert status == 2 and not out
    assert err.startswith("main_elastic.py: error: ") and len(err.splitlines()) == 1, err
    assert re.search(said, err), err
    assert not Path("out").exists()


def test_a_mask_of_the_classifier_reaches_the_file(call, tmp_path):
    model = build_model("mlp2", classes=10, channels=1, image_size=8, mean=[0.5], std=[0.5])
    weights = copy_weights(model)
    mask = {name: value.abs() > value.abs().median() for name, value in weights.items() if name.endswith("weight")}
    write(tmp_path / "ticket", {"state_dict": masked_state(weights, mask), "init_weight": weights})
    status, out, _ = call("main_elastic", *words(tmp_path / "ticket", "mlp2", "mlp3", tmp_path / "out"))
    assert status == 0 and re.search("^classifier +500 +1,000 +0.5000 +500 +1,000 +0.5000$", out, re.M)
    assert torch.equal(
        read(tmp_path / "out" / "checkpoint.pth.tar")["state_dict"]["fc5.weight_mask"], mask["fc4.weight"]
    )
