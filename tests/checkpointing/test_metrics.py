"""The plain files of a run: a line for every epoch, a summary, whatever happens in between."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lottery.checkpointing import metrics as records
from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.version import suite_version
from lottery.training.flops import OTHER, forward_flops
from lottery.training.recipe import Recipe
from lottery.training.training_run import STEP_FIELDS, TrainingRun
from lottery.training.training_run import summary as summarized
from pruner import Ticket, layer_counts
from tests.helpers import REWIND, SETTINGS, run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run("PrAC", f"{REWIND} --eb_eps 0.02", folder / "PrAC")
    run("train", SETTINGS, folder / "train")
    return folder


def lines(folder):
    found, broken = records.read_metrics(folder / "metrics.jsonl")
    assert broken == 0
    return found


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_every_epoch_has_its_line(runs):
    found = lines(runs / "PrAC")
    for k in range(3):
        rows = read(runs / "PrAC" / f"{k}checkpoint.pth.tar")["history"]
        mine = [line for line in found if line["round"] == k]
        assert [{name: line[name] for name in records.COLUMNS} for line in mine] == [
            {name: row.get(name) for name in records.COLUMNS} for row in rows
        ]
        assert {line["density"] for line in mine} == {summary(runs / "PrAC")["rounds"][k]["density"]}
    assert len(lines(runs / "train")) == 8 and all(line["distance"] is None for line in lines(runs / "train"))


def test_the_summary_says_what_the_run_was_and_cost(runs):
    found = summary(runs / "PrAC")
    assert found["finished"] and found["round"] == 3 and found["settings"]["script"] == "main_PrAC_imp.py"
    assert found["settings"]["seed"] == 0 and found["environment"]["threads"] == 1
    assert found["rounds"] == json.loads(json.dumps(read(runs / "PrAC" / "3checkpoint.pth.tar")["rounds"]))
    assert found["costs"]["steps"] == sum(line["steps"] for line in lines(runs / "PrAC"))
    assert found["costs"]["saved"] == pytest.approx(sum(found["costs"]["saved_by"].values()))
    assert found["examples"] == {"train": 1293, "validation": 144, "test": 360}
    assert found["command"].startswith("python main_PrAC_imp.py --dataset digits")
    assert found["version"] == suite_version()
    trained = summary(runs / "train")
    assert trained["finished"] and trained["rounds"][0]["steps"] == 8 * 21 and trained["costs"]["saved"] == 0


def test_every_network_says_how_its_steps_and_evaluation_ran(runs):
    row = summary(runs / "PrAC")["rounds"][-1]
    assert (row["step"], row["step_fallback"], row["folded"]) == ("plain", None, True)


def test_rows_of_older_runs_do_not_say(runs):
    """A training that went on from an older checkpoint and had no epoch left."""
    saved = read(runs / "PrAC" / "1checkpoint.pth.tar")
    history = [{name: value for name, value in row.items() if name not in STEP_FIELDS} for row in saved["history"]]
    mask = {"0.weight": torch.ones(2, 2, dtype=torch.bool)}
    training = TrainingRun(Ticket(mask, {}), torch.arange(9), Recipe(epochs=3), 1, history=history)
    context = SimpleNamespace(model=torch.nn.Linear(2, 2), train=SimpleNamespace(labels=torch.arange(9)))
    assert {name: summarized(training, context)[name] for name in STEP_FIELDS} == dict.fromkeys(STEP_FIELDS)


def test_a_retraining_says_which_ticket_it_trained(runs, tmp_path):
    ticket = runs / "PrAC" / "2checkpoint.pth.tar"
    run("train", f"{SETTINGS} --epochs 2 --init_dir {ticket} --mask_dir {ticket}", tmp_path)
    found = summary(tmp_path)["ticket"]
    assert found["prunings"] == 2 and found["settings"]["script"] == "main_PrAC_imp.py"
    assert summary(runs / "train")["ticket"] is None


def test_layers_are_counted(tiny):
    mask = {"conv1.weight": tiny.conv1.weight > 0}
    mask["conv1.weight"][1] = False
    (found,) = layer_counts(mask).values()
    assert found == {"size": 36, "kept": int(mask["conv1.weight"].sum()), "filters": 4, "dead_filters": 1}
    assert layer_counts({}) == {}


def test_flops_are_counted_by_hand(tiny, images):
    """conv1 9 products at 64 pixels for 4 channels, conv2 36 at 16 pixels for 6, fc 6 for 3 classes; two FLOPs each."""
    pixels = images.images[:5].permute(0, 3, 1, 2).float()
    assert forward_flops(tiny, pixels) == {
        "conv1.weight": 2 * 9 * 64 * 4,
        "conv2.weight": 2 * 36 * 16 * 6,
        "fc.weight": 2 * 6 * 3,
    }


def test_products_of_activations_are_other(tiny, images):
    class More(type(tiny)):
        def forward(self, x):
            logits = super().forward(x)
            return logits @ logits.T @ logits

    tiny.__class__ = More
    assert forward_flops(tiny, images.images[:5].permute(0, 3, 1, 2).float())[OTHER] == 2 * 2 * 5 * 3


class Attends(nn.Module):
    """A layer of a transformer on four tokens of eight numbers, and two weights that no Conv2d or Linear layer has."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.conv = nn.Conv1d(4, 5, 3, padding=1)
        self.own = nn.Parameter(torch.ones(40, 3))

    def forward(self, x):
        return self.conv(self.encoder(x.flatten(1, 2))).flatten(1) @ self.own


def test_flops_belong_to_the_weights_in_whatever_layer():
    """Attention calls its layers' weights itself, and outside training as one operation that has no count."""
    products = {
        "encoder.self_attn.in_proj_weight": 4 * 8 * 24,
        "encoder.self_attn.out_proj.weight": 4 * 8 * 8,
        "encoder.linear1.weight": 4 * 8 * 16,
        "encoder.linear2.weight": 4 * 16 * 8,
        "conv.weight": 4 * 5 * 3 * 8,
        "own": 40 * 3,
        OTHER: 2 * 4 * 4 * 8,  # of queries and keys, and with values
    }
    fused = torch.backends.mha.get_fastpath_enabled()
    assert forward_flops(Attends(), torch.ones(3, 1, 4, 8)) == {name: 2 * count for name, count in products.items()}
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_weights_that_are_computed_belong_to_their_layer(tiny, images):
    nn.utils.parametrizations.weight_norm(tiny.fc)
    found = forward_flops(tiny, images.images[:5].permute(0, 3, 1, 2).float())
    assert found["fc.weight"] == 2 * 6 * 3 and OTHER not in found


# --- going on ---------------------------------------------------------------------------------------------------------

ROWS = [dict.fromkeys(records.COLUMNS, 0.5) | {"epoch": epoch} for epoch in range(4)]


def test_lines_after_the_checkpoint_are_taken_back(tmp_path):
    """A killed run may have recorded more than was saved, or less, or half a line."""
    metrics = records.Metrics(tmp_path / "metrics.jsonl")
    metrics.add(0, 1.0, ROWS[:2])
    metrics.add(1, 0.8, ROWS)
    with metrics.path.open("a") as file:
        file.write('{"round": 1, "epo')
    assert records.read_metrics(metrics.path)[1] == 1
    for known in (2, 3):
        again = records.Metrics(metrics.path)
        again.resume(1, 0.8, ROWS[:known], earlier=[{"round": 0, "epochs": 2, "density": 1.0}])
        assert [(line["round"], line["epoch"]) for line in records.read_metrics(metrics.path)[0]] == [
            (0, 0), (0, 1), *((1, epoch) for epoch in range(known))]  # fmt: skip
    again.add(1, 0.8, ROWS)
    again.add(2, 0.64, ROWS[:1])
    assert [line["round"] for line in records.read_metrics(metrics.path)[0]] == [0, 0, 1, 1, 1, 1, 2]


def test_a_finished_run_is_not_written_again(runs):
    for script, flags in {"PrAC": f"{REWIND} --eb_eps 0.02", "train": SETTINGS}.items():
        files = [runs / script / name for name in ("metrics.jsonl", "summary.json")]
        before = [file.stat().st_mtime_ns for file in files]
        run(script, flags, runs / script)
        assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.parametrize("damage", ["gone", "cut", "a line altered"])
def test_records_come_back_from_the_checkpoints(runs, tmp_path, damage):
    run("PrAC", f"{REWIND} --eb_eps 0.02 --pruning_times 2", tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "summary.json").unlink()
    if damage != "gone":
        (tmp_path / "metrics.jsonl").write_text(text[:700] if damage == "cut" else text.replace("{", "[", 1))
    run("PrAC", f"{REWIND} --eb_eps 0.02", tmp_path)
    seen, expected = ([line | {"seconds": 0} for line in lines(folder)] for folder in (tmp_path, runs / "PrAC"))
    assert seen == expected and len(summary(tmp_path)["rounds"]) == 3


def test_a_summary_is_read_whole_or_not_at_all(tmp_path):
    path = tmp_path / "summary.json"
    assert records.read_summary(path) is None
    records.write_summary(path, {"rounds": [1]})
    assert records.read_summary(path) == {"rounds": [1]}
    for damaged in (b"", b'{"rounds": [1', b"[1]", b"null", b"\xff\xfe"):
        path.write_bytes(damaged)
        assert records.read_summary(path) is None


def test_what_no_checkpoint_knows_stays_away(runs, tmp_path):
    """A search that goes on from elsewhere has no lines of the rounds before, nor their checkpoints."""
    run("PrAC", f"{REWIND} --eb_eps 0.02 --resume --checkpoint {runs / 'PrAC' / '2checkpoint.pth.tar'}", tmp_path)
    assert {line["round"] for line in lines(tmp_path)} == {2} and len(summary(tmp_path)["rounds"]) == 3


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def test_event_files_need_their_package(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install tensorboard" in run("imp", f"{SETTINGS} --tensorboard", tmp_path / "run", expect=2)


def test_event_files_hold_the_lines(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run("imp", f"{REWIND} --tensorboard --pruning_times 1", tmp_path)
    run("imp", f"{REWIND} --tensorboard --pruning_times 2", tmp_path)
    shown = events.EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    seen = [(event.step, event.value) for event in shown.Scalars("accuracy/validation")]
    expected = [(21 * (i + 1), pytest.approx(line["validation"], rel=1e-6)) for i, line in enumerate(lines(tmp_path))]
    assert seen == expected and len(seen) == 16
