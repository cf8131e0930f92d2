"""The flags of main_channels.py: defaults, what is recorded, what is refused."""

import re
import subprocess
import sys

import pytest
import torch

import main_train
from lottery.checkpointing.run_settings import recorded
from lottery.cli import channels
from lottery.greedy.channels.config import ChannelSelectionConfig
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from lottery.training.config import TrainingConfig
from tests.helpers import CHANNELS_COMMON as COMMON
from tests.helpers import ROOT
from tests.helpers import select_channels as run


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A trained dense network."""
    folder = tmp_path_factory.mktemp("dense")
    run(f"{COMMON} --epochs 1 --decreasing_lr 1", folder, script=main_train)
    return folder / "model_SA_best.pth.tar"


def test_the_dataclasses_have_the_defaults_of_the_flags(tmp_path):
    config = channels.read_config("--dataset digits --save_dir x --epochs 182".split())
    assert config == ChannelSelectionConfig(TrainingConfig(config.training.run))


def test_the_recorded_settings_are_those_that_runs_have_always_had(tmp_path):
    """Other keys or values, and no run begun before could be continued."""
    weights = tmp_path / "dense.pth.tar"
    weights.touch()
    config = channels.read_config(f"--dataset digits --save_dir x --init_dir {weights} --top1_tol 0.1 --gpu -1".split())
    expected = {
        "seed": 0, "precision": "auto", "dataset": "digits", "image_size": None, "val_fraction": 0.1, "arch": "res20s",
        "stem": "imagenet", "epochs": 0, "batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001,
        "no_augmentation": False, "warmup": 0, "decreasing_lr": [91, 136], "prune_at": None, "keep": None,
        "top1_tol": 0.1, "tolerance_of": "whole", "layers": None, "repeats": False, "candidates": 50,
        "channel_weights": "average", "select_examples": None, "select_batch": 128, "layer_tuning": 0.0,
        "memory": 2048, "fine_tune_epochs": 10, "fine_tune_lr": 0.01, "baselines": [], "init_dir": True,
        "normalization": "dataset", "data_in": "memory", "augmentation": "crop",
        "shards": 1,
        "schedule": "step", "gamma": 0.1, "nesterov": False, "optimizer": "sgd", "label_smoothing": 0.0,
        "batch_selection": None, "selection_rate": 0.5, "selection_until": 0.875,
    }  # fmt: skip
    assert recorded(config) == expected
    trained = channels.read_config("--save_dir x --epochs 3 --prune_at 0,9 --baselines random --delta 2".split())
    changed = {"epochs": 3, "prune_at": [0, 9], "keep": "0.5", "top1_tol": None, "baselines": ["random"]}
    assert recorded(trained) == expected | changed | {"init_dir": False}


def test_fine_tuning_has_rates_of_its_own(tmp_path):
    """Adam's are lower; --schedule and --gamma are those of the pre-training."""
    words = "--dataset digits --save_dir x --epochs 3".split()
    rates = [channels.read_config([*words, *more.split()]).fine_tune_lr for more in (
        "", "--optimizer adam", "--optimizer adam --fine_tune_lr 0.5")]  # fmt: skip
    assert rates == [0.01, 0.0001, 0.5]


EPOCH = "--epochs 1 --decreasing_lr 1"


BAD = [
    ("", "no pre-trained weights to select from: give --init_dir FILE, or --epochs N"),
    (f"{EPOCH} --init_dir DENSE", "--epochs is for training the dense network, which --init_dir gives as trained"),
    ("--init_dir DENSE --prune_at 3", "--prune_at is for training the dense network"),
    ("--init_dir nowhere.pt", "--init_dir nowhere.pt does not exist"),
    ("--init_dir UNTRAINED", "holds no trained weights: the training it is for has not begun"),
    ("--init_dir DENSE --arch res20s", "belongs to another network"),
    ("--init_dir DENSE --schedule cosine", "--schedule is for training the dense network"),
    ("--init_dir DENSE --gamma 0.2", "--gamma is for training the dense network, which --init_dir"),
    ("--init_dir DENSE --lr 0.1 --warmup 1", "--lr and --warmup are for training the dense network, which --init_dir"),
    ("--init_dir DENSE --decreasing_lr 3", "--decreasing_lr is for training the dense network, which --init_dir"),
    (f"{EPOCH} --prune_at 0,22", "--prune_at 22 is beyond the end of the pre-training: --epochs 1 are 21 iterations"),
    (f"{EPOCH} --prune_at 5,5", "rising order"),
    (f"{EPOCH} --keep 9", "--keep 9 is above the width of network.0, which has 8 channels"),
    (f"{EPOCH} --layers network.3=17", "--layers network.3 17 is above the width of network.3, which has 16 channels"),
    (f"{EPOCH} --keep 0", "--keep must be a share .* got 0"),
    (f"{EPOCH} --keep 1.5", "--keep must be a share .* got 1.5"),
    (f"{EPOCH} --keep nan", "--keep must be a share .* got nan"),
    (f"{EPOCH} --keep 1.0", "nothing is to be selected: the budget of every layer"),
    (f"{EPOCH} --layers network.3=x", "--layers network.3 must be a share .* got x"),
    (f"{EPOCH} --layers network.3,", "names of convolutions with commas between"),
    (f"{EPOCH} --layers network.9", "names no layer that can be pruned, which are network.0, network.3"),
    (
        f"{EPOCH} --arch res20s --layers layer1.0.conv2",
        "layer1.0.conv2 cannot be pruned: its channels enter an addition",
    ),
    (f"{EPOCH} --layers network.8", "network.8 cannot be pruned: it is a Linear, and channels are of convolutions"),
    (
        f"{EPOCH} --arch tests.networks:mobilenet_shallow --layers network.features.2.conv.1.0",
        "pruned: it is depth-wise",
    ),
    (f"{EPOCH} --arch lenet300", "--arch lenet300 has no convolution whose channels can be dropped"),
    (f"{EPOCH} --keep 0.5 --top1_tol 0.1", "give one of them"),
    (f"{EPOCH} --top1_tol 1", "between 0 and 1, both excluded, got 1"),
    (f"{EPOCH} --repeats --channel_weights ones", "--repeats raises the weight of channels"),
    (f"{EPOCH} --select_examples 2000", "--select_examples 2000 is more than the 1293 examples that train"),
    (f"{EPOCH} --export nowhere/x.pt2", "--export nowhere/x.pt2 cannot be written: its directory does not exist"),
    (f"{EPOCH} --export .", "is a directory, a file is needed"),
    (f"{EPOCH} --export {ROOT}/LICENSE", "would replace a file that is no exported program"),
    (f"{EPOCH} --export DENSE", "would replace a file that is no exported program"),
    (f"{EPOCH} --baselines best", "--baselines: must be random or magnitude, or both with a comma between, got 'best'"),
    (f"{EPOCH} --baselines random,random", "--baselines: must be random or magnitude, .* got 'random,random'"),
    (f"{EPOCH} --fine_tune_epochs -1", "from 0 up, got -1"),
    (f"{EPOCH} --layer_tuning 2", "a number from 0 to 1, got 2"),
]


@pytest.mark.parametrize("flags, said", BAD, ids=[flags for flags, _ in BAD])
def test_wrong_input_is_one_sentence_and_leaves_nothing(call, dense, tmp_path, flags, said):
    untrained = tmp_path / "untrained.pth.tar"
    torch.save({"state_dict": {}, "history": [], "settings": {"script": "main_elastic.py"}}, untrained)
    words = flags.replace("DENSE", str(dense)).replace("UNTRAINED", str(untrained)).split()
    network = [] if "--arch" in flags else ["--arch", "tests.networks:tiny"]
    status, out, err = call(
        "main_channels", "--dataset", "digits", *network, *words, "--batch_size", 64, "--save_dir", tmp_path / "run"
    )
    assert status == 2 and not out
    assert err.startswith("main_channels.py: error: ") and len(err.strip().splitlines()) == 1, err
    assert re.search(said, err), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags, notes",
    [
        (
            "--tolerance_of layer --keep 0.3",
            ["--tolerance_of layer has no effect: it is for --top1_tol, and layers end at a budget"],
        ),
        ("--tolerance_of layer --top1_tol 0.1 --delta 2 --fine_tune_lr 0.1", []),
        (
            "--fine_tune_epochs 0 --fine_tune_lr 0.1",
            [
                "--fine_tune_lr 0.1 has no effect: nothing is trained after a selection, with --fine_tune_epochs 0 and "
                "without --layer_tuning"
            ],
        ),
        ("--fine_tune_epochs 0 --fine_tune_lr 0.1 --layer_tuning 0.5", []),
    ],
)
def test_flags_that_change_nothing_are_told(flags, notes):
    config = channels.read_config(["--save_dir", "x", *EPOCH.split(), *flags.split()])
    assert list(config.training.run.notes) == notes


def test_how_good_is_good_enough_is_not_asked_of_weights_that_are_given(dense):
    config = channels.read_config(["--save_dir", "x", "--init_dir", str(dense), "--delta", "2"])
    assert [note.partition(":")[0] for note in config.training.run.notes] == ["--delta 2.0 has no effect"]


def test_a_study_sweeps_budgets_and_seeds(tmp_path):
    (tmp_path / "study.toml").write_text(
        """
        [common]
        dataset = "digits"
        epochs = 5
        decreasing_lr = "3"
        prune_at = "0,30,105"
        [grid]
        keep = ["0.25", "0.5"]
        seed = [0, 1]
        [methods.channels]
        script = "main_channels.py"
        """
    )
    study = read_study(tmp_path / "study.toml", tmp_path / "runs")
    check_jobs(study)
    assert len(study.jobs) == 4


def test_flags_are_checked_before_anything_heavy_is_imported():
    code = (
        "import sys, main_channels as m; s = m.main(['--save_dir', 'x', '--epochs', '1', '--keep', '2.5']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
