"""Flags that there are not: what the one sentence suggests; help that fits the terminal; the version."""

import re
import shlex

import pytest

from lottery.checkpointing.version import suite_version
from lottery.cli import imp
from lottery.cli.foreign_flags import COMPLEMENTS, SAME
from lottery.cli.parser import wrapped_command
from lottery.cli.registry import MODULES, cli_module, flag_names
from tests.helpers import one_sentence

SUGGESTED = [  # script, words, what the one sentence says
    ("main_imp", "--batch-size 3", "unknown flag --batch-size; did you mean --batch_size\\?$"),
    ("main_imp", "--batch-size=3", "unknown flag --batch-size; did you mean --batch_size\\?$"),
    ("main_imp", "-batch_size 3", "unknown flag -batch_size; did you mean --batch_size\\?$"),
    ("main_imp", "--learning_rate 0.1", "unknown flag --learning_rate; did you mean --lr\\?$"),
    ("main_train", "--learning-rate 0.1", "unknown flag --learning-rate; did you mean --lr\\?$"),
    ("main_dst", "--seeds 3", "unknown flag --seeds; did you mean --seed\\?$"),
    ("main_imp", "--pruning_time 3", "unknown flag --pruning_time; did you mean --pruning_times\\?$"),
    ("main_imp", "--prune_rate 0.2", "unknown flag --prune_rate; did you mean --rate\\?$"),
    (
        "main_imp",
        "--sparsity 0.9",
        r"; --densities is one minus the sparsity \(main_init.py has --sparsity\)$",
    ),
    ("main_dst", "--sparsity 0.9", r"--sparsity; --density is one minus the sparsity \(main_init.py has --sparsity\)$"),
    ("main_imp", "--density 0.1", r"; did you mean --densities\? \(main_dst.py and main_init.py have --density\)$"),
    ("main_imp", "--threshold 0", "unknown flag --threshold: main_PrAC_imp.py has --threshold$"),
    ("main_train", "--pruning_times 3", ": main_imp.py and main_PrAC_imp.py have --pruning_times$"),
    ("main_imp", "--no_such_flag", "unknown flag --no_such_flag; --help lists all flags$"),
    ("main_imp", "--arch resnet9 --no_such_flag", "unknown flag --no_such_flag"),
    ("main_imp", "--schedule cosin", "did you mean cosine\\?$"),
    ("main_imp", "--arch res20", "did you mean res20s\\?$"),
    ("main_imp", "--arch ResNet18", "did you mean res18\\?$"),
    ("main_imp", "--dataset FashionMNIST", "did you mean fashion-mnist\\?$"),
    ("main_imp", "--eopchs 3", "did you mean --epochs\\?$"),
    ("study", "--dryrun", "did you mean --dry_run\\?$"),
    ("main_imp", "--dataset cifar", "got 'cifar'; did you mean cifar10\\?$"),
]


@pytest.mark.parametrize(
    "script, words, message", SUGGESTED, ids=[f"{script} {words}" for script, words, _ in SUGGESTED]
)
def test_what_may_be_meant_is_suggested(call, tmp_path, script, words, message):
    one_sentence(call, script, words.split(), tmp_path, message)


OTHER_THINGS = [  # script and words that are spelled a little like something else
    *(("main_imp", f"--{flag}") for flag in ("eps", "delta", "min_lr", "augment", "compression", "percent", "format")),
    *(("main_imp", f"--{flag}") for flag in ("test_batch_size", "step_size", "weights", "warmup_steps", "epsilon")),
    ("main_PrAC_imp", "--early_stop"),
    ("study", "--report"),
    *(("main_imp", f"--dataset {name}") for name in ("kmnist", "imagenet", "cifar1000")),
    *(("main_imp", f"--arch {name}") for name in ("lenet5", "vgg12", "resnext50")),
]


@pytest.mark.parametrize("script, words", OTHER_THINGS, ids=map(" ".join, OTHER_THINGS))
def test_what_means_something_else_is_not_suggested(call, script, words):
    status, _, err = call(script, *words.split(), *([] if script == "study" else ["--save_dir", "x"]))
    assert status == 2 and "did you mean" not in err


def test_an_unknown_flag_comes_before_a_missing_one(call):
    status, _, err = call("main_imp", "--save-dir", "x")
    assert status == 2 and err == "main_imp.py: error: unknown flag --save-dir; did you mean --save_dir?\n"


def test_no_flag_is_abbreviated(call):
    status, _, err = call("main_imp", "--save_dir", "x", "--epoch", 3)
    assert status == 2 and "did you mean --epochs?" in err


def test_values_and_what_follows_two_dashes_are_no_flags():
    parser = imp.parser()
    assert parser.unknown_flags(["--gpu", "-1", "--lr", "-1e-3", "-", "--x y", "--", "--foo"]) == []
    assert parser.unknown_flags(["--x-y=1", "-b"]) == ["--x-y", "-b"]


def test_names_of_other_tools_lead_to_flags_that_there_are_and_hide_none():
    known = {name for script in MODULES for name in flag_names(script)}
    assert {flag for flags in (SAME | COMPLEMENTS).values() for flag in flags} <= known
    for script in ("main_imp.py", "main_PrAC_imp.py", "main_train.py"):
        assert not flag_names(script) & SAME.keys()


def test_nothing_given_is_one_sentence(call):
    status, _, err = call("main_imp")
    assert status == 2 and err == "main_imp.py: error: --save_dir must be given, --help explains it\n"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("script", MODULES)
def test_help_fits_the_terminal(script, columns, monkeypatch):
    """But for choices and exclusive flags, which argparse never breaks."""
    monkeypatch.setenv("COLUMNS", str(columns))
    usage, text = cli_module(script).parser().format_help().split("\n\n", 1)
    assert max(len(line) for line in text.splitlines() if not line.endswith(":")) <= columns
    assert columns < 80 or max(map(len, usage.splitlines())) <= columns
    assert columns < 200 or max(map(len, text.splitlines())) > 100, "a wide terminal is used"


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_wrapped_command_is_the_same_command(width):
    command = "    python main_train.py --arch res20s \\\n        --init_dir a/b --densities 0.5,0.2 --save_dir x"
    wrapped = wrapped_command(command, width)
    assert max(map(len, wrapped.splitlines())) <= width
    assert shlex.split(wrapped.replace("\\\n", "")) == shlex.split(command.replace("\\\n", ""))
    assert all(re.match(" +(python|--)", line) for line in wrapped.splitlines())


@pytest.mark.parametrize("script", ["main_imp.py", "report.py"])
def test_the_version_is_told(script, capsys):
    with pytest.raises(SystemExit) as end:
        cli_module(script).parser().parse_args(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"{suite_version()}\n"
