"""Robustness: attacks against what can be worked out, and main_robustness.py on real runs."""

import csv
import json
import re
import shutil
from fractions import Fraction

import pytest
import torch
from torch import nn

import report
from dataset import Images, to_input
from lottery.analysis.attacks import build_attacks, robust_accuracies
from lottery.analysis.config import AttackConfig
from lottery.checkpointing.checkpoint import read, split_state
from lottery.cli.robustness import change
from lottery.results.runs import read_run
from lottery.training.context import image_spec
from models.normalization import normalization
from tests.helpers import REWIND, ROOT, SETTINGS, run

QUICK = "--dataset digits --arch lenet300 --epochs 4 --decreasing_lr 3 --batch_size 32 --gpu -1"


# --- attacks ----------------------------------------------------------------------------------------------------------


def linear(classes=2, pixels=16):
    """A linear classifier behind a normalisation, of grey images."""
    torch.manual_seed(0)
    normalize = normalization([0.4], [0.25], image_channels=1, network_channels=1)
    return nn.Sequential(normalize, nn.Flatten(), nn.Linear(pixels, classes)).eval()


def test_fgsm_on_a_linear_classifier_is_the_closed_form():
    """The loss of class y against the other one rises along sign(w_other - w_y), whatever the image; the
    normalisation, a scale above 0, leaves the sign. Pixels stop at 0 and 1."""
    model, eps = linear(), 0.1
    images, labels = torch.rand(20, 1, 4, 4), torch.arange(20) % 2
    changed = build_attacks(AttackConfig(Fraction(1, 10)), model)["fgsm"](images, labels)
    weight = model[2].weight.detach()
    direction = (weight[1 - labels] - weight[labels]).sign().view(20, 1, 4, 4)
    torch.testing.assert_close(changed, (images + eps * direction).clamp(0, 1))
    assert ((images + eps * direction) != changed).any(), "some pixel stopped at the end of its range"


def test_pgd_on_a_linear_classifier_ends_where_fgsm_does():
    """Enough steps reach, from any start, the corner that FGSM reaches in one."""
    model, images, labels = linear(), torch.rand(20, 1, 4, 4), torch.arange(20) % 2
    attacks = build_attacks(AttackConfig(Fraction(1, 10), pgd_steps=12, pgd_step_size=Fraction(1, 50)), model)
    torch.testing.assert_close(attacks["pgd"](images, labels), attacks["fgsm"](images, labels))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on digits, its network and the test images."""
    from lottery.readers.registry import read_source
    from models import build_model

    folder = tmp_path_factory.mktemp("trained")
    run("train", QUICK, folder)
    source = read_source("digits", folder)
    model = build_model("lenet300", **image_spec(source))
    model.load_state_dict(split_state(read(folder / "model_SA_best.pth.tar")["state_dict"])[0])
    test = Images(torch.from_numpy(source.test_images), torch.from_numpy(source.test_labels))
    return folder, model, test


def test_changes_stay_within_eps_and_within_the_range_of_pixels(trained):
    _, model, test = trained
    images, labels = to_input(test.images[:64]), test.labels[:64]
    for attack in build_attacks(AttackConfig(), model.eval()).values():
        changed = attack(images, labels)
        assert (changed - images).abs().max() == pytest.approx(8 / 255, abs=1e-6)
        assert changed.min() >= 0 and changed.max() <= 1


def test_pgd_is_not_weaker_than_fgsm_and_both_fool_the_network(trained):
    _, model, test = trained
    wide = AttackConfig(Fraction(24, 255), pgd_steps=20, pgd_step_size=Fraction(3, 255))
    found = robust_accuracies(model, test, torch.arange(len(test)), wide)
    assert found["clean"] > 85 and found["fgsm"] < found["clean"] - 5
    assert found["pgd"] <= found["fgsm"] + 0.5
    assert robust_accuracies(model, test, torch.arange(len(test)), wide) == found


# --- runs -------------------------------------------------------------------------------------------------------------


def records(folder, attack=-1):
    """What came of one attack of those that were made, the newest last."""
    return json.loads((folder / "robustness.json").read_text())["attacks"][attack]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    run("imp", f"{REWIND} --epochs 2 --decreasing_lr 1 --rewind_epoch 0 --pruning_times 2", folder)
    return folder


def test_the_clean_accuracy_is_the_one_that_the_run_reports(call, trained, search):
    folder, model, test = trained
    status, out, err = call("main_robustness", folder, search, "--pgd_steps", 3)
    assert status == 0, err
    (row,) = records(folder)["rounds"]
    assert row["clean"] == pytest.approx(read_run(folder).rounds[0]["test"]) and row["examples"] == len(test)
    rows = records(search)["rounds"]
    assert [(row["round"], row["density"]) for row in rows] == [(0, 1), (1, pytest.approx(0.8, abs=1e-3))]
    for row, reported in zip(rows, read_run(search).rounds, strict=True):
        assert row["clean"] == pytest.approx(reported["test"]) and row["pgd"] <= row["clean"]
    expected = robust_accuracies(model, test, torch.arange(len(test)), AttackConfig(pgd_steps=3))
    assert {name: records(folder)["rounds"][0][name] for name in expected} == expected
    assert f"{expected['pgd']:.2f}" in out


DRAWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.inputs = torch.randn(192, 32) / 14  # drawn from the run's seed, and in no file
        self.fc1, self.fc2 = nn.Linear(32, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1) @ self.inputs)))

class Net3d(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv3d(3, 4, (1, 3, 3)), nn.Linear(144, 9), nn.Linear(9, num_classes)

    def forward(self, x):
        return self.fc2(self.fc1(self.conv(x.unsqueeze(2)).flatten(1)))
"""


@pytest.mark.parametrize("net, flags", [("Net", "--normalization imagenet --seed 3"), ("Net3d", "")])
def test_the_network_is_attacked_that_the_run_had(call, tmp_path, net, flags):
    """Its normalisation, what it drew from the seed and keeps to itself, and layers that channels-last memory does not
    have."""
    (tmp_path / "nets.py").write_text(DRAWN)
    run("train", f"{SETTINGS} --epochs 3 --decreasing_lr 2 --arch {tmp_path}/nets.py:{net} {flags}", tmp_path / "run")
    status, _, err = call("main_robustness", tmp_path / "run", "--pgd_steps", 1)
    assert status == 0, err
    assert records(tmp_path / "run")["rounds"][0]["clean"] == pytest.approx(
        read_run(tmp_path / "run").rounds[0]["test"]
    )


def test_an_attack_that_another_process_made_meanwhile_is_kept(call, search, tmp_path, monkeypatch):
    from lottery.analysis import robustness_run

    folder = tmp_path / "run"
    shutil.copytree(search, folder)
    (folder / "robustness.json").unlink(missing_ok=True)
    few = ["--examples", 30, "--pgd_steps", 1, "--rounds", 1]
    real = robustness_run.robust_accuracies

    def slow(*args):
        monkeypatch.setattr(robustness_run, "robust_accuracies", real)
        assert call("main_robustness", folder, *few, "--eps", 0.1)[0] == 0
        return real(*args)

    monkeypatch.setattr(robustness_run, "robust_accuracies", slow)
    assert call("main_robustness", folder, *few)[0] == 0
    assert [records(folder, number)["attack"]["eps"] for number in (0, 1)] == ["1/10", "8/255"]


def test_what_was_attacked_is_not_attacked_again_but_differently_it_is(call, search, monkeypatch):
    from lottery.analysis import robustness_run

    asked = []
    real = robustness_run.robust_accuracies
    monkeypatch.setattr(robustness_run, "robust_accuracies", lambda *args: asked.append(1) or real(*args))
    few = ["--examples", 30, "--pgd_steps", 1]
    assert call("main_robustness", search, *few, "--rounds", 1)[0] == 0 and len(asked) == 1
    assert call("main_robustness", search, *few)[0] == 0 and len(asked) == 2, "round 1 is known"
    assert [(row["round"], row["examples"]) for row in records(search)["rounds"]] == [(0, 30), (1, 30)]
    assert call("main_robustness", search, *few)[0] == 0 and len(asked) == 2
    assert call("main_robustness", search, *few, "--eps", 0.1, "--rounds", 0)[0] == 0 and len(asked) == 3
    assert records(search)["attack"]["eps"] == "1/10" and len(records(search)["rounds"]) == 1
    assert [row["round"] for row in records(search, -2)["rounds"]] == [0, 1], "what another attack gave is kept"
    assert call("main_robustness", search, *few)[0] == 0 and len(asked) == 3
    (search / "robustness.json").write_text("{")
    status, _, err = call("main_robustness", search, *few, "--rounds", 0)
    assert status == 2 and "robustness.json is damaged: move it away or delete it" in err and len(asked) == 3
    assert (search / "robustness.json").read_text() == "{", "what is left of other attacks stays"


def test_the_report_shows_means_by_density(call, tmp_path):
    for seed in (0, 1):
        run("train", f"{QUICK} --epochs 1 --decreasing_lr 5 --seed {seed}", tmp_path / str(seed))
    assert call("main_robustness", tmp_path / "0", tmp_path / "1")[0] == 0
    assert report.main([str(tmp_path / "0"), str(tmp_path / "1"), "--output", str(tmp_path / "report")]) == 0
    (row,) = csv.DictReader((tmp_path / "report/tables/robustness_digits_lenet300.csv").open())
    both = [records(tmp_path / str(seed))["rounds"][0] for seed in (0, 1)]
    assert (row["networks"], row["method"], row["runs"]) == ("dense", "dense network", "2")
    for heading, name in (("clean", "clean"), ("FGSM", "fgsm"), ("PGD", "pgd")):
        assert float(row[heading]) == pytest.approx((both[0][name] + both[1][name]) / 2)
    assert row["attack"] == "eps 8/255, PGD of 10 steps of 2/255, on 360 images"
    assert call("main_robustness", tmp_path / "0", tmp_path / "1", "--seed", 1)[0] == 0
    assert report.main([str(tmp_path / "0"), str(tmp_path / "1"), "--output", str(tmp_path / "report")]) == 0
    (again,) = csv.DictReader((tmp_path / "report/tables/robustness_digits_lenet300.csv").open())
    assert again["runs"] == "2" and again["clean"] == row["clean"], "two starts of an attack are no two runs"
    (tmp_path / "0" / "robustness.json").write_text('{"attack": 3}')
    found = read_run(tmp_path / "0")
    assert found.robustness == [] and "robustness.json is damaged" in found.notes[0]


@pytest.mark.parametrize(
    "flags, message",
    [
        ("nowhere", "nowhere does not exist"),
        ("README.md", "README.md is no directory"),
        ("studies", "studies holds no run"),
        ("RUN --eps 0", "above 0, at most 1.*got 0"),
        ("RUN --eps 8/0", "above 0, at most 1.*got 8/0"),
        ("RUN --eps nan", "above 0, at most 1.*got nan"),
        ("RUN --pgd_step_size 300/255", "--pgd_step_size.*at most 1.*got 300/255"),
        ("RUN --pgd_steps 0", "from 1 up, got 0"),
        ("RUN --examples 0", "from 1 up, got 0"),
        ("SEARCH --rounds 0,7", "--rounds 7: .* has finished rounds 0 to 1"),
    ],
)
def test_bad_input_is_one_sentence(call, trained, search, monkeypatch, flags, message):
    monkeypatch.chdir(ROOT)
    words = [{"RUN": trained[0], "SEARCH": search}.get(word, word) for word in flags.split()]
    status, out, err = call("main_robustness", *words)
    assert status == 2 and len(err.splitlines()) == 1 and not out
    assert re.search(message, err), err


def test_wrong_runs_are_refused_before_anything_is_attacked(call, trained, search, tmp_path):
    shutil.copytree(search, tmp_path / "gone")
    (tmp_path / "gone" / "1model_SA_best.pth.tar").unlink()
    shutil.copytree(trained[0], tmp_path / "other")
    summary = json.loads((tmp_path / "other" / "summary.json").read_text())
    summary["settings"]["data checksum"] = "0"
    (tmp_path / "other" / "summary.json").write_text(json.dumps(summary))
    status, out, err = call("main_robustness", tmp_path)
    assert (
        status == 2 and f"is a folder of 2 runs: give them themselves, such as {tmp_path / 'gone'}" in err and not out
    )
    for name, message in (("gone", "1model_SA_best.pth.tar is missing"), ("other", "trained on other images")):
        (tmp_path / name / "robustness.json").unlink(missing_ok=True)
        status, out, err = call("main_robustness", search, tmp_path / name, "--pgd_steps", 2)
        assert status == 2 and message in err and not out


def test_overwrite_takes_the_records_of_the_old_network_away(call, tmp_path):
    run("train", f"{QUICK} --epochs 1 --decreasing_lr 5", tmp_path)
    assert call("main_robustness", tmp_path, "--examples", 20)[0] == 0 and (tmp_path / "robustness.json").exists()
    run("train", f"{QUICK} --epochs 1 --decreasing_lr 5 --overwrite", tmp_path)
    assert not (tmp_path / "robustness.json").exists()


def test_a_change_is_a_fraction_or_a_number():
    assert change("8/255") == Fraction(8, 255)
    assert change("0.03") == Fraction(3, 100)
