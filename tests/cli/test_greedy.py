"""The flags of main_greedy.py: defaults, what is recorded, what is refused."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lottery.checkpointing.run_settings import recorded
from lottery.cli import greedy
from lottery.greedy.neurons.config import NeuronSelectionConfig
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from tests.helpers import ROOT


def test_every_thousandth_iteration_is_the_default():
    (config,) = greedy.read_configs("--dataset digits --save_dir x --iterations 2500".split())
    assert config.prune_at == (0, 1000, 2000)
    (config,) = greedy.read_configs("--dataset digits --save_dir x".split())
    assert config == NeuronSelectionConfig(config.run), "the dataclasses have the defaults of the flags"


def test_the_recorded_settings_are_those_that_runs_have_always_had():
    """Other keys or values, and no run begun before could be continued."""
    flags = "--dataset digits --save_dir x --examples 9,20 --prune_at 0,5 --hidden 30 --delta 3 --gpu -1 --overwrite"
    larger, smaller = greedy.read_configs(flags.split())
    assert recorded(larger) == {
        "seed": 0, "dataset": "digits", "image_size": None, "examples": 20, "target": "halves", "hidden": 30,
        "activation": "relu", "loss": "squared", "iterations": 8000, "batch_size": 128, "lr": 0.2, "prune_at": [0, 5],
        "neurons": 200, "fine_tune": 1000, "memory": 4096,
    }  # fmt: skip
    assert recorded(smaller) == recorded(larger) | {"examples": 9}
    assert [config.run.save_dir.name for config in (larger, smaller)] == ["examples_20", "examples_9"]


BAD = [
    ("--prune_at 0,500 --iterations 400", "--prune_at 500 is beyond the end of the pre-training, --iterations 400"),
    ("--prune_at 5,5", "iterations from 0 up in rising order.*'5,5'"),
    ("--prune_at 9,5", "rising order.*'9,5'"),
    ("--prune_at -1,5", "argument|from 0 up"),
    ("--prune_at=-1,5", "from 0 up.*'-1,5'"),
    ("--prune_at 1,,5", "rising order.*'1,,5'"),
    ("--prune_at 1.5", "rising order.*'1.5'"),
    ("--prune_at=", "rising order.*''"),
    ("--examples 1438", "--examples 1438 is more than the 1437 examples"),
    ("--examples 0", "from 1 up in rising order, such as 1000,5000,20000, got '0'"),
    ("--examples 200,100", "in rising order, such as 1000,5000,20000, got '200,100'"),
    ("--examples 100,1438", "--examples 1438 is more than the 1437 examples"),
    ("--examples 50,100 --resume --checkpoint README.md", "belongs to one run, and --examples asks for several"),
    ("--hidden 0", "from 1 up, got 0"),
    ("--neurons 0", "from 1 up, got 0"),
    ("--iterations 0", "from 1 up, got 0"),
    ("--fine_tune -1", "from 0 up, got -1"),
    ("--delta -1", "from 0 up, got -1"),
    ("--delta nan", "from 0 up, got nan"),
    ("--memory 0", "from 1 up, got 0"),
    ("--lr 0", "above 0, got 0"),
    ("--activation gelu", "relu.*tanh"),
    ("--target thirds", "halves.*classes"),
    ("--loss hinge", "squared.*cross_entropy"),
    ("--dataset cifar11", "cifar11"),
    ("--data somewhere --dataset imagefolder", "somewhere"),
    ("--resume", "nothing to resume"),
    (
        "--resume --examples 50,100",
        "nothing to resume: .*examples_100 holds no checkpoint, nor do those of other sizes",
    ),
    ("--checkpoint README.md", "with --resume only"),
    ("--resume --overwrite", "give one of them"),
    ("--gpu -2", "-1 for the CPU, got -2"),
    ("--arch res20s", "--arch"),
]


@pytest.mark.parametrize("flags, said", BAD, ids=[flags for flags, _ in BAD])
def test_wrong_input_is_one_sentence_and_leaves_nothing(call, tmp_path, flags, said):
    dataset = [] if "--dataset" in flags else ["--dataset", "digits"]
    status, out, err = call("main_greedy", *dataset, *flags.split(), "--save_dir", tmp_path / "run")
    assert status == 2 and not out
    assert err.startswith("main_greedy.py: error: ") and len(err.strip().splitlines()) == 1, err
    assert re.search(said, err), err
    assert not (tmp_path / "run").exists()


def test_of_several_sizes_those_are_resumed_that_have_begun(tmp_path):
    """The largest one comes first: it may have been ended before the others had begun."""
    (tmp_path / "examples_100").mkdir()
    (tmp_path / "examples_100" / "checkpoint.pth.tar").touch()
    configs = greedy.read_configs(f"--dataset digits --examples 50,100 --resume --save_dir {tmp_path}".split())
    assert [(config.run.save_dir.name, config.run.resume) for config in configs] == [
        ("examples_100", True), ("examples_50", False)]  # fmt: skip


def test_flags_are_checked_before_anything_heavy_is_imported():
    code = (
        "import sys, main_greedy as m; s = m.main(['--save_dir', 'x', '--prune_at', '9,5']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_a_study_sweeps_widths_sizes_and_seeds(tmp_path):
    (tmp_path / "study.toml").write_text(
        """
        [common]
        dataset = "digits"
        iterations = 500
        prune_at = "0,100,500"
        [grid]
        hidden = [50, 100]
        examples = [100, 1000]
        seed = [0, 1]
        [methods.greedy]
        script = "main_greedy.py"
        """
    )
    study = read_study(tmp_path / "study.toml", tmp_path / "runs")
    check_jobs(study)
    folders = [job.save_dir.relative_to(tmp_path / "runs") for job in study.jobs]
    assert folders == [
        Path(f"hidden_{hidden}/examples_{examples}/seed_{seed}/greedy")
        for hidden, examples, seed in itertools.product((50, 100), (100, 1000), (0, 1))
    ]
